// Package adaptertest is the suite that every adapter must pass: what happens
// over net/http happens over its framework, to the byte.
package adaptertest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// Route is a route of an app, in terms of no framework.
type Route struct {
	Method, Path string
	Guard        Guard
	Handler      http.HandlerFunc
}

// Guard says whom a route is for. The zero value is everybody.
type Guard struct {
	User   bool           // signed-in users
	Roles  []string       // users with any of them, if it is not nil
	Policy session.Policy // users whom it lets pass, if it is not nil
}

// Spec is an app, in terms of no framework.
type Spec struct {
	Manager *session.Manager
	Options []middleware.Option
	Prefix  string // of the ready-made routes
	Routes  []Route
	Bare    bool // without Sessions
	Twice   bool // with Sessions in Sessions
}

// Build makes an app of a Spec, as its framework wants it.
type Build func(Spec) http.Handler

// NetHTTP is the Build that every other one is compared with.
func NetHTTP(s Spec) http.Handler {
	routes := http.NewServeMux()
	middleware.Mount(routes, s.Manager)
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

// App is an app that is served, with its auth service.
type App struct {
	T     testing.TB
	Auth  *authtest.Server
	Store *Store // nil: cookies
	*session.Manager

	server *httptest.Server
	log    logBuffer
	moved  atomic.Int64
}

// Options is how an App is started.
type Options struct {
	Stored bool // keep sessions in App.Store
	HTTP2  bool
}

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// NewApp starts an auth service and a Manager. Its clock stands still; see
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
		a.Store = &Store{Store: &memstore.Store{Now: cfg.Now}}
		cfg.Store = a.Store
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

// Expire makes every access token expire.
func (a *App) Expire() { a.Advance(20 * time.Minute) }

// Log returns what the server and the Manager have logged.
func (a *App) Log() string { return a.log.String() }

// Serve serves h over TLS, since the cookies are Secure.
func (a *App) Serve(h http.Handler, o Options) {
	a.server = httptest.NewUnstartedServer(h)
	a.server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&a.log, nil), slog.LevelError)
	a.server.EnableHTTP2 = o.HTTP2
	a.server.StartTLS()
	a.T.Cleanup(a.server.Close)
}

// Store can be told to fail.
type Store struct {
	store.Store
	Down atomic.Bool
}

type downError struct{}

func (downError) Error() string { return "the store is down" }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if s.Down.Load() {
		return store.Record{}, downError{}
	}
	return s.Store.Get(ctx, key)
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if s.Down.Load() {
		return downError{}
	}
	return s.Store.Put(ctx, rec, prev)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if s.Down.Load() {
		return downError{}
	}
	return s.Store.Delete(ctx, key)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Browser has cookies, follows no redirect, and remembers all answers.
type Browser struct {
	T       testing.TB
	URL     string
	Client  *http.Client
	Answers []*Answer
}

// Browser returns one without cookies.
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

// Answer is a response that has been read.
type Answer struct {
	*http.Response
	T    testing.TB
	Body string
}

// Accept of a browser that follows a link.
const AsPage = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// Request makes a request; header is names and values in turn.
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

// Do sends a request and reads the answer.
func (b *Browser) Do(method, path, body string, header ...string) *Answer {
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
	a := &Answer{res, b.T, string(text)}
	b.Answers = append(b.Answers, a)
	return a
}

// Get asks as a program does.
func (b *Browser) Get(path string, header ...string) *Answer {
	b.T.Helper()
	return b.Do("GET", path, "", header...)
}

// Open asks as a browser does whose user follows a link.
func (b *Browser) Open(path string) *Answer {
	b.T.Helper()
	return b.Get(path, "Accept", AsPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
}

// Submit sends a form of names and values in turn.
func (b *Browser) Submit(path string, fields ...string) *Answer {
	b.T.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.Do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", AsPage)
}

// Is fails the test unless the answer has the status.
func (a *Answer) Is(status int) *Answer {
	a.T.Helper()
	if a.StatusCode != status {
		a.T.Fatalf("%s: status %d, want %d\n%v\n%.300s", a.what(), a.StatusCode, status, a.Header, a.Body)
	}
	return a
}

// Says fails the test unless the answer has the status and the text in it.
func (a *Answer) Says(status int, text string) *Answer {
	a.T.Helper()
	if a.Is(status); !strings.Contains(a.Body, text) {
		a.T.Errorf("%s: %q is not in %.1000s", a.what(), text, a.Body)
	}
	return a
}

// SetsCookie reports whether a cookie is set.
func (a *Answer) SetsCookie() bool { return len(a.Response.Cookies()) > 0 }

func (a *Answer) what() string { return a.Request.Method + " " + a.Request.URL.RequestURI() }

// text is all of the answer that may not differ from one framework to another:
// everything but the time and what has been sealed.
func (a *Answer) text() string {
	h := a.Header.Clone()
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
	text.WriteString(a.what() + " " + a.Proto + " " + a.Status + "\n")
	_ = h.Write(&text)
	text.WriteString("\n" + a.Body)
	return text.String()
}

// compare fails the test for every answer that is not the same.
func compare(t *testing.T, want, got []*Answer) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d answers, net/http gives %d", len(got), len(want))
	}
	if len(want) == 0 {
		t.Error("nothing has been compared")
	}
	for i := range min(len(want), len(got)) {
		if w, g := want[i].text(), got[i].text(); w != g {
			t.Errorf("answer %d differs\nnet/http:\n%s\n\nhere:\n%s", i, withoutStyle(w), withoutStyle(g))
		}
	}
}

func withoutStyle(page string) string {
	before, rest, _ := strings.Cut(page, "<style>")
	_, after, _ := strings.Cut(rest, "</style>")
	return before + after
}

// remember makes one list of several browsers' answers.
func remember(browsers ...*Browser) []*Answer {
	var all []*Answer
	for _, b := range browsers {
		all = slices.Concat(all, b.Answers)
	}
	return all
}
