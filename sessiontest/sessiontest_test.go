package sessiontest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// newManager returns the Manager of an app. set may change its Config.
func newManager(t *testing.T, set func(*session.Config)) *session.Manager {
	t.Helper()
	cfg := session.Config{
		Auth:   synmetrix.NewClient("http://127.0.0.1:1"), // no server listens there
		Keys:   []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(slog.DiscardHandler),
	}
	if set != nil {
		set(&cfg)
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	return m
}

// whoami responds with the user of the session.
func whoami(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	_, _ = fmt.Fprintf(w, "%s %v %q", s.UserID(), s.Roles(), s.DefaultRole())
}

// app returns an app with a page for admins.
func app(m *session.Manager) http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("/admin", middleware.RequireRole("admin")(http.HandlerFunc(whoami)))
	return middleware.Sessions(m)(mux)
}

func serve(h http.Handler, r *http.Request) (status int, body string) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

func get(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// Guards without middleware.Sessions use the session in the context.
func TestSignedInPassesGuards(t *testing.T) {
	for _, tt := range []struct {
		name   string
		guard  func(http.Handler) http.Handler
		roles  []string
		status int
		body   string
	}{
		{"a user", middleware.RequireUser, nil, 200, `user-1 [] ""`},
		{"the role", middleware.RequireRole("admin"), []string{"user", "admin"}, 200, `user-1 [user admin] "user"`},
		{"another role", middleware.RequireRole("admin"), []string{"user"}, 403, ""},
		{"no role", middleware.RequireRole("admin"), nil, 403, ""},
		{"a similar role", middleware.RequireRole("admin"), []string{"Admin"}, 403, ""},
		{"a policy", middleware.Require(func(s *session.Session) bool { return s.UserID() == "user-1" }), nil, 200, `user-1 [] ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain := httptest.NewRequest("POST", "/admin?x=y", strings.NewReader("body"))
			r := sessiontest.SignedIn(plain, "user-1", tt.roles...)
			status, body := serve(tt.guard(http.HandlerFunc(whoami)), r)
			if status != tt.status || tt.body != "" && body != tt.body {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.body)
			}
			if session.FromContext(plain.Context()).SignedIn() {
				t.Error("the original request has changed")
			}
			if got, _ := io.ReadAll(r.Body); r.Method != "POST" || r.URL.RawQuery != "x=y" || string(got) != "body" {
				t.Errorf("the copy differs: %s %s %q", r.Method, r.URL, got)
			}
		})
	}
}

func TestUser(t *testing.T) {
	for _, tt := range []struct {
		name        string
		user        sessiontest.User
		defaultRole string
		org         string
	}{
		{"as", sessiontest.As("user-1", "a", "b"), "a", ""},
		{"without a role", sessiontest.As("user-1"), "", ""},
		{"default role", sessiontest.User{ID: "user-1", Roles: []string{"a", "b"}, DefaultRole: "b"}, "b", ""},
		{"claims", sessiontest.User{ID: "user-1", Roles: []string{"a", "b"}, Claims: map[string]any{"x-hasura-org": "acme"}}, "a", "acme"},
		{"claims override fields", sessiontest.User{ID: "user-1", Claims: map[string]any{"x-hasura-default-role": "c"}}, "c", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.user.SignedIn(httptest.NewRequest("GET", "/", nil))
			s := session.FromContext(r.Context())
			if !s.SignedIn() || s.Err() != nil || s.UserID() != "user-1" || !slices.Equal(s.Roles(), tt.user.Roles) || s.DefaultRole() != tt.defaultRole {
				t.Errorf("signed in: %v (%v), %q %v %q", s.SignedIn(), s.Err(), s.UserID(), s.Roles(), s.DefaultRole())
			}
			var org string
			if _, err := s.Claims().Get("x-hasura-org", &org); err != nil || org != tt.org {
				t.Errorf("the claim is %q, %v; want %q", org, err, tt.org)
			}
		})
	}
}

// A test can read the values that a handler sets.
func TestValues(t *testing.T) {
	theme := session.NewKey[string]("theme")
	r := sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1")
	s := session.FromContext(r.Context())
	if err := theme.Set(s, "light"); err != nil {
		t.Fatal(err)
	}
	serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		if v, _ := theme.Get(s); v != "light" {
			t.Errorf("the handler reads %q", v)
		}
		if err := errors.Join(theme.Set(s, "dark"), s.Save(r.Context())); err != nil {
			t.Error(err)
		}
	}), r)
	if v, ok := theme.Get(s); !ok || v != "dark" {
		t.Errorf("the test reads %q, %v", v, ok)
	}
}

// The session is refreshed if a test moves its clock beyond the lifetime of the tokens.
func TestSignedInIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1", "admin")
		s := session.FromContext(r.Context())
		first, err := s.AccessToken(r.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(36 * time.Hour)
		second, err := s.AccessToken(r.Context())
		if err != nil || second == first {
			t.Errorf("after the token's lifetime: the same token: %v, error %v", second == first, err)
		}
		for _, token := range []string{first, second} {
			c, err := auth.ParseClaims(token, auth.ClaimNames{})
			if err != nil || c.UserID != "user-1" || c.ExpiresAt.Sub(c.IssuedAt) != 24*time.Hour {
				t.Errorf("claims %v %v to %v, %v", c.UserID, c.IssuedAt, c.ExpiresAt, err)
			}
		}
	})
}

// managers returns a Manager of each kind.
func managers(t *testing.T) map[string]*session.Manager {
	return map[string]*session.Manager{
		"cookies":  newManager(t, nil),
		"stored":   newManager(t, func(c *session.Config) { c.Store = memstore.New() }),
		"insecure": newManager(t, func(c *session.Config) { c.Cookie = session.Cookie{Name: "app", Insecure: true} }),
		"another clock": newManager(t, func(c *session.Config) {
			c.Now = func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
		}),
	}
}

func TestSignedInTo(t *testing.T) {
	for name, m := range managers(t) {
		t.Run(name, func(t *testing.T) {
			h := app(m)
			newRequest := func() *http.Request { return httptest.NewRequest("GET", "/admin", nil) }
			if status, body := serve(h, sessiontest.As("user-1", "user", "admin").SignedInTo(m, newRequest())); status != 200 || body != `user-1 [user admin] "user"` {
				t.Errorf("an admin gets %d %s", status, body)
			}
			if status, _ := serve(h, sessiontest.As("user-1", "user").SignedInTo(m, newRequest())); status != 403 {
				t.Errorf("a user gets %d, want 403", status)
			}
			if status, _ := serve(h, newRequest()); status != 401 {
				t.Errorf("a visitor gets %d, want 401", status)
			}
			plain := newRequest()
			sessiontest.As("user-1").SignedInTo(m, plain)
			if len(plain.Header) > 0 {
				t.Errorf("the original request has changed: %v", plain.Header)
			}
			// Another Manager does not accept the session.
			if status, _ := serve(app(newManager(t, nil)), sessiontest.As("user-1", "admin").SignedInTo(m, newRequest())); status != 401 {
				t.Errorf("the app of another Manager responds with %d, want 401", status)
			}
		})
	}
}

// middleware.Sessions reads sessions only from cookies.
func TestSignedInDoesNotPassSessions(t *testing.T) {
	r := sessiontest.SignedIn(httptest.NewRequest("GET", "/admin", nil), "user-1", "admin")
	if status, _ := serve(app(newManager(t, nil)), r); status != 401 {
		t.Errorf("%d, want 401", status)
	}
}

func TestClient(t *testing.T) {
	for name, m := range managers(t) {
		for _, start := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
			srv := start(app(m))
			t.Cleanup(srv.Close)
			t.Run(name+" "+srv.URL[:5], func(t *testing.T) {
				admin := sessiontest.As("user-1", "admin").Client(m, srv)
				user := sessiontest.As("user-2", "user").Client(m, srv)
				for range 2 {
					if status, body := get(t, admin, srv.URL+"/admin"); status != 200 || body != `user-1 [admin] "admin"` {
						t.Errorf("the admin gets %d %s", status, body)
					}
					if status, _ := get(t, user, srv.URL+"/admin"); status != 403 {
						t.Errorf("the user gets %d", status)
					}
				}
				if status, _ := get(t, srv.Client(), srv.URL+"/admin"); status != 401 {
					t.Errorf("the server's own client gets %d", status)
				}
				// The client stores cookies like a browser, and removes them.
				res, err := admin.Post(srv.URL+"/logout", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if status, _ := get(t, admin, srv.URL+"/admin"); res.StatusCode != 204 || status != 401 {
					t.Errorf("signing out: %d, and then %d", res.StatusCode, status)
				}
				if status, _ := get(t, user, srv.URL+"/admin"); status != 403 {
					t.Errorf("the other user gets %d", status)
				}
			})
		}
	}
}

// A client sends cookies of another path only below it.
func TestClientOfPath(t *testing.T) {
	m := newManager(t, func(c *session.Config) { c.LoginPath, c.Cookie = "/app/login", session.Cookie{Path: "/app"} })
	srv := httptest.NewServer(middleware.Sessions(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, session.FromContext(r.Context()).UserID())
	})))
	t.Cleanup(srv.Close)
	client := sessiontest.As("user-1").Client(m, srv)
	for path, want := range map[string]string{"/app": "user-1", "/app/page": "user-1", "/apple": "", "/": ""} {
		if _, body := get(t, client, srv.URL+path); body != want {
			t.Errorf("%s: the user %q, want %q", path, body, want)
		}
	}
}

// A session with the tokens of an auth service is refreshed by that service.
func TestTokens(t *testing.T) {
	service := authtest.NewServer(t, authtest.Options{
		AccessLife: time.Minute,
		Accounts:   []authtest.Account{{ID: "328ddebf-6a1c-4a7e-9d0b-0f2f64f4f3a5", Email: "ada@example.com", Roles: []string{"user", "admin"}}},
	})
	m := newManager(t, func(c *session.Config) { c.Auth, c.Now = synmetrix.NewClient(service.URL), service.Now })
	srv := httptest.NewTLSServer(app(m))
	defer srv.Close()
	access, refresh := service.SignIn("ada@example.com")
	ada := sessiontest.User{ID: "another user", Tokens: auth.Tokens{AccessToken: access, RefreshToken: refresh}}
	client := ada.Client(m, srv)
	for refreshes := range 3 {
		status, body := get(t, client, srv.URL+"/admin")
		if status != 200 || !strings.HasPrefix(body, "328ddebf-") || service.Refreshes() != refreshes {
			t.Errorf("%d %s after %d refreshes, want %d", status, body, service.Refreshes(), refreshes)
		}
		service.Advance(2 * time.Minute)
	}
	if text := fmt.Sprintf("%v %+v %#v", ada, ada, ada); strings.Contains(text, access) || strings.Contains(text, refresh) {
		t.Errorf("a User prints its tokens: %s", text)
	}
}

// Mistakes in a test panic with a message that names them.
func TestPanics(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	m := newManager(t, nil)
	many := slices.Repeat([]string{strings.Repeat("role", 100)}, 100)
	for _, tt := range []struct {
		name, want string // part of the message
		do         func()
	}{
		{"no ID", "no ID", func() { sessiontest.SignedIn(r, "") }},
		{"no ID for a Manager", "no ID", func() { sessiontest.As("", "admin").SignedInTo(m, r) }},
		{"claims without a JSON form", "claims", func() {
			sessiontest.User{ID: "user-1", Claims: map[string]any{"x": func() {}}}.SignedIn(r)
		}},
		{"tokens that are not JWTs", "not a JSON Web Token", func() {
			sessiontest.User{Tokens: auth.Tokens{AccessToken: "secret", RefreshToken: "secret"}}.SignedIn(r)
		}},
		{"more roles than cookies hold", "too large", func() { sessiontest.As("user-1", many...).SignedInTo(m, r) }},
		{"a server that does not run", "not been started", func() {
			sessiontest.As("user-1").Client(m, httptest.NewUnstartedServer(nil))
		}},
		{"cookies for another domain", "Domain", func() {
			m := newManager(t, func(c *session.Config) { c.Cookie.Domain = "example.org" })
			srv := httptest.NewServer(nil)
			defer srv.Close()
			sessiontest.As("user-1").Client(m, srv)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				text, _ := recover().(string)
				if !strings.HasPrefix(text, "sessiontest: ") || !strings.Contains(text, tt.want) || strings.Contains(text, "secret") {
					t.Errorf("panic with %q, want a message with %q", text, tt.want)
				}
			}()
			tt.do()
		})
	}
}

// SignedIn leaves no goroutines behind.
func TestSignedInLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1")
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}
