// Package adaptertest is the test suite of the adapters. It runs the same app
// under net/http and under an adapter's framework, and compares the responses
// byte by byte.
package adaptertest

import (
	"net/http"
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
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
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
	Password = webapp.Password
)

func accounts() []authtest.Account {
	return []authtest.Account{
		{ID: "00000000-0000-4000-8000-00000000000a", Email: Admin, Password: Password, Roles: []string{"user", "admin"}},
		{ID: "00000000-0000-4000-8000-00000000000b", Email: Viewer, Password: Password},
		{ID: "00000000-0000-4000-8000-00000000000c", Email: MFA, Password: Password, TOTPSecret: webapp.TOTPSecret},
	}
}

// App is a running app with its auth service.
type App struct {
	*webapp.App
	Store *testkit.FailingStore // nil if the sessions are in cookies

	moved atomic.Int64
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
	a := &App{}
	secret := []byte("the secret that signs the access tokens")
	a.App = webapp.New(t, authtest.Options{Accounts: accounts(), Secret: secret}, func(cfg *session.Config) {
		cfg.Now = func() time.Time { return epoch.Add(time.Duration(a.moved.Load())) }
		if o.Stored {
			a.Store = &testkit.FailingStore{Store: &memstore.Store{Now: cfg.Now}}
			cfg.Store = a.Store
		}
		if o.Verify {
			v, err := verify.New(verify.Config{Secrets: [][]byte{secret}})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Verifier = v
		}
	}, o.Set)
	return a
}

// Serve serves h over TLS, because the cookies are Secure.
func (a *App) Serve(h http.Handler, o Options) { a.App.Serve(h, o.HTTP2) }

// Log returns the log of the server and the Manager.
func (a *App) Log() string { return a.App.Log.String() }

// Advance moves the Manager's clock.
func (a *App) Advance(d time.Duration) { a.moved.Add(int64(d)) }

// Expire advances the clock until every access token has expired.
func (a *App) Expire() { a.Advance(20 * time.Minute) }

// SignedIn returns a browser in which a user is signed in.
func (a *App) SignedIn(email string) *webapp.Browser {
	a.T.Helper()
	b := a.Browser()
	b.SignIn(email)
	return b
}

// text returns the response as text, without the parts that may differ between
// frameworks: the date and the values of cookies.
func text(r *webapp.Response) string {
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
	var b strings.Builder
	b.WriteString(r.What() + " " + r.Proto + " " + r.Status + "\n")
	_ = h.Write(&b)
	b.WriteString("\n" + r.Body)
	all := b.String()
	if !strings.Contains(all, `"id":"`) && !strings.Contains(all, "/sessions/") {
		return all // the search below takes most of the time of a comparison
	}
	return handles.ReplaceAllString(all, "$1...")
}

// handles matches the random names of sessions, in lists and addresses.
var handles = regexp.MustCompile(`("id":"|/sessions/)[\w-]{22}\b`)

// compare fails the test for each response that differs.
func compare(t *testing.T, want, got []*webapp.Response) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d responses, want %d as with net/http", len(got), len(want))
	}
	if len(want) == 0 {
		t.Error("there are no responses to compare")
	}
	for i := range min(len(want), len(got)) {
		if w, g := text(want[i]), text(got[i]); w != g {
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
func responsesOf(browsers ...*webapp.Browser) []*webapp.Response {
	var all []*webapp.Response
	for _, b := range browsers {
		all = slices.Concat(all, b.Responses)
	}
	return all
}
