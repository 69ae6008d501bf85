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
			c.Response().Header().Del(echo.HeaderAllow) // which Echo has set, and has another opinion of
			unmatched.ServeHTTP(c.Response(), c.Request())
			return
		}
		sessionecho.HTTPErrorHandler(err, c)
	}
	e.Use(sessionecho.Sessions(a.manager, sessionOptions()...))
	sessionecho.Mount(e, a.manager)
	for _, rt := range a.routes() {
		e.Any(colonPath(rt.path), echo.WrapHandler(unmatched)) // OPTIONS too, to which Echo has an answer of its own
		for _, method := range rt.methods() {
			e.Add(method, colonPath(rt.path), echoHandler(rt.handler), append([]echo.MiddlewareFunc{oneSegment}, rt.who.echo()...)...)
		}
	}
	return plainPaths(e)
}

func (g guard) echo() []echo.MiddlewareFunc {
	switch {
	case g.everybody:
		return nil
	case len(g.roles) > 0:
		return []echo.MiddlewareFunc{sessionecho.RequireRole(g.roles...)}
	}
	return []echo.MiddlewareFunc{sessionecho.RequireUser}
}

// oneSegment keeps the last parameter of a path from being more than a segment
// of it, or none, as Echo has it.
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

// echoHandler gives a handler of net/http what it looks for in the path.
func echoHandler(h http.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, name := range c.ParamNames() {
			c.Request().SetPathValue(name, c.Param(name))
		}
		h(c.Response(), c.Request())
		return nil
	}
}
