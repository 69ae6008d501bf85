package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessiongin"
)

const (
	cookieGin = "session, cookie, Gin"
	memoryGin = "session, memory, Gin"
)

func init() {
	register(contender{
		name: cookieGin, router: ginRouter, session: "sealed in cookies, opened before", ours: true,
		open: openSessionGin(nil),
	})
	register(contender{
		name: memoryGin, router: ginRouter, session: "in memory", ours: true, apart: true,
		open: openSessionGin(inMemstore),
	})
}

// openSessionGin returns a function that opens the app of this library on Gin.
func openSessionGin(set func(*env, *session.Config) error) func(*env) (http.Handler, error) {
	return func(env *env) (http.Handler, error) {
		m, err := newManager(env, set)
		if err != nil {
			return nil, err
		}
		e := newGin()
		e.Use(sessiongin.Sessions(m))
		e.GET("/", func(c *gin.Context) { front(c.Writer, sessiongin.FromContext(c).SignedIn()) })
		e.GET("/public", ginPage(forAll))
		e.GET("/admin", sessiongin.RequireRole("admin"), ginPage(adminOnly))
		e.POST("/login", gin.WrapF(sessionLogin(m)))
		return e, nil
	}
}
