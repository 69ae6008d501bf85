// Package adaptertest is the test suite of the adapters. It runs the same app
// under net/http and under an adapter's framework, and compares the responses
// byte by byte.
package adaptertest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// Route is a route of an app, independent of a framework.
type Route struct {
	Method, Path string
	Guard        Guard
	Handler      http.HandlerFunc
}

// Guard selects the guard of a route. The zero value is no guard.
type Guard struct {
	User   bool           // RequireUser
	Roles  []string       // RequireRole, if not nil
	Policy session.Policy // Require, if not nil
	Fresh  time.Duration  // RequireFresh, if not 0

	Passive bool // Passive
}

// Spec describes an app, independent of a framework.
type Spec struct {
	Manager *session.Manager
	Options []middleware.Option
	Prefix  string // the prefix of the built-in routes
	Routes  []Route
	Bare    bool // without Sessions
	Twice   bool // with Sessions inside Sessions

	Features []middleware.Feature
}

// Build builds the app of a Spec with a framework.
type Build func(Spec) http.Handler

// NetHTTP builds the app with net/http. It is the reference for all others.
func NetHTTP(s Spec) http.Handler {
	routes := http.NewServeMux()
	middleware.Mount(routes, s.Manager, s.Features...)
	mux := http.NewServeMux()
	mux.Handle(s.Prefix+"/", http.StripPrefix(s.Prefix, routes))
	for _, r := range s.Routes {
		var h http.Handler = r.Handler
		switch {
		case r.Guard.User:
			h = middleware.RequireUser(h)
		case r.Guard.Roles != nil:
			h = middleware.RequireRole(r.Guard.Roles...)(h)
		case r.Guard.Policy != nil:
			h = middleware.Require(r.Guard.Policy)(h)
		case r.Guard.Fresh != 0:
			h = middleware.RequireFresh(r.Guard.Fresh)(h)
		case r.Guard.Passive:
			h = middleware.Passive(h)
		}
		mux.Handle(r.Method+" "+r.Path, h)
	}
	sessions := middleware.Sessions(s.Manager, s.Options...)
	switch {
	case s.Bare:
		return mux
	case s.Twice:
		return sessions(sessions(mux))
	}
	return sessions(mux)
}

// The accounts of the auth service.
const (
	Admin    = "admin@example.com"
	Viewer   = "viewer@example.com"
	MFA      = "mfa@example.com"
	Password = "correct horse battery staple"

	totpSecret = "JBSWY3DPEHPK3PXP"
)

func accounts() []authtest.Account {
	return []authtest.Account{
		{ID: "00000000-0000-4000-8000-00000000000a", Email: Admin, Password: Password, Roles: []string{"user", "admin"}},
		{ID: "00000000-0000-4000-8000-00000000000b", Email: Viewer, Password: Password},
		{ID: "00000000-0000-4000-8000-00000000000c", Email: MFA, Password: Password, TOTPSecret: totpSecret},
	}
}

// App is a running app with its auth service.
type App struct {
	T     testing.TB
	Auth  *authtest.Server
	Store *testkit.FailingStore // nil if the sessions are in cookies
	*session.Manager

	server *httptest.Server
	log    testkit.LogBuffer
	moved  atomic.Int64
}

