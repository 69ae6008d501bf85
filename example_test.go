package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// The first page for admins: a Manager, the built-in login page, one guard.
func Example() {
	auth := startAuth(authtest.Options{}) // in place of https://app.synmetrix.org
	defer auth.Close()

	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		fmt.Fprintln(w, "Hello", s.UserID())
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, m) // /login and /logout
	mux.Handle("GET /admin", middleware.RequireRole("admin")(admin))

	app := httptest.NewTLSServer(middleware.Sessions(m)(mux)) // or http.ListenAndServe
	defer app.Close()

	ada, bob := newGuest(app), newGuest(app)
	fmt.Println("Ada:", ada.get("/admin"))
	fmt.Println("Ada:", ada.post("/login", "email", "ada@example.com", "password", "correct horse", "return_to", "/admin"))
	fmt.Println("Ada:", ada.get("/admin"))
	fmt.Println("Bob:", bob.post("/login", "email", "bob@example.com", "password", "correct horse"))
	fmt.Println("Bob:", bob.get("/admin"))
	fmt.Println("Ada:", ada.post("/logout"))
	fmt.Println("Ada:", ada.get("/admin"))
	// Output:
	// Ada: 303 to /login?return_to=%2Fadmin
	// Ada: 303 to /admin
	// Ada: 200 Hello 328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11
	// Bob: 303 to /
	// Bob: 403 Forbidden
	// Ada: 303 to /
	// Ada: 303 to /login?return_to=%2Fadmin
}
