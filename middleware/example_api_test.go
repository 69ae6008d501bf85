package middleware_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// The same guards protect pages and an API. Requests for a page are redirected to
// the login page. Requests for JSON receive a JSON refusal (RFC 9457), and so do
// all requests below the prefixes.
func ExampleWithAPI() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
	mux.Handle("DELETE /api/users/{id}", middleware.RequireRole("admin")(text("deleted")))
	mux.Handle("GET /{$}", middleware.RequireUser(text("Hello")))
	app := httptest.NewServer(middleware.Sessions(m, middleware.WithAPI("/api/"))(mux))
	defer app.Close()

	visitor, user := newGuest(app), sessiontest.As("user-1", "user").Client(m, app)
	fmt.Println(follow(visitor, app.URL+"/"))
	fmt.Println(fetch(visitor, "GET", app.URL+"/"))
	fmt.Println(follow(visitor, app.URL+"/api/me"))
	fmt.Println(fetch(user, "DELETE", app.URL+"/api/users/7"))
	// Output:
	// 303 to /login?return_to=%2F
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"You must be signed in to do this.","code":"unauthenticated","login_url":"/login"}
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"You must be signed in to do this.","code":"unauthenticated","login_url":"/login"}
	// 403 {"type":"about:blank","title":"Forbidden","status":403,"detail":"Your account is not allowed to do this.","code":"forbidden"}
}

var errOutOfStock = errors.New("out of stock")

// An app's own refusals have the same form as those of the guards: a page or JSON,
// here with the app's own code.
func ExampleRefuse() {
	m, stop := startManager("")
	defer stop()
	order := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{
			Status: http.StatusConflict,
			Code:   "out_of_stock",
			Detail: "There is no tea left.",
			Err:    errOutOfStock, // for the app's own log
		})
	})
	app := httptest.NewServer(middleware.Sessions(m)(order))
	defer app.Close()
	fmt.Println(fetch(newGuest(app), "POST", app.URL+"/orders"))
	fmt.Println(submit(newGuest(app), app.URL+"/orders", "item", "tea"))
	// Output:
	// 409 {"type":"about:blank","title":"Conflict","status":409,"detail":"There is no tea left.","code":"out_of_stock"}
	// 409 page: Conflict
}
