package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// Sessions are kept in a store, and the cookie holds only the session ID.
// Manager.LogoutAll ends all sessions of a user.
func ExampleConfig_store() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth:  synmetrix.NewClient(auth.URL),
		Keys:  []session.SecretKey{session.GenerateKey()},
		Store: memstore.New(), // or a sqlstore.Store, which outlives the process
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "signed in:", session.FromContext(r.Context()).SignedIn())
	})
	mux.HandleFunc("POST /sign-out-everywhere", func(w http.ResponseWriter, r *http.Request) {
		if err := m.LogoutAll(r.Context()); err != nil {
			middleware.Refuse(w, r, err) // the store is down, and the user may still be signed in
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	desktop, phone, bob := newGuest(app), newGuest(app), newGuest(app)
	desktop.signIn("ada@example.com")
	phone.signIn("ada@example.com")
	bob.signIn("bob@example.com")
	fmt.Println(phone.post("/sign-out-everywhere"))
	fmt.Println("phone:", phone.get("/"))
	fmt.Println("desktop:", desktop.get("/"))
	fmt.Println("Bob:", bob.get("/"))
	fmt.Println("Ada's refresh tokens:", len(auth.LiveTokens("ada@example.com")))
	// Output:
	// 303 to /
	// phone: 200 signed in: false
	// desktop: 200 signed in: false
	// Bob: 200 signed in: true
	// Ada's refresh tokens: 0
}
