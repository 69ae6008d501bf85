package sessionecho5_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// start serves an Echo app with Sessions and the built-in routes. outer adds
// middleware around Sessions, and inner adds middleware and routes inside it.
func start(t *testing.T, o adaptertest.Options, outer func(*echo.Echo), inner func(*adaptertest.App, *echo.Echo)) *adaptertest.App {
	t.Helper()
	a := adaptertest.NewApp(t, o)
	e := echo.New()
	e.Logger = slog.New(slog.DiscardHandler)
	if outer != nil {
		outer(e)
	}
	e.Use(sessionecho5.Sessions(a.Manager))
	sessionecho5.Mount(e, a.Manager)
	inner(a, e)
	a.Serve(e, o)
	return a
}

func whoami(c *echo.Context) error {
	return c.String(http.StatusOK, sessionecho5.FromContext(c).UserID())
}

// committed reports whether a response has been written.
func committed(c *echo.Context) bool {
	res, err := echo.UnwrapResponse(c.Response())
	return err == nil && res.Committed
}

func change(c *echo.Context) { adaptertest.Change(c.Request()) }

func TestGroups(t *testing.T) {
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *echo.Echo) {
		user := e.Group("/app", sessionecho5.RequireUser)
		user.GET("/home", whoami)
		admin := user.Group("/admin", sessionecho5.RequireRole("admin"))
		admin.GET("/home", whoami)
		admin.GET("/both", whoami, sessionecho5.RequireRole("user"), sessionecho5.RequireRole("admin"))
		admin.GET("/neither", whoami, sessionecho5.Require(func(*session.Session) bool { return false }))
		e.GET("/wrapped", echo.WrapHandler(middleware.RequireRole("admin")(http.HandlerFunc(adaptertest.Whoami))))
	})
	for _, c := range []struct {
		path                   string
		visitor, viewer, admin int
	}{
		{"/app/home", 401, 200, 200},
		{"/app/admin/home", 401, 403, 200},
		{"/app/admin/both", 401, 403, 200},
		{"/app/admin/neither", 401, 403, 403},
		{"/app/nowhere", 401, 404, 404},
		{"/app/admin/nowhere", 401, 403, 404},
		{"/wrapped", 401, 403, 200},
	} {
		a.Browser().Get(c.path).Is(c.visitor)
		a.SignedIn(adaptertest.Viewer).Get(c.path).Is(c.viewer)
		a.SignedIn(adaptertest.Admin).Get(c.path).Is(c.admin)
	}
}

// Sessions works with Use, with Pre and in a group, and so does net/http's Sessions
// around the whole Echo.
func TestSessionsInFrontOfRoutersAndGroups(t *testing.T) {
	for name, use := range map[string]func(*echo.Echo, echo.MiddlewareFunc) *echo.Group{
		"use":   func(e *echo.Echo, m echo.MiddlewareFunc) *echo.Group { e.Use(m); return e.Group("") },
		"pre":   func(e *echo.Echo, m echo.MiddlewareFunc) *echo.Group { e.Pre(m); return e.Group("") },
		"group": func(e *echo.Echo, m echo.MiddlewareFunc) *echo.Group { return e.Group("", m) },
		"http":  func(e *echo.Echo, _ echo.MiddlewareFunc) *echo.Group { return e.Group("") },
	} {
		t.Run(name, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			e := echo.New()
			g := use(e, sessionecho5.Sessions(a.Manager))
			sessionecho5.Mount(g, a.Manager)
			g.GET("/user", whoami, sessionecho5.RequireUser)
			e.GET("/outside", whoami, sessionecho5.RequireUser)
			var h http.Handler = e
			if name == "http" {
				h = middleware.Sessions(a.Manager)(e)
			}
			a.Serve(h, adaptertest.Options{})
			b := a.SignedIn(adaptertest.Viewer)
			b.Get("/user").Says(200, "0000000b")
			if name == "group" {
				b.Get("/outside").Says(500, "session_not_loaded")
			}
		})
	}
}

