// Command echo5 is a minimal app with Echo 5: a page for users, a page for admins,
// and the routes for signing in and out. Start the auth service first:
//
//	go run ./examples/authserver
//	go run ./examples/echo5
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/synmetrix"
)

func newHandler(m *session.Manager) http.Handler {
	e := echo.New()
	e.Use(sessionecho5.Sessions(m))
	sessionecho5.Mount(e, m) // /login, /login/mfa, /logout
	e.GET("/", home, sessionecho5.RequireUser)
	e.GET("/admin", admin, sessionecho5.RequireRole("admin"))
	return e
}
func home(c *echo.Context) error  { return c.String(200, "User "+sessionecho5.FromContext(c).UserID()) }
func admin(c *echo.Context) error { return c.String(200, "You are an admin.") }

func main() {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(cmp.Or(os.Getenv("AUTH_URL"), "http://127.0.0.1:8081")),
		Keys: []session.SecretKey{session.GenerateKey()}, // in production, load a key from the environment
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"), newHandler(m)))
}
