package migrating

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

const (
	user     = "ada@example.com"
	password = "correct horse battery staple"
)

// library is a session library that an app replaces.
type library struct {
	name string
	old  func(t *testing.T) oldApp

	// tokens is true if its sessions may hold a refresh token that the browser cannot
	// read.
	tokens bool
}

// oldApp is an app with the old library. GET /begin starts a session with the theme and
// the refresh token of the query, if the query has them.
type oldApp struct {
	handler http.Handler
	cookie  http.Cookie
	read    func(*http.Request, string) (map[string]any, error)
	gin     bool // the new app is a Gin app
}

var libraries = []library{
	{"scs", scsApp, true},
	{"gorilla-cookie", func(t *testing.T) oldApp {
		return gorillaApp(sessions.NewCookieStore([]byte(strings.Repeat("a", 32)), []byte(strings.Repeat("b", 32))))
	}, true},
	{"gorilla-file", func(t *testing.T) oldApp {
		s := sessions.NewFilesystemStore(t.TempDir(), []byte(strings.Repeat("a", 32)))
		s.Options.Secure = true
		return gorillaApp(s)
	}, true},
	{"gin-jwt", ginJWTApp, false},
}

func scsApp(*testing.T) oldApp {
	old := scs.New()
	old.Cookie.Secure = true
	mux := http.NewServeMux()
	mux.HandleFunc("/begin", func(_ http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			old.Put(r.Context(), name, values[0])
		}
	})
	return oldApp{
		handler: old.LoadAndSave(mux),
		cookie:  http.Cookie{Name: old.Cookie.Name, Path: old.Cookie.Path},
		read:    readSCS(old),
	}
}

func gorillaApp(old sessions.Store) oldApp {
	const name = "old"
	return oldApp{
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := old.Get(r, name)
			for name, values := range r.URL.Query() {
				s.Values[name] = values[0]
			}
			s.Values[1] = "a key that is no string"
			if err := s.Save(r, w); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}),
		cookie: http.Cookie{Name: name, Path: "/"},
		read:   readGorilla(old, name),
	}
}

func ginJWTApp(t *testing.T) oldApp {
	old, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Key:           []byte(strings.Repeat("k", 32)),
		SendCookie:    true,
		SecureCookie:  true,
		Authenticator: func(c *gin.Context) (any, error) { return c.Query("theme"), nil },
		PayloadFunc: func(theme any) ginjwt.MapClaims {
			return ginjwt.MapClaims{"identity": user, "theme": theme}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := gin.New()
	r.GET("/begin", old.LoginHandler)
	return oldApp{
		handler: r,
		cookie:  http.Cookie{Name: old.CookieName, Path: "/"},
		read:    readGinJWT(old),
		gin:     true,
	}
}

func init() { gin.SetMode(gin.ReleaseMode) }

// site is an app that moves from an old library, with one browser.
type site struct {
	t      *testing.T
	auth   *authtest.Server
	old    oldApp
	server *httptest.Server
	app    atomic.Pointer[http.Handler]
	client *http.Client
}

// newSite starts the old app.
func newSite(t *testing.T, l library) *site {
	s := &site{t: t, old: l.old(t)}
	s.auth = authtest.NewServer(t, authtest.Options{
		Accounts:     []authtest.Account{{Email: user, Password: password}},
		PasswordCost: -1,
	})
	s.app.Store(&s.old.handler)
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*s.app.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	s.client = s.server.Client()
	s.client.Jar, _ = cookiejar.New(nil)
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

// deploy replaces the old app with the new one.
func (s *site) deploy(stored bool) {
	s.t.Helper()
	service := synmetrix.NewClient(s.auth.URL)
	verifier, err := verify.New(verify.Config{Secrets: [][]byte{s.auth.Secret()}})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := session.Config{Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Verifier: verifier}
	var claims store.Store = memstore.New()
	if stored {
		cfg.Store = claims
	}
	m, err := session.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = m.Shutdown(s.t.Context()) })
	mv := &mover{m: m, service: service, claims: claims, cookie: s.old.cookie, read: s.old.read}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		sess := session.FromContext(r.Context())
		v, _ := theme.Get(sess)
		fmt.Fprintf(w, "user %t, theme %q", sess.SignedIn(), v)
	})
	mux.Handle("/fresh", middleware.RequireFresh(time.Hour)(http.NotFoundHandler()))
	app := middleware.Sessions(m)(mv.wrap(mux))
	if s.old.gin {
		r := ginApp(m, mv.move)
		r.NoRoute(func(c *gin.Context) {
			c.Status(http.StatusOK)
			mux.ServeHTTP(c.Writer, c.Request)
		})
		app = r
	}
	s.app.Store(&app)
}

// siteResponse is the response to a request.
type siteResponse struct {
	status int
	body   string
	header http.Header
}

// send sends a request of the browser.
func (s *site) send(method, path string, set ...func(*http.Request)) siteResponse {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, set := range set {
		set(r)
	}
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return siteResponse{res.StatusCode, string(body), res.Header}
}

// begin starts a session of the old app, with a refresh token of the user if token is
// true.
func (s *site) begin(token bool) {
	s.t.Helper()
	q := url.Values{"theme": {"dark"}}
	if token {
		_, refreshToken := s.auth.SignIn(user)
		q.Set("refresh_token", refreshToken)
	}
	s.send("GET", "/begin?"+q.Encode())
	if !s.has(s.old.cookie.Name) {
		s.t.Fatal("the old app has set no cookie")
	}
}

// signIn signs the user in at the new app.
func (s *site) signIn() {
	s.t.Helper()
	form := url.Values{"email": {user}, "password": {password}}
	res, err := s.client.PostForm(s.server.URL+"/login", form)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		s.t.Errorf("login: status %s", res.Status)
	}
}

// has reports whether the browser has a cookie.
func (s *site) has(name string) bool {
	u, _ := url.Parse(s.server.URL)
	for _, c := range s.client.Jar.Cookies(u) {
		if c.Name == name {
			return true
		}
	}
	return false
}

// oldCookies returns the Cookie field of the browser, as a copy.
func (s *site) oldCookies() func(*http.Request) {
	u, _ := url.Parse(s.server.URL)
	copied := s.client.Jar.Cookies(u)
	return func(r *http.Request) {
		for _, c := range copied {
			r.AddCookie(c)
		}
	}
}

// want fails the test unless the response is this page.
func (s *site) want(a siteResponse, page string) {
	s.t.Helper()
	if a.status != http.StatusOK || a.body != page {
		s.t.Errorf("status %d, %q; want %q", a.status, a.body, page)
	}
}
