package sessiongin_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessiongin"
)

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
