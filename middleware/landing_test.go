package middleware_test

import (
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// byRole is a function for WithLanding.
func byRole(s *session.Session) string {
	if s.HasRole("admin") {
		return "/admin?tab=users"
	}
	return ""
}

func TestPageAfterSignInAndSignOut(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			a := newApp(t, set, middleware.WithHome("/dashboard"), middleware.WithSignedOutHome("/bye"), middleware.WithLanding(byRole))
			b := a.browser()
			login := func(email string, fields ...string) response {
				return b.submit("/login", append([]string{"email", email, "password", password}, fields...)...)
			}
			login("viewer@example.com").isRedirect(t, "/dashboard")
			login("admin@example.com").isRedirect(t, "/admin?tab=users")
			login("admin@example.com", "return_to", "/reports").isRedirect(t, "/reports")
			login("admin@example.com", "return_to", "https://evil.example/").isRedirect(t, "/admin?tab=users")

			b.submit("/logout").isRedirect(t, "/bye")
			b.submit("/logout", "return_to", "/shop?x=1").isRedirect(t, "/shop?x=1")
			b.submit("/logout?return_to=/shop").isRedirect(t, "/shop")
			b.submit("/logout?return_to=/shop", "return_to", "/cart").isRedirect(t, "/cart")
			for _, elsewhere := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "/login", "shop"} {
				b.submit("/logout?return_to="+elsewhere, "return_to", elsewhere).isRedirect(t, "/bye")
			}
			b.postJSON("/logout", `{"return_to":"/shop"}`).is(t, 204, "").has(t, "Location", "")
			b.postJSON("/logout", `{"return_to":7}`).is(t, 204, "")
			me(t, b)
		})
	}
}

// A second factor leads to the same pages.
func TestLandingAfterCode(t *testing.T) {
	a := newApp(t, nil, middleware.WithLanding(func(*session.Session) string { return "/welcome" }))
	b := a.browser()
	b.submit("/login", "email", "mfa@example.com", "password", password).isRedirect(t, "/login/mfa")
	b.submit("/login/mfa", "code", code(t, a)).isRedirect(t, "/welcome")
}

func TestLandingStaysOnThisHost(t *testing.T) {
	for _, base := range []string{"", "/app"} {
		for path, want := range map[string]string{
			"":                        "/",
			"/ok?q=a b":               "/ok?q=a%20b",
			"https://evil.example/":   "/",
			"//evil.example":          "/",
			`/\evil.example`:          "/",
			".evil.example":           "/",
			"/..//evil.example":       "/",
			"/a\r\nSet-Cookie: x=y":   "/",
			"/" + longText:            "/",
			"javascript:alert(1)":     "/",
			"/login":                  "/login", // the app's own choice
			"/%2Fevil.example/a/../b": "/",
		} {
			a := newApp(t, func(c *session.Config) { c.BasePath = base }, middleware.WithLanding(func(*session.Session) string { return path }))
			b := a.browser()
			b.submit("/login", "email", "viewer@example.com", "password", password).isRedirect(t, base+want)
			if logged := strings.Contains(a.log.String(), "WithLanding"); logged != (path != "" && want == "/") {
				t.Errorf("%.40q: logged %v", path, logged)
			}
		}
	}
}

var longText = strings.Repeat("a", 3000)

// By default signing in and out lead to the start page.
func TestWithHomeAppliesToSignInAndSignOut(t *testing.T) {
	b := newApp(t, nil, middleware.WithHome("/start")).browser()
	b.submit("/login", "email", "viewer@example.com", "password", password).isRedirect(t, "/start")
	b.submit("/logout").isRedirect(t, "/start")
}
