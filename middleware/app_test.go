package middleware_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

const (
	password   = "correct horse battery staple"
	totpSecret = "JBSWY3DPEHPK3PXP"
	asPage     = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

var accounts = []authtest.Account{
	{Email: "admin@example.com", Password: password, Roles: []string{"user", "admin"}},
	{Email: "viewer@example.com", Password: password, Roles: []string{"user"}},
	{Email: "mfa@example.com", Password: password, Roles: []string{"user"}, TOTPSecret: totpSecret},
	{Email: "inactive@example.com", Password: password, Inactive: true},
}

// app is a test's app: an auth service, a Manager, and a server whose handler is
// inside Sessions.
type app struct {
	t    *testing.T
	auth *authtest.Server
	m    *session.Manager
	mux  *http.ServeMux
	srv  *httptest.Server
	log  *testkit.LogBuffer
}

// newApp starts an app with the built-in routes. set may change the Config.
func newApp(t *testing.T, set func(*session.Config), opts ...middleware.Option) *app {
	t.Helper()
	a := newBareApp(t, set)
	middleware.Mount(a.mux, a.m)
	a.start(middleware.Sessions(a.m, opts...)(a.mux))
	return a
}

// newBareApp returns an app without a server.
func newBareApp(t *testing.T, set func(*session.Config)) *app {
	t.Helper()
	a := &app{t: t, mux: http.NewServeMux(), log: &testkit.LogBuffer{}}
	a.auth = authtest.NewServer(t, authtest.Options{Accounts: accounts, PasswordCost: -1})
	a.m = newManager(t, func(c *session.Config) {
		c.Auth = synmetrix.NewClient(a.auth.URL)
		c.Logger = slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if set != nil {
			set(c)
		}
	})
	return a
}

// start serves h in place of the app's handler. It uses TLS, because the cookies
// are Secure.
func (a *app) start(h http.Handler) {
	if a.srv != nil {
		a.srv.Close()
	}
	a.srv = httptest.NewUnstartedServer(h)
	a.srv.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(a.log, nil), slog.LevelError)
	a.srv.StartTLS()
	a.t.Cleanup(a.srv.Close)
}

func newManager(t *testing.T, set func(*session.Config)) *session.Manager {
	t.Helper()
	cfg := session.Config{Keys: []session.SecretKey{session.GenerateKey()}}
	set(&cfg)
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// browser is a client with its own cookies. It does not follow redirects.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

func (a *app) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return &browser{a.t, a.srv.URL, &http.Client{
		Transport:     a.srv.Client().Transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// response is a response with its body, which has been read.
type response struct {
	*http.Response
	body string
}

// do sends a request. header has alternating names and values.
func (b *browser) do(method, path, body string, header ...string) response {
	b.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.base+path, r)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.send(req)
}

func (b *browser) send(req *http.Request) response {
	b.t.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response{resp, string(body)}
}

func (b *browser) get(path string, header ...string) response {
	b.t.Helper()
	return b.do("GET", path, "", header...)
}

// open requests a page like a browser whose user follows a link.
func (b *browser) open(path string) response {
	b.t.Helper()
	return b.get(path, "Accept", asPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none")
}

// submit sends a form. fields has alternating names and values.
func (b *browser) submit(path string, fields ...string) response {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", asPage,
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin", "Origin", b.base)
}

func (b *browser) postJSON(path, body string, header ...string) response {
	b.t.Helper()
	return b.do("POST", path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

func (b *browser) signIn(email string) {
	b.t.Helper()
	b.submit("/login", "email", email, "password", password).is(b.t, 303, "")
}

// is checks the status. If code is not empty, it also checks that the response is
// a problem with that code.
func (r response) is(t *testing.T, status int, code string) response {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d; body: %.300s", r.Request.Method, r.Request.URL.Path, r.StatusCode, status, r.body)
	}
	if code != "" {
		if got := r.problem(t)["code"]; got != code {
			t.Fatalf("%s %s: code %v, want %s", r.Request.Method, r.Request.URL.Path, got, code)
		}
	}
	return r
}

func (r response) problem(t *testing.T) map[string]any {
	t.Helper()
	r.has(t, "Content-Type", "application/problem+json")
	var p map[string]any
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("%v; body: %.300s", err, r.body)
	}
	if p["type"] != "about:blank" || p["title"] != http.StatusText(r.StatusCode) || p["status"] != float64(r.StatusCode) || p["detail"] == "" {
		t.Errorf("problem %v for status %d", p, r.StatusCode)
	}
	return p
}

func (r response) has(t *testing.T, field, value string) response {
	t.Helper()
	if got := strings.Join(r.Header.Values(field), ", "); got != value {
		t.Errorf("%s %s: %s: %q, want %q", r.Request.Method, r.Request.URL.Path, field, got, value)
	}
	return r
}

// isPage checks that the response is a page of this package that contains text.
func (r response) isPage(t *testing.T, status int, text string) response {
	t.Helper()
	r.is(t, status, "").has(t, "Content-Type", "text/html; charset=utf-8").has(t, "Cache-Control", "no-store")
	if !strings.Contains(r.body, text) {
		t.Errorf("%s %s: the page does not contain %q: %s", r.Request.Method, r.Request.URL.Path, text, visible(r.body))
	}
	return r
}

// isRedirect checks for a 303 to a location.
func (r response) isRedirect(t *testing.T, location string) response {
	t.Helper()
	return r.is(t, 303, "").has(t, "Location", location).has(t, "Cache-Control", "no-store")
}

// visible returns a page without its style and its script.
func visible(page string) string {
	for _, name := range []string{"style", "script"} {
		if contents, ok := element(page, name); ok {
			page = strings.Replace(page, "<"+name+">"+contents+"</"+name+">", "", 1)
		}
	}
	return page
}
