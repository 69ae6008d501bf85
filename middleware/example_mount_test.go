package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// The built-in routes below a prefix. Set session.Config.LoginPath, so that the
// guards find the login page. The routes find each other.
func ExampleMount() {
	m, stop := startManager("/account/login")
	defer stop()
	account := http.NewServeMux()
	middleware.Mount(account, m)
	mux := http.NewServeMux()
	mux.Handle("/account/", http.StripPrefix("/account", account))
	mux.Handle("GET /{$}", middleware.RequireUser(text("Hello")))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	bob := newGuest(app)
	fmt.Println(follow(bob, app.URL))
	fmt.Println(submit(bob, app.URL+"/account/login", "email", "bob@example.com", "password", "correct horse"))
	fmt.Println(follow(bob, app.URL))
	fmt.Println(submit(bob, app.URL+"/account/logout"))
	// Output:
	// 303 to /account/login?return_to=%2F
	// 303 to /
	// 200 Hello
	// 303 to /
}

// If a router does not accept the patterns of http.ServeMux, register the routes
// one by one. With chi: r.Method(route.Method, route.Path, route.Handler).
func ExampleRoutes() {
	m, stop := startManager("")
	defer stop()
	type key struct{ method, path string }
	router := map[key]http.Handler{}
	for _, route := range middleware.Routes(m) {
		router[key{route.Method, route.Path}] = route.Handler
	}
	app := httptest.NewServer(middleware.Sessions(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, ok := router[key{r.Method, r.URL.Path}]; ok {
			h.ServeHTTP(w, r)
			return
		}
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
	})))
	defer app.Close()

	fmt.Println(follow(newGuest(app), app.URL+"/login"))
	fmt.Println(follow(newGuest(app), app.URL+"/logout")) // a link must not sign users out
	fmt.Println(follow(newGuest(app), app.URL+"/logon"))
	// Output:
	// 200 page: Sign in
	// 405 page: Not possible
	// 404 page: Page not found
}

// Sessions must be around all handlers that use sessions. Here it is around an
// access log with the user's ID.
func ExampleSessions() {
	m, stop := startManager("")
	defer stop()
	var log strings.Builder
	logged := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(&log, session.FromContext(r.Context()).UserID(), r.Method, r.URL.Path)
			next.ServeHTTP(w, r)
		})
	}
	app := httptest.NewServer(middleware.Sessions(m)(logged(middleware.RequireUser(text("Hello")))))
	fmt.Println(follow(sessiontest.As("user-1").Client(m, app), app.URL+"/home"))
	app.Close()
	fmt.Println(strings.TrimSpace(log.String()))
	// Output:
	// 200 Hello
	// user-1 GET /home
}
