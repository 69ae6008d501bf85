package browser_test

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proc"
)

// The places of the entries of the list of sessions on the page.
const (
	entries = "document.querySelectorAll('.sessions > li').length"
	current = ".sessions > li:has(.tag)"
	other   = ".sessions > li:not(:has(.tag))"
)

// A user sees the list of sessions, and ends one session, all others, and the one in use.
func TestSessions(t *testing.T) {
	t.Parallel()
	for i, framework := range []string{"nethttp", "echo", "gin"} {
		if !scale.Turn(i, 3) {
			continue
		}
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			site := proc.Start(t, "dashboard", []string{"STORE=memory", "FRAMEWORK=" + framework, proc.Patient}).URL
			laptop, phone := open(t, site), open(t, site)
			signIn := func(b *tab) {
				t.Helper()
				b.visit("/dashboard")
				b.signIn("viewer@example.com", password)
				b.is("/dashboard", "Dashboard")
			}
			signedOut := func(b *tab) {
				t.Helper()
				b.visit("/dashboard")
				b.is("/login?return_to=%2Fdashboard", "Sign in")
			}
			press := func(button string) int {
				t.Helper()
				return laptop.lead(chromedp.Click(chromedp.CSS(button)))
			}
			signIn(laptop)
			signIn(phone)

			if status := press("a[href='/sessions']"); status != 200 {
				t.Errorf("the list: %d", status)
			}
			laptop.is("/sessions", "Where you are signed in")
			if n := evaluate[int](laptop, entries); n != 2 {
				t.Fatalf("%d sessions are listed, want 2", n)
			}
			for _, text := range []string{"Chrome on Linux", "This device", "just now", "127.0.0.1"} {
				laptop.shows(text)
			}
			laptop.shoot("sessions-" + framework)
			for _, fault := range laptop.faults("en") {
				t.Error(fault)
			}

			// One of them.
			press(other + " button")
			laptop.is("/sessions?ended=one", "Where you are signed in")
			laptop.shows("The session is signed out.")
			if n := evaluate[int](laptop, entries); n != 1 {
				t.Errorf("%d sessions are listed, want 1", n)
			}
			signedOut(phone)

			// All others.
			signIn(phone)
			laptop.visit("/sessions")
			press("main > form button")
			laptop.is("/sessions?ended=others", "Where you are signed in")
			laptop.shows("All other sessions are signed out.")
			signedOut(phone)

			// The one in use.
			press(current + " button")
			laptop.is("/", "Sign in, stay signed in")
			if left := laptop.sessionCookies(); len(left) > 0 {
				t.Errorf("%d cookies are left", len(left))
			}
			signedOut(laptop)
		})
	}
}
