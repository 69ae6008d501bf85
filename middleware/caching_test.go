package middleware_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// cacheable has header fields that allow caches to store a response: the standard
// ones, those for certain caches (RFC 9213), and those of vendors. The last two
// are not in canonical form.
var cacheable = http.Header{
	"Cache-Control":                []string{"public, max-age=3600"},
	"Expires":                      []string{"Thu, 01 Jan 2099 00:00:00 GMT"},
	"Cdn-Cache-Control":            []string{"max-age=3600"},
	"Cloudflare-Cdn-Cache-Control": []string{"max-age=3600"},
	"Netlify-Cdn-Cache-Control":    []string{"public, durable, max-age=3600"},
	"Vercel-Cdn-Cache-Control":     []string{"max-age=3600"},
	"Akamai-Cache-Control":         []string{"max-age=3600"},
	"X-Litespeed-Cache-Control":    []string{"public, max-age=3600"},
	"Example-Cache-Control":        []string{"max-age=3600"}, // an unknown vendor
	"Surrogate-Control":            []string{"max-age=3600"},
	"Edge-Control":                 []string{"!no-store, max-age=1h"},
	"X-Accel-Expires":              []string{"3600"},
	"CDN-cache-control":            []string{"max-age=3600"},
	"x-accel-EXPIRES":              []string{"3600"},
}

func allowCaching(w http.ResponseWriter) {
	for field, values := range cacheable {
		w.Header()[field] = values
	}
}

// isCacheable checks that a response has either all of the fields, or none of them
// and no-store.
func (r response) isCacheable(t *testing.T, want bool) {
	t.Helper()
	vary := "Cookie"
	if r.Header.Get("Content-Language") != "" { // a page
		vary = "Cookie, Accept-Language"
	}
	r.has(t, "Vary", vary)
	for field, values := range cacheable {
		name := http.CanonicalHeaderKey(field)
		got := r.Header.Values(name)
		switch {
		case want && (len(got) == 0 || got[0] != values[0]):
			t.Errorf("%s: %s is %q, want the handler's value", r.Request.URL.Path, name, got)
		case !want && name == "Cache-Control":
			r.has(t, name, "no-store")
		case !want && len(got) > 0:
			t.Errorf("%s: %s is %q together with no-store", r.Request.URL.Path, name, got)
		}
	}
}

// Caches must not store a response that sets a cookie or depends on the user,
// even if the handler allows it. For other responses the handler decides.
func TestCaching(t *testing.T) {
	for _, stored := range []bool{false, true} {
		a := newApp(t, func(c *session.Config) {
			if stored {
				c.Store = memstore.New()
			}
		})
		handle := func(path string, h http.HandlerFunc) {
			a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				allowCaching(w)
				h(w, r)
				_, _ = io.WriteString(w, "x")
			})
		}
		handle("/unused", func(http.ResponseWriter, *http.Request) {})
		handle("/reads", func(_ http.ResponseWriter, r *http.Request) { session.FromContext(r.Context()).SignedIn() })
		handle("/reads-late", func(w http.ResponseWriter, r *http.Request) {
			s := session.FromContext(r.Context())
			_, _ = io.WriteString(w, "Hello ")
			_, _ = io.WriteString(w, s.UserID())
		})
		handle("/changes", func(_ http.ResponseWriter, r *http.Request) { change(r) })
		handle("/signs-in", func(_ http.ResponseWriter, r *http.Request) {
			if err := a.m.Login(r.Context(), "admin@example.com", password); err != nil {
				t.Error(err)
			}
		})
		handle("/signs-out", func(_ http.ResponseWriter, r *http.Request) {
			if err := a.m.Logout(r.Context()); err != nil {
				t.Error(err)
			}
		})
		visitor, user := a.browser(), a.browser()
		user.signIn("viewer@example.com")
		visitor.get("/unused").isCacheable(t, true)
		visitor.get("/reads").isCacheable(t, true)
		visitor.get("/reads", "Cookie", "__Host-session=broken").isCacheable(t, false) // the cookie is deleted
		visitor.get("/signs-in").isCacheable(t, false)
		user.get("/unused").isCacheable(t, true)
		for _, path := range []string{"/reads", "/reads-late", "/changes", "/signs-out"} {
			user.get(path).isCacheable(t, false)
		}
	}
}

