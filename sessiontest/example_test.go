package sessiontest_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
	"github.com/synmetrix/session/synmetrix"
)

// greet is a handler of the app.
func greet(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	fmt.Fprintf(w, "Hello %s, admin: %t", s.UserID(), s.HasRole("admin"))
}

// newApp returns the app and its Manager.
func newApp(authURL string) (*session.Manager, http.Handler) {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(authURL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(greet)))
	return m, middleware.Sessions(m)(mux)
}

// Test a single handler.
func ExampleSignedIn() {
	req := httptest.NewRequest("GET", "/", nil)
	req = sessiontest.SignedIn(req, "user-1", "admin")

	rec := httptest.NewRecorder()
	greet(rec, req)
	fmt.Println(rec.Body)
	// Output: Hello user-1, admin: true
}

// Test a whole app without a server. No request reaches the auth service.
func ExampleUser_SignedInTo() {
	manager, app := newApp("https://auth.example.org")
	for _, user := range []sessiontest.User{
		sessiontest.As("user-1", "admin"),
		sessiontest.As("user-2", "user"),
	} {
		req := user.SignedInTo(manager, httptest.NewRequest("GET", "/admin", nil))
		rec := httptest.NewRecorder()
		app.ServeHTTP(rec, req)
		fmt.Println(user.ID, rec.Code)
	}
	// Output:
	// user-1 200
	// user-2 403
}

// Test a whole app on a server, with two users.
func ExampleUser_Client() {
	manager, app := newApp("https://auth.example.org")
	srv := httptest.NewServer(app)
	defer srv.Close()

	admin := sessiontest.As("user-1", "admin").Client(manager, srv)
	user := sessiontest.As("user-2", "user").Client(manager, srv)
	for _, client := range []*http.Client{admin, user} {
		res, err := client.Get(srv.URL + "/admin")
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
		fmt.Println(res.Status)
	}
	// Output:
	// 200 OK
	// 403 Forbidden
}

// Test a handler that greets users by name.
func ExampleUser_SignedIn() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := session.FromContext(r.Context()).User()
		fmt.Fprintf(w, "Hello %s <%s>", u.Name, u.Email)
	})
	ada := sessiontest.User{ID: "user-1", Name: "Ada", Email: "ada@example.com"}
	rec := httptest.NewRecorder()
	hello.ServeHTTP(rec, ada.SignedIn(httptest.NewRequest("GET", "/", nil)))
	fmt.Println(rec.Body)
	// Output: Hello Ada <ada@example.com>
}

// Test a policy that uses a claim of the app.
func ExampleUser_claims() {
	ofAcme := middleware.Require(func(s *session.Session) bool {
		var org string
		ok, err := s.Claims().Get("x-hasura-org", &org)
		return err == nil && ok && org == "acme"
	})
	for _, org := range []string{"acme", "other"} {
		user := sessiontest.User{ID: "user-1", Claims: map[string]any{"x-hasura-org": org}}
		rec := httptest.NewRecorder()
		ofAcme(http.HandlerFunc(greet)).ServeHTTP(rec, user.SignedIn(httptest.NewRequest("GET", "/", nil)))
		fmt.Println(org, rec.Code)
	}
	// Output:
	// acme 200
	// other 403
}

// Test with the tokens of an auth service, which can be refreshed.
func ExampleUser_tokens() {
	auth, err := authtest.Start(authtest.Options{Accounts: []authtest.Account{
		{ID: "328ddebf-6a1c-4a7e-9d0b-0f2f64f4f3a5", Email: "ada@example.com", Roles: []string{"admin"}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	manager, app := newApp(auth.URL)
	srv := httptest.NewServer(app)
	defer srv.Close()

	var ada sessiontest.User
	ada.Tokens.AccessToken, ada.Tokens.RefreshToken = auth.SignIn("ada@example.com")
	res, err := ada.Client(manager, srv).Get(srv.URL + "/admin")
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(res.Status)
	// Output: 200 OK
}
