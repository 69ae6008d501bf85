// Command gin is a minimal app with Gin: a page for users, a page for admins,
// and the routes for signing in and out. Start the auth service first:
//
//	go run ./examples/authserver
//	go run ./examples/gin
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/synmetrix"
)

func newHandler(m *session.Manager) http.Handler {
	r := gin.Default()
	r.Use(sessiongin.Sessions(m))
	sessiongin.Mount(r, m) // /login, /login/mfa, /logout
	r.GET("/", sessiongin.RequireUser, home)
	r.GET("/admin", sessiongin.RequireRole("admin"), admin)
	return r
}
func home(c *gin.Context)  { c.String(200, "You are %s", sessiongin.FromContext(c).UserID()) }
func admin(c *gin.Context) { c.String(200, "You are an admin.") }

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