// Caches must not store a response that sets a cookie again, even if the handler has
// not used the session.
func TestCachingWhenACookieIsRenewed(t *testing.T) {
	var later atomic.Int64
	a := newApp(t, func(c *session.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	a.mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) { allowCaching(w) })
	b := a.browser()
	b.signIn("viewer@example.com")
	b.get("/file").isCacheable(t, true)
	later.Store(int64(12 * time.Hour)) // the response records the use in the cookie
	if got := b.get("/file"); !setsCookie(got) {
		t.Error("no cookie is set")
	} else {
		got.isCacheable(t, false)
	}
}

// Caches must not store the built-in pages and refusals, even if an outer
// middleware allows it.
func TestCachingOfPages(t *testing.T) {
	down := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = down })
	a.mux.Handle("/user", middleware.RequireUser(http.NotFoundHandler()))
	a.mux.HandleFunc("/changes", func(_ http.ResponseWriter, r *http.Request) { change(r); down.Down.Store(true) })
	sessions := middleware.Sessions(a.m)(a.mux)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowCaching(w)
		sessions.ServeHTTP(w, r)
	}))
	b := a.browser()
	b.open("/login").isCacheable(t, false)
	b.get("/user").is(t, 401, "unauthenticated").isCacheable(t, false)
	b.submit("/login", "email", "viewer@example.com", "password", password).isCacheable(t, false)
	b.get("/changes").is(t, 503, "session_unavailable").isCacheable(t, false)
}

// Browsers may cache files that are the same for all users.
func TestCachingOfFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "style.css"), []byte("p{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newApp(t, nil)
	a.mux.Handle("GET /files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
	b := a.browser()
	b.signIn("viewer@example.com")
	first := b.get("/files/style.css").is(t, 200, "").has(t, "Cache-Control", "").has(t, "Vary", "Cookie")
	b.get("/files/style.css", "If-Modified-Since", first.Header.Get("Last-Modified")).is(t, 304, "").has(t, "Cache-Control", "")
}

// A goroutine that outlives its request still gets a refreshed token. Setting a
// value there returns an error, because the value would be lost.
func TestGoroutineAfterTheResponse(t *testing.T) {
	for _, stored := range []bool{false, true} {
		a := newApp(t, nil)
		a.m = newManager(t, func(c *session.Config) {
			c.Auth, c.Now = synmetrix.NewClient(a.auth.URL), a.auth.Now
			if stored {
				c.Store = &memstore.Store{Now: a.auth.Now}
			}
		})
		type result struct {
			token, user string
			err, set    error
		}
		results := make(chan result, 1)
		mux := http.NewServeMux()
		middleware.Mount(mux, a.m)
		mux.HandleFunc("/h", func(_ http.ResponseWriter, r *http.Request) {
			s := session.FromContext(r.Context())
			go func() {
				<-r.Context().Done()
				var res result
				res.token, res.err = s.AccessToken(context.WithoutCancel(r.Context()))
				res.user, res.set = s.UserID(), theme.Set(s, "late")
				results <- res
			}()
		})
		a.start(middleware.Sessions(a.m)(mux))
		b := a.browser()
		b.signIn("viewer@example.com")
		a.auth.Advance(time.Hour)
		b.get("/h").is(t, 200, "")
		res := <-results
		if res.err != nil || res.token == "" || res.user == "" {
			t.Errorf("token: %v, user %q", res.err, res.user)
		}
		if res.set == nil {
			t.Error("Set returned no error, although the value is not saved")
		}
		me(t, b, "user")
	}
}
