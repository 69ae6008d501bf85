package session_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// TestStory follows a user from the sign-in to the sign-out, over real HTTP, with
// the auth service of package authtest: once with the session in cookies, once
// with the session in a store.
func TestStory(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) { newStory(t, stored).run() })
	}
}

const storyPassword = "correct horse battery staple"

// story is an app, its auth service and a browser.
type story struct {
	t       *testing.T
	service *authtest.Server
	app     *httptest.Server
	browser *http.Client
}

func newStory(t *testing.T, stored bool) *story {
	service := authtest.NewServer(t, authtest.Options{
		Accounts: []authtest.Account{
			{Email: "ada@example.com", Password: storyPassword, Roles: []string{"user", "admin"}},
			{Email: "ben@example.com", Password: storyPassword, Roles: []string{"user"}},
		},
		AccessLife: 15 * time.Minute,
	})
	cfg := session.Config{
		Auth: synmetrix.NewClient(service.URL), Keys: []session.SecretKey{session.GenerateKey()}, Now: service.Now,
		AuthTimeout: time.Minute, // a busy machine must not cause an outage
	}
	if stored {
		cfg.Store = &memstore.Store{Now: service.Now}
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, m) })
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
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
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	t.Cleanup(app.Close)
	t.Cleanup(func() {
		if err := m.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	browser := app.Client()
	if browser.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	return &story{t, service, app, browser}
}

// send sends a JSON request and checks the status. It returns the body.
func (s *story) send(method, path, body string, status int) string {
	s.t.Helper()
	req, err := http.NewRequest(method, s.app.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(body, "theme=") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != status {
		s.t.Fatalf("%s %s: %s, want %d; body: %s", method, path, resp.Status, status, text)
	}
	return string(text)
}

func (s *story) run() {
	t := s.t
	login := func(email, password string) string {
		body, err := json.Marshal(map[string]string{"email": email, "password": password})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}

	// A visitor is not accepted, and wrong credentials change nothing.
	s.send("GET", "/me", "", 401)
	s.send("POST", "/login", login("ada@example.com", "wrong"), 401)
	s.send("GET", "/me", "", 401)

	// After the sign-in the browser has a session and no token.
	s.send("POST", "/login", login("ada@example.com", storyPassword), 200)
	s.send("GET", "/admin", "", 200)
	address, err := url.Parse(s.app.URL)
	if err != nil {
		t.Fatal(err)
	}
	cookies := s.browser.Jar.Cookies(address)
	tokens := s.service.LiveTokens("ada@example.com")
	if len(cookies) == 0 || len(tokens) != 1 {
		t.Fatalf("%d cookies, %d refresh tokens", len(cookies), len(tokens))
	}
	for _, c := range cookies {
		if strings.Contains(c.Value, tokens[0]) {
			t.Errorf("the cookie %s holds the refresh token", c.Name)
		}
	}

	// The session keeps the app's values.
	s.send("POST", "/theme", "theme=dark", 200)

	// An access token that has expired is refreshed.
	s.service.Advance(20 * time.Minute)
	s.send("GET", "/me", "", 200)
	if n := s.service.Refreshes(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if theme := s.send("GET", "/theme", "", 200); theme != "dark" {
		t.Errorf("the theme is %q", theme)
	}

	// An outage of the auth service signs no user out.
	s.service.Inject(authtest.Any, authtest.Fault{Status: 503})
	s.service.Advance(20 * time.Minute)
	s.send("GET", "/me", "", 503)
	s.service.Clear()
	s.service.Advance(time.Minute)
	s.send("GET", "/me", "", 200)

	// Another user signs in, has other roles, and sees no value of the first
	// user.
	s.send("POST", "/login", login("ben@example.com", storyPassword), 200)
	s.send("GET", "/admin", "", 403)
	if theme := s.send("GET", "/theme", "", 200); theme != "" {
		t.Errorf("the other user's theme is %q", theme)
	}

	// The sign-out ends the session here and at the service, for good.
	stolen := s.browser.Jar.Cookies(address)
	s.send("POST", "/logout", "{}", 204)
	s.send("GET", "/me", "", 401)
	s.browser.Jar.SetCookies(address, stolen)
	s.send("GET", "/me", "", 401)
	if live := s.service.LiveTokens("ben@example.com"); len(live) != 0 {
		t.Errorf("%d refresh tokens live after the sign-out", len(live))
	}
}
