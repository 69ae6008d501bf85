package benchmarks_test

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"
)

func init() { gin.SetMode(gin.ReleaseMode) }

// newGin returns a Gin without logging and recovery, like the other routers.
func newGin() *gin.Engine { return gin.New() }

func bareHTTP(bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { front(w, false) })
	mux.HandleFunc("GET /admin", adminOnly)
	return mux
}

func bareEcho(bool) http.Handler {
	e := echo.New()
	e.GET("/", func(c echo.Context) error { front(c.Response(), false); return nil })
	e.GET("/admin", func(c echo.Context) error { adminOnly(c.Response(), c.Request()); return nil })
	return e
}

func bareGin(bool) http.Handler {
	e := newGin()
	e.GET("/", func(c *gin.Context) { front(c.Writer, false) })
	e.GET("/admin", func(c *gin.Context) { adminOnly(c.Writer, c.Request) })
	return e
}
