package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// A user who has entered the password too long ago enters it again, and comes back.
func ExampleRequireFresh() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /pay", middleware.RequireFresh(10*time.Minute)(text("pay")))
	mux.Handle("GET /strict", middleware.RequireFresh(time.Nanosecond)(text("the password was entered just now")))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	submit(ada, app.URL+"/login", "email", "ada@example.com", "password", "correct horse")
	fmt.Println(follow(ada, app.URL+"/pay"))
	fmt.Println(follow(ada, app.URL+"/strict"))
	fmt.Println(fetch(ada, "GET", app.URL+"/strict"))
	// Output:
	// 200 pay
	// 303 to /login?return_to=%2Fstrict&again=1
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"To continue, please sign in again.","code":"reauthentication_required","login_url":"/login?again=1"}
}

// A page that polls does not keep the session of a user who has left.
func ExamplePassive() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	unread := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "signed in:", session.FromContext(r.Context()).SignedIn())
	}
	mux.Handle("GET /unread", middleware.Passive(http.HandlerFunc(unread)))
	app := httptest.NewServer(middleware.Sessions(m)(mux))
	defer app.Close()

	fmt.Println(fetch(newGuest(app), "GET", app.URL+"/unread"))
	// Output: 200 signed in: false
}

// The login page has a box. Sessions of users who do not check it last 12 hours at most.
func ExampleWithRememberMe() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := middleware.Sessions(m, middleware.WithRememberMe(true, 12*time.Hour))(mux)
	fmt.Println(http.ListenAndServe("localhost:8080", app))
}