// An app's test of a single handler needs no Sessions.
func TestSessiontest(t *testing.T) {
	e := echo.New()
	rec := httptest.NewRecorder()
	c := e.NewContext(sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1", "admin"), rec)
	if err := sessionecho5.RequireRole("admin")(whoami)(c); err != nil || rec.Body.String() != "user-1" {
		t.Errorf("%v, %q", err, rec.Body)
	}
}

// HEAD requests that Echo lets the handlers of GET handle.
func TestAutomaticHEAD(t *testing.T) {
	a := adaptertest.NewApp(t, adaptertest.Options{Stored: true})
	e := echo.NewWithConfig(echo.Config{
		Router: echo.NewRouter(echo.RouterConfig{AllowOverwritingRoute: true, AutoHandleHEAD: true}),
		Logger: slog.New(slog.DiscardHandler),
	})
	g := e.Group("", sessionecho5.Sessions(a.Manager))
	sessionecho5.Mount(g, a.Manager)
	g.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
	g.GET("/fails", func(c *echo.Context) error {
		change(c)
		a.Store.Down.Store(true)
		return whoami(c)
	})
	a.Serve(e, adaptertest.Options{})
	if got := a.SignedIn(adaptertest.Admin).Do("HEAD", "/admin", "").Is(200); got.ContentLength != 36 || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", got.Header)
	}
	viewer := a.SignedIn(adaptertest.Viewer)
	viewer.Do("HEAD", "/admin", "").Is(403)
	viewer.Do("HEAD", "/fails", "").Is(503)
}

func TestNotFoundAndMethodNotAllowed(t *testing.T) {
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/h", whoami)
		e.RouteNotFound("/api/*", func(c *echo.Context) error {
			return sessionecho5.Refuse(c, &middleware.Problem{Status: http.StatusNotFound})
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	for _, got := range []*webapp.Response{
		b.Get("/nowhere").Says(404, `{"message":"Not Found"}`),
		b.Do("POST", "/h", "").Says(405, "message"),
		b.Get("/api/nowhere").Says(404, "not_found"),
		b.Do("DELETE", "/login", "").Says(405, "method_not_allowed"),
	} {
		// Echo's own responses do not depend on the user.
		isProblem := strings.Contains(got.Body, `"code"`)
		if got.Header.Get("Vary") != "Cookie" || (got.Header.Get("Cache-Control") == "no-store") != isProblem {
			t.Errorf("%s: %v", got.Request.URL, got.Header)
		}
	}
}

func TestStatic(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "admin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"public.txt": "public", "admin/secret.txt": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *echo.Echo) {
		e.Group("/files", sessionecho5.RequireUser).Static("/", dir)
		e.Group("/open/admin", sessionecho5.RequireRole("admin")).GET("/*", whoami)
		e.Static("/open", dir)
	})
	visitor, viewer := a.Browser(), a.SignedIn(adaptertest.Viewer)
	visitor.Get("/files/public.txt").Is(401)
	viewer.Get("/files/public.txt").Says(200, "public")
	if got := viewer.Get("/files/admin/secret.txt", "Range", "bytes=2-3").Is(206); got.Body != "cr" {
		t.Errorf("%q", got.Body)
	}
	visitor.Get("/open/public.txt").Says(200, "public")
	// No spelling of the path bypasses the guard of a group.
	for _, path := range []string{"/open/admin/secret.txt", "/open/admin%2Fsecret.txt", "/open/%61dmin/secret.txt", "/open/x/%2E%2E/admin/secret.txt", "/open//admin/secret.txt"} {
		if got := visitor.Get(path); strings.Contains(got.Body, "secret.txt") || got.Body == "secret" {
			t.Errorf("%s: %d %q", path, got.StatusCode, got.Body)
		}
	}
}

// The streaming methods and response hooks of Echo's contexts.
func TestStream(t *testing.T) {
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/stream", func(c *echo.Context) error {
			change(c)
			return c.Stream(200, "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
		})
		e.GET("/hooks", func(c *echo.Context) error {
			res, err := echo.UnwrapResponse(c.Response())
			if err != nil {
				return err
			}
			res.Before(func() { change(c); c.Response().Header().Set("X-Before", "yes") })
			return c.JSON(201, "x")
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	if got := b.Get("/stream").Is(200); len(got.Body) != 1<<20 || !got.SetsCookie() {
		t.Errorf("%d bytes, %v", len(got.Body), got.Header)
	}
	if got := b.Get("/hooks").Is(201); got.Header.Get("X-Before") == "" || !got.SetsCookie() {
		t.Errorf("%v", got.Header)
	}
}
