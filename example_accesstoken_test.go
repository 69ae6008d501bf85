package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// startAPI starts an API that accepts the auth service's access tokens.
func startAPI(auth *authtest.Server) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return auth.Secret(), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(auth.Now))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
}

// A page calls an API as its user.
func ExampleSession_AccessToken() {
	auth := startAuth(authtest.Options{AccessLife: 15 * time.Minute})
	defer auth.Close()
	api := startAPI(auth)
	defer api.Close()

	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
		Now:  auth.Now, // a clock that the example can move
	})
	if err != nil {
		log.Fatal(err)
	}
	report := func(w http.ResponseWriter, r *http.Request) {
		token, err := session.FromContext(r.Context()).AccessToken(r.Context())
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), "GET", api.URL, nil)
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		synmetrix.SetAuthorization(req.Header, token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusBadGateway, Err: err})
			return
		}
		res.Body.Close()
		fmt.Fprintln(w, "the API says", res.Status)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /report", report)
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	fmt.Println(ada.get("/report"))
	auth.Advance(time.Hour) // the token has expired and is refreshed
	fmt.Println(ada.get("/report"))
	fmt.Println("refreshes:", auth.Refreshes())
	// Output:
	// 200 the API says 200 OK
	// 200 the API says 200 OK
	// refreshes: 1
}
