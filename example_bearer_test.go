package session_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// A script calls a guarded route with an access token of the auth service. Calls that
// need a session fail.
func ExampleSession_Bearer() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	verifier, err := verify.New(verify.Config{Secrets: [][]byte{auth.Secret()}})
	if err != nil {
		log.Fatal(err)
	}
	m, err := session.New(session.Config{
		Auth:     synmetrix.NewClient(auth.URL),
		Keys:     []session.SecretKey{session.GenerateKey()},
		Verifier: verifier,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /report", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		fmt.Fprintf(w, "bearer %v, roles %v", s.Bearer(), s.Roles())
	})))
	theme := session.NewKey[string]("theme")
	mux.Handle("PUT /theme", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := theme.Set(session.FromContext(r.Context()), "dark"); err != nil {
			middleware.Refuse(w, r, err)
		}
	})))
	app := httptest.NewServer(middleware.Sessions(m)(mux))
	defer app.Close()

	access, _ := auth.SignIn("ada@example.com")
	for _, request := range []struct{ method, path, token string }{
		{"GET", "/report", access},
		{"GET", "/report", access + "x"},
		{"PUT", "/theme", access},
	} {
		r, err := http.NewRequest(request.method, app.URL+request.path, http.NoBody)
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+request.token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body = []byte(resp.Header.Get("WWW-Authenticate"))
		}
		fmt.Println(resp.Status, string(body))
	}
	// Output:
	// 200 OK bearer true, roles [user admin]
	// 401 Unauthorized Bearer error="invalid_token"
	// 403 Forbidden
}
