package sessionecho_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	echomw "github.com/labstack/echo/v4/middleware"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessionecho"
)

// timeout is Echo's middleware that responds while the handler is still running.
// It is deprecated, but still in use.
func timeout(d time.Duration) echo.MiddlewareFunc {
	//lint:ignore SA1019 deprecated, but still in use
	return echomw.TimeoutWithConfig(echomw.TimeoutConfig{Timeout: d, ErrorMessage: "too slow"})
}

// A panic, a timeout and an error after a refresh: the response delivers the new
// tokens, and the next request is served with them.
func TestFailuresAfterRefresh(t *testing.T) {
	trouble := map[string]struct {
		around echo.MiddlewareFunc
		handle echo.HandlerFunc
		status int
	}{
		"panic":           {echomw.Recover(), func(echo.Context) error { panic("boom") }, 500},
		"error":           {echomw.RequestID(), func(echo.Context) error { return errors.New("boom") }, 500},
		"status":          {echomw.RequestID(), func(echo.Context) error { return echo.ErrTeapot }, 418},
		"context timeout": {echomw.ContextTimeout(time.Minute), func(echo.Context) error { return context.DeadlineExceeded }, 503},
		"canceled": {func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				ctx, cancel := context.WithCancel(c.Request().Context())
				defer cancel()
				c.SetRequest(c.Request().WithContext(ctx))
				c.Set("cancel", cancel)
				return next(c)
			}
		}, func(c echo.Context) error {
			c.Get("cancel").(context.CancelFunc)()
			<-c.Request().Context().Done()
			return echo.ErrServiceUnavailable
		}, 503},
		"timeout": {timeout(time.Minute), func(echo.Context) error { return echo.ErrTeapot }, 418},
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
						e.GET("/trouble", func(c echo.Context) error {
							if !sessionecho.FromContext(c).SignedIn() {
								t.Error("not signed in")
							}
							change(c)
							return tt.handle(c)
						})
						e.GET("/user", whoami, sessionecho.RequireUser)
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
		e.GET("/panic", func(c echo.Context) error {
			change(c)
			a.Store.Down.Store(true)
			panic("boom")
		})
	})
	b := a.SignedIn(adaptertest.Viewer)
	b.Get("/panic").Says(500, "Internal Server Error")
}

// After a timeout, Echo reuses the context for other requests while the handler
// is still running. The late end of the handler must not affect them.
func TestTimeout(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		t.Run(where, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			release, ended := make(chan struct{}), make(chan struct{})
			slow := func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					if c.Path() == "/slow" {
						defer close(ended)
					}
					return next(c)
				}
			}
			e := echo.New()
			var around []echo.MiddlewareFunc
			if where == "outside" {
				around = []echo.MiddlewareFunc{timeout(50 * time.Millisecond), slow, sessionecho.Sessions(a.Manager)}
			} else {
				around = []echo.MiddlewareFunc{sessionecho.Sessions(a.Manager), timeout(50 * time.Millisecond), slow}
			}
			sessionecho.Mount(e.Group("", sessionecho.Sessions(a.Manager)), a.Manager)
			e.GET("/slow", func(c echo.Context) error {
				ctx := c.Request().Context()
				_ = session.FromContext(ctx).UserID()
				<-release
				return ctx.Err()
			}, around...)
			e.GET("/user", whoami, sessionecho.Sessions(a.Manager), sessionecho.RequireUser)
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
