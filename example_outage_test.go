package session_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// The auth service fails, and no user is signed out. The public page is still
// served. The page for users returns 503, because the session cannot be
// determined.
func ExampleSession_Err() {
	auth := startAuth(authtest.Options{AccessLife: 15 * time.Minute})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
		Now:  auth.Now, // a clock that the example can move
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		var outage *session.UnavailableError
		switch {
		case s.SignedIn():
			fmt.Fprintln(w, "Welcome back")
		case errors.As(s.Err(), &outage):
			fmt.Fprintln(w, "Welcome (your session cannot be reached at the moment)")
		default:
			fmt.Fprintln(w, "Welcome")
		}
	})
	mux.Handle("GET /mine", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Yours")
	})))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	auth.Inject(authtest.Any, authtest.Fault{Status: http.StatusBadGateway})
	fmt.Println(ada.get("/"), "-", ada.get("/mine")) // the access token is still valid
	auth.Advance(time.Hour)
	fmt.Println(ada.get("/"), "-", ada.get("/mine"))
	auth.Clear()
	auth.Advance(time.Minute) // the refresh is retried after a pause
	fmt.Println(ada.get("/"), "-", ada.get("/mine"))
	// Output:
	// 200 Welcome back - 200 Yours
	// 200 Welcome (your session cannot be reached at the moment) - 503 Service Unavailable
	// 200 Welcome back - 200 Yours
}
