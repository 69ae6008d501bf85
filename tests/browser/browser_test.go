// Package browser_test uses the dashboard in a browser.
package browser_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proc"
)

const (
	password   = "correct horse battery staple"
	totpSecret = "JBSWY3DPEHPK3PXP"
)

var users = []struct {
	email string
	opens []string
}{
	{"admin@example.com", []string{"/dashboard", "/reports", "/admin"}},
	{"analyst@example.com", []string{"/dashboard", "/reports"}},
	{"viewer@example.com", []string{"/dashboard"}},
	{"mfa@example.com", []string{"/dashboard"}},
}

var headings = map[string]string{"/dashboard": "Dashboard", "/reports": "Reports", "/admin": "Admin"}

// overSites runs a test with sessions in cookies and in a store, and with the dashboard's
// own auth service and another one. By default it runs one of these combinations, which
// turn selects.
func overSites(t *testing.T, turn int, test func(t *testing.T, site string)) {
	t.Parallel()
	for i, store := range []string{"cookie", "memory"} {
		if scale.Turn(2*i+turn, 4) {
			t.Run("own auth service, "+store, func(t *testing.T) {
				t.Parallel()
				test(t, proc.Start(t, "dashboard", []string{"STORE=" + store, proc.Patient}).URL)
			})
		}
		if scale.Turn(2*i+1+turn, 4) {
			t.Run("auth service elsewhere, "+store, func(t *testing.T) {
				t.Parallel()
				test(t, withAuthServer(t, store))
			})
		}
	}
}

// withAuthServer starts the dashboard with an auth service in another process,
// whose access tokens live for two seconds.
func withAuthServer(t *testing.T, store string) (site string) {
	auth := proc.Start(t, "authserver", []string{"ACCESS_LIFE=2s"})
	return proc.Start(t, "dashboard", []string{"STORE=" + store, "AUTH_URL=" + auth.URL, proc.Patient}).URL
}

// signIn fills in the form by keyboard alone. The browser is on the login page, and
// returns to the page that it requested.
func (b *tab) signIn(email, password string) int {
	b.t.Helper()
	b.enter("email", email)
	b.do(chromedp.KeyEvent(kb.Tab))
	b.enter("password", password)
	status := b.lead(chromedp.KeyEvent(kb.Enter))
	if !strings.HasPrefix(b.at(), "/login/mfa") {
		return status
	}
	code, err := totp.GenerateCode(totpSecret, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	b.enter("code", code)
	return b.lead(chromedp.KeyEvent(kb.Enter))
}

// Every user signs in, sees only the pages that the user's roles allow, and signs out. No
// session cookie stays.
func TestEveryUser(t *testing.T) {
	overSites(t, 0, func(t *testing.T, site string) {
		b := open(t, site)
		for _, user := range scale.Of(users[1:3], users[1:3], users) {
			// A page for signed-in users leads to the login page, which leads back to the
			// page.
			b.visit("/dashboard")
			b.is("/login?return_to=%2Fdashboard", "Sign in")
			if status := b.signIn(user.email, "wrong"); status != 401 {
				t.Errorf("%s: the response to a wrong password is %d", user.email, status)
			}
			b.shows("The e-mail address or the password is wrong")
			if typed := evaluate[string](b, "document.querySelector('[name=email]').value"); typed != user.email {
				t.Errorf("%q has to be typed again", user.email)
			}
			b.do(chromedp.Focus(chromedp.CSS("[name=email]")))
			if status := b.signIn(user.email, password); status != 200 {
				t.Errorf("%s: %d", user.email, status)
			}
			b.is("/dashboard", "Dashboard")

			for path, heading := range headings {
				status := b.visit(path)
				if !slices.Contains(user.opens, path) {
					b.is(path, "No access")
					if status != 403 {
						t.Errorf("%s at %s: %d", user.email, path, status)
					}
					continue
				}
				b.is(path, heading)
				if status != 200 {
					t.Errorf("%s at %s: %d", user.email, path, status)
				}
				// The navigation shows only pages that the user can open.
				links := evaluate[[]string](b, "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))")
				if !slices.Equal(links, user.opens) {
					t.Errorf("%s: the navigation has %q, want %q", user.email, links, user.opens)
				}
			}
			b.visit("/")
			b.is("/", "Welcome back")

			for name, c := range b.cookies() {
				if !strings.HasPrefix(name, "__Host-session") || !c.Secure || !c.HTTPOnly {
					t.Errorf("the browser has the cookie %s, secure %v, out of scripts' reach %v", name, c.Secure, c.HTTPOnly)
				}
			}
			if visible := evaluate[string](b, "document.cookie"); visible != "" {
				t.Error("a script can read the cookies")
			}

			b.signOut()
			b.is("/", "Sign in, stay signed in")
			if left := b.sessionCookies(); len(left) > 0 {
				t.Errorf("%s: %d cookies are left", user.email, len(left))
			}
		}
	})
}

func (b *tab) signOut() {
	b.t.Helper()
	b.lead(chromedp.Click(chromedp.CSS("header form button")))
}

// Access tokens live for two seconds, and users stay signed in.
func TestStaysSignedIn(t *testing.T) {
	t.Parallel()
	for i, store := range []string{"cookie", "memory"} {
		if !scale.Turn(i, 2) {
			continue
		}
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			b := open(t, withAuthServer(t, store))
			b.visit("/dashboard")
			b.signIn("viewer@example.com", password)
			seen := map[string]bool{}
			for end := time.Now().Add(patience); len(seen) < 4; time.Sleep(500 * time.Millisecond) {
				if status := b.visit("/dashboard"); status != 200 {
					t.Fatalf("%d", status)
				}
				b.is("/dashboard", "Dashboard")
				seen[evaluate[string](b, "document.querySelector('time').dateTime")] = true
				if time.Now().After(end) {
					t.Fatalf("in %v the user had %d access tokens", patience, len(seen))
				}
			}
			// After a pause that is longer than the token's life, too.
			time.Sleep(3 * time.Second)
			b.visit("/dashboard")
			b.is("/dashboard", "Dashboard")
		})
	}
}

