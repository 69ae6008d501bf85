package main

import (
	"net/http"

	echocontrib "github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
)

func init() {
	register(contender{
		name: "echo-contrib/session", router: echoRouter, session: "encrypted in a cookie, gob", less: notInGorilla,
		open: echoContrib,
	})
}

func echoContrib(*env) (http.Handler, error) {
	e := echo.New()
	e.Use(echocontrib.Middleware(gorillaStore(hashKey, blockKey)))
	e.GET("/", func(c echo.Context) error {
		s, _ := echocontrib.Get(sessionName, c)
		front(c.Response(), s.Values["user"] != nil)
		return nil
	})
	e.GET("/public", echoPage(forAll))
	e.GET("/admin", func(c echo.Context) error {
		s, _ := echocontrib.Get(sessionName, c)
		roles, ok := s.Values["roles"].([]string)
		guard(c.Response(), c.Request(), ok, roles)
		return nil
	})
	e.POST("/login", func(c echo.Context) error {
		logIn(c.Response(), c.Request(), func(a account) error {
			s, _ := echocontrib.Get(sessionName, c)
			a.keep(func(name string, value any) { s.Values[name] = value })
			return s.Save(c.Request(), c.Response())
		})
		return nil
	})
	return e, nil
}
