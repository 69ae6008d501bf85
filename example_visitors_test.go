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

// notice is a message for the next page.
var notice = session.NewKey[string]("notice")

// A message that is shown once, on the page after a sign-out. The visitor is no longer
// signed in, and still has a value.
func ExampleKey_Pop() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, r *http.Request) {
		err := m.Logout(r.Context())
		if err == nil {
			err = notice.Set(session.FromContext(r.Context()), "You are signed out.")
		}
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		text, ok := notice.Pop(session.FromContext(r.Context()))
		fmt.Fprintf(w, "%q %v", text, ok)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	fmt.Println(ada.post("/leave"))
	fmt.Println(ada.get("/"))
	fmt.Println(ada.get("/"))
	// Output:
	// 204 No Content
	// 200 "You are signed out." true
	// 200 "" false
}
