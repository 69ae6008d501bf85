package browser_test

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/synmetrix/session/internal/testkit/scale"
)

//go:embed axe/axe.min.js
var axe string

// runAxe runs axe on the page, with its rules for WCAG 2.2 AA and its best
// practices.
const runAxe = `axe.run(document, {resultTypes: ["violations"]}).then(r =>
	r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + v.help + ": " + n.html.slice(0, 120))))`

// faults finds accessibility problems of the page in the language of the tab.
func (b *tab) faults(language string) []string {
	b.t.Helper()
	return evaluate[[]string](b, strings.Replace(faults, `!== "en"`, `!== "`+language+`"`, 1))
}

// axeFaults finds more problems, and takes ten times as long.
func (b *tab) axeFaults() []string {
	b.t.Helper()
	if evaluate[bool](b, "!window.axe") {
		evaluate[bool](b, axe+"; true")
	}
	return evaluate[[]string](b, runAxe, chromedp.EvalAwaitPromise)
}

// view is a language, a style and a width in which a user sees a page.
type view struct {
	language, scheme string
	width            int64
}

func (v view) String() string { return fmt.Sprintf("%s-%s-%d", v.language, v.scheme, v.width) }

// The order makes neighboring views differ in as much as possible.
var views = []view{
	{"en", "light", 390}, {"de", "dark", 1280}, {"en", "dark", 390}, {"de", "light", 1280},
	{"en", "light", 1280}, {"de", "dark", 390}, {"en", "dark", 1280}, {"de", "light", 390},
}

// shoot saves a picture of the page in the directory SCREENSHOTS.
func (b *tab) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// All pages in both languages, light and dark, on a phone and on a desktop. By default,
// each page is in one of these views.
func TestPages(t *testing.T) {
	t.Parallel()
	b := open(t, openGallery(t).URL)
	for i, name := range exhibits() {
		for j, v := range views {
			if os.Getenv("SCREENSHOTS") == "" && !scale.Turn(i+j, len(views)) {
				continue
			}
			b.visit("/" + name + "?lang=" + v.language)
			b.emulate(v.scheme, 320)
			for _, fault := range b.faults(v.language) {
				t.Errorf("%s-%s-%s-320: %s", name, v.language, v.scheme, fault)
			}
			b.emulate(v.scheme, v.width)
			for _, fault := range append(b.faults(v.language), b.axeFaults()...) {
				t.Errorf("%s-%v: %s", name, v, fault)
			}
			b.shoot(name + "-" + v.String())
		}
	}
}

// exhibits returns the names of all pages of the gallery.
func exhibits() []string {
	names := []string{"403"}
	for _, e := range gallery {
		names = append(names, e.name)
	}
	for name := range refusals {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// controls returns the controls that the keyboard reaches on the page, in the order of
// the document.
const controls = `[...document.querySelectorAll("a[href], button, input:not([type=hidden])")].filter(e => e.checkVisibility())`

// Each press of Tab moves the focus to the next control in the order of the page, and the
// focus is visible. At first the focus is in the field that the user has to fill in. By
// default, a fourth of the pages are tested. TestFlows also uses most of them by
// keyboard.
func TestKeyboardOnPages(t *testing.T) {
	t.Parallel()
	b := openWindow(t, openGallery(t).URL)
	first := map[string]string{}
	for _, e := range gallery {
		first[e.name] = e.focus
	}
	type focus struct {
		Name, Text, Outline string
		X, Y                float64
	}
	const look = `(e => { const box = e.getBoundingClientRect(); return {Name: e.name ?? "", Text: e.innerText || e.id,
		Outline: getComputedStyle(e).outlineStyle, X: box.x, Y: box.bottom + scrollY} })(document.activeElement)`
	for i, name := range exhibits() {
		if !scale.Turn(i, 4) {
			continue
		}
		b.visit("/" + name)
		b.emulate("light", 390)
		// A browser sets the focus after it has painted the page.
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			got := evaluate[focus](b, look)
			if got.Name == first[name] {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: the focus is at first on %q, want %q", name, got.Name, first[name])
			}
		}
		evaluate[bool](b, controls+"[0].focus(), true")
		before := evaluate[focus](b, look)
		for range evaluate[int](b, controls+".length") - 1 {
			b.do(chromedp.KeyEvent(kb.Tab))
			at := evaluate[focus](b, look)
			if at.Outline != "solid" {
				t.Errorf("%s: the focus on %q cannot be seen", name, at.Text)
			}
			if at.Y < before.Y || at.Y == before.Y && at.X <= before.X {
				t.Errorf("%s: the focus moves from %q back to %q", name, before.Text, at.Text)
			}
			before = at
		}
	}
}

// The button shows the password and hides it again, by keyboard. The password is hidden
// when the form is sent, as password managers expect.
func TestShowPassword(t *testing.T) {
	t.Parallel()
	b := open(t, openGallery(t).URL)
	const state = "(f => f.type + '|' + f.value)(document.getElementById('password'))"
	const button = "(e => e.innerText + '|' + e.ariaLabel)(document.activeElement)"
	b.visit("/login-refused")
	b.enter("password", "correct horse")
	b.do(chromedp.KeyEvent(kb.Tab))
	for _, want := range [][2]string{{"Hide|Hide password", "text|correct horse"}, {"Show|Show password", "password|correct horse"}, {"Hide|Hide password", "text|correct horse"}} {
		b.do(chromedp.KeyEvent(" "))
		if got := [2]string{evaluate[string](b, button), evaluate[string](b, state)}; got != want {
			t.Fatalf("the button and the field are %q, want %q", got, want)
		}
	}
	evaluate[bool](b, "document.forms[0].addEventListener('submit', e => { e.preventDefault(); window.sent = document.getElementById('password').type }), document.forms[0].requestSubmit(), true")
	if sent := evaluate[string](b, "window.sent"); sent != "password" {
		t.Errorf("the form is sent with a field of type %q", sent)
	}
	b.visit("/login-refused?bare")
	if evaluate[bool](b, "!!document.querySelector('script, .reveal')") {
		t.Error("there is a script without the option")
	}
}
