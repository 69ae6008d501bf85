package middleware_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
)

// Me describes visitors, too, and says how many seconds the session lasts, if the
// request has optional=true.
func TestMeOptional(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			var moved atomic.Int64
			a := newApp(t, func(c *session.Config) {
				if set != nil {
					set(c)
				}
				c.IdleTimeout, c.Lifetime, c.BasePath = time.Hour, 90*time.Minute, "/app"
				start := time.Now().Truncate(time.Second) // cookies have whole seconds
				c.Now = func() time.Time { return start.Add(time.Duration(moved.Load())) }
			})
			a.mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
			a.mux.Handle("GET /use", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
			b := a.browser()
			for _, on := range []string{"true", "1"} {
				got := b.get("/api/me?optional="+on).is(t, 200, "").has(t, "Cache-Control", "no-store").has(t, "Content-Type", "application/json")
				if got.body != `{"signed_in":false,"login_url":"/app/login"}` {
					t.Errorf("optional=%s: %s", on, got.body)
				}
			}
			for _, off := range []string{"", "?optional=", "?optional=false", "?optional=yes"} {
				b.get("/api/me"+off).is(t, 401, "unauthenticated")
			}

			b.signIn("viewer@example.com")
			expires := func(session, lifetime float64) {
				t.Helper()
				got := b.get("/api/me?optional=true").is(t, 200, "")
				var me map[string]any
				if err := json.Unmarshal([]byte(got.body), &me); err != nil {
					t.Fatal(err)
				}
				if me["signed_in"] != true || me["session_expires_in"] != session || me["lifetime_expires_in"] != lifetime {
					t.Errorf("%s, want %v and %v seconds", got.body, session, lifetime)
				}
				for _, name := range []string{"user_id", "allowed_roles", "default_role", "access_token_expires_at", "session_expires_at"} {
					if me[name] == nil {
						t.Errorf("%s without %s", got.body, name)
					}
				}
			}
			expires(3600, 5400)
			moved.Store(int64(50 * time.Minute))
			expires(600, 2400)
			expires(2400, 2400) // the last request has used the session, but the lifetime ends
			if got := b.get("/api/me").is(t, 200, ""); strings.Contains(got.body, "signed_in") || strings.Contains(got.body, "_in\"") {
				t.Errorf("without the parameter: %s", got.body)
			}

			a.auth.Inject(authtest.Refresh, authtest.Fault{Status: 500})
			moved.Store(int64(80 * time.Minute))
			if got := b.get("/api/me?optional=true").is(t, 503, "session_unavailable").problem(t); got["retry_after"] != 1.0 {
				t.Errorf("retry_after: %v", got)
			}
			moved.Store(int64(2 * time.Hour))
			b.get("/api/me?optional=true").is(t, 200, "").has(t, "Content-Type", "application/json")
		})
	}
}

// A bearer token is refused, whether the session is optional or not.
func TestMeOptionalBearer(t *testing.T) {
	a := newApp(t, nil)
	a.mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
	got := a.browser().get("/api/me?optional=true", "Authorization", "Bearer x").is(t, 401, "unauthenticated").problem(t)
	if _, ok := got["login_url"]; ok {
		t.Errorf("a program is sent to the login page: %v", got)
	}
}

// Refusals in JSON name the login page, if there is one.
func TestLoginURLInJSON(t *testing.T) {
	loginURL := func(a *app) any {
		a.mux.Handle("GET /page", middleware.RequireUser(http.NotFoundHandler()))
		return a.browser().get("/page").is(t, 401, "unauthenticated").problem(t)["login_url"]
	}
	if got := loginURL(newApp(t, nil)); got != "/login" {
		t.Errorf("login_url %v", got)
	}
	if got := loginURL(newApp(t, func(c *session.Config) { c.BasePath, c.LoginPath = "/app", "/enter" })); got != "/app/enter" {
		t.Errorf("login_url %v", got)
	}
	a := newBareApp(t, nil)
	a.start(middleware.Sessions(a.m)(a.mux))
	if got := loginURL(a); got != nil {
		t.Errorf("login_url %v without a login page", got)
	}
}