// After a sign-out the browser does not show a page that it has kept, neither the first
// page after the sign-in nor a later one. Chromium also keeps pages with no-store, and
// drops them when cookies have changed. It keeps pages only in a window.
func TestBackAfterSignOut(t *testing.T) {
	overSites(t, 1, func(t *testing.T, site string) {
		b := openWindow(t, site)
		for _, user := range scale.Of(users[3:], users[3:], users) {
			b.visit("/dashboard")
			b.signIn(user.email, password)
			b.is("/dashboard", "Dashboard")
			b.signOut()
			b.is("/", "Sign in, stay signed in")
			b.back()
			b.is("/login?return_to=%2Fdashboard", "Sign in")
		}

		b.visit("/admin")
		b.signIn("admin@example.com", password)
		b.visit("/dashboard")
		b.visit("/reports")
		b.signOut()
		for _, path := range []string{"/reports", "/dashboard", "/admin"} {
			b.back()
			b.is("/login?return_to=%2F"+path[1:], "Sign in")
		}
		// The login page works.
		b.signIn("admin@example.com", password)
		b.is("/admin", "Admin")
	})
}

// Signing out everywhere ends the session in another browser.
func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	for i, store := range []string{"cookie", "memory"} {
		if !scale.Turn(i+1, 2) {
			continue
		}
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			site := withAuthServer(t, store)
			here, there := open(t, site), open(t, site)
			for _, b := range []*tab{here, there} {
				b.visit("/dashboard")
				b.signIn("viewer@example.com", password)
				b.is("/dashboard", "Dashboard")
			}
			here.lead(chromedp.Click(chromedp.CSS("main form button")))
			here.is("/", "Sign in, stay signed in")
			// The end takes effect when the access token expires, or earlier.
			for end := time.Now().Add(patience); there.at() == "/dashboard"; {
				if time.Now().After(end) {
					t.Fatal("the other browser is still signed in")
				}
				there.visit("/dashboard")
			}
			there.is("/login?return_to=%2Fdashboard", "Sign in")
		})
	}
}