// Options are the options of an App.
type Options struct {
	Stored bool // keep sessions in App.Store
	HTTP2  bool
	Verify bool // verify tokens, so that bearer tokens are accepted

	Set func(*session.Config) // changes the settings; may be nil
}

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// NewApp starts an auth service and a Manager. The Manager's clock only moves by
// Advance.
func NewApp(t testing.TB, o Options) *App {
	t.Helper()
	a := &App{T: t}
	a.Auth = authtest.NewServer(t, authtest.Options{Accounts: accounts(), PasswordCost: -1})
	cfg := session.Config{
		Auth:   synmetrix.NewClient(a.Auth.URL),
		Keys:   []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(slog.NewTextHandler(&a.log, nil)),
		Now:    func() time.Time { return epoch.Add(time.Duration(a.moved.Load())) },
	}
	if o.Stored {
		a.Store = &testkit.FailingStore{Store: &memstore.Store{Now: cfg.Now}}
		cfg.Store = a.Store
	}
	if o.Verify {
		v, err := verify.New(verify.Config{Secrets: [][]byte{a.Auth.Secret()}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Verifier = v
	}
	if o.Set != nil {
		o.Set(&cfg)
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	a.Manager = m
	return a
}

// Advance moves the Manager's clock.
func (a *App) Advance(d time.Duration) { a.moved.Add(int64(d)) }

// Expire advances the clock until every access token has expired.
func (a *App) Expire() { a.Advance(20 * time.Minute) }

// Log returns the log of the server and the Manager.
func (a *App) Log() string { return a.log.String() }

// Serve serves h over TLS, because the cookies are Secure.
func (a *App) Serve(h http.Handler, o Options) {
	a.server = httptest.NewUnstartedServer(h)
	a.server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&a.log, nil), slog.LevelError)
	a.server.EnableHTTP2 = o.HTTP2
	a.server.StartTLS()
	a.T.Cleanup(a.server.Close)
}

// Browser is a client with cookies. It does not follow redirects, and records all
// responses.
type Browser struct {
	T         testing.TB
	URL       string
	Client    *http.Client
	Responses []*Response
}

// Browser returns a new browser without cookies.
func (a *App) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.T.Fatal(err)
	}
	return &Browser{T: a.T, URL: a.server.URL, Client: &http.Client{
		Transport:     a.server.Client().Transport,
		Jar:           jar,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SignedIn returns a browser in which a user is signed in.
func (a *App) SignedIn(email string) *Browser {
	a.T.Helper()
	b := a.Browser()
	b.Submit("/login", "email", email, "password", Password).Is(303)
	return b
}

// Response is a response with its body, which has been read.
type Response struct {
	*http.Response
	T    testing.TB
	Body string
}

// AsPage is the Accept field of a browser that follows a link.
const AsPage = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// Request returns a new request. header has alternating names and values.
func (b *Browser) Request(method, path, body string, header ...string) *http.Request {
	b.T.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.URL+path, r)
	if err != nil {
		b.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// Do sends a request and reads the response.
func (b *Browser) Do(method, path, body string, header ...string) *Response {
	b.T.Helper()
	res, err := b.Client.Do(b.Request(method, path, body, header...))
	if err != nil {
		b.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	a := &Response{res, b.T, string(text)}
	b.Responses = append(b.Responses, a)
	return a
}

// Get sends a GET like a program.
func (b *Browser) Get(path string, header ...string) *Response {
	b.T.Helper()
	return b.Do("GET", path, "", header...)
}

// Open sends a GET like a browser whose user follows a link.
func (b *Browser) Open(path string) *Response {
	b.T.Helper()
	return b.Get(path, "Accept", AsPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
}

// Submit sends a form. fields has alternating names and values.
func (b *Browser) Submit(path string, fields ...string) *Response {
	b.T.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.Do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", AsPage)
}

// Is fails the test unless the response has the status.
func (r *Response) Is(status int) *Response {
	r.T.Helper()
	if r.StatusCode != status {
		r.T.Fatalf("%s: status %d, want %d\n%v\n%.300s", r.what(), r.StatusCode, status, r.Header, r.Body)
	}
	return r
}

// Says fails the test unless the response has the status and contains the text.
func (r *Response) Says(status int, text string) *Response {
	r.T.Helper()
	if r.Is(status); !strings.Contains(r.Body, text) {
		r.T.Errorf("%s: the body does not contain %q: %.1000s", r.what(), text, r.Body)
	}
	return r
}

// SetsCookie reports whether the response sets a cookie.
func (r *Response) SetsCookie() bool { return len(r.Response.Cookies()) > 0 }

func (r *Response) what() string { return r.Request.Method + " " + r.Request.URL.RequestURI() }

// text returns the response as text, without the parts that may differ between
// frameworks: the date and the values of cookies.
func (r *Response) text() string {
	h := r.Header.Clone()
	h.Del("Date")
	cookies := h["Set-Cookie"]
	for i, line := range cookies {
		name, rest, _ := strings.Cut(line, "=")
		value, attributes, _ := strings.Cut(rest, ";")
		if value != "" {
			value = "..."
		}
		cookies[i] = name + "=" + value + ";" + attributes
	}
	var text strings.Builder
	text.WriteString(r.what() + " " + r.Proto + " " + r.Status + "\n")
	_ = h.Write(&text)
	text.WriteString("\n" + r.Body)
	return handles.ReplaceAllString(text.String(), "$1...")
}

// handles matches the random names of sessions, in lists and addresses.
var handles = regexp.MustCompile(`("id":"|/sessions/)[\w-]{22}\b`)

// compare fails the test for each response that differs.
func compare(t *testing.T, want, got []*Response) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d responses, want %d as with net/http", len(got), len(want))
	}
	if len(want) == 0 {
		t.Error("there are no responses to compare")
	}
	for i := range min(len(want), len(got)) {
		if w, g := want[i].text(), got[i].text(); w != g {
			t.Errorf("response %d differs\nnet/http:\n%s\n\nadapter:\n%s", i, withoutStyle(w), withoutStyle(g))
		}
	}
}

func withoutStyle(page string) string {
	before, rest, _ := strings.Cut(page, "<style>")
	_, after, _ := strings.Cut(rest, "</style>")
	return before + after
}

// responsesOf returns the responses of several browsers in one list.
func responsesOf(browsers ...*Browser) []*Response {
	var all []*Response
	for _, b := range browsers {
		all = slices.Concat(all, b.Responses)
	}
	return all
}
