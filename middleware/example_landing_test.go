package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Admins and other users see different pages after the sign-in, unless they were on the
// way to another page.
func ExampleWithLanding() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m,
		middleware.WithHome("/reports"),
		middleware.WithLanding(func(s *session.Session) string {
			if s.HasRole("admin") {
				return "/admin"
			}
			return "" // the start page
		}),
	)(mux))
	defer app.Close()

	login := app.URL + "/login"
	fmt.Println(submit(newGuest(app), login, "email", "ada@example.com", "password", "correct horse"))
	fmt.Println(submit(newGuest(app), login, "email", "bob@example.com", "password", "correct horse"))
	fmt.Println(submit(newGuest(app), login, "email", "ada@example.com", "password", "correct horse", "return_to", "/news"))
	// Output:
	// 303 to /admin
	// 303 to /reports
	// 303 to /news
}

// After signing out, users see the public page of the app, or the page that the form
// names.
func ExampleWithSignedOutHome() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m,
		middleware.WithHome("/reports"),
		middleware.WithSignedOutHome("/goodbye"),
	)(mux))
	defer app.Close()

	bob := newGuest(app)
	fmt.Println(submit(bob, app.URL+"/login", "email", "bob@example.com", "password", "correct horse"))
	fmt.Println(submit(bob, app.URL+"/logout"))
	fmt.Println(submit(bob, app.URL+"/logout", "return_to", "/shop"))
	fmt.Println(submit(bob, app.URL+"/logout", "return_to", "https://evil.example/"))
	// Output:
	// 303 to /reports
	// 303 to /goodbye
	// 303 to /shop
	// 303 to /goodbye
}
