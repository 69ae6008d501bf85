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

	"github.com/chromedp/chromedp"
)

//go:embed axe/axe.min.js
var axe string

// axeFaults runs axe on the page, with all rules of WCAG 2.2 AA and the best
// practices.
const axeFaults = `axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(r =>
	r.violations.concat(r.incomplete.filter(i => i.id === "color-contrast")).flatMap(v => v.nodes.map(n => v.id + ": " + v.help + ": " + n.html.slice(0, 120))))`

// check finds what keeps people out of the page that the tab shows.
func (b *tab) check(language string) []string {
	b.t.Helper()
	found := evaluate[[]string](b, strings.Replace(faults, `!== "en"`, `!== "`+language+`"`, 1))
	if evaluate[bool](b, "!window.axe") {
		evaluate[bool](b, axe+"; true")
	}
	return append(found, evaluate[[]string](b, axeFaults, chromedp.EvalAwaitPromise)...)
}

// shoot saves a picture of the page in the directory that SCREENSHOTS names.
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

// All pages in both languages, light and dark, on a phone and on a desktop.
func TestPages(t *testing.T) {
	t.Parallel()
	b := open(t, openGallery(t).URL)
	names := []string{}
	for _, e := range gallery {
		names = append(names, e.name)
	}
	for name := range refusals {
		names = append(names, name)
	}
	names = append(names, "403")
	slices.Sort(names)
	for _, name := range names {
		for _, language := range []string{"en", "de"} {
			b.visit("/" + name + "?lang=" + language)
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{390, 1280} {
					b.emulate(scheme, width)
					view := fmt.Sprintf("%s-%s-%s-%d", name, language, scheme, width)
					for _, fault := range b.check(language) {
						t.Errorf("%s: %s", view, fault)
					}
					b.shoot(view)
				}
			}
		}
	}
}
