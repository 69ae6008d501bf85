// Command chi is a minimal app with chi: a page for users, a page for admins,
// and the routes for signing in and out. Start the auth service first:
//
//	go run ./examples/authserver
//	go run ./examples/chi
package main

import (
	"cmp"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/go-chi/chi/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

func newHandler(m *session.Manager) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.Sessions(m))
	middleware.Mount(r, m)    // /login, /login/mfa, /logout
	r.Get("/", middleware.Me) // who is signed in, as JSON
	r.With(middleware.RequireRole("admin")).Get("/admin", admin)
	return r
}
func admin(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "You are an admin.") }

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
