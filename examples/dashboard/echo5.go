package main

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session/adapters/sessionecho5"
)

// echo5 mounts the app on an Echo of version 5.
func (a *app) echo5() http.Handler {
	e := echo.New()
	e.Logger = a.manager.Config().Logger // Echo's own writes to standard output
	unmatched := a.unmatched()
	e.HTTPErrorHandler = func(c *echo.Context, err error) {
		if errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
			c.Response().Header().Del(echo.HeaderAllow) // unmatched sets its own
			unmatched.ServeHTTP(c.Response(), c.Request())
			return
		}
		sessionecho5.HTTPErrorHandler(c, err)
	}
	e.Use(sessionecho5.Sessions(a.manager, a.sessionOptions()...))
	sessionecho5.Mount(e, a.manager, a.settings.features()...)
	for _, rt := range a.routes() {
		e.Any(colonPath(rt.path), echo.WrapHandler(unmatched)) // including OPTIONS, which Echo would handle itself
	}
	for _, rt := range a.routes() {
		for _, method := range rt.methods() {
			e.Add(method, colonPath(rt.path), echo.WrapHandler(rt.handler), append([]echo.MiddlewareFunc{oneSegment5}, rt.who.echo5()...)...)
		}
	}
	return plainPaths(e)
}

func (g guard) echo5() []echo.MiddlewareFunc {
	switch {
	case g.public:
		return nil
	case len(g.roles) > 0:
		return []echo.MiddlewareFunc{sessionecho5.RequireRole(g.roles...)}
	case g.fresh > 0:
		return []echo.MiddlewareFunc{sessionecho5.RequireFresh(g.fresh)}
	}
	return []echo.MiddlewareFunc{sessionecho5.RequireUser}
}

// oneSegment5 rejects a path parameter that is empty or has several segments. Echo
// accepts both in the last parameter of a path.
func oneSegment5(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		for _, p := range c.PathValues() {
			if p.Value == "" || strings.Contains(p.Value, "/") {
				return echo.ErrNotFound
			}
		}
		return next(c)
	}
}
