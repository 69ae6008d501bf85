package sessionecho5_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

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
