package sessiongin_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// start serves a Gin app with Sessions and the built-in routes. outer adds
// middleware around Sessions, and inner adds middleware and routes inside it.
func start(t *testing.T, o adaptertest.Options, outer func(*gin.Engine), inner func(*adaptertest.App, *gin.Engine)) *adaptertest.App {
	t.Helper()
	a := adaptertest.NewApp(t, o)
	e := gin.New()
	if outer != nil {
		outer(e)
	}
	e.Use(sessiongin.Sessions(a.Manager))
	sessiongin.Mount(e, a.Manager)
	inner(a, e)
	a.Serve(e, o)
	return a
}

func whoami(c *gin.Context) { c.String(http.StatusOK, "%s", sessiongin.FromContext(c).UserID()) }

func change(c *gin.Context) { adaptertest.Change(c.Request) }

func TestGroups(t *testing.T) {
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *gin.Engine) {
		user := e.Group("/app", sessiongin.RequireUser)
		user.GET("/home", whoami)
		admin := user.Group("/admin", sessiongin.RequireRole("admin"))
		admin.GET("/home", whoami)
		admin.GET("/both", sessiongin.RequireRole("user"), sessiongin.RequireRole("admin"), whoami)
		admin.GET("/neither", sessiongin.Require(func(*session.Session) bool { return false }), whoami)
		e.GET("/wrapped", gin.WrapH(middleware.RequireRole("admin")(http.HandlerFunc(adaptertest.Whoami))))
	})
	for _, c := range []struct {
		path                   string
		visitor, viewer, admin int
	}{
		{"/app/home", 401, 200, 200},
		{"/app/admin/home", 401, 403, 200},
		{"/app/admin/both", 401, 403, 200},
		{"/app/admin/neither", 401, 403, 403},
		{"/app/nowhere", 404, 404, 404},
		{"/wrapped", 401, 403, 200},
	} {
		a.Browser().Get(c.path).Is(c.visitor)
		a.SignedIn(adaptertest.Viewer).Get(c.path).Is(c.viewer)
		a.SignedIn(adaptertest.Admin).Get(c.path).Is(c.admin)
	}
}

// Sessions works with Use and in a group, and so does net/http's Sessions around
// the whole Gin.
func TestSessionsInFrontOfRoutersAndGroups(t *testing.T) {
	for name, use := range map[string]func(*gin.Engine, gin.HandlerFunc) *gin.RouterGroup{
		"use":   func(e *gin.Engine, m gin.HandlerFunc) *gin.RouterGroup { e.Use(m); return e.Group("") },
		"group": func(e *gin.Engine, m gin.HandlerFunc) *gin.RouterGroup { return e.Group("", m) },
		"http":  func(e *gin.Engine, _ gin.HandlerFunc) *gin.RouterGroup { return e.Group("") },
		"both":  func(e *gin.Engine, m gin.HandlerFunc) *gin.RouterGroup { return e.Group("", m) },
	} {
		t.Run(name, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			e := gin.New()
			g := use(e, sessiongin.Sessions(a.Manager))
			sessiongin.Mount(g, a.Manager)
			g.GET("/user", sessiongin.RequireUser, whoami)
			g.GET("/context", func(c *gin.Context) { c.String(200, "%s", session.FromContext(c).UserID()) })
			e.GET("/outside", sessiongin.RequireUser, whoami)
			var h http.Handler = e
			if name == "http" || name == "both" {
				h = middleware.Sessions(a.Manager)(e)
			}
			a.Serve(h, adaptertest.Options{})
			b := a.SignedIn(adaptertest.Viewer)
			b.Get("/user").Says(200, "0000000b")
			if name != "http" {
				b.Get("/context").Says(200, "0000000b")
			}
			if name == "group" {
				b.Get("/outside").Says(500, "session_not_loaded")
			}
		})
	}
}

// An app's test of a single handler needs no Sessions.
func TestSessiontest(t *testing.T) {
	rec := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(rec)
	c.Request = sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1", "admin")
	sessiongin.RequireRole("admin")(c)
	whoami(c)
	if c.IsAborted() || rec.Body.String() != "user-1" {
		t.Errorf("aborted: %v, %q", c.IsAborted(), rec.Body)
	}
}

