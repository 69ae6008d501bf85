package sessionecho5_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v5"
	echomw "github.com/labstack/echo/v5/middleware"

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

var errTeapot = echo.NewHTTPError(http.StatusTeapot, "I am a teapot")

// timeout responds while the handler is still running. Echo has no such
// middleware, but apps may build it like this.
func timeout(d time.Duration) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := make(chan error, 1)
			http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				c.SetResponse(echo.NewResponse(w, c.Logger()))
				failed := next(c)
				if failed != nil && r.Context().Err() == nil {
					c.Echo().HTTPErrorHandler(c, failed)
				}
				err <- failed
			}), d, "too slow").ServeHTTP(c.Response(), c.Request())
			select {
			case err := <-err:
				return err
			default:
				return nil
			}
		}
	}
}

// A panic, a timeout and an error after a refresh: the response delivers the new
// tokens, and the next request is served with them.
func TestFailuresAfterRefresh(t *testing.T) {
	trouble := map[string]struct {
		around echo.MiddlewareFunc
		handle echo.HandlerFunc
		status int
	}{
		"panic":           {echomw.Recover(), func(*echo.Context) error { panic("boom") }, 500},
		"error":           {echomw.RequestID(), func(*echo.Context) error { return errors.New("boom") }, 500},
		"status":          {echomw.RequestID(), func(*echo.Context) error { return errTeapot }, 418},
		"context timeout": {echomw.ContextTimeout(time.Minute), func(*echo.Context) error { return context.DeadlineExceeded }, 503},
		"canceled": {func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c *echo.Context) error {
				ctx, cancel := context.WithCancel(c.Request().Context())
				defer cancel()
				c.SetRequest(c.Request().WithContext(ctx))
				c.Set("cancel", cancel)
				return next(c)
			}
		}, func(c *echo.Context) error {
			c.Get("cancel").(context.CancelFunc)()
			<-c.Request().Context().Done()
			return echo.ErrServiceUnavailable
		}, 503},
		"timeout": {timeout(time.Minute), func(*echo.Context) error { return errTeapot }, 418},
	}
	for name, tt := range trouble {
		for _, where := range []string{"outside", "inside"} {
			for store, o := range map[string]adaptertest.Options{"cookie": {}, "stored": {Stored: true}} {
				t.Run(name+"/"+where+"/"+store, func(t *testing.T) {
					a := start(t, o, func(e *echo.Echo) {
						if where == "outside" {
							e.Use(tt.around)
						}
					}, func(_ *adaptertest.App, e *echo.Echo) {
						if where == "inside" {
							e.Use(tt.around)
						}
						e.GET("/trouble", func(c *echo.Context) error {
							if !sessionecho5.FromContext(c).SignedIn() {
								t.Error("not signed in")
							}
							change(c)
							return tt.handle(c)
						})
						e.GET("/user", whoami, sessionecho5.RequireUser)
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
	a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) { e.Use(echomw.Recover()) }, func(a *adaptertest.App, e *echo.Echo) {
		e.GET("/panic", func(c *echo.Context) error {
			change(c)
			a.Store.Down.Store(true)
			panic("boom")
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	b.Get("/panic").Says(500, "Internal Server Error")
}

// The app's own error handler receives refusals before a response is written.
func TestOwnHTTPErrorHandler(t *testing.T) {
	var mu sync.Mutex
	var got []error
	own := func(c *echo.Context, err error) {
		mu.Lock()
		got = append(got, err)
		mu.Unlock()
		if committed(c) {
			t.Errorf("a response was written before the error handler ran: %v", err)
		}
		code := http.StatusInternalServerError
		if status := echo.StatusCode(err); status != 0 {
			code = status
		}
		_ = c.String(code, fmt.Sprintf("own page for %q", sessionecho5.FromContext(c).UserID()))
	}
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) { e.HTTPErrorHandler = own }, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
		e.GET("/nowhere", func(*echo.Context) error { return echo.ErrNotFound })
		e.POST("/admin", whoami)
		e.GET("/refuse", func(c *echo.Context) error {
			return sessionecho5.Refuse(c, &middleware.Problem{Status: http.StatusConflict})
		})
	})
	visitor, viewer := a.Browser(), a.SignedIn(adaptertest.Viewer)
	visitor.Open("/admin").Says(401, `own page for ""`)
	viewer.Open("/admin").Says(403, `own page for "00000000-0000-4000-8000-00000000000b"`)
	viewer.Get("/nowhere").Says(404, "0000000b")
	viewer.Get("/refuse").Says(409, "own")
	viewer.Do("POST", "/admin", "", "Sec-Fetch-Site", "cross-site").Says(403, "own")
	for i, want := range []error{session.ErrUnauthenticated, session.ErrForbidden, echo.ErrNotFound, nil, session.ErrCrossOrigin} {
		if want != nil && !errors.Is(got[i], want) {
			t.Errorf("error %d is %v, want %v", i, got[i], want)
		}
	}
	for _, err := range got {
		if strings.Contains(err.Error(), adaptertest.Password) {
			t.Errorf("an error with a secret: %v", err)
		}
	}
}

// The app's own error handler can pass refusals to the adapter.
func TestHTTPErrorHandlerWritesRefusals(t *testing.T) {
	seen := 0
	adaptertest.Refusals(t, func(s adaptertest.Spec) http.Handler {
		e := build(s).(*echo.Echo)
		e.HTTPErrorHandler = func(c *echo.Context, err error) {
			seen++
			sessionecho5.HTTPErrorHandler(c, err)
		}
		return e
	})
	if seen == 0 {
		t.Error("the error handler was not called")
	}
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) { e.HTTPErrorHandler = sessionecho5.HTTPErrorHandler }, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/broken", func(*echo.Context) error { return errors.New("secret") })
		e.GET("/begun", func(c *echo.Context) error {
			_ = c.String(200, "begun")
			return sessionecho5.Refuse(c, session.ErrForbidden)
		})
	})
	b := a.Browser()
	b.Get("/nowhere").Says(404, `{"message":"Not Found"}`)
	if got := b.Get("/broken").Is(500); strings.Contains(got.Body, "secret") {
		t.Errorf("body %q", got.Body)
	}
	b.Do("POST", "/broken", "").Is(405)
	if got := b.Get("/begun").Is(200); got.Body != "begun" {
		t.Errorf("a refusal follows a response: %q", got.Body)
	}
}

// Echo's other error handlers receive refusals, too, and write JSON.
func TestOtherHTTPErrorHandler(t *testing.T) {
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.HTTPErrorHandler = echo.ProblemDetailsHTTPErrorHandler(false)
	}, func(_ *adaptertest.App, e *echo.Echo) { e.GET("/admin", whoami, sessionecho5.RequireRole("admin")) })
	a.SignedIn(adaptertest.Viewer).Open("/admin").Says(403, `"type":"about:blank"`)
}

