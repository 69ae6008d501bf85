package frameworks_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/middleware"
)

// underParameters mounts the built-in routes below two path parameters.
var underParameters = map[string]func(m *session.Manager) http.Handler{
	"nethttp": func(m *session.Manager) http.Handler {
		mux := http.NewServeMux()
		for _, route := range middleware.Routes(m) {
			mux.Handle(route.Method+" /{a}/{b}"+route.Path, route.Handler)
		}
		return middleware.Sessions(m)(mux)
	},
	"chi": func(m *session.Manager) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.Sessions(m))
		r.Route("/{a:.*}/{b}", func(r chi.Router) { middleware.Mount(r, m) })
		return r
	},
	"echo": func(m *session.Manager) http.Handler {
		e := echo.New()
		e.Use(sessionecho.Sessions(m))
		sessionecho.Mount(e.Group("/:a/:b"), m)
		return e
	},
	"echo5": func(m *session.Manager) http.Handler {
		e := echo5.New()
		e.Use(sessionecho5.Sessions(m))
		sessionecho5.Mount(e.Group("/:a/:b"), m)
		return e
	},
	"gin": func(m *session.Manager) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(sessiongin.Sessions(m))
		sessiongin.Mount(r.Group("/:a/:b"), m)
		return r
	},
}

// A path parameter accepts any text, including an empty segment and a host name. No
// redirect and no link leads to that host.
func TestRoutesBelowPathParameters(t *testing.T) {
	for framework, build := range underParameters {
		t.Run(framework, func(t *testing.T) {
			s := newSite(t, "memory", time.Minute)
			s.auth.AddAccount(mfaAccount)
			s.serve(build(s.m))
			base, err := url.Parse(s.srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			reached := 0
			for _, prefix := range []string{
				"//evil.example", "//evil.example%2F", "/%2Fevil.example/x", "/%5Cevil.example/x", "/x/..", "/%2e%2e/x", "/%2F%2Fevil.example/x",
				"/%09/evil.example", "/x/%0d%0aLocation:%20x", "/acme/team", "/a%20b/team",
			} {
				b := s.browser()
				form := url.Values{"email": {mfaAccount.Email}, "password": {password}}.Encode()
				for _, c := range []struct{ method, path, body string }{
					{"GET", "/login/mfa", ""},
					{"POST", "/login/mfa", "code=123456"},
					{"POST", "/login", form},
					{"GET", "/login/mfa", ""}, // with a link
					{"POST", "/login", url.Values{"email": {viewer}, "password": {password}}.Encode()},
					{"GET", "/sessions", ""}, // with forms
					{"POST", "/sessions/x/end", "a=b"},
					{"POST", "/sessions/end/others", "a=b"},
				} {
					req, err := http.NewRequest(c.method, s.srv.URL+prefix+c.path, strings.NewReader(c.body))
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Accept", "text/html")
					if c.body != "" {
						req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					}
					res, body := b.send(req)
					location := res.Header.Get("Location")
					for _, to := range append(links(body), location) {
						u, err := base.Parse(to)
						if err != nil || u.Host != base.Host || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
							t.Errorf("%s %s: %d leads to %q", c.method, prefix+c.path, res.StatusCode, to)
						}
					}
					if location != "" && strings.HasSuffix(strings.SplitN(location, "?", 2)[0], "/login") {
						reached++
						if plain := strings.HasSuffix(prefix, "/team"); plain && location != prefix+"/login" {
							t.Errorf("%s %s leads to %q", c.method, prefix+c.path, location)
						}
					}
				}
			}
			if reached < 2 {
				t.Errorf("only %d redirects to a login page", reached)
			}
		})
	}
}

// behindPrefix serves h behind a proxy that strips a prefix.
func (s *site) behindPrefix(prefix string, h http.Handler) {
	app := httptest.NewServer(h)
	s.t.Cleanup(app.Close)
	to, err := url.Parse(app.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, proxy))
	s.serve(mux)
}

// Behind a proxy that strips a prefix, all redirects, links and forms have the prefix.
func TestPrefixStrippedByProxy(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		s := newSite(t, store, time.Minute, func(c *session.Config) { c.BasePath = "/app" })
		s.auth.AddAccount(mfaAccount)
		routes := map[string]http.HandlerFunc{"/": whoami, "/reports": whoami, "/api/me": middleware.Me}
		s.behindPrefix("/app", guarded[framework](s.m, routes, middleware.WithAPI("/api/")))

		b := s.browser()
		navigate := func(method, path, body string) (location, page string) {
			t.Helper()
			req, err := http.NewRequest(method, s.srv.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", "text/html")
			if body != "" {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			res, page := b.send(req)
			for _, to := range append(links(page), res.Header.Get("Location")) {
				if path, _, _ := strings.Cut(to, "?"); to != "" && path != "/app" && !strings.HasPrefix(path, "/app/") {
					t.Errorf("%s %s: %d leads to %q", method, path, res.StatusCode, to)
				}
			}
			for _, c := range res.Cookies() {
				if c.Path != "/" {
					t.Errorf("%s %s: a cookie has the path %q", method, path, c.Path)
				}
			}
			return res.Header.Get("Location"), page
		}
		leads := func(method, path, body, want string) {
			t.Helper()
			if got, _ := navigate(method, path, body); got != want {
				t.Errorf("%s %s leads to %q, want %q", method, path, got, want)
			}
		}
		credentials := url.Values{"email": {mfaAccount.Email}, "password": {password}}.Encode()
		code := func() string {
			code, err := totp.GenerateCode(mfaAccount.TOTPSecret, s.auth.Now())
			if err != nil {
				t.Fatal(err)
			}
			return "code=" + code
		}

		const back = "return_to=%2Fapp%2Freports%3Fa%3D1"
		leads("GET", "/app/reports?a=1", "", "/app/login?"+back)
		leads("GET", "/app/login/mfa?"+back, "", "/app/login?"+back)
		if _, page := navigate("GET", "/app/login?"+back, ""); !strings.Contains(page, `value="/app/reports?a=1"`) {
			t.Errorf("the login page does not lead back: %s", page)
		}
		leads("POST", "/app/login", credentials+"&"+back, "/app/login/mfa?"+back)
		navigate("GET", "/app/login/mfa?"+back, "")
		leads("POST", "/app/login/mfa", code()+"&"+back, "/app/reports?a=1")
		navigate("DELETE", "/app/login", "") // a refusal, with links
		leads("POST", "/app/logout", "x=1", "/app/")
		navigate("POST", "/app/login/mfa", "code=123456") // no sign-in waits for it

		for _, outside := range []string{"/reports", "/", "/application", "/app/login", "/other/app/", "/%61pp/reports"} {
			form := url.Values{"email": {viewer}, "password": {password}, "return_to": {outside}}
			leads("POST", "/app/login", form.Encode(), "/app/")
		}
		leads("POST", "/app/login", url.Values{"email": {viewer}, "password": {password}, "return_to": {"/app?x=1"}}.Encode(), "/app?x=1")

		visitor := s.browser()
		visitor.expect("GET", "/app/api/me", 401, "unauthenticated", "Accept", "text/html") // and no redirect
		visitor.expect("GET", "/app/reports", 303, "", "Accept", "text/html")
	})
}

// links returns the addresses of the links and forms of a page.
func links(page string) []string {
	var found []string
	for _, attribute := range []string{` href="`, ` action="`} {
		for _, after := range strings.Split(page, attribute)[1:] {
			to, _, _ := strings.Cut(after, `"`)
			found = append(found, to)
		}
	}
	return found
}
