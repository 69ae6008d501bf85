package sessiongin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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

// A panic and an error after a refresh: the response delivers the new tokens, and
// the next request is served with them.
func TestFailuresAfterRefresh(t *testing.T) {
	pass := func(*gin.Context) {}
	trouble := map[string]struct {
		around gin.HandlerFunc
		handle gin.HandlerFunc
		status int
	}{
		"panic":  {gin.RecoveryWithWriter(io.Discard), func(*gin.Context) { panic("boom") }, 500},
		"abort":  {pass, func(c *gin.Context) { c.AbortWithStatus(418) }, 418},
		"error":  {pass, func(c *gin.Context) { _ = c.AbortWithError(500, errors.New("boom")) }, 500},
		"status": {pass, func(c *gin.Context) { c.Status(418) }, 418},
		"canceled": {func(c *gin.Context) {
			ctx, cancel := context.WithCancel(c.Request.Context())
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Set("cancel", cancel)
			c.Next()
		}, func(c *gin.Context) {
			c.MustGet("cancel").(context.CancelFunc)()
			<-c.Request.Context().Done()
			c.AbortWithStatus(503)
		}, 503},
	}
	for name, tt := range trouble {
		for _, where := range []string{"outside", "inside"} {
			for store, o := range map[string]adaptertest.Options{"cookie": {}, "stored": {Stored: true}} {
				t.Run(name+"/"+where+"/"+store, func(t *testing.T) {
					a := start(t, o, func(e *gin.Engine) {
						if where == "outside" {
							e.Use(tt.around)
						}
					}, func(_ *adaptertest.App, e *gin.Engine) {
						if where == "inside" {
							e.Use(tt.around)
						}
						e.GET("/trouble", func(c *gin.Context) {
							if !sessiongin.FromContext(c).SignedIn() {
								t.Error("not signed in")
							}
							change(c)
							tt.handle(c)
						})
						e.GET("/user", sessiongin.RequireUser, whoami)
					})
					b := a.SignedIn(adaptertest.Viewer)
					a.Expire()
					got := b.Get("/trouble").Is(tt.status)
					if !o.Stored && len(got.Cookies()) < 2 {
						t.Errorf("cookies %v", got.Cookies())
					}
					if got.Header.Get("Vary") != "Cookie" || got.Header.Get("Cache-Control") != "no-store" {
						t.Errorf("header %v", got.Header)
					}
					if b.Get("/user").Says(200, "0000000b").SetsCookie() {
						t.Error("the response with the trouble did not deliver the cookies")
					}
					if n := a.Auth.Refreshes(); n != 1 {
						t.Errorf("%d refreshes, want 1", n)
					}
				})
			}
		}
	}
}

// A panic is still recovered by the outer middleware if the commit fails, too.
func TestPanicAndFailedCommit(t *testing.T) {
	a := start(t, adaptertest.Options{Stored: true}, func(e *gin.Engine) {
		e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.String(500, "recovered") }))
	}, func(a *adaptertest.App, e *gin.Engine) {
		e.GET("/panic", func(c *gin.Context) {
			change(c)
			a.Store.Down.Store(true)
			panic("boom")
		})
	})
	a.SignedIn(adaptertest.Viewer).Get("/panic").Says(500, "recovered")
}

// Refused requests are aborted. Failures are added to Context.Errors, and other
// refusals are not.
func TestErrors(t *testing.T) {
	var got []error
	var aborted bool
	errBroken := errors.New("broken")
	a := start(t, adaptertest.Options{Stored: true}, func(e *gin.Engine) {
		e.Use(func(c *gin.Context) {
			c.Next()
			got, aborted = nil, c.IsAborted()
			for _, err := range c.Errors {
				got = append(got, err)
			}
		})
	}, func(a *adaptertest.App, e *gin.Engine) {
		e.Handle("GET", "/admin", sessiongin.RequireRole("admin"), whoami)
		e.Handle("POST", "/admin", whoami)
		e.GET("/refuse", func(c *gin.Context) {
			sessiongin.Refuse(c, &middleware.Problem{Status: http.StatusConflict})
		}, func(*gin.Context) { t.Error("not aborted") })
		e.GET("/broken", func(c *gin.Context) { sessiongin.Refuse(c, errBroken) })
		e.GET("/fails", func(c *gin.Context) {
			change(c)
			a.Store.Down.Store(true)
			c.JSON(200, "secret")
		})
		e.GET("/fails-silently", func(c *gin.Context) {
			change(c)
			a.Store.Down.Store(true)
			c.Status(204)
		})
	})
	visitor, viewer, admin := a.Browser(), a.SignedIn(adaptertest.Viewer), a.SignedIn(adaptertest.Admin)
	check := func(want error) {
		t.Helper()
		// Gin also adds the error of a failed render.
		if len(got) == 0 || slices.ContainsFunc(got, func(err error) bool { return !errors.Is(err, want) }) {
			t.Errorf("errors %v, want %v", got, want)
		}
		if strings.Contains(fmt.Sprint(got), adaptertest.Password) {
			t.Errorf("an error with a secret: %v", got)
		}
	}
	for _, refused := range []func() *webapp.Response{
		func() *webapp.Response { return visitor.Open("/admin").Is(303) },
		func() *webapp.Response { return visitor.Get("/admin").Says(401, "unauthenticated") },
		func() *webapp.Response { return viewer.Get("/admin").Says(403, "forbidden") },
		func() *webapp.Response {
			return viewer.Do("POST", "/admin", "", "Sec-Fetch-Site", "cross-site").Says(403, "cross_site")
		},
		func() *webapp.Response { return viewer.Get("/refuse").Is(409) },
	} {
		if refused(); len(got) > 0 || !aborted {
			t.Errorf("a refused request: errors %v, aborted %v", got, aborted)
		}
	}
	viewer.Get("/broken").Is(500)
	check(errBroken)
	if admin.Get("/admin").Is(200); len(got) > 0 || aborted {
		t.Errorf("errors %v of a successful request", got)
	}
	for _, path := range []string{"/fails", "/fails-silently"} {
		a.Store.Down.Store(false)
		if res := viewer.Get(path).Says(503, "session_unavailable"); strings.Contains(res.Body, "secret") {
			t.Errorf("%q", res.Body)
		}
		check(session.ErrSessionUnavailable)
	}
	if strings.Contains(a.Log(), "superfluous") {
		t.Error(a.Log())
	}
}