// Gin's context works in place of the request's context, and so does a copy that
// outlives the request.
func TestGinContextIsAContext(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		copied := make(chan string, 1)
		a := start(t, adaptertest.Options{}, func(e *gin.Engine) { e.ContextWithFallback = fallback }, func(a *adaptertest.App, e *gin.Engine) {
			e.GET("/context", func(c *gin.Context) {
				ctx, cancel := context.WithTimeout(c, time.Minute)
				defer cancel()
				c.String(200, "%s", session.FromContext(ctx).UserID())
			})
			e.GET("/copy", func(c *gin.Context) {
				later := c.Copy()
				go func() { copied <- session.FromContext(later).UserID() }()
				c.Status(204)
			})
			e.POST("/in", func(c *gin.Context) {
				if err := a.Login(c, adaptertest.Admin, adaptertest.Password); err != nil {
					sessiongin.Refuse(c, err)
					return
				}
				whoami(c)
			})
		})
		b := a.SignedIn(adaptertest.Viewer)
		b.Get("/context").Says(200, "0000000b")
		b.Get("/copy").Is(204)
		if id := <-copied; !strings.HasSuffix(id, "0000000b") {
			t.Errorf("the copied context has the user %q", id)
		}
		b.Do("POST", "/in", "").Says(200, "0000000a")
		a.Browser().Get("/context").Says(200, "")
	}
}

func TestNoRouteAndNoMethod(t *testing.T) {
	refuse := func(status int) gin.HandlerFunc {
		return func(c *gin.Context) { sessiongin.Refuse(c, &middleware.Problem{Status: status}) }
	}
	for _, own := range []bool{false, true} {
		a := start(t, adaptertest.Options{}, func(e *gin.Engine) { e.HandleMethodNotAllowed = true }, func(_ *adaptertest.App, e *gin.Engine) {
			e.GET("/h", whoami)
			if own {
				e.NoRoute(refuse(404))
				e.NoMethod(refuse(405))
			}
		})
		b := a.SignedIn(adaptertest.Viewer)
		notFound, notAllowed := "404 page not found", "405 method not allowed"
		if own {
			notFound, notAllowed = "not_found", "method_not_allowed"
		}
		for _, got := range []*webapp.Response{
			b.Get("/nowhere").Says(404, notFound),
			b.Do("POST", "/h", "").Says(405, notAllowed),
			b.Do("DELETE", "/login", "").Says(405, "method_not_allowed"),
		} {
			// Gin's own responses do not depend on the user.
			isProblem := strings.Contains(got.Body, `"code"`)
			if got.Header.Get("Vary") != "Cookie" || (got.Header.Get("Cache-Control") == "no-store") != isProblem {
				t.Errorf("%s: %v", got.Request.URL, got.Header)
			}
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
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *gin.Engine) {
		e.Group("/files", sessiongin.RequireUser).Static("/", dir)
		e.GET("/attachment", sessiongin.RequireUser, func(c *gin.Context) {
			change(c)
			c.FileAttachment(filepath.Join(dir, "public.txt"), "p.txt")
		})
	})
	visitor, viewer := a.Browser(), a.SignedIn(adaptertest.Viewer)
	visitor.Get("/files/public.txt").Is(401)
	visitor.Get("/files/nowhere.txt").Is(401)
	viewer.Get("/files/nowhere.txt").Is(404)
	viewer.Get("/files/public.txt").Says(200, "public")
	if got := viewer.Get("/files/admin/secret.txt", "Range", "bytes=2-3").Is(206); got.Body != "cr" {
		t.Errorf("%q", got.Body)
	}
	if got := viewer.Get("/attachment").Says(200, "public"); !got.SetsCookie() {
		t.Error("no cookie")
	}
}

// The streaming methods of Gin's contexts.
func TestStream(t *testing.T) {
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *gin.Engine) {
		e.GET("/stream", func(c *gin.Context) {
			change(c)
			n := 0
			c.Stream(func(w io.Writer) bool {
				n++
				c.SSEvent("message", n)
				return n < 3
			})
		})
		e.GET("/reader", func(c *gin.Context) {
			change(c)
			c.DataFromReader(200, 1<<20, "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)), nil)
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	if got := b.Get("/stream").Says(200, "data:3"); !got.SetsCookie() {
		t.Error("no cookie")
	}
	if got := b.Get("/reader").Is(200); len(got.Body) != 1<<20 || !got.SetsCookie() {
		t.Errorf("%d bytes, %v", len(got.Body), got.Header)
	}
}
