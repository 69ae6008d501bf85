package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// text returns a handler that responds with a text.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, s) })
}

// A public page, a page for users and a page for two roles, requested by a visitor,
// a user and an analyst.
func ExampleRequireRole() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /{$}", text("public page"))
	mux.Handle("GET /dashboard", middleware.RequireUser(text("for users")))
	mux.Handle("GET /reports", middleware.RequireRole("admin", "analyst")(text("for admins and analysts")))
	app := httptest.NewServer(middleware.Sessions(m)(mux))
	defer app.Close()

	for _, who := range []struct {
		name   string
		client *http.Client
	}{
		{"visitor", newGuest(app)},
		{"user", sessiontest.As("user-1", "user").Client(m, app)},
		{"analyst", sessiontest.As("user-2", "user", "analyst").Client(m, app)},
	} {
		for _, path := range []string{"/", "/dashboard", "/reports"} {
			fmt.Println(who.name, follow(who.client, app.URL+path))
		}
	}
	// Output:
	// visitor 200 public page
	// visitor 303 to /login?return_to=%2Fdashboard
	// visitor 303 to /login?return_to=%2Freports
	// user 200 public page
	// user 200 for users
	// user 403 page: No access
	// analyst 200 public page
	// analyst 200 for users
	// analyst 200 for admins and analysts
}

// A policy that uses another claim of the access token. The claims do not change
// until the token is refreshed. A policy that needs current data must read the app's
// own.
func ExampleRequire() {
	staff := middleware.Require(func(s *session.Session) bool {
		var until string
		ok, err := s.Claims().Get("x-hasura-contract-until", &until)
		if err != nil || !ok {
			return false
		}
		end, err := time.Parse(time.DateOnly, until)
		return err == nil && time.Now().Before(end)
	})
	m, stop := startManager("")
	defer stop()
	app := httptest.NewServer(middleware.Sessions(m)(staff(text("canteen menu"))))
	defer app.Close()

	for _, claims := range []map[string]any{
		{"x-hasura-contract-until": "2999-12-31"},
		{"x-hasura-contract-until": "1999-12-31"},
		{"x-hasura-contract-until": 2999},
		{},
	} {
		user := sessiontest.User{ID: "user-1", Claims: claims}
		fmt.Println(follow(user.Client(m, app), app.URL))
	}
	// Output:
	// 200 canteen menu
	// 403 page: No access
	// 403 page: No access
	// 403 page: No access
}
