package session_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// An http.Client calls an API as the user of the page. Requests to other hosts
// carry no token.
func ExampleManager_Transport() {
	auth := startAuth(authtest.Options{AccessLife: 15 * time.Minute})
	defer auth.Close()
	api := startAPI(auth)
	defer api.Close()
	address, err := url.Parse(api.URL) // https://api.example.org
	if err != nil {
		log.Fatal(err)
	}

	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
		Now:  auth.Now, // a clock that the example can move
	})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: m.Transport(address.Host)}
	report := func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), "GET", api.URL, nil)
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		res, err := client.Do(req)
		if err != nil {
			middleware.Refuse(w, r, err) // for example, no user is signed in
			return
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		fmt.Fprintln(w, "the API says", res.Status)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /report", report)
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	fmt.Println(ada.get("/report"))
	ada.signIn("ada@example.com")
	fmt.Println(ada.get("/report"))
	auth.Advance(time.Hour) // the token has expired
	fmt.Println(ada.get("/report"))
	// Output:
	// 303 to /login?return_to=%2Freport
	// 200 the API says 200 OK
	// 200 the API says 200 OK
}
