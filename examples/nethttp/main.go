// Command nethttp is a minimal app: a page for users, a page for admins,
// and the routes for signing in and out. Start the auth service first:
//
//	go run ./examples/authserver
//	go run ./examples/nethttp
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

func newHandler(authURL string) (http.Handler, error) {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(authURL),
		Keys: []session.SecretKey{session.GenerateKey()}, // in production, load a key from the environment
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m) // /login, /login/mfa, /logout
	mux.Handle("GET /{$}", middleware.RequireUser(http.HandlerFunc(home)))
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(admin)))
	return middleware.Sessions(m)(mux), nil
}

func home(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	fmt.Fprintf(w, "You are %s, with the roles %q.\n", s.UserID(), s.Roles())
}

func admin(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "You are an admin.") }

func main() {
	handler, err := newHandler("http://127.0.0.1:8081")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", handler))
}
