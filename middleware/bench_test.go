package middleware_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// discard is a ResponseWriter without overhead.
type discard struct {
	h  http.Header
	ok bool // the response is that of serve
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { d.ok = string(p) == string(hello); return len(p), nil }
func (d *discard) WriteHeader(int)             {}

var hello = []byte("hello")

func serve(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(hello) }

// requester returns a function that sends a request to h, and reports whether the
// response is that of serve.
func requester(tb testing.TB, h http.Handler, cookies []*http.Cookie) func() bool {
	// As in a server, the context can be canceled.
	r := httptest.NewRequestWithContext(tb.Context(), "GET", "/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := &discard{h: http.Header{}}
	return func() bool {
		clear(w.h)
		w.ok = false
		h.ServeHTTP(w, r)
		return w.ok
	}
}

func benchmark(b *testing.B, h http.Handler, cookies []*http.Cookie) {
	request := requester(b, h, cookies)
	b.ReportAllocs()
	for b.Loop() {
		if !request() {
			b.Fatal("refused")
		}
	}
}

// cookiesOf signs a user in and returns the cookies.
func cookiesOf(tb testing.TB, m *session.Manager) []*http.Cookie {
	return cookiesFor(tb, m, "admin@example.com")
}

func cookiesFor(tb testing.TB, m *session.Manager, email string) []*http.Cookie {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	form := url.Values{"email": {email}, "password": {password}}
	r := httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	middleware.Sessions(m)(mux).ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) == 0 {
		tb.Fatalf("not signed in: %d %s", w.Code, w.Body)
	}
	return cookies
}

func benchManager(tb testing.TB, set func(*session.Config)) *session.Manager {
	srv := authtest.NewServer(tb, authtest.Options{Accounts: append(accounts, manager), PasswordCost: -1})
	cfg := session.Config{
		Auth:   synmetrix.NewClient(srv.URL),
		Keys:   []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(slog.DiscardHandler),
	}
	if set != nil {
		set(&cfg)
	}
	m, err := session.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// manager is a user with many roles.
var manager = authtest.Account{Email: "manager@example.com", Password: password, Roles: manyRoles()}

func manyRoles() (roles []string) {
	for i := range 300 {
		roles = append(roles, fmt.Sprintf("manager-%03d", i))
	}
	return append(roles, "user")
}

// insideGuard returns a function that passes a request to a guard, whose session another
// guard has loaded before.
func insideGuard(tb testing.TB, email, role string) (inside func() bool) {
	m := benchManager(tb, inMemory)
	w := &discard{h: http.Header{}}
	guard := middleware.RequireRole(role)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.ok = true }))
	h := middleware.Sessions(m)(middleware.RequireUser(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inside = func() bool {
			w.ok = false
			guard.ServeHTTP(w, r)
			return w.ok
		}
	})))
	requester(tb, h, cookiesFor(tb, m, email))()
	return inside
}

func BenchmarkGuard(b *testing.B) {
	for _, tt := range []struct{ name, email, role string }{
		{"1 role", "viewer@example.com", "user"},
		{"300 roles", manager.Email, "manager-299"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			inside := insideGuard(b, tt.email, tt.role)
			b.ReportAllocs()
			for b.Loop() {
				if !inside() {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkHandlerAlone(b *testing.B) { benchmark(b, http.HandlerFunc(serve), nil) }

func BenchmarkSessionsWithoutCookie(b *testing.B) {
	benchmark(b, middleware.Sessions(benchManager(b, nil))(http.HandlerFunc(serve)), nil)
}

func BenchmarkRequireRoleCookie(b *testing.B) {
	h, cookies := gated(b, nil)
	benchmark(b, h, cookies)
}

func BenchmarkRequireRoleStored(b *testing.B) {
	h, cookies := gated(b, inMemory)
	benchmark(b, h, cookies)
}

// BenchmarkRefusal refuses a visitor with problem details in JSON.
func BenchmarkRefusal(b *testing.B) {
	h := middleware.Sessions(benchManager(b, nil))(middleware.RequireUser(http.HandlerFunc(serve)))
	request := requester(b, h, nil)
	b.ReportAllocs()
	for b.Loop() {
		if request() {
			b.Fatal("not refused")
		}
	}
}

func inMemory(c *session.Config) { c.Store = memstore.New() }

// gated returns an app whose page is for admins, and the cookies of an admin.
func gated(tb testing.TB, set func(*session.Config)) (http.Handler, []*http.Cookie) {
	m := benchManager(tb, set)
	page := middleware.RequireRole("admin")(http.HandlerFunc(serve))
	return middleware.Sessions(m)(page), cookiesOf(tb, m)
}
