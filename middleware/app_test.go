package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

const (
	password   = webapp.Password
	totpSecret = webapp.TOTPSecret
	asPage     = webapp.AsPage
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
	app  *webapp.App
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
	return newAppOf(t, authtest.Options{Accounts: accounts}, set)
}

// newAppOf returns an app of an auth service, without a server.
func newAppOf(t *testing.T, service authtest.Options, set func(*session.Config)) *app {
	t.Helper()
	a := webapp.New(t, service, set)
	return &app{t: t, app: a, auth: a.Auth, m: a.Manager, mux: http.NewServeMux(), log: &a.Log}
}

// start serves h in place of the app's handler.
func (a *app) start(h http.Handler) {
	a.app.Serve(h, false)
	a.srv = a.app.Server
}

func newManager(t *testing.T, set func(*session.Config)) *session.Manager {
	t.Helper()
	var cfg session.Config
	set(&cfg)
	return webapp.NewManager(t, cfg)
}

// browser is a client with its own cookies. It does not follow redirects.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	app    *webapp.Browser
}

func (a *app) browser() *browser { return newBrowser(a.t, a.app.Browser()) }

func newBrowser(t *testing.T, b *webapp.Browser) *browser { return &browser{t, b.URL, b.Client, b} }

// response is a response with its body, which has been read.
type response struct {
	*http.Response
	body string
}

// move makes the browser send its requests to the server that the app has now.
func (b *browser) move(a *app) {
	b.base, b.client.Transport = a.app.Server.URL, a.app.Server.Client().Transport
	b.app.URL = b.base
}

// do sends a request. header has alternating names and values.
func (b *browser) do(method, path, body string, header ...string) response {
	b.t.Helper()
	return b.send(b.app.Request(method, path, body, header...))
}

func (b *browser) send(req *http.Request) response { b.t.Helper(); return read(b.app.Send(req)) }

func read(r *webapp.Response) response { return response{r.Response, r.Body} }

func (b *browser) get(path string, header ...string) response {
	b.t.Helper()
	return b.do("GET", path, "", header...)
}

// open requests a page like a browser whose user follows a link.
func (b *browser) open(path string) response { b.t.Helper(); return read(b.app.Open(path)) }

// submit sends a form. fields has alternating names and values.
func (b *browser) submit(path string, fields ...string) response {
	b.t.Helper()
	return read(b.app.Submit(path, fields...))
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
