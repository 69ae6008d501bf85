package authtest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

const (
	password = "correct horse"
	secret   = "JBSWY3DPEHPK3PXP"

	uuid4 = "8d7d3a0e-4f3c-4d4f-9d57-1f6f0e0b2a11" // not a token or ticket of the service
)

// The tests of the endpoints repeat what was measured with the real service, case by
// case. A subtest or table row has the name of its case.

// conn is a client of one server. It follows no redirects and keeps no cookies.
type conn struct {
	*testing.T
	srv  *authtest.Server
	http *http.Client
}

// serve starts a service with the accounts that the tables use. Its clock moves only
// with Advance, so that a slow test does not change the result.
func serve(t *testing.T, opts ...authtest.Options) *conn {
	t.Helper()
	var o authtest.Options
	if len(opts) > 0 {
		o = opts[0]
	}
	if o.PasswordCost == 0 {
		o.PasswordCost = -1
	}
	if o.Now == nil {
		now := time.Now()
		o.Now = func() time.Time { return now }
	}
	o.Accounts = append(o.Accounts,
		authtest.Account{Email: "ada@example.com", Password: password, Roles: []string{"user", "admin"}},
		authtest.Account{Email: "bob@example.com", Password: password},
		authtest.Account{Email: "mfa@example.com", Password: password, TOTPSecret: secret},
		authtest.Account{Email: "link@example.com"},
		authtest.Account{Email: "inactive@example.com", Password: password, Inactive: true},
	)
	srv := authtest.NewServer(t, o)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &conn{T: t, srv: srv, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// sub runs a subtest against the same server.
func (c *conn) sub(name string, f func(c *conn)) {
	c.Run(name, func(t *testing.T) { f(&conn{t, c.srv, c.http}) })
}

// response is a response whose body has been read.
type response struct {
	*testing.T
	status int
	header http.Header
	body   string
}

// do sends a request with the given header fields in the form "Name: value". A body is
// JSON unless the fields include a Content-Type.
func (c *conn) do(method, path, body string, header ...string) *response {
	c.Helper()
	resp, err := c.try(method, path, body, header...)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

func (c *conn) try(method, path, body string, header ...string) (*response, error) {
	req, err := http.NewRequest(method, c.srv.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, field := range header {
		name, value, _ := strings.Cut(field, ": ")
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return &response{c.T, res.StatusCode, res.Header, string(text)}, err
}

// later sends a request in a goroutine and returns a channel for its response.
func (c *conn) later(method, path, body string) <-chan *response {
	ch := make(chan *response, 1)
	go func() {
		resp, err := c.try(method, path, body)
		if err != nil {
			c.Errorf("%s %s: %v", method, path, err)
			resp = &response{T: c.T}
		}
		ch <- resp
	}()
	return ch
}

// leave sends a request and disconnects after the server has received it.
func (c *conn) leave(method, path, body string) {
	c.Helper()
	before := c.srv.Requests(authtest.Any)
	ctx, hangUp := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, method, c.srv.URL+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		res, err := c.http.Do(req)
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	eventually(c.T, func() bool { return c.srv.Requests(authtest.Any) > before })
	hangUp()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		c.Fatalf("%s %s: %v, want no response before the client disconnects", method, path, err)
	}
}

func (c *conn) post(path, body string, header ...string) *response {
	c.Helper()
	return c.do("POST", path, body, header...)
}

func (c *conn) get(path string, header ...string) *response {
	c.Helper()
	return c.do("GET", path, "", header...)
}

func (c *conn) refresh(token string) *response {
	c.Helper()
	return c.get("/auth/token/refresh?refresh_token=" + token)
}

// login signs in with cookie:false and returns both tokens.
func (c *conn) login(email string) (access, refresh string) {
	c.Helper()
	resp := c.post("/auth/login", fmt.Sprintf(`{"email":%q,"password":%q,"cookie":false}`, email, password))
	s := resp.session()
	return s.JWT, s.RefreshToken
}

// ticket starts a login of the account with a second factor and returns its ticket.
func (c *conn) ticket() string {
	c.Helper()
	resp := c.post("/auth/login", fmt.Sprintf(`{"email":"mfa@example.com","password":%q,"cookie":false}`, password))
	var body struct {
		MFA    bool
		Ticket string
	}
	if err := json.Unmarshal([]byte(resp.body), &body); err != nil || !body.MFA || resp.status != 200 {
		c.Fatalf("login with a second factor: %d %s", resp.status, resp.body)
	}
	return body.Ticket
}

func (c *conn) code(ago time.Duration) string {
	c.Helper()
	code, err := totp.GenerateCode(secret, c.srv.Now().Add(-ago))
	if err != nil {
		c.Fatal(err)
	}
	return code
}

// live checks the number of a user's live refresh tokens.
func (c *conn) live(user string, want int) {
	c.Helper()
	if n := len(c.srv.LiveTokens(user)); n != want {
		c.Errorf("%s has %d live refresh tokens, want %d", user, n, want)
	}
}

// bearer returns the header field for an access token.
func bearer(token string) string { return "Authorization: Bearer " + token }

// wantEmpty checks the status of a response without a body.
func (resp *response) wantEmpty(status int) *response {
	resp.Helper()
	if resp.status != status || resp.body != "" {
		resp.Errorf("response is %d %q, want %d without a body", resp.status, resp.body, status)
	}
	if ct := resp.header.Get("Content-Type"); status == 204 && ct != "" {
		resp.Errorf("Content-Type is %q, want none", ct)
	}
	return resp
}

// wantError checks an error response byte by byte. An empty message means an error
// without a message.
func (resp *response) wantError(status int, message string) *response {
	resp.Helper()
	want := fmt.Sprintf(`{"statusCode":%d,"error":%q`, status, http.StatusText(status))
	if message != "" {
		text, _ := json.Marshal(message)
		want += `,"message":` + string(text)
	}
	want += "}"
	if resp.status != status || resp.body != want {
		resp.Errorf("response is %d %s, want %d %s", resp.status, resp.body, status, want)
	}
	if ct := resp.header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
		resp.Errorf("Content-Type is %q", ct)
	}
	return resp
}

// wantBadRequest checks for a 400 without a message.
func (resp *response) wantBadRequest() *response {
	resp.Helper()
	return resp.wantError(400, "")
}

func (resp *response) serverError() *response {
	resp.Helper()
	return resp.wantError(500, "An internal server error occurred")
}

// session is a response body with tokens.
type session struct {
	JWT          string `json:"jwt_token"`
	ExpiresIn    int64  `json:"jwt_expires_in"`
	RefreshToken string `json:"refresh_token"`
	User         struct {
		ID          string
		DisplayName string `json:"display_name"`
		Email       string
	}
}

// session checks for a 200 with both tokens in the body, the response to cookie:false.
func (resp *response) session() session {
	resp.Helper()
	var s session
	if err := json.Unmarshal([]byte(resp.body), &s); err != nil || resp.status != 200 || s.JWT == "" || s.RefreshToken == "" {
		resp.Fatalf("response is %d %s, want a session with both tokens", resp.status, resp.body)
	}
	return s
}

// cookieSession checks for a 200 with the refresh token only in a cookie, and returns
// the token.
func (resp *response) cookieSession() string {
	resp.Helper()
	var s session
	if err := json.Unmarshal([]byte(resp.body), &s); err != nil || resp.status != 200 || s.JWT == "" || s.RefreshToken != "" {
		resp.Fatalf("response is %d %s, want a session without a refresh token", resp.status, resp.body)
	}
	token := resp.cookies()["refresh_token"]
	if token == "" {
		resp.Fatalf("no cookie with a refresh token: %q", resp.header["Set-Cookie"])
	}
	return token
}

// cookies returns the values of the cookies that the response sets.
func (resp *response) cookies() map[string]string {
	values := make(map[string]string)
	for _, cookie := range (&http.Response{Header: resp.header}).Cookies() {
		values[cookie.Name] = cookie.Value
	}
	return values
}

// clears checks that the response clears both cookies.
func (resp *response) clears() *response {
	resp.Helper()
	want := []string{
		"refresh_token=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
		"permission_variables=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
	}
	if got := resp.header["Set-Cookie"]; fmt.Sprint(got) != fmt.Sprint(want) {
		resp.Errorf("Set-Cookie is %q, want both cookies cleared", got)
	}
	return resp
}

// noCookies checks that the response sets no cookie.
func (resp *response) noCookies() *response {
	resp.Helper()
	if got := resp.header["Set-Cookie"]; got != nil {
		resp.Errorf("Set-Cookie is %q, want none", got)
	}
	return resp
}

// decode returns the header and the payload of a JWT as text.
func decode(t *testing.T, token string) (header, payload string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	var text [2]string
	for i := range text {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return text[0], text[1]
}

// row is a table row for a validation error: a request body and its error.
type row struct {
	name, body string
	status     int
	message    string
}

func (c *conn) rows(path string, rows []row, header ...string) {
	for _, r := range rows {
		c.sub(r.name, func(c *conn) { c.post(path, r.body, header...).wantError(r.status, r.message) })
	}
}
