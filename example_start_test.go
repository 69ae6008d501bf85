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

// The app receives tokens from a registration, and passes them to Manager.Start.
func ExampleManager_Start() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	client := synmetrix.NewClient(auth.URL)
	m, err := session.New(session.Config{
		Auth: client,
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /register", func(w http.ResponseWriter, r *http.Request) {
		if err := m.CheckOrigin(r); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		grant, err := client.Register(r.Context(), r.PostFormValue("email"), r.PostFormValue("password"))
		if err == nil {
			err = m.Start(r.Context(), grant)
		}
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		fmt.Fprintln(w, "Welcome", session.FromContext(r.Context()).Roles())
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, session.FromContext(r.Context()).SignedIn())
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	grace := newGuest(app)
	fmt.Println(grace.get("/"))
	fmt.Println(grace.post("/register", "email", "grace@example.com", "password", "battery staple"))
	fmt.Println(grace.get("/"))
	// Output:
	// 200 false
	// 200 Welcome [user]
	// 200 true
}
