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

// The auth service fails, and nobody is signed out. A page that is for
// everybody is shown, one that is for users says that it can't tell.
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
			fmt.Fprintln(w, "Welcome (who you are can't be told just now)")
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
	fmt.Println(ada.get("/"), "-", ada.get("/mine")) // with a token that is good, nobody notices
	auth.Advance(time.Hour)
	fmt.Println(ada.get("/"), "-", ada.get("/mine"))
	auth.Clear()
	auth.Advance(time.Minute) // tries are spaced
	fmt.Println(ada.get("/"), "-", ada.get("/mine"))
	// Output:
	// 200 Welcome back - 200 Yours
	// 200 Welcome (who you are can't be told just now) - 503 Service Unavailable
	// 200 Welcome back - 200 Yours
}
