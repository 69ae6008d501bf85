package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

const (
	password = "correct horse battery staple"
	admin    = "admin@example.com"
	viewer   = "viewer@example.com"
)

// received is a request as an upstream received it.
type received struct {
	Method, Host, URI string
	Header            http.Header
	Trailer           http.Header
	Body              string
}

// service is an upstream without sessions. It responds with the request that it received.
func service(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") == "websocket":
		echo(w, r)
		return
	case strings.HasSuffix(r.URL.Path, "/events"):
		events(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	hostile(w.Header())
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Set("Cache-Control", "public, max-age=60")
	_ = json.NewEncoder(w).Encode(received{r.Method, r.Host, r.RequestURI, r.Header, r.Trailer, string(body)})
}

// hostile sets cookies that would replace the gateway's, and one of the service.
func hostile(h http.Header) {
	for _, name := range []string{
		"__Host-gateway", " __Host-gateway-state", "__host-gateway-1", "__Secure-gateway", "__Host-Http-gateway-mfa",
		"__Http-gateway", "gateway", "=gateway", "gateway\t", "\t=__Host-gateway-device",
	} {
		h.Add("Set-Cookie", name+"=forged; Path=/; Secure")
	}
	h.Add("Set-Cookie", "theirs=1; Path=/")
}

// events sends an event and waits for the end of the request.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	fmt.Fprint(w, "data: hello\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// echo switches to a protocol that repeats each line.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	saw, _ := json.Marshal(r.Header)
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Saw: %s\r\nSet-Cookie: __Host-gateway=forged\r\n\r\n", saw)
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "echo "+line)
	}
}

// site is a gateway with its auth service and one upstream.
type site struct {
	t        testing.TB
	auth     *authtest.Server
	m        *session.Manager
	gateway  *gateway.Gateway
	srv      *httptest.Server
	upstream *httptest.Server
}

// loopback are the addresses of this machine, as proxies.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// start starts a site. change may change the configurations.
func start(t testing.TB, change func(u *url.URL, s *session.Config, g *gateway.Config)) *site {
	t.Helper()
	s := &site{t: t, auth: authtest.NewServer(t, authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{
		{Email: admin, Password: password, Roles: []string{"user", "admin", "a,b ü"}},
		{Email: viewer, Password: password},
	}})}
	s.upstream = httptest.NewServer(http.HandlerFunc(service))
	t.Cleanup(s.upstream.Close)
	u, err := url.Parse(s.upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg := session.Config{
		Auth: synmetrix.NewClient(s.auth.URL), Keys: []session.SecretKey{session.GenerateKey()},
		Cookie: session.Cookie{Name: "gateway"}, Logger: slog.New(slog.DiscardHandler),
	}
	gcfg := gateway.Config{Upstreams: []gateway.Upstream{
		{Path: "/", URL: u, Public: []string{"/public/"}, Headers: []gateway.Header{gateway.User, gateway.Email, gateway.Roles}},
		{Path: "/admin/", URL: u, Roles: []string{"admin"}},
		{Path: "/api", URL: u.JoinPath("v2"), StripPath: true, Public: []string{"/api/public"}, Headers: []gateway.Header{gateway.Token}},
		{Path: "/", Host: "other.example", URL: u.JoinPath("other")},
	}}
	if change != nil {
		change(u, &cfg, &gcfg)
	}
	if s.m, err = session.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.m.Shutdown(context.Background()) })
	gcfg.Manager = s.m
	if s.gateway, err = gateway.New(gcfg); err != nil {
		t.Fatal(err)
	}
	s.srv = httptest.NewTLSServer(s.gateway)
	t.Cleanup(s.srv.Close)
	t.Cleanup(s.gateway.CloseIdleConnections)
	t.Cleanup(s.gateway.EndStreams)
	return s
}

// stored has the sessions in a store, behind trusted proxies.
func stored(_ *url.URL, s *session.Config, g *gateway.Config) {
	s.Store = memstore.New()
	s.TrustedProxies = loopback
	g.AuthHeaders = []gateway.Header{gateway.User, gateway.Roles, gateway.Token}
}

// browser returns a client that keeps cookies, signed in unless email is empty.
func (s *site) browser(email string) *http.Client {
	s.t.Helper()
	client := *s.srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if email != "" {
		res, err := client.PostForm(s.srv.URL+"/login", url.Values{"email": {email}, "password": {password}})
		if err != nil || res.StatusCode != http.StatusSeeOther {
			s.t.Fatal(err, res)
		}
		res.Body.Close()
	}
	return &client
}

// do sends a request and returns the response with its body.
func (s *site) do(client *http.Client, method, path string, header http.Header) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.srv.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

// reached returns the request that the upstream received, and fails if it received none.
func (s *site) reached(client *http.Client, method, path string, header http.Header) (*http.Response, received) {
	s.t.Helper()
	res, body := s.do(client, method, path, header)
	var got received
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Method == "" {
		s.t.Fatalf("%s %s: %d %v: %.300s", method, path, res.StatusCode, err, body)
	}
	return res, got
}

// raw sends the text of a request.
func (s *site) raw(text string) (net *tls.Conn, r *bufio.Reader, res *http.Response) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.srv.Listener.Addr().String(), s.srv.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	r = bufio.NewReader(conn)
	for {
		if res, err = http.ReadResponse(r, nil); err != nil {
			s.t.Fatal(err)
		}
		if res.StatusCode != http.StatusEarlyHints {
			return conn, r, res
		}
	}
}

// cookies returns the Cookie field of a client.
func (s *site) cookies(client *http.Client) string {
	req := httptest.NewRequest("GET", s.srv.URL, nil)
	for _, c := range client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	return req.Header.Get("Cookie")
}
