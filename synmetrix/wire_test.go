package synmetrix_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

const (
	oldRefresh = "3c20645f-6716-4d53-8a4c-0b5c0e3f7a11"
	newRefresh = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
	ticket     = "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b"
	email      = "someone@example.com"
	password   = "correct horse battery staple"
	unsigned   = "eyJhbGciOiJIUzI1NiJ9"
)

// The service's most frequent messages, word for word.
const (
	wrongLogin    = "Username and password do not match"
	noAccount     = "Account does not exist."
	notActivated  = "Account is not activated."
	notLoggedIn   = "Not logged in"
	invalidToken  = "Invalid or expired refresh token."
	invalidTicket = "Invalid or expired ticket."
	wrongCode     = "Invalid two-factor code."
	serverError   = "An internal server error occurred"
)

// jwt returns an access token that expires at exp and was issued an hour before.
func jwt(exp time.Time) string { return jwtOf("u1", exp) }

func jwtOf(userID string, exp time.Time) string {
	payload := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%[1]q,"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user"},"sub":%[1]q,"iat":%[2]d,"exp":%[3]d}`,
		userID, exp.Add(-time.Hour).Unix(), exp.Unix())
	return unsigned + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2lnbmF0dXJl"
}

var (
	validAccess   = jwt(time.Now().Add(time.Hour))
	expiredAccess = jwt(time.Now().Add(-time.Hour))
)

// secrets are texts that no error and no log line may contain.
var secrets = []string{
	oldRefresh, newRefresh, ticket, email, password, validAccess, expiredAccess, unsigned,
	"refresh_token=", "token=", "123456", "quoted-by-the-service",
}

// received is a request that a scripted server has received.
type received struct {
	net.Conn
	n    int    // counts the requests of all connections, from 1
	conn int    // counts the connections, from 1
	raw  string // the whole request, byte for byte
	req  *http.Request
	body string
}

// respond writes a raw response.
func (x *received) respond(raw string) { _, _ = io.WriteString(x.Conn, raw) }

// reset closes the connection with an RST.
func (x *received) reset() {
	_ = x.Conn.(*net.TCPConn).SetLinger(0)
	_ = x.Conn.Close()
}

// server is a TCP server that responds as its script says, and records the
// requests.
type server struct {
	URL     string
	script  func(*received) (keep bool)
	running sync.WaitGroup

	mu       sync.Mutex
	received []*received
	conns    []net.Conn
}

// serve starts a server. The script is called for each request and reports
// whether the connection stays open.
func serve(t *testing.T, script func(x *received) (keep bool)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{URL: "http://" + ln.Addr().String(), script: script}
	s.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.accept(conn)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.close()
	})
	return s
}

// servePipe starts a server without a network address. Only the returned transport
// connects to it. Both work in a synctest bubble.
func servePipe(t *testing.T, script func(x *received) (keep bool)) (*server, *http.Transport) {
	t.Helper()
	s := &server{URL: "http://auth.example", script: script}
	transport := synmetrix.NewTransport()
	transport.Proxy = nil
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		s.accept(far)
		return near, nil
	}
	t.Cleanup(s.close)
	return s, transport
}

func (s *server) accept(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	number := len(s.conns)
	s.running.Go(func() { s.handle(conn, number) })
}

func (s *server) close() {
	s.mu.Lock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *server) handle(conn net.Conn, number int) {
	defer conn.Close()
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		raw.Reset()
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		x := &received{Conn: conn, conn: number, raw: raw.String(), req: req, body: string(body)}
		s.mu.Lock()
		s.received = append(s.received, x)
		x.n = len(s.received)
		s.mu.Unlock()
		if !s.script(x) {
			return
		}
	}
}

// requests returns the requests so far.
func (s *server) requests() []*received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// responding returns a script that sends the same response to each request.
func responding(raw string) func(*received) bool {
	return func(x *received) bool {
		x.respond(raw)
		return true
	}
}

// reply returns a raw response with a body.
func reply(status int, contentType, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if contentType != "" {
		b.WriteString("Content-Type: " + contentType + "\r\n")
	}
	if status != http.StatusNoContent {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	return b.String() + "\r\n" + body
}

const jsonType = "application/json; charset=utf-8"

// ok returns a raw 200 with a JSON body.
func ok(body string) string { return reply(200, jsonType, body) }

// refusal returns a raw error response in the service's format. An empty message
// is left out.
func refusal(status int, message string, headers ...string) string {
	body := fmt.Sprintf(`{"statusCode":%d,"error":%q`, status, http.StatusText(status))
	if message != "" {
		body += fmt.Sprintf(`,"message":%q`, message)
	}
	return reply(status, jsonType, body+"}", headers...)
}

// tokensBody returns a session body with the two tokens.
func tokensBody(access, refresh string) string {
	return fmt.Sprintf(`{"jwt_token":%q,"jwt_expires_in":648000000,"user":{"id":"u1","display_name":%[3]q,"email":%[3]q},"refresh_token":%[2]q}`,
		access, refresh, email)
}

func newClient(t *testing.T, base string, opts ...synmetrix.Option) *synmetrix.Client {
	t.Helper()
	c := synmetrix.NewClient(base, opts...)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

var sentinels = map[string]error{
	"refused":          auth.ErrRefused,
	"ticket refused":   auth.ErrTicketRefused,
	"unavailable":      auth.ErrUnavailable,
	"rate limited":     auth.ErrRateLimited,
	"invalid response": auth.ErrInvalidResponse,
	"outcome unknown":  auth.ErrOutcomeUnknown,
	"second factor":    auth.ErrSecondFactor,
}

// meanings lists the sentinels that err wraps, sorted.
func meanings(err error) string {
	var names []string
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// wantError checks the sentinels of err (as meanings lists them), its op, code,
// status and message, and that the text of err contains neither the message nor a
// secret.
func wantError(t *testing.T, err error, op, code string, status int, message, want string) *auth.Error {
	t.Helper()
	if got := meanings(err); got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	noSecrets(t, err)
	var e *auth.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *auth.Error", err, err)
	}
	if e.Op != op || e.Code != code || e.StatusCode != status {
		t.Errorf("op, code, status = %q, %q, %d, want %q, %q, %d", e.Op, e.Code, e.StatusCode, op, code, status)
	}
	if e.Message != message {
		t.Errorf("message = %q, want %q", e.Message, message)
	}
	if message != "" && strings.Contains(err.Error(), message) {
		t.Errorf("the text of the error contains the service's message: %v", err)
	}
	return e
}

// noSecrets checks that no text of err, or of an error that it wraps, contains a
// secret.
func noSecrets(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, format := range []string{"%v", "%+v", "%q", "%x"} {
		text := fmt.Sprintf(format, err)
		for _, secret := range secrets {
			if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%T printed with %s contains %q: %s", err, format, secret, text)
			}
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		noSecrets(t, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			noSecrets(t, inner)
		}
	}
}

// testContext returns a context with a deadline, so that a hanging test fails.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
