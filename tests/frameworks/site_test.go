// Package frameworks_test tests sessions with the newest versions of other routers and
// frameworks.
package frameworks_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

const (
	admin    = "admin@example.com"
	viewer   = "viewer@example.com"
	password = "correct horse battery staple"
)

// mfaAccount has a second factor.
var mfaAccount = authtest.Account{
	ID: "00000000-0000-4000-8000-00000000000c", Email: "mfa@example.com", Password: password, TOTPSecret: "JBSWY3DPEHPK3PXP",
}

// site is a running app and its auth service.
type site struct {
	t    *testing.T
	auth *authtest.Server
	m    *session.Manager
	srv  *httptest.Server
}

func newSite(t *testing.T, store string, accessLife time.Duration, set ...func(*session.Config)) *site {
	t.Helper()
	s := &site{t: t}
	s.auth = authtest.NewServer(t, authtest.Options{
		Accounts: []authtest.Account{
			{ID: "00000000-0000-4000-8000-00000000000a", Email: admin, Password: password, Roles: []string{"user", "admin"}},
			{ID: "00000000-0000-4000-8000-00000000000b", Email: viewer, Password: password},
		},
		AccessLife:   accessLife,
		PasswordCost: -1,
	})
	cfg := session.Config{Auth: synmetrix.NewClient(s.auth.URL), Keys: []session.SecretKey{session.GenerateKey()}}
	if store == "memory" {
		cfg.Store = memstore.New()
	}
	for _, set := range set {
		set(&cfg)
	}
	var err error
	if s.m, err = session.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve serves h over TLS, because the cookies are Secure.
func (s *site) serve(h http.Handler) {
	s.srv = httptest.NewTLSServer(h)
	s.t.Cleanup(s.srv.Close)
}

// browser follows no redirect.
type browser struct {
	t      *testing.T
	url    string
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s.t, s.srv.URL, &http.Client{
		Jar: jar, Transport: s.srv.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *site) signedIn(email string) *browser {
	s.t.Helper()
	b := s.browser()
	b.signIn("/login", email)
	return b
}

func (b *browser) signIn(path, email string) {
	b.t.Helper()
	form := url.Values{"email": {email}, "password": {password}}
	req, err := http.NewRequest("POST", b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if res, body := b.send(req); res.StatusCode != 303 {
		b.t.Fatalf("sign-in: %d %s", res.StatusCode, body)
	}
}

func (b *browser) send(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

// expect sends a request, and fails the test unless the response has the status, and the text in it.
func (b *browser) expect(method, path string, status int, text string, header ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, body := b.send(req)
	if res.StatusCode != status || !strings.Contains(body, text) {
		b.t.Errorf("%s %s: %d %.300s, want %d with %q", method, path, res.StatusCode, body, status, text)
	}
	return res
}

func (b *browser) get(path string, status int, text string) *http.Response {
	b.t.Helper()
	return b.expect("GET", path, status, text)
}

// cookies returns the cookies of the browser, and a function that restores them.
func (b *browser) cookies() (now []*http.Cookie, restore func()) {
	u, _ := url.Parse(b.url)
	now = b.client.Jar.Cookies(u)
	return now, func() {
		jar, _ := cookiejar.New(nil)
		for _, c := range now {
			c.Secure, c.Path = true, "/"
		}
		jar.SetCookies(u, now)
		b.client.Jar = jar
	}
}

// whoami responds with the signed-in user.
func whoami(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, session.FromContext(r.Context()).UserID())
}

// guarded has an app for each framework: a handler inside a guard for users, and the
// built-in routes.
var guarded = map[string]func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler{
	"nethttp": func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler {
		mux := http.NewServeMux()
		middleware.Mount(mux, m)
		for path, h := range routes {
			mux.Handle("GET "+path, middleware.RequireUser(h))
		}
		return middleware.Sessions(m, opts...)(mux)
	},
	"chi": func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.Sessions(m, opts...))
		middleware.Mount(r, m)
		for path, h := range routes {
			r.With(middleware.RequireUser).Get(path, h)
		}
		return r
	},
	"echo": func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler {
		e := echo.New()
		e.Use(sessionecho.Sessions(m, opts...))
		sessionecho.Mount(e, m)
		for path, h := range routes {
			e.GET(path, func(c echo.Context) error {
				h(c.Response(), c.Request())
				return nil
			}, sessionecho.RequireUser)
		}
		return e
	},
	"echo5": func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler {
		e := echo5.New()
		e.Use(sessionecho5.Sessions(m, opts...))
		sessionecho5.Mount(e, m)
		for path, h := range routes {
			e.GET(path, echo5.WrapHandler(h), sessionecho5.RequireUser)
		}
		return e
	},
	"gin": func(m *session.Manager, routes map[string]http.HandlerFunc, opts ...middleware.Option) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(sessiongin.Sessions(m, opts...))
		sessiongin.Mount(r, m)
		for path, h := range routes {
			r.GET(path, sessiongin.RequireUser, func(c *gin.Context) { h(c.Writer, c.Request) })
		}
		return r
	},
}

// overAll runs a test under every framework, in CI with and without a store.
func overAll(t *testing.T, test func(t *testing.T, framework, store string)) {
	t.Parallel()
	for i, framework := range slices.Sorted(maps.Keys(guarded)) {
		for j, store := range []string{"cookie", "memory"} {
			if !scale.Turn(i+j, 2) {
				continue
			}
			t.Run(framework+"/"+store, func(t *testing.T) {
				t.Parallel()
				test(t, framework, store)
			})
		}
	}
}

// open returns a response whose body has not been read. header has alternating names and
// values, and the names are sent unchanged.
func (b *browser) open(method, path string, header ...string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return res
}
