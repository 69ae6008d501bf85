package browser_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/tests/internal/proc"
)

// faults finds accessibility problems that a program can detect: text with too little
// contrast (WCAG 2.2, 1.4.3), controls without a name or too small to hit (4.1.2, 2.5.8),
// a page that has to be scrolled sideways (1.4.10), that has no language or title (3.1.1,
// 2.4.2), or that does not have exactly one main heading.
const faults = `(() => {
	const found = [];
	const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
	const colors = text => [...text.matchAll(/rgba?\(([^)]+)\)/g)].map(m => m[1].split(/[ ,\/]+/).map(Number));
	const luminance = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
	const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) };
	const solid = c => c && (c.length < 4 || c[3] === 1);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const style = getComputedStyle(e), all = colors(style.backgroundColor).filter(solid);
			if (all.length) return all.concat(colors(style.backgroundImage).filter(solid));
		}
		return [[255, 255, 255]];
	};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		const e = n.parentElement, style = getComputedStyle(e);
		if (!n.data.trim() || !e.checkVisibility()) continue;
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		const color = colors(e instanceof SVGElement ? style.fill : style.color)[0];
		for (const back of behind(e)) {
			const ratio = contrast(color, back);
			if (ratio < (large ? 3 : 4.5)) found.push(n.data.trim().slice(0, 30) + ": contrast " + ratio.toFixed(2));
		}
	}
	for (const e of document.querySelectorAll("a, button, input:not([type=hidden])")) {
		const box = e.getBoundingClientRect(), name = (e.innerText || e.labels?.[0]?.innerText || e.ariaLabel || "").trim();
		if (!name) found.push(e.outerHTML.slice(0, 60) + ": no name");
		if (getComputedStyle(e).display !== "inline" && box.height < 24) found.push(name + ": " + box.height + " px high");
		if (e.tagName === "INPUT") {
			const style = getComputedStyle(e), edge = contrast(colors(style.borderColor)[0], behind(e.parentElement)[0]);
			if (edge < 3) found.push(name + ": contrast of its border " + edge.toFixed(2));
		}
	}
	if (document.documentElement.scrollWidth > innerWidth) found.push("it is " + document.documentElement.scrollWidth + " px wide");
	if (document.documentElement.lang !== "en") found.push("no language");
	if (!document.title) found.push("no title");
	if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
	if (document.querySelectorAll("main").length !== 1) found.push("not one main");
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	if (new Set(ids).size !== ids.length) found.push("an id is there twice");
	for (const e of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
		for (const id of (e.getAttribute("aria-describedby") || e.getAttribute("aria-labelledby")).split(" "))
			if (!ids.includes(id)) found.push("nothing has the id " + id);
	return found;
})()`

func (b *tab) emulate(scheme string, width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 800), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// speak sets the preferred language of the browser.
func (b *tab) speak(language string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
		return err
	}))
}

// All pages of the dashboard, in both languages, light and dark, and in three widths.
// Without LONG=1, each page is in one language and one width.
func TestAccessible(t *testing.T) {
	for _, language := range []string{"en", "de"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			testAccessible(t, language)
		})
	}
}

