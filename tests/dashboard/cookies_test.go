package dashboard_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// setCookies are the lines of an answer by the cookie's name, each cut into
// its parts.
func setCookies(a *answer) map[string][]string {
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
		cookies := setCookies(a)
		want := []string{test.name}
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
			if !slices.ContainsFunc(parts[1:], func(p string) bool { return p == "Max-Age=172800" || p == "Max-Age=172799" }) {
				t.Errorf("%s: %q, want a life of 48 hours", name, parts[1:])
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

// Keys outlive the process; a new one takes over from the old one, which still
// opens; without it nothing opens.
func TestSessionKeys(t *testing.T) {
	t.Parallel()
	tt := target{framework: "nethttp", store: "cookie"}
	auth := authtest.NewServer(t, authtest.Options{Accounts: accounts(), PasswordCost: -1})
	env := func(keys string) []string { return []string{"SESSION_KEYS=" + keys, "AUTH_URL=" + auth.URL} }

	b := start(t, tt, authtest.Options{}, env(keyA)...).signedIn(t, viewer)
	b.put("theme", `"dark"`).is(204)
	old := b.cookies()

	visit := func(keys string) (*browser, *answer) {
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
	old = b.cookies() // sealed anew
	_, a = visit(keyB)
	if a.is(200).object()["theme"] != "dark" {
		t.Errorf("without the old key the values are %s", a.body)
	}
	_, a = visit(keyA)
	a.problem(401, "unauthenticated")
}

// A session ends when it is not used for so long, and at the end of its life
// however much it is used.
func testSessionEnds(t *testing.T, tt target) {
	for _, env := range [][]string{{"IDLE_TIMEOUT=4s"}, {"LIFETIME=4s"}} {
		s := start(t, tt, authtest.Options{}, env...)
		b := s.signedIn(t, viewer)
		b.get("/api/me").is(200)
		time.Sleep(4*time.Second + 100*time.Millisecond)
		b.get("/api/me").problem(401, "unauthenticated")
		if left := b.cookies(); len(left) > 0 {
			t.Errorf("%s: %d cookies are left", env, len(left))
		}
		if tt.inCookies() && env[0] == "IDLE_TIMEOUT=4s" {
			// Whoever comes back too late brings the tokens along.
			eventually(t, "the tokens are given back", func() bool { return len(s.auth.LiveTokens(viewer)) == 0 })
		}
	}

	// Use moves the idle timeout on.
	s := start(t, tt, authtest.Options{}, "IDLE_TIMEOUT=4s", "LIFETIME=10m")
	b := s.signedIn(t, viewer)
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		b.get("/api/me").is(200)
	}
}

// A token is renewed as long before its expiry as it is told.
func testRefreshBefore(t *testing.T, tt target) {
	const life, before = 10 * time.Second, 5 * time.Second
	s := start(t, tt, authtest.Options{AccessLife: life}, "REFRESH_BEFORE="+before.String())
	b := s.signedIn(t, viewer)
	at := time.Now()
	eventually(t, "the token is renewed", func() bool {
		b.get("/api/me").is(200)
		return s.auth.Refreshes() > 0
	})
	// By itself it would be renewed in the last second.
	if age := time.Since(at); age < life-before-time.Second || age > life-2*time.Second {
		t.Errorf("the token was renewed after %v", age)
	}
}
