package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session/middleware"
)

// A script determines whether a user is signed in. With optional=true a visitor is not an
// error.
func ExampleMe() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /api/me", middleware.Me)
	app := httptest.NewServer(middleware.Sessions(m)(mux))
	defer app.Close()

	fmt.Println(fetch(newGuest(app), "GET", app.URL+"/api/me?optional=true"))
	fmt.Println(fetch(newGuest(app), "GET", app.URL+"/api/me"))
	// Output:
	// 200 {"signed_in":false,"login_url":"/login"}
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"You must be signed in to do this.","code":"unauthenticated","login_url":"/login"}
}