// Gin sends a status only with the first byte of the body, and until then the
// session can change.
func TestStatusIsSentWithTheBody(t *testing.T) {
	var written []bool
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *gin.Engine) {
		e.GET("/late", func(c *gin.Context) {
			c.Status(201)
			change(c)
			written = append(written, c.Writer.Written())
			_, _ = c.Writer.WriteString("body")
			written = append(written, c.Writer.Written())
			if c.Writer.Status() != 201 || c.Writer.Size() != 4 {
				t.Errorf("status %d, size %d", c.Writer.Status(), c.Writer.Size())
			}
		})
		e.GET("/now", func(c *gin.Context) {
			change(c)
			c.Status(202)
			c.Writer.WriteHeaderNow()
			c.Writer.WriteHeaderNow()
			c.Writer.Header().Set("X-Late", "yes")
		})
		e.GET("/pusher", func(c *gin.Context) {
			if c.Writer.Pusher() != nil {
				t.Error("the writer has a Pusher over HTTP/1.1")
			}
			select {
			case <-c.Writer.CloseNotify():
				t.Error("CloseNotify reports that the client has disconnected")
			default:
			}
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	if got := b.Get("/late").Says(201, "body"); !got.SetsCookie() {
		t.Error("no cookie")
	}
	if fmt.Sprint(written) != "[false true]" {
		t.Errorf("written: %v", written)
	}
	if got := b.Get("/now").Is(202); !got.SetsCookie() || got.Header.Get("X-Late") != "" {
		t.Errorf("%v", got.Header)
	}
	b.Get("/pusher").Is(200)
}

// Gin logs failures as errors. It does not log refusals because of a missing
// sign-in or role.
func TestLogger(t *testing.T) {
	var log bytes.Buffer
	a := start(t, adaptertest.Options{Stored: true}, func(e *gin.Engine) {
		e.Use(gin.LoggerWithConfig(gin.LoggerConfig{Output: &log, Formatter: func(p gin.LogFormatterParams) string {
			return fmt.Sprintf("%s %d %d %s\n", p.Path, p.StatusCode, p.BodySize, strings.Join(strings.Fields(p.ErrorMessage), " "))
		}}))
	}, func(a *adaptertest.App, e *gin.Engine) {
		e.GET("/admin", sessiongin.RequireRole("admin"), whoami)
		e.GET("/fails", func(c *gin.Context) {
			change(c)
			a.Store.Down.Store(true)
			c.JSON(200, "x")
		})
	})
	viewer, admin := a.SignedIn(adaptertest.Viewer), a.SignedIn(adaptertest.Admin)
	log.Reset()
	admin.Get("/admin")
	refused := viewer.Get("/admin")
	a.Browser().Open("/admin")
	viewer.Get("/nowhere")
	failed := viewer.Get("/fails")
	lines := strings.Split(log.String(), "\n")
	for i, want := range []string{
		"/admin 200 36 ", fmt.Sprintf("/admin 403 %d ", len(refused.Body)), "/admin 303 0 ",
		"/nowhere 404 ", fmt.Sprintf("/fails 503 %d Error #01: session: session unavailable", len(failed.Body)),
	} {
		if wantError := strings.Contains(want, "Error"); !strings.HasPrefix(lines[i], want) || strings.Contains(lines[i], "Error") != wantError {
			t.Errorf("logged %q, want %q, an error: %v", lines[i], want, wantError)
		}
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

func TestBodyLimit(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		limit := func(c *gin.Context) { c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<10) }
		a := start(t, adaptertest.Options{}, func(e *gin.Engine) {
			if where == "outside" {
				e.Use(limit)
			}
		}, func(_ *adaptertest.App, e *gin.Engine) {
			if where == "inside" {
				e.Use(limit)
			}
			e.POST("/h", func(c *gin.Context) {
				if _, err := c.GetRawData(); err != nil {
					_ = c.AbortWithError(413, err)
				}
			})
		})
		b := a.SignedIn(adaptertest.Viewer)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10)).Is(200)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10+1)).Is(413)
		if where == "outside" { // inside, the middleware is added after the built-in routes
			b.Submit("/login", "email", adaptertest.Viewer, "password", strings.Repeat("x", 2<<10)).Is(413)
		}
	}
}