// The default error handler of an Echo with a configuration is the same.
func TestConfiguredEcho(t *testing.T) {
	adaptertest.Refusals(t, func(s adaptertest.Spec) http.Handler {
		return mount(s, echo.NewWithConfig(echo.Config{Router: echo.NewRouter(echo.RouterConfig{
			AllowOverwritingRoute: true, UseEscapedPathForMatching: true, AutoHandleHEAD: true,
		})}))
	})
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

// plain is a writer without the methods by which Echo finds its own response.
type plain struct{ w http.ResponseWriter }

func (p plain) Header() http.Header         { return p.w.Header() }
func (p plain) WriteHeader(status int)      { p.w.WriteHeader(status) }
func (p plain) Write(b []byte) (int, error) { return p.w.Write(b) }

// Other middleware may replace Echo's response.
func TestReplacedResponse(t *testing.T) {
	replaced := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			c.SetResponse(plain{c.Response()})
			return next(c)
		}
	}
	wrapped := echo.WrapMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(plain{w}, r) })
	})
	for name, around := range map[string]echo.MiddlewareFunc{"replaced": replaced, "wrapped": wrapped} {
		for _, where := range []string{"outside", "inside"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
					if where == "outside" {
						e.Use(around)
					}
				}, func(a *adaptertest.App, e *echo.Echo) {
					if where == "inside" {
						e.Use(around)
					}
					e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
					e.GET("/error", func(*echo.Context) error { return errTeapot })
					e.GET("/fails", func(c *echo.Context) error {
						change(c)
						a.Store.Down.Store(true)
						return c.String(200, "secret")
					})
				})
				visitor, viewer := a.Browser(), a.SignedIn(adaptertest.Viewer)
				visitor.Open("/admin").Is(303)
				if got := viewer.Get("/admin").Says(403, "forbidden"); strings.Count(got.Body, "{") != 1 {
					t.Errorf("two responses: %q", got.Body)
				}
				viewer.Get("/error").Says(418, "teapot")
				if got := viewer.Get("/fails").Says(503, "session_unavailable"); strings.Contains(got.Body, "secret") {
					t.Errorf("%q", got.Body)
				}
			})
		}
	}
}

// With Echo's default error handler, a guard writes the response and returns the
// error, so that outer middleware can log it.
func TestRefusalIsReturned(t *testing.T) {
	var got error
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c *echo.Context) error {
				got = next(c)
				if got != nil && !committed(c) {
					t.Errorf("no response was written: %v", got)
				}
				return got
			}
		})
	}, func(_ *adaptertest.App, e *echo.Echo) { e.GET("/admin", whoami, sessionecho5.RequireRole("admin")) })
	for email, want := range map[string]int{adaptertest.Viewer: 403, "": 401} {
		b := a.Browser()
		if email != "" {
			b = a.SignedIn(email)
		}
		b.Get("/admin").Is(want)
		he, ok := got.(*echo.HTTPError)
		if !ok || he.Code != want || he.Message == "" {
			t.Errorf("%T %v", got, got)
		}
	}
}