func testAccessible(t *testing.T, language string) {
	b := open(t, proc.Start(t, "dashboard", []string{proc.Patient}).URL)
	b.speak(language)
	texts := middleware.Texts(language)
	pages := 0
	if language != "en" {
		pages = 3 // begins with a different view
	}
	all := scale.Long() || os.Getenv("SCREENSHOTS") != ""
	check := func(what string) {
		t.Helper()
		pages++
		if !all && pages%2 == 1 {
			return // the other language has this view
		}
		backs := map[string]bool{}
		for i, scheme := range []string{"light", "dark"} {
			for j, width := range []int64{320, 390, 1280} {
				if !all && (pages+j)%3 != 0 {
					continue
				}
				b.emulate(scheme, width)
				faults := b.faults(language)
				if scale.Turn(pages+3*i+j, 6) {
					faults = append(faults, b.axeFaults()...)
				}
				for _, fault := range faults {
					t.Errorf("%s, %s, %d px: %s", what, scheme, width, fault)
				}
				backs[evaluate[string](b, "getComputedStyle(document.body).backgroundColor")] = true
				b.shoot(fmt.Sprintf("dashboard-%s-%s-%s-%d", strings.NewReplacer(" ", "_", "/", "_").Replace(what), language, scheme, width))
			}
		}
		if len(backs) != 2 {
			t.Errorf("%s is the same in light and dark", what)
		}
	}
	b.visit("/")
	check("the start page")
	b.visit("/login")
	check("the login page")
	b.signIn("viewer@example.com", "wrong")
	check("the login page with an error")
	b.visit("/login")
	b.enter("email", "mfa@example.com")
	b.do(chromedp.KeyEvent(kb.Tab))
	b.enter("password", password)
	b.lead(chromedp.KeyEvent(kb.Enter))
	b.is("/login/mfa", texts["mfa.title"])
	check("the page for a code")
	b.enter("code", "000000")
	b.lead(chromedp.KeyEvent(kb.Enter))
	check("the page for a code, with an error")
	for _, user := range []string{"viewer@example.com", "admin@example.com"} {
		b.visit("/login")
		b.signIn(user, password)
		for _, path := range []string{"/", "/login", "/dashboard", "/reports", "/admin", "/nowhere"} {
			if all || pages%2 == 1 {
				b.visit(path)
			}
			check(fmt.Sprintf("%s for %s", path, user))
		}
		// On a phone the navigation has at most two rows.
		b.visit("/dashboard")
		b.emulate("light", 390)
		if height := evaluate[int](b, "document.querySelector('header').offsetHeight"); height > 120 {
			t.Errorf("%s: the navigation is %d px high", user, height)
		}
	}
}

// The element with the focus is visible, and the first element that the keyboard reaches
// skips the navigation.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	b := open(t, proc.Start(t, "dashboard", []string{proc.Patient}).URL)
	b.visit("/dashboard")
	b.signIn("admin@example.com", password)
	const focused = "document.activeElement.innerText + '|' + getComputedStyle(document.activeElement).outlineStyle"
	for _, want := range []string{"Skip to the content", "Dashboard example", "Dashboard", "Reports", "Admin", "Sign out", "Sign out everywhere"} {
		b.do(chromedp.KeyEvent(kb.Tab))
		if got := evaluate[string](b, focused); got != want+"|solid" {
			t.Errorf("the focus is on %q, want it to be seen on %q", got, want)
		}
	}
}

// The check finds each of its problems.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	b := open(t, proc.Start(t, "dashboard", []string{proc.Patient}).URL)
	axe := func() []string { return b.axeFaults() }
	quick := func() []string { return b.faults("en") }
	b.visit("/")
	if found := append(quick(), axe()...); len(found) > 0 {
		t.Fatalf("%q", found)
	}
	for plant, find := range map[string]func() []string{
		"document.querySelector('.lead').style.color = '#999'":                                 quick,
		"document.querySelector('main .button').innerText = ''":                                quick,
		"document.querySelector('main').style.minWidth = '3000px'":                             quick,
		"document.querySelector('h1').remove()":                                                quick,
		"document.querySelector('main .button').style.cssText = 'min-height: 0; height: 10px'": quick,
		"document.querySelector('main').setAttribute('aria-labelledby', 'nothing')":            quick,
		"document.title = ''": quick,
		"document.querySelector('main').insertAdjacentHTML('beforeend', '<p role=checkbox>x</p>')": axe,
		"document.querySelector('main').insertAdjacentHTML('beforeend', '<h5>x</h5>')":             axe,
	} {
		b.visit("/")
		evaluate[bool](b, plant+"; true")
		if found := find(); len(found) == 0 {
			t.Errorf("%s: nothing was found", plant)
		}
	}
}
