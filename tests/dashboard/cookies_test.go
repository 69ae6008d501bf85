package dashboard_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// setCookies returns the Set-Cookie lines of a response by the cookie's name, each split
// into its parts.
func setCookies(a *response) map[string][]string {
	lines := map[string][]string{}
	for _, line := range a.header.Values("Set-Cookie") {
		parts := strings.Split(line, "; ")
		name, value, _ := strings.Cut(parts[0], "=")
		parts[0] = value
		lines[name] = parts
	}
	return lines
}

func testCookieAttributes(t *testing.T, tt target) {
	const life = 48 * 60 * 60 // in seconds; a few pass on a busy machine
	for _, test := range []struct {
		env    []string
		name   string
		secure bool
	}{
		{[]string{"COOKIE_INSECURE="}, "__Host-session", true},
		{[]string{"COOKIE_INSECURE=false", "COOKIE_NAME=app"}, "__Host-app", true},
		{[]string{"COOKIE_INSECURE=true"}, "session", false},
		{[]string{"COOKIE_INSECURE=1", "COOKIE_NAME=app.v2"}, "app.v2", false},
	} {
		s := start(t, tt, authtest.Options{}, append(test.env, "LIFETIME=48h")...)
		a := s.browser(t).postForm("/login", "email", viewer, "password", password).is(303)
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			life := life
			if strings.HasSuffix(c.Name, "-device") {
				life = 400 * 24 * 60 * 60 // the device cookie lasts longer
			}
			if c.MaxAge > life || c.MaxAge < life-60 {
				t.Errorf("%s: Max-Age is %d, want %d", c.Name, c.MaxAge, life)
			}
		}
		cookies := setCookies(a)
		want := []string{test.name, test.name + "-device"}
		if tt.inCookies() {
			want = append(want, test.name+"-state")
		}
		for name, parts := range cookies {
			if !slices.Contains(want, name) {
				t.Errorf("%q: the cookie %s was set", test.env, name)
			}
			for _, attribute := range []string{"Path=/", "HttpOnly", "SameSite=Lax"} {
				if !slices.Contains(parts[1:], attribute) {
					t.Errorf("%s: %s is not in %q", name, attribute, parts[1:])
				}
			}
			if slices.Contains(parts[1:], "Secure") != test.secure {
				t.Errorf("%s: %q", name, parts[1:])
			}
			for _, part := range parts[1:] {
				if strings.HasPrefix(part, "Domain") || strings.HasPrefix(part, "Expires") {
					t.Errorf("%s: %s", name, part)
				}
			}
		}
		if len(cookies) != len(want) {
			t.Errorf("%q: %d cookies, want %q", test.env, len(cookies), want)
		}
	}
}

// Sessions outlive the process. After a rotation the old key still opens cookies. Without
// the old key they are rejected.
func TestSessionKeys(t *testing.T) {
	t.Parallel()
	tt := target{framework: "nethttp", store: "cookie"}
	auth := authtest.NewServer(t, authtest.Options{Accounts: accounts(), PasswordCost: -1})
	env := func(keys string) []string { return []string{"SESSION_KEYS=" + keys, "AUTH_URL=" + auth.URL} }

	b := start(t, tt, authtest.Options{}, env(keyA)...).signedIn(t, viewer)
	b.put("theme", `"dark"`).is(204)
	old := b.cookies()

	visit := func(keys string) (*browser, *response) {
		b := start(t, tt, authtest.Options{}, env(keys)...).browser(t)
		u := b.request("GET", "/", nil).URL
		b.client.Jar.SetCookies(u, old)
		return b, b.get("/api/prefs")
	}
	_, a := visit(keyA)
	if a.is(200).object()["theme"] != "dark" {
		t.Errorf("after a restart the values are %s", a.body)
	}
	b, a = visit(keyB + "," + keyA)
	if a.is(200).object()["theme"] != "dark" {
		t.Errorf("after a rotation the values are %s", a.body)
	}
	old = b.cookies() // sealed again
	_, a = visit(keyB)
	if a.is(200).object()["theme"] != "dark" {
		t.Errorf("without the old key the values are %s", a.body)
	}
	_, a = visit(keyA)
	a.problem(401, "unauthenticated")
}

// A token is refreshed as long before its expiry as configured.
func testRefreshBefore(t *testing.T, tt target) {
	const life, before = 24 * time.Second, 18 * time.Second // of which half of the life counts
	s := start(t, tt, authtest.Options{AccessLife: life}, "REFRESH_BEFORE="+before.String())
	b := s.signedIn(t, viewer)
	at := time.Now()
	eventually(t, "the token is refreshed", func() bool {
		b.get("/api/me").is(200)
		return s.auth.Refreshes() > 0
	})
	// Without the setting it would be refreshed in the last tenth of its life.
	if age := time.Since(at); age < life-before-time.Second || age > life*88/100 {
		t.Errorf("the token was refreshed after %v", age)
	}
}
