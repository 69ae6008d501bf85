package main

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
)

const (
	cookieEcho = "session, cookie, Echo"
	memoryEcho = "session, memory, Echo"
)

func init() {
	register(contender{
		name: cookieEcho, router: echoRouter, session: "sealed in cookies, opened before", ours: true,
		open: openSessionEcho(nil),
	})
	register(contender{
		name: memoryEcho, router: echoRouter, session: "in memory", ours: true, apart: true,
		open: openSessionEcho(inMemstore),
	})
}

// openSessionEcho returns a function that opens the app of this library on Echo.
func openSessionEcho(set func(*env, *session.Config) error) func(*env) (http.Handler, error) {
	return func(env *env) (http.Handler, error) {
		m, err := newManager(env, set)
		if err != nil {
			return nil, err
		}
		e := echo.New()
		e.Use(sessionecho.Sessions(m))
		e.GET("/", func(c echo.Context) error {
			front(c.Response(), sessionecho.FromContext(c).SignedIn())
			return nil
		})
		e.GET("/public", echoPage(forAll))
		e.GET("/admin", echoPage(adminOnly), sessionecho.RequireRole("admin"))
		e.POST("/login", echo.WrapHandler(sessionLogin(m)))
		return e, nil
	}
}