// gzipWriter replaces the context's writer, as compression middleware for Gin does.
type gzipWriter struct {
	gin.ResponseWriter
	z *gzip.Writer
}

func (w *gzipWriter) Write(p []byte) (int, error) {
	w.Header().Del("Content-Length")
	return w.z.Write(p)
}
func (w *gzipWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }
func (w *gzipWriter) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}
func (w *gzipWriter) Flush() { _ = w.z.Flush(); w.ResponseWriter.Flush() }

func compress(c *gin.Context) {
	z := gzip.NewWriter(c.Writer)
	defer func() {
		if c.Writer.Size() > 0 {
			_ = z.Close()
		}
	}()
	c.Header("Content-Encoding", "gzip")
	c.Header("Vary", "Accept-Encoding")
	c.Writer = &gzipWriter{c.Writer, z}
	c.Next()
	_ = z.Flush()
}

func gunzip(t *testing.T, b *webapp.Browser, path string) (string, *http.Response) {
	t.Helper()
	res, err := b.Client.Do(b.Request("GET", path, "", "Accept-Encoding", "gzip"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Encoding") != "gzip" {
		text, _ := io.ReadAll(res.Body)
		return string(text), res
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), res
}

func TestGzip(t *testing.T) {
	long := strings.Repeat("hello ", 10_000)
	for _, where := range []string{"outside", "inside"} {
		t.Run(where, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			e := gin.New()
			e.Use(sessiongin.Sessions(a.Manager))
			sessiongin.Mount(e, a.Manager)
			g := e.Group("/z")
			if where == "outside" {
				e = gin.New()
				sessions := e.Group("", sessiongin.Sessions(a.Manager))
				sessiongin.Mount(sessions, a.Manager)
				g = e.Group("/z", compress, sessiongin.Sessions(a.Manager))
			} else {
				g.Use(compress)
			}
			g.GET("/long", func(c *gin.Context) { change(c); c.String(200, long) })
			g.GET("/events", func(c *gin.Context) {
				change(c)
				_, _ = c.Writer.WriteString("data: 1\n\n")
				c.Writer.Flush()
				_, _ = c.Writer.WriteString("data: 2\n\n")
			})
			g.GET("/admin", sessiongin.RequireRole("admin"), whoami)
			a.Serve(e, adaptertest.Options{})
			b := a.SignedIn(adaptertest.Viewer)
			body, res := gunzip(t, b, "/z/long")
			if body != long || len(res.Cookies()) == 0 || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Cookie") {
				t.Errorf("%d bytes, %v", len(body), res.Header)
			}
			if body, res := gunzip(t, b, "/z/events"); body != "data: 1\n\ndata: 2\n\n" || len(res.Cookies()) == 0 {
				t.Errorf("%q %v", body, res.Header)
			}
			if body, res := gunzip(t, b, "/z/admin"); res.StatusCode != 403 || !strings.Contains(body, "forbidden") {
				t.Errorf("%d %q", res.StatusCode, body)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	a := start(t, adaptertest.Options{}, func(e *gin.Engine) {
		e.Use(func(c *gin.Context) {
			c.Header("Access-Control-Allow-Origin", "https://other.example")
			c.Header("Access-Control-Allow-Credentials", "true")
			c.Writer.Header().Add("Vary", "Origin")
			if c.Request.Method == http.MethodOptions {
				c.AbortWithStatus(204)
			}
		})
	}, func(_ *adaptertest.App, e *gin.Engine) { e.GET("/user", sessiongin.RequireUser, whoami) })
	b := a.SignedIn(adaptertest.Viewer)
	b.Do("OPTIONS", "/user", "", "Origin", "https://other.example", "Access-Control-Request-Method", "GET").Is(204)
	got := b.Get("/user", "Origin", "https://other.example").Says(200, "0000000b")
	if vary := strings.Join(got.Header.Values("Vary"), ", "); vary != "Origin, Cookie" || got.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", got.Header)
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
