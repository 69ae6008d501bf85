package main

import (
	"net/http"

	gincontrib "github.com/gin-contrib/sessions"
	gincookie "github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"
)

func init() {
	register(contender{
		name: "gin-contrib/sessions", router: ginRouter, session: "encrypted in a cookie, gob", less: notInGorilla,
		open: ginContrib,
	})
}

func ginContrib(*env) (http.Handler, error) {
	store := gincookie.NewStore(hashKey, blockKey)
	store.Options(gincontrib.Options{
		Path: "/", MaxAge: gorillaOptions.MaxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	e := newGin()
	e.Use(gincontrib.Sessions(sessionName, store))
	e.GET("/", func(c *gin.Context) { front(c.Writer, gincontrib.Default(c).Get("user") != nil) })
	e.GET("/public", ginPage(forAll))
	e.GET("/admin", func(c *gin.Context) {
		roles, ok := gincontrib.Default(c).Get("roles").([]string)
		guard(c.Writer, c.Request, ok, roles)
	})
	e.POST("/login", func(c *gin.Context) {
		logIn(c.Writer, c.Request, func(a account) error {
			s := gincontrib.Default(c)
			a.keep(func(name string, value any) { s.Set(name, value) })
			return s.Save()
		})
	})
	return e, nil
}
