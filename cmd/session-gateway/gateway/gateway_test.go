package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

var asPage = http.Header{"Accept": {"text/html"}}

func TestAccess(t *testing.T) {
	s := start(t, nil)
	clients := map[string]*http.Client{"": s.browser(""), viewer: s.browser(viewer), admin: s.browser(admin)}
	for _, tt := range []struct {
		email, path string
		status      int
		location    string
	}{
		{"", "/reports?a=1", 303, "/login?return_to=%2Freports%3Fa%3D1"},
		{"", "/public/x", 200, ""},
		{"", "/publicity", 303, "/login?return_to=%2Fpublicity"},
		{"", "/login", 200, ""},
		{viewer, "/reports", 200, ""},
		{viewer, "/admin", 403, ""},
		{viewer, "/admin/", 403, ""},
		{viewer, "/admin/x", 403, ""},
		{viewer, "/administration", 200, ""},
		{viewer, "/api/x", 200, ""},
		{admin, "/admin/x", 200, ""},
	} {
		res, body := s.do(clients[tt.email], "GET", tt.path, asPage)
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
			t.Errorf("%q %s: %d %q", tt.email, tt.path, res.StatusCode, res.Header.Get("Location"))
		}
		if reached := strings.Contains(body, `"URI":"`); reached != (tt.status == 200 && tt.path != "/login") {
			t.Errorf("%q %s: the upstream was reached: %v", tt.email, tt.path, reached)
		}
	}
}

