package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// discard is a ResponseWriter that costs as little as possible.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

var hello = []byte("hello")

func serve(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(hello) }

func benchmark(b *testing.B, h http.Handler, cookies []*http.Cookie) {
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

// cookiesOf signs in and returns the cookies.
func cookiesOf(b *testing.B, m *session.Manager) []*http.Cookie {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	r := httptest.NewRequest("POST", "/login", nil)
	r.PostForm = map[string][]string{"email": {"admin@example.com"}, "password": {password}}
	w := httptest.NewRecorder()
	middleware.Sessions(m)(mux).ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) == 0 {
		b.Fatalf("not signed in: %d %s", w.Code, w.Body)
	}
	return cookies
}

func benchManager(b *testing.B, set func(*session.Config)) *session.Manager {
	srv := authtest.NewServer(b, authtest.Options{Accounts: accounts, PasswordCost: -1})
	cfg := session.Config{Auth: synmetrix.NewClient(srv.URL), Keys: []session.SecretKey{session.GenerateKey()}}
	if set != nil {
		set(&cfg)
	}
	m, err := session.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkHandlerAlone(b *testing.B) { benchmark(b, http.HandlerFunc(serve), nil) }

func BenchmarkSessionsWithoutCookie(b *testing.B) {
	benchmark(b, middleware.Sessions(benchManager(b, nil))(http.HandlerFunc(serve)), nil)
}

func BenchmarkRequireRoleCookie(b *testing.B) {
	m := benchManager(b, nil)
	benchmark(b, middleware.Sessions(m)(middleware.RequireRole("admin")(http.HandlerFunc(serve))), cookiesOf(b, m))
}

func BenchmarkRequireRoleStored(b *testing.B) {
	m := benchManager(b, func(c *session.Config) { c.Store = memstore.New() })
	benchmark(b, middleware.Sessions(m)(middleware.RequireRole("admin")(http.HandlerFunc(serve))), cookiesOf(b, m))
}
