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
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// cacheable are fields by which a handler lets caches keep a response: the
// standard's, those that are targeted at some caches (RFC 9213), and those that
// the caches of vendors obey. The last two are in odd spellings.
var cacheable = http.Header{
	"Cache-Control":                []string{"public, max-age=3600"},
	"Expires":                      []string{"Thu, 01 Jan 2099 00:00:00 GMT"},
	"Cdn-Cache-Control":            []string{"max-age=3600"},
	"Cloudflare-Cdn-Cache-Control": []string{"max-age=3600"},
	"Netlify-Cdn-Cache-Control":    []string{"public, durable, max-age=3600"},
	"Vercel-Cdn-Cache-Control":     []string{"max-age=3600"},
	"Akamai-Cache-Control":         []string{"max-age=3600"},
	"X-Litespeed-Cache-Control":    []string{"public, max-age=3600"},
	"Example-Cache-Control":        []string{"max-age=3600"}, // of a vendor to come
	"Surrogate-Control":            []string{"max-age=3600"},
	"Edge-Control":                 []string{"!no-store, max-age=1h"},
	"X-Accel-Expires":              []string{"3600"},
	"CDN-cache-control":            []string{"max-age=3600"},
	"x-accel-EXPIRES":              []string{"3600"},
}

func letCachesKeep(w http.ResponseWriter) {
	for field, values := range cacheable {
		w.Header()[field] = values
	}
}

// isCacheable checks whether a response has all of the fields, or none of them
// and no-store.
func (a answer) isCacheable(t *testing.T, want bool) {
	t.Helper()
	a.has(t, "Vary", "Cookie")
	for field, values := range cacheable {
		name := http.CanonicalHeaderKey(field)
		got := a.Header.Values(name)
		switch {
		case want && (len(got) == 0 || got[0] != values[0]):
			t.Errorf("%s: %s is %q, want what the handler has set", a.Request.URL.Path, name, got)
		case !want && name == "Cache-Control":
			a.has(t, name, "no-store")
		case !want && len(got) > 0:
			t.Errorf("%s: %s is %q beside no-store", a.Request.URL.Path, name, got)
		}
	}
}

// A response that sets a cookie, or is made for a user, is kept by no cache,
// whatever the handler has told it. Others are kept as the handler has told.
func TestCaches(t *testing.T) {
	for _, stored := range []bool{false, true} {
		a := newApp(t, func(c *session.Config) {
			if stored {
				c.Store = memstore.New()
			}
		})
		handle := func(path string, h http.HandlerFunc) {
			a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				letCachesKeep(w)
				h(w, r)
				_, _ = io.WriteString(w, "x")
			})
		}
		handle("/asks-nothing", func(http.ResponseWriter, *http.Request) {})
		handle("/asks", func(_ http.ResponseWriter, r *http.Request) { session.FromContext(r.Context()).SignedIn() })
		handle("/asks-late", func(w http.ResponseWriter, r *http.Request) {
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
		visitor.get("/asks-nothing").isCacheable(t, true)
		visitor.get("/asks").isCacheable(t, true)
		visitor.get("/asks", "Cookie", "__Host-session=broken").isCacheable(t, false) // the cookie is deleted
		visitor.get("/signs-in").isCacheable(t, false)
		user.get("/asks-nothing").isCacheable(t, true)
		for _, path := range []string{"/asks", "/asks-late", "/changes", "/signs-out"} {
			user.get(path).isCacheable(t, false)
		}
	}
}

// A response that has to set a cookie is kept by no cache although its handler
// has not used the session.
func TestCachesOfACookieThatIsRenewed(t *testing.T) {
	var later atomic.Int64
	a := newApp(t, func(c *session.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	a.mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) { letCachesKeep(w) })
	b := a.browser()
	b.signIn("viewer@example.com")
	b.get("/file").isCacheable(t, true)
	later.Store(int64(12 * time.Hour)) // the session is in use: that is noted in a cookie
	if got := b.get("/file"); !setsCookie(got) {
		t.Error("no cookie is set")
	} else {
		got.isCacheable(t, false)
	}
}

// Our own pages and refusals are kept by no cache, whatever is around them.
func TestCachesOfPages(t *testing.T) {
	down := &downStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = down })
	a.mux.Handle("/user", middleware.RequireUser(http.NotFoundHandler()))
	a.mux.HandleFunc("/changes", func(_ http.ResponseWriter, r *http.Request) { change(r); down.down.Store(true) })
	sessions := middleware.Sessions(a.m)(a.mux)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		letCachesKeep(w)
		sessions.ServeHTTP(w, r)
	}))
	b := a.browser()
	b.open("/login").isCacheable(t, false)
	b.get("/user").is(t, 401, "unauthenticated").isCacheable(t, false)
	b.submit("/login", "email", "viewer@example.com", "password", password).isCacheable(t, false)
	b.get("/changes").is(t, 503, "session_unavailable").isCacheable(t, false)
}

// Files are sent to users as to anybody: a browser need not fetch them again.
func TestCachesOfFiles(t *testing.T) {
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

// A goroutine that a handler leaves behind calls the API with a token that is
// renewed, and what it stores is refused and not lost.
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
			t.Error("a value was taken that nobody will save")
		}
		me(t, b, "user")
	}
}
