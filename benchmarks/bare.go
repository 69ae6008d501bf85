package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"
)

// The routers.
const (
	netHTTP    = "net/http"
	echoRouter = "Echo"
	ginRouter  = "Gin"
)

func init() {
	gin.SetMode(gin.ReleaseMode)
	for _, r := range []struct {
		router string
		open   func() http.Handler
	}{{netHTTP, bareHTTP}, {echoRouter, bareEcho}, {ginRouter, bareGin}} {
		register(contender{
			name: "bare " + r.router, router: r.router, session: "none", bare: true,
			open: func(*env) (http.Handler, error) { return r.open(), nil },
		})
	}
}

// newGin returns a Gin without logging and recovery, like the other routers.
func newGin() *gin.Engine { return gin.New() }

// bareLogin checks the password and begins no session.
func bareLogin(w http.ResponseWriter, r *http.Request) {
	logIn(w, r, func(account) error { return nil })
}

func bareHTTP() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { front(w, false) })
	mux.HandleFunc("GET /public", forAll)
	mux.HandleFunc("GET /admin", adminOnly)
	mux.HandleFunc("POST /login", bareLogin)
	return mux
}

func bareEcho() http.Handler {
	e := echo.New()
	e.GET("/", func(c echo.Context) error { front(c.Response(), false); return nil })
	e.GET("/public", echoPage(forAll))
	e.GET("/admin", echoPage(adminOnly))
	e.POST("/login", echoPage(bareLogin))
	return e
}

// echoPage is a page that writes to the response of the router, as Echo's own handlers do.
func echoPage(page http.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error { page(c.Response(), c.Request()); return nil }
}

// ginPage is a page that writes to the response of the router.
func ginPage(page http.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) { page(c.Writer, c.Request) }
}

func bareGin() http.Handler {
	e := newGin()
	e.GET("/", func(c *gin.Context) { front(c.Writer, false) })
	e.GET("/public", ginPage(forAll))
	e.GET("/admin", ginPage(adminOnly))
	e.POST("/login", ginPage(bareLogin))
	return e
}