// If a session cannot be saved, the response is a 503, and outer middleware
// receives the error.
func TestFailedCommit(t *testing.T) {
	var log bytes.Buffer
	var got error
	a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
		e.Use(logger(&log))
		e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c *echo.Context) error { got = next(c); return got }
		})
	}, func(a *adaptertest.App, e *echo.Echo) {
		handle := func(respond echo.HandlerFunc) echo.HandlerFunc {
			return func(c *echo.Context) error {
				change(c)
				a.Store.Down.Store(true)
				return respond(c)
			}
		}
		e.GET("/json", handle(func(c *echo.Context) error { return c.JSON(200, "secret") }))
		e.GET("/none", handle(func(*echo.Context) error { return nil }))
		e.GET("/error", handle(func(*echo.Context) error { return errTeapot }))
		e.GET("/status", handle(func(c *echo.Context) error { return c.NoContent(204) }))
	})
	b := a.SignedIn(adaptertest.Viewer)
	for _, path := range []string{"/json", "/none", "/error", "/status"} {
		a.Store.Down.Store(false)
		log.Reset()
		if res := b.Get(path).Says(503, "session_unavailable"); strings.Contains(res.Body, "secret") {
			t.Errorf("%s: %q", path, res.Body)
		}
		if !errors.Is(got, session.ErrSessionUnavailable) {
			t.Errorf("%s: the error is %v", path, got)
		}
		if !strings.HasPrefix(log.String(), path+" 503 ") {
			t.Errorf("logged %q", log.String())
		}
	}
	if strings.Contains(a.Log(), "superfluous") {
		t.Error(a.Log())
	}
}

// The app's own error handler can see that the response to a failed commit has been
// written.
func TestOwnHTTPErrorHandlerAfterFailedCommit(t *testing.T) {
	called := 0
	a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
		e.HTTPErrorHandler = func(c *echo.Context, err error) {
			if called++; !committed(c) || !errors.Is(err, session.ErrSessionUnavailable) {
				t.Errorf("committed: %v, error %v", committed(c), err)
			}
		}
	}, func(a *adaptertest.App, e *echo.Echo) {
		e.GET("/none", func(c *echo.Context) error {
			change(c)
			a.Store.Down.Store(true)
			return nil
		})
	})
	a.SignedIn(adaptertest.Viewer).Get("/none").Says(503, "session_unavailable")
	if called != 1 {
		t.Errorf("the error handler was called %d times", called)
	}
}

// If the values of a session no longer fit, the response is a 413, and outer
// middleware receives that status.
func TestFullSession(t *testing.T) {
	var log bytes.Buffer
	var b *webapp.Browser
	a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) { e.Use(logger(&log)) }, func(_ *adaptertest.App, e *echo.Echo) {
		for _, r := range adaptertest.FillRoute(t, &b) {
			e.Add(r.Method, r.Path, echo.WrapHandler(r.Handler))
		}
	})
	b = a.SignedIn(adaptertest.Viewer)
	b.Do("POST", "/fill", "").Says(413, "session_too_large")
	if !strings.Contains(log.String(), "/fill 413 ") {
		t.Errorf("logged %q", log.String())
	}
}

func logger(w io.Writer) echo.MiddlewareFunc {
	return echomw.RequestLoggerWithConfig(echomw.RequestLoggerConfig{
		LogURI: true, LogStatus: true, LogResponseSize: true, HandleError: true,
		LogValuesFunc: func(_ *echo.Context, v echomw.RequestLoggerValues) error {
			_, err := fmt.Fprintf(w, "%s %d %d %v\n", v.URI, v.Status, v.ResponseSize, v.Error)
			return err
		},
	})
}

func TestLogger(t *testing.T) {
	var log bytes.Buffer
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.Use(logger(&log))
	}, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
	})
	viewer, admin := a.SignedIn(adaptertest.Viewer), a.SignedIn(adaptertest.Admin)
	log.Reset()
	admin.Get("/admin")
	refused := viewer.Get("/admin")
	a.Browser().Open("/admin")
	viewer.Get("/nowhere")
	lines := strings.Split(log.String(), "\n")
	for i, want := range []string{"/admin 200 36 ", fmt.Sprintf("/admin 403 %d code=403", len(refused.Body)), "/admin 303 0 code=401", "/nowhere 404 "} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("logged %q, want %q", lines[i], want)
		}
	}
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

