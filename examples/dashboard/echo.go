package main

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session/adapters/sessionecho"
)

// echo mounts the app on an Echo.
func (a *app) echo() http.Handler {
	e := echo.New()
	unmatched := a.unmatched()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
			c.Response().Header().Del(echo.HeaderAllow) // unmatched sets its own
			unmatched.ServeHTTP(c.Response(), c.Request())
			return
		}
		sessionecho.HTTPErrorHandler(err, c)
	}
	e.Use(sessionecho.Sessions(a.manager, a.sessionOptions()...))
	sessionecho.Mount(e, a.manager, a.settings.features()...)
	for _, rt := range a.routes() {
		e.Any(colonPath(rt.path), echo.WrapHandler(unmatched)) // including OPTIONS, which Echo would handle itself
	}
	for _, rt := range a.routes() {
		for _, method := range rt.methods() {
			e.Add(method, colonPath(rt.path), echoHandler(rt.handler), append([]echo.MiddlewareFunc{oneSegment}, rt.who.echo()...)...)
		}
	}
	return plainPaths(e)
}

func (g guard) echo() []echo.MiddlewareFunc {
	switch {
	case g.public:
		return nil
	case len(g.roles) > 0:
		return []echo.MiddlewareFunc{sessionecho.RequireRole(g.roles...)}
	case g.fresh > 0:
		return []echo.MiddlewareFunc{sessionecho.RequireFresh(g.fresh)}
	}
	return []echo.MiddlewareFunc{sessionecho.RequireUser}
}

// oneSegment rejects a path parameter that is empty or has several segments. Echo
// accepts both in the last parameter of a path.
func oneSegment(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, value := range c.ParamValues() {
			if value == "" || strings.Contains(value, "/") {
				return echo.ErrNotFound
			}
		}
		return next(c)
	}
}

// echoHandler adapts a net/http handler, and sets the path values of its request.
func echoHandler(h http.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, name := range c.ParamNames() {
			c.Request().SetPathValue(name, c.Param(name))
		}
		h(c.Response(), c.Request())
		return nil
	}
}
