package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session/adapters/sessiongin"
)

// gin mounts the app on an Engine.
func (a *app) gin() http.Handler {
	gin.SetMode(gin.ReleaseMode) // debug mode writes to standard output
	e := gin.New()
	e.UseRawPath = true
	e.RedirectTrailingSlash = false
	e.Use(sessiongin.Sessions(a.manager, a.sessionOptions()...))
	e.NoRoute(gin.WrapH(a.unmatched()))
	sessiongin.Mount(e, a.manager, a.settings.features()...)
	for _, rt := range a.routes() {
		for _, method := range rt.methods() {
			e.Handle(method, colonPath(rt.path), append(rt.who.gin(), ginHandler(rt.handler))...)
		}
	}
	return plainPaths(e)
}

func (g guard) gin() []gin.HandlerFunc {
	switch {
	case g.public:
		return nil
	case len(g.roles) > 0:
		return []gin.HandlerFunc{sessiongin.RequireRole(g.roles...)}
	case g.fresh > 0:
		return []gin.HandlerFunc{sessiongin.RequireFresh(g.fresh)}
	}
	return []gin.HandlerFunc{sessiongin.RequireUser}
}

// ginHandler adapts a net/http handler, and sets the path values of its request.
func ginHandler(h http.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		for _, p := range c.Params {
			c.Request.SetPathValue(p.Key, p.Value)
		}
		h(c.Writer, c.Request)
	}
}
