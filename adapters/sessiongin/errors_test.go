package sessiongin_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

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
