package browser_test

import (
	"strings"
	"testing"

	"github.com/synmetrix/session/tests/internal/proc"
)

// Over plain HTTP a browser drops the cookies of a sign-in. The login page reports this:
// before the user enters the password, and when the page appears again.
func TestLoginOverPlainHTTP(t *testing.T) {
	t.Parallel()
	b := open(t, strings.Replace(proc.Start(t, "dashboard", []string{proc.Patient}).URL, "127.0.0.1", plainHost, 1))
	b.visit("/dashboard")
	const says = "Your browser will not keep you signed in here."
	b.is("/login?return_to=%2Fdashboard", "Sign in")
	b.shows(says)
	b.signIn("viewer@example.com", password)
	b.is("/login?return_to=%2Fdashboard", "Sign in")
	b.shows(says)
	if n := len(b.cookies()); n > 0 {
		t.Errorf("the browser has kept %d cookies", n)
	}
}
