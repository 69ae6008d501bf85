package browser_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/synmetrix/session/tests/internal/proc"
)

// accessible fails the test if the page has faults, on a phone or on a desktop.
func (b *tab) accessible(scheme string) {
	b.t.Helper()
	for _, width := range []int64{320, 1280} {
		b.emulate(scheme, width)
		faults := b.faults("en")
		if width == 320 {
			faults = append(faults, b.axeFaults()...)
		}
		for _, fault := range faults {
			b.t.Errorf("%s, %s, %d px: %s", b.at(), scheme, width, fault)
		}
	}
}

// pressButton moves the focus to a button by its text, which must show the focus, and presses it.
func (b *tab) pressButton(text string) {
	b.t.Helper()
	for range 20 {
		b.do(chromedp.KeyEvent(kb.Tab))
		switch evaluate[string](b, "document.activeElement.innerText + '|' + getComputedStyle(document.activeElement).outlineStyle") {
		case text + "|solid":
			b.lead(chromedp.KeyEvent(" "))
			return
		case text + "|none":
			b.t.Errorf("the focus on %q cannot be seen", text)
		}
	}
	b.t.Fatalf("%s: the keyboard does not reach %q", b.at(), text)
}

// A visitor selects a theme, checks "Keep me signed in" at the sign-in, and acts as
// another user, by keyboard alone.
func TestThemeRememberAndActing(t *testing.T) {
	t.Parallel()
	b := open(t, proc.Start(t, "dashboard", []string{"REMEMBER=checked", proc.Patient}).URL)
	const back = "getComputedStyle(document.body).backgroundColor"
	b.visit("/theme")
	b.accessible("light")
	light := evaluate[string](b, back)
	b.pressButton("Dark")
	b.is("/theme", "Theme")
	b.shows("Saved.")
	b.accessible("light")
	if dark := evaluate[string](b, back); dark == light {
		t.Error("the theme changes nothing")
	}

	b.visit("/login?return_to=/note")
	b.accessible("dark")
	if !evaluate[bool](b, "document.querySelector('[name=remember]').checked") {
		t.Error("the box is not checked at first")
	}
	b.signIn("admin@example.com", password)
	b.is("/note", "Private note")
	b.accessible("light")
	for name, c := range b.sessionCookies() {
		if c.Session {
			t.Errorf("the cookie %s ends with the browser", name)
		}
	}

	b.visit("/admin")
	b.accessible("light")
	b.pressButton("Act as viewer@example.com")
	b.is("/dashboard", "Dashboard")
	b.shows("You see the app as viewer@example.com. You are admin@example.com.")
	for _, scheme := range []string{"light", "dark"} {
		b.accessible(scheme)
	}
	b.pressButton("Stop acting")
	b.is("/admin", "Admin")
	b.accessible("light")
	b.signOut()
	b.is("/", "Sign in, stay signed in")
	if left := b.sessionCookies(); len(left) > 0 {
		t.Errorf("%d cookies are left", len(left))
	}
}
