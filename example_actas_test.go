package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// An admin sees the app as another user does, and comes back.
func ExampleManager_ActAs() {
	service := startAuth(authtest.Options{})
	defer service.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(service.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	actAs := func(w http.ResponseWriter, r *http.Request) {
		var tokens auth.Tokens // a real app gets them from its auth service
		tokens.AccessToken, tokens.RefreshToken = service.SignIn(r.PostFormValue("user"))
		if err := m.ActAs(r.Context(), auth.Grant{Tokens: tokens}, session.WithLifetime(time.Hour)); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	mux.Handle("POST /act-as", middleware.RequireRole("admin")(http.HandlerFunc(actAs)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		fmt.Fprintf(w, "roles %v, actor %q", s.Roles(), s.Actor().Email)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	fmt.Println(ada.get("/"))
	fmt.Println(ada.post("/act-as", "user", "bob@example.com"))
	fmt.Println(ada.get("/"))
	ada.post("/logout")
	fmt.Println(ada.get("/"))
	// Output:
	// 200 roles [user admin], actor ""
	// 204 No Content
	// 200 roles [user], actor "ada@example.com"
	// 200 roles [user admin], actor ""
}

// The user chooses whether to stay signed in when the browser is closed.
func ExampleWithRemember() {
	service := startAuth(authtest.Options{})
	defer service.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(service.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, remember := range []bool{true, false} {
		rec := httptest.NewRecorder()
		signIn := func(w http.ResponseWriter, r *http.Request) {
			err := m.Login(r.Context(), "ada@example.com", "correct horse",
				session.WithRemember(remember), session.WithLifetime(12*time.Hour))
			if err != nil {
				middleware.Refuse(w, r, err)
			}
		}
		middleware.Sessions(m)(http.HandlerFunc(signIn)).ServeHTTP(rec, httptest.NewRequest("POST", "/sign-in", nil))
		for _, c := range rec.Result().Cookies() {
			if c.Name == "__Host-session" {
				fmt.Println("remember:", remember, "Max-Age:", c.MaxAge)
			}
		}
	}
	// Output:
	// remember: true Max-Age: 43200
	// remember: false Max-Age: 0
}
