package middleware_test

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

func Example() {
	auth, err := authtest.Start(authtest.Options{Accounts: []authtest.Account{
		{ID: "328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11", Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()

	// The app begins here.
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL), // https://app.synmetrix.org
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello", session.FromContext(r.Context()).UserID())
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /admin", middleware.RequireRole("admin")(admin))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux)) // http.ListenAndServe
	defer app.Close()

	ada := newGuest(app)
	fmt.Println(follow(ada, app.URL+"/admin"))
	fmt.Println(follow(ada, app.URL+"/login?return_to=%2Fadmin"))
	fmt.Println(submit(ada, app.URL+"/login", "email", "ada@example.com", "password", "wrong horse"))
	fmt.Println(submit(ada, app.URL+"/login", "email", "ada@example.com", "password", "correct horse", "return_to", "/admin"))
	fmt.Println(follow(ada, app.URL+"/admin"))
	// Output:
	// 303 to /login?return_to=%2Fadmin
	// 200 page: Sign in
	// 401 page: Sign in
	// 303 to /admin
	// 200 Hello 328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11
}