// Paths that a service may read as paths of another upstream reach no service.
func TestPaths(t *testing.T) {
	s := start(t, nil)
	cookies := s.cookies(s.browser(viewer))
	get := func(method, address, host string) (*http.Response, string) {
		_, _, res := s.raw(method + " " + address + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\nCookie: " + cookies + "\r\n\r\n")
		body, _ := io.ReadAll(res.Body)
		return res, string(body)
	}
	for _, path := range []string{
		"/Admin/x", "/ADMIN", "/admin;a=b/x", "/admin;/x", "/aDmin;x", "/%61dmin/x", "/admin%2fx", "/x/../admin/x", "//admin/x", "/x/..;/admin",
		"/adm%C4%B1n", "/adm%C4%B1n/x", "/adm%C4%B0n", // letters that some services take for i
		"/public/..;/admin/x", "/public/%2e%2e/admin/x", `/public/..\admin`, "/public/..%5cadmin", "/public/%252e%252e/admin", "/./admin", "*",
	} {
		for _, method := range []string{"GET", "POST", "CONNECT"} {
			if res, body := get(method, path, "app.example"); res.StatusCode < 400 || strings.Contains(body, `"URI":`) {
				t.Errorf("%s %s: %d %.200s", method, path, res.StatusCode, body)
			}
		}
	}
	if res, _ := get("CONNECT", "app.example:443", "app.example:443"); res.StatusCode < 400 {
		t.Errorf("CONNECT: %d", res.StatusCode)
	}
	for _, tt := range []struct{ path, host, want string }{
		{"/a%20b;c=1/?x=../;y", "app.example", "/a%20b;c=1/?x=../;y"},
		{"/api", "app.example", "/v2"},
		{"/api/", "app.example", "/v2/"},
		{"/api/a%20b%25?q", "app.example", "/v2/a%20b%25?q"},
		{"/admin", "other.example:8443", "/other/admin"},
		{"/", "OTHER.example.", "/other/"},
		{"/", "other.example..:443:1", "/other/"},
	} {
		if res, body := get("GET", tt.path, tt.host); res.StatusCode != 200 || !strings.Contains(body, `"URI":"`+strings.ReplaceAll(tt.want, "&", `\u0026`)+`"`) {
			t.Errorf("%s: %d %.300s, want %s", tt.path, res.StatusCode, body, tt.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	account, _ := s.auth.Account(admin)
	forged := http.Header{
		"X-Forwarded-User": {"forged"}, "X-Forwarded-Roles": {"forged", "forged"}, "X-Forwarded-Email": {"forged"},
		"X_forwarded_user": {"forged"}, "x-FORWARDED_roles": {"forged"}, "X.Forwarded.Email": {"forged"}, "x_forwarded-anything": {"forged"},
		"X-Forwarded-For": {"203.0.113.9"}, "Forwarded": {"for=forged"}, "X-Real-Ip": {"203.0.113.9"}, "X_real_ip": {"203.0.113.9"},
		"X-Forwarded-Proto": {"forged"}, "X-Forwarded-Host": {"forged"}, "X-Forwarded-Prefix": {"/forged"}, "X-Original-Url": {"/forged"},
		"Connection":  {"X-Forwarded-User, X-Forwarded-Roles, X-Forwarded-For"},
		"X-Forwarder": {"kept"}, "Authorization": {"Basic a2VwdA=="},
		"Cookie": {"mine=a b; __Host-gateway-x=own;quoted=\"q\"; gateway=own; __host-gateway=own; gatewayx=1", "__Secure-gateway-state=own; =gateway=own"},
	}
	for _, path := range []string{"/", "/public/x", "/api/x", "/api/public", "/admin/x"} {
		res, got := s.reached(client, "GET", path, forged)
		text := fmt.Sprint(got.Header)
		if strings.Contains(text, "forged") || strings.Contains(text, "203.0.113.9") {
			t.Errorf("%s: the service received forged fields: %s", path, text)
		}
		if strings.Contains(text, "own") || strings.Contains(text, "__Host-") || strings.Contains(text, "gateway=") {
			t.Errorf("%s: the service received the gateway's cookies: %q", path, got.Header["Cookie"])
		}
		if got.Header.Get("X-Forwarded-For") != "127.0.0.1" || got.Header.Get("X-Forwarded-Proto") != "https" || got.Header.Get("X-Forwarded-Host") != got.Host {
			t.Errorf("%s: %s", path, text)
		}
		if got.Header.Get("X-Forwarder") != "kept" || "https://"+got.Host != s.srv.URL {
			t.Errorf("%s: %q %q", path, got.Header, got.Host)
		}
		if lines := res.Header["Set-Cookie"]; !slices.Equal(slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, "forged") }), nil) {
			t.Errorf("%s: the service could set %q", path, lines)
		}
		basic := got.Header.Get("Authorization") == "Basic a2VwdA=="
		if isAPI := strings.HasPrefix(path, "/api"); basic == isAPI {
			t.Errorf("%s: Authorization %.10q", path, got.Header.Get("Authorization"))
		}
	}

	_, got := s.reached(client, "GET", "/", forged)
	for name, want := range map[string]string{"X-Forwarded-User": account.ID, "X-Forwarded-Email": admin, "X-Forwarded-Roles": "user,admin,a%2Cb%20%C3%BC"} {
		if values := got.Header[name]; !slices.Equal(values, []string{want}) {
			t.Errorf("%s is %q", name, values)
		}
	}
	if cookies := got.Header["Cookie"]; !slices.Equal(cookies, []string{`mine=a b;quoted="q"; gatewayx=1; theirs=1`}) {
		t.Errorf("cookies %q", cookies)
	}
	if _, got := s.reached(client, "GET", "/public/x", nil); got.Header["X-Forwarded-User"] != nil || got.Header["X-Forwarded-Prefix"] != nil {
		t.Errorf("a public path has %q", got.Header)
	}
	if _, got := s.reached(client, "GET", "/api/x", nil); got.Header.Get("X-Forwarded-Prefix") != "/api" {
		t.Errorf("%q", got.Header)
	}
	if res, _ := s.reached(client, "GET", "/", nil); !slices.ContainsFunc(res.Header["Set-Cookie"], func(l string) bool { return strings.HasPrefix(l, "theirs=") }) {
		t.Errorf("the service's own cookie is missing: %q", res.Header["Set-Cookie"])
	}
}

func TestTrailer(t *testing.T) {
	s := start(t, nil)
	_, _, res := s.raw("POST /public/x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User, X-Kept\r\n\r\n" +
		"2\r\nhi\r\n0\r\nX-Forwarded-User: forged\r\nX-Kept: 1\r\n\r\n")
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 || !strings.Contains(string(body), `"Body":"hi"`) || strings.Contains(string(body), "orged") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// The service receives the access token only where it is configured.
func TestToken(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	_, got := s.reached(client, "GET", "/api/x", nil)
	token, ok := strings.CutPrefix(got.Header.Get("Authorization"), "Bearer ")
	if !ok || strings.Count(token, ".") != 2 {
		t.Error("the service has no access token")
	}
	s.auth.Advance(time.Hour) // a token that has expired is refreshed first
	for _, path := range []string{"/", "/public/x", "/api/public", "/admin/x"} {
		if _, got := s.reached(client, "GET", path, nil); strings.Contains(fmt.Sprint(got), token) || got.Header["Authorization"] != nil {
			t.Errorf("%s has the token", path)
		}
	}
}

// A bearer token identifies the user to the gateway, and is not forwarded.
func TestBearer(t *testing.T) {
	verifier := &verifierOf{}
	s := start(t, func(_ *url.URL, c *session.Config, _ *gateway.Config) { c.Verifier = verifier })
	v, err := verify.New(verify.Config{Secrets: [][]byte{s.auth.Secret()}})
	if err != nil {
		t.Fatal(err)
	}
	verifier.Verifier = v
	token, _ := s.auth.SignIn(admin)
	account, _ := s.auth.Account(admin)
	client := s.browser("")
	bearer := http.Header{"Authorization": {"bearer " + token}}
	if _, got := s.reached(client, "GET", "/x", bearer); got.Header["Authorization"] != nil || got.Header.Get("X-Forwarded-User") != account.ID {
		t.Errorf("%v", got.Header)
	}
	if _, got := s.reached(client, "GET", "/api/x", bearer); got.Header.Get("Authorization") != "Bearer "+token {
		t.Error("the service that receives the token has another token")
	}
	if res, _ := s.do(client, "GET", "/x", http.Header{"Authorization": {"Bearer x" + token}}); res.StatusCode != 401 {
		t.Errorf("a forged token: %d", res.StatusCode)
	}
}

// verifierOf is a Verifier that is set later.
type verifierOf struct{ auth.Verifier }

// Informational responses are forwarded, and cannot set the gateway's cookies.
func TestEarlyHints(t *testing.T) {
	s := start(t, nil)
	var mu sync.Mutex
	var hints []textproto.MIMEHeader
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		hints = append(hints, h)
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", s.srv.URL+"/public/x", nil)
	res, err := s.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	mu.Lock()
	defer mu.Unlock()
	if len(hints) != 1 || hints[0].Get("Link") == "" || strings.Contains(fmt.Sprint(hints), "forged") || !strings.Contains(fmt.Sprint(hints), "theirs") {
		t.Errorf("%v", hints)
	}
	if res.Header.Get("Vary") == "" || res.StatusCode != 200 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

func TestCaching(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	if res, _ := s.reached(client, "GET", "/public/x", nil); res.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("a public path: %q", res.Header.Get("Cache-Control"))
	}
	if res, _ := s.reached(client, "GET", "/x", nil); res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a path for users: %q", res.Header.Get("Cache-Control"))
	}
}

func TestUpstreamIsDown(t *testing.T) {
	var log safeBuffer
	s := start(t, func(_ *url.URL, c *session.Config, _ *gateway.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	client := s.browser(admin)
	s.upstream.Close()
	res, body := s.do(client, "GET", "/secret?q=secret", nil)
	if res.StatusCode != 502 || !strings.Contains(body, "upstream_unavailable") || strings.Contains(body, "127.0.0.1") || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if res, body := s.do(client, "GET", "/", asPage); res.StatusCode != 502 || !strings.Contains(body, "<html") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if text := log.String(); !strings.Contains(text, "upstream_unavailable") || strings.Contains(text, "secret") {
		t.Errorf("the log has %s", text)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A service that does not respond in time.
func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	u, _ := url.Parse(slow.URL)
	s := start(t, func(_ *url.URL, _ *session.Config, g *gateway.Config) {
		g.Upstreams = []gateway.Upstream{{Path: "/", URL: u, Public: []string{"/"}, Timeout: 10 * time.Millisecond}}
	})
	if res, body := s.do(s.browser(""), "GET", "/", nil); res.StatusCode != 504 || !strings.Contains(body, "upstream_timeout") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// No request with an unsafe method is sent twice, even over a connection that the service
// closes at that moment.
func TestNoRetry(t *testing.T) {
	var requests atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go resetSecond(l, &requests)
	s := start(t, func(_ *url.URL, _ *session.Config, g *gateway.Config) {
		g.Upstreams = []gateway.Upstream{{Path: "/", URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, Public: []string{"/"}}}
	})
	client := s.browser("")
	for _, header := range []http.Header{nil, {"Idempotency-Key": {"1"}}, {"X-Idempotency-Key": {"1"}}} {
		for _, method := range []string{"POST", "DELETE"} {
			s.do(client, "GET", "/", nil) // opens the connection
			requests.Store(0)
			if res, _ := s.do(client, method, "/", header); res.StatusCode != 502 || requests.Load() != 1 {
				t.Errorf("%s %v: %d after %d requests", method, header, res.StatusCode, requests.Load())
			}
		}
	}
}

// resetSecond responds to the first request of each connection, and closes it when it
// has read the second.
func resetSecond(l net.Listener, requests *atomic.Int64) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 64<<10)
			for i := range 2 {
				if _, err := conn.Read(buf); err != nil {
					return
				}
				requests.Add(1)
				if i == 0 {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}
		}()
	}
}

// The pages may be below another path, for services that have their own /login.
func TestPagesPath(t *testing.T) {
	s := start(t, func(_ *url.URL, c *session.Config, g *gateway.Config) {
		c.LoginPath, g.PagesPath = "/_session/login", "/_session"
		g.Features = []middleware.Feature{middleware.PasswordReset}
	})
	client := s.browser("")
	if res, _ := s.do(client, "GET", "/x", asPage); res.Header.Get("Location") != "/_session/login?return_to=%2Fx" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res, body := s.do(client, "GET", "/_session/login", asPage); res.StatusCode != 200 || !strings.Contains(body, `href="/_session/password/lost"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res, err := client.PostForm(s.srv.URL+"/_session/login", url.Values{"email": {admin}, "password": {password}, "return_to": {"/x"}})
	if err != nil || res.StatusCode != 303 || res.Header.Get("Location") != "/x" {
		t.Fatal(err, res)
	}
	res.Body.Close()
	s.reached(client, "GET", "/login", nil)
	for _, path := range []string{"/_session/x", "/_session/"} {
		if res, _ := s.do(client, "GET", path, nil); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	if res, _ := s.do(client, "PROPFIND", "/_session/login", nil); res.StatusCode != 405 {
		t.Errorf("PROPFIND: %d", res.StatusCode)
	}
}

func TestClientAddress(t *testing.T) {
	s := start(t, stored)
	client := s.browser(admin)
	_, got := s.reached(client, "GET", "/", http.Header{"X-Forwarded-For": {"203.0.113.9, 198.51.100.7, 127.0.0.1"}, "X-Forwarded-Proto": {"http"}})
	if got.Header.Get("X-Forwarded-For") != "198.51.100.7" || got.Header.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("%q", got.Header)
	}
}

func TestNew(t *testing.T) {
	s := start(t, nil)
	u, _ := url.Parse(s.upstream.URL)
	bad, _ := url.Parse("http://user:secret@host/")
	_, err := gateway.New(gateway.Config{})
	if err == nil || !strings.Contains(err.Error(), "Manager is required") {
		t.Errorf("%v", err)
	}
	_, err = gateway.New(gateway.Config{
		Manager: s.m, PagesPath: "/_session", AuthHeaders: []gateway.Header{"name"},
		Upstreams: []gateway.Upstream{
			{Path: "/a", URL: u},
			{Path: "/a/", URL: bad},
			{Path: "b", Host: "x:1", Roles: []string{""}},
			{Path: "/c", URL: u, Public: []string{"/d"}, Headers: []gateway.Header{gateway.User, gateway.User}},
		},
	})
	want := []string{
		"PagesPath must", "AuthHeaders must be user", "Upstreams[1].Path is also that of Upstreams[0]", "Upstreams[1].URL must",
		"Upstreams[2].Host must", "Upstreams[2].Path must", "Upstreams[2].URL is required", "Upstreams[2].Roles has", "Upstreams[3].Public must", "Upstreams[3].Headers has user twice",
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in: %v", text, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Error("the error has the password")
	}
	for what, set := range map[string]func(*session.Config){
		"without proxies":          func(c *session.Config) { c.Store = memstore.New() },
		"with sessions in cookies": func(c *session.Config) { c.TrustedProxies = loopback },
	} {
		s := start(t, func(_ *url.URL, c *session.Config, _ *gateway.Config) { set(c) })
		if _, err := s.gateway.AuthHandler(); err == nil {
			t.Errorf("%s there is an AuthHandler", what)
		}
	}
}

// A request whose client has disconnected ends at the service, too.
func TestClientDisconnects(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	}))
	defer slow.Close()
	u, _ := url.Parse(slow.URL)
	s := start(t, func(_ *url.URL, _ *session.Config, g *gateway.Config) {
		g.Upstreams = []gateway.Upstream{{Path: "/", URL: u, Public: []string{"/"}}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.srv.URL, nil)
	if res, err := s.srv.Client().Do(req); err == nil {
		res.Body.Close()
		t.Errorf("status %d", res.StatusCode)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the service still works on the request")
	}
}