func TestBodyLimit(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		limit := echomw.BodyLimit(1024)
		a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
			if where == "outside" {
				e.Use(limit)
			}
		}, func(_ *adaptertest.App, e *echo.Echo) {
			if where == "inside" {
				e.Use(limit)
			}
			e.POST("/h", func(c *echo.Context) error {
				_, err := io.Copy(c.Response(), c.Request().Body)
				return err
			})
		})
		b := a.SignedIn(adaptertest.Viewer)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10)).Says(200, "xxx")
		b.Do("POST", "/h", strings.Repeat("x", 1<<10+1)).Is(413)
		b.Submit("/login", "email", adaptertest.Viewer, "password", strings.Repeat("x", 2<<10)).Is(413)
	}
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
			a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
				if where == "outside" {
					e.Use(echomw.Gzip())
				}
			}, func(a *adaptertest.App, e *echo.Echo) {
				if where == "inside" {
					e.Use(echomw.Gzip())
				}
				e.GET("/long", func(c *echo.Context) error { return c.String(200, long) })
				e.GET("/none", func(c *echo.Context) error { return c.NoContent(204) })
				e.GET("/events", func(c *echo.Context) error {
					_, _ = io.WriteString(c.Response(), "data: 1\n\n")
					c.Response().(http.Flusher).Flush()
					_, _ = io.WriteString(c.Response(), "data: 2\n\n")
					return nil
				})
				e.GET("/fails", func(c *echo.Context) error {
					change(c)
					a.Store.Down.Store(true)
					return c.String(200, long)
				})
				e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
			})
			b := a.SignedIn(adaptertest.Viewer)
			body, res := gunzip(t, b, "/long")
			if body != long || res.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Cookie") {
				t.Errorf("%d bytes, %v", len(body), res.Header)
			}
			if body, res := gunzip(t, b, "/none"); res.StatusCode != 204 || body != "" {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if body, _ := gunzip(t, b, "/events"); body != "data: 1\n\ndata: 2\n\n" {
				t.Errorf("%q", body)
			}
			if body, res := gunzip(t, b, "/admin"); res.StatusCode != 403 || !strings.Contains(body, "forbidden") {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if body, res := gunzip(t, b, "/fails"); res.StatusCode != 503 || !strings.Contains(body, "session_unavailable") || strings.Contains(body, "hello") {
				t.Errorf("%d %.200q %v", res.StatusCode, body, res.Header)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.Use(echomw.CORSWithConfig(echomw.CORSConfig{AllowOrigins: []string{"https://other.example"}, AllowCredentials: true}))
	}, func(_ *adaptertest.App, e *echo.Echo) { e.GET("/user", whoami, sessionecho5.RequireUser) })
	b := a.SignedIn(adaptertest.Viewer)
	got := b.Do("OPTIONS", "/user", "", "Origin", "https://other.example", "Access-Control-Request-Method", "GET").Is(204)
	if got.Header.Get("Access-Control-Allow-Origin") != "https://other.example" {
		t.Errorf("%v", got.Header)
	}
	got = b.Get("/user", "Origin", "https://other.example").Says(200, "0000000b")
	vary := strings.Join(got.Header.Values("Vary"), ",")
	if got.Header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Cookie") {
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

// After a timeout, Echo reuses the context for other requests while the handler
// is still running. The late end of the handler must not affect them.
func TestTimeout(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		t.Run(where, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			release, ended := make(chan struct{}), make(chan struct{})
			slow := func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c *echo.Context) error {
					if c.Path() == "/slow" {
						defer close(ended)
					}
					return next(c)
				}
			}
			e := echo.New()
			var around []echo.MiddlewareFunc
			if where == "outside" {
				around = []echo.MiddlewareFunc{timeout(50 * time.Millisecond), slow, sessionecho5.Sessions(a.Manager)}
			} else {
				around = []echo.MiddlewareFunc{sessionecho5.Sessions(a.Manager), timeout(50 * time.Millisecond), slow}
			}
			sessionecho5.Mount(e.Group("", sessionecho5.Sessions(a.Manager)), a.Manager)
			e.GET("/slow", func(c *echo.Context) error {
				ctx := c.Request().Context()
				_ = session.FromContext(ctx).UserID()
				<-release
				return ctx.Err()
			}, around...)
			e.GET("/user", whoami, sessionecho5.Sessions(a.Manager), sessionecho5.RequireUser)
			a.Serve(e, adaptertest.Options{})
			b := a.SignedIn(adaptertest.Viewer)
			a.Expire()
			b.Get("/slow").Says(503, "too slow")
			b.Get("/user").Says(200, "0000000b")
			close(release)
			for range 10 {
				b.Get("/user").Says(200, "0000000b")
			}
			<-ended
			b.Get("/user").Says(200, "0000000b")
			if n := a.Auth.Refreshes(); n != 1 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
}
