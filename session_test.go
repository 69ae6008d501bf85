package session_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// TestStory follows a user from the sign-in to the sign-out, over real HTTP, with
// the auth service of package authtest: once with the session in cookies, once
// with the session in a store.
func TestStory(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) { newStory(t, stored).run() })
	}
}

// story is an app, its auth service and a browser.
type story struct {
	*webapp.App
	browser *webapp.Browser
	moved   atomic.Int64 // how far the clock of the app and the service is ahead, in nanoseconds
}

func newStory(t *testing.T, stored bool) *story {
	s := &story{}
	clock := func() time.Time { return time.Now().Add(time.Duration(s.moved.Load())) }
	s.App = webapp.New(t, authtest.Options{
		Accounts: []authtest.Account{
			{Email: "ada@example.com", Password: webapp.Password, Roles: []string{"user", "admin"}},
			{Email: "ben@example.com", Password: webapp.Password, Roles: []string{"user"}},
		},
		AccessLife: 15 * time.Minute, Now: clock,
	}, func(cfg *session.Config) {
		cfg.Now = clock
		cfg.AuthTimeout = time.Minute // a busy machine must not cause an outage
		if stored {
			cfg.Store = &memstore.Store{Now: clock}
		}
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, s.Manager)
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(middleware.Me)))
	mux.Handle("GET /me", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
	mux.HandleFunc("POST /theme", func(w http.ResponseWriter, r *http.Request) {
		if err := favorite.Set(session.FromContext(r.Context()), r.FormValue("theme")); err != nil {
			middleware.Refuse(w, r, err)
		}
	})
	mux.HandleFunc("GET /theme", func(w http.ResponseWriter, r *http.Request) {
		theme, _ := favorite.Get(session.FromContext(r.Context()))
		fmt.Fprint(w, theme)
	})
	s.Serve(middleware.Sessions(s.Manager)(mux), false)
	s.browser = s.Browser()
	return s
}

// signIn sends a JSON request and checks the status.
func (s *story) signIn(email, password string, status int) {
	s.T.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		s.T.Fatal(err)
	}
	s.browser.Do("POST", "/login", string(body), "Content-Type", "application/json").Is(status)
}

func (s *story) run() {
	t := s.T
	// A visitor is not accepted, and wrong credentials change nothing.
	s.browser.Get("/me").Is(401)
	s.signIn("ada@example.com", "wrong", 401)
	s.browser.Get("/me").Is(401)

	// After the sign-in the browser has a session and no token.
	s.signIn("ada@example.com", webapp.Password, 200)
	s.browser.Get("/admin").Is(200)
	address, err := url.Parse(s.Server.URL)
	if err != nil {
		t.Fatal(err)
	}
	cookies := s.browser.Client.Jar.Cookies(address)
	tokens := s.Auth.LiveTokens("ada@example.com")
	if len(cookies) == 0 || len(tokens) != 1 {
		t.Fatalf("%d cookies, %d refresh tokens", len(cookies), len(tokens))
	}
	for _, c := range cookies {
		if strings.Contains(c.Value, tokens[0]) {
			t.Errorf("the cookie %s holds the refresh token", c.Name)
		}
	}

	// The session keeps the app's values.
	s.browser.Submit("/theme", "theme", "dark").Is(200)

	// An access token that has expired is refreshed.
	s.moved.Add(int64(20 * time.Minute))
	s.browser.Get("/me").Is(200)
	if n := s.Auth.Refreshes(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if theme := s.browser.Get("/theme").Is(200).Body; theme != "dark" {
		t.Errorf("the theme is %q", theme)
	}

	// An outage of the auth service signs no user out.
	s.Auth.Inject(authtest.Any, authtest.Fault{Status: 503})
	s.moved.Add(int64(20 * time.Minute))
	s.browser.Get("/me").Is(503)
	s.Auth.Clear()
	s.moved.Add(int64(time.Minute))
	s.browser.Get("/me").Is(200)

	// Another user signs in, has other roles, and sees no value of the first
	// user.
	s.signIn("ben@example.com", webapp.Password, 200)
	s.browser.Get("/admin").Is(403)
	if theme := s.browser.Get("/theme").Is(200).Body; theme != "" {
		t.Errorf("the other user's theme is %q", theme)
	}

	// The sign-out ends the session here and at the service, for good.
	stolen := s.browser.Client.Jar.Cookies(address)
	s.browser.Do("POST", "/logout", "{}", "Content-Type", "application/json").Is(204)
	s.browser.Get("/me").Is(401)
	s.browser.Client.Jar.SetCookies(address, stolen)
	s.browser.Get("/me").Is(401)
	if live := s.Auth.LiveTokens("ben@example.com"); len(live) != 0 {
		t.Errorf("%d refresh tokens live after the sign-out", len(live))
	}
}
