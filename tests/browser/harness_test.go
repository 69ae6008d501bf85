package browser_test

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) {
	proc.AtOnce = 2 // browsers need processor time, so more tests at the same time take longer in all
	status := proc.RunTests(m, "dashboard", "authserver", "cmd/session-gateway")
	closeShared()
	os.Exit(status)
}

// plainHost is another name of this machine.
const plainHost = "plain.test"

// patience is how long a step in the browser may take.
const patience = time.Minute

var findChromium = sync.OnceValues(func() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is not installed")
})

// tab is a tab of a browser.
type tab struct {
	t      *testing.T
	ctx    context.Context
	user   cdp.BrowserContextID // has the cookies and the cache
	hidden bool                 // is in no window
	site   string

	mu         sync.Mutex
	complaints []string
}

// launch starts a browser, with more options than the usual ones.
func launch(more ...chromedp.ExecAllocatorOption) (context.Context, context.CancelFunc, error) {
	path, err := findChromium()
	if err != nil {
		return nil, func() {}, err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which does not work for root
		chromedp.DisableGPU,
		chromedp.WindowSize(1200, 900),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("no-pings", true),
		// A page accepts input before it is painted. A page in a hidden tab is never painted.
		chromedp.Flag("allow-pre-commit-input", true),
		// The browser starts no process for a page that may never be opened.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,SpareRendererForSitePerProcess"),
		// The browser can reach only this machine, under its own names and one name that
		// browsers do not trust over plain HTTP.
		chromedp.Flag("host-resolver-rules", "MAP "+plainHost+" 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, cancel := chromedp.NewContext(allocator)
	return ctx, func() { cancel(); stop() }, chromedp.Do(ctx)
}

// shared starts the browser that all tests share, and closeShared closes it.
var (
	closeShared = func() {}
	shared      = sync.OnceValues(func() (ctx context.Context, err error) {
		ctx, closeShared, err = launch()
		return ctx, err
	})
)

// open opens a tab for the site at an address. It shares no cookies and no cache with
// the tabs of other calls. With options, open starts a separate browser.
//
// The tab is hidden: Chromium neither paints the page nor draws a window around it, which
// takes more processor time than the tests. Screenshots need a window.
func open(t *testing.T, site string, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	return openTab(t, os.Getenv("SCREENSHOTS") == "", site, options...)
}

// openWindow is like open for a page that has to be painted.
func openWindow(t *testing.T, site string) *tab { t.Helper(); return openTab(t, false, site) }

func openTab(t *testing.T, hidden bool, site string, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	if _, err := findChromium(); err != nil {
		if scale.CI() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if len(options) > 0 {
		ctx, stop, err := launch(options...)
		t.Cleanup(stop)
		if err != nil {
			t.Fatal(err)
		}
		return (&tab{t: t, ctx: ctx, hidden: hidden}).another(site)
	}
	ctx, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	browser := chromedp.FromContext(ctx).Browser
	created, err := cdp.Call(ctx, browser, target.CreateBrowserContext, target.CreateBrowserContextParams{})
	if err != nil {
		t.Fatal(err)
	}
	user := created.BrowserContextID
	t.Cleanup(func() {
		_, _ = cdp.Call(ctx, browser, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: user})
	})
	return (&tab{t: t, ctx: ctx, user: user, hidden: hidden}).another(site)
}

// another opens one more tab for a site, which shares cookies and cache with the first.
func (b *tab) another(site string) *tab {
	t := b.t
	t.Helper()
	params := target.CreateTargetParams{URL: "about:blank", BrowserContextID: b.user}
	if yes := true; b.hidden {
		params.Hidden = &yes
	} else {
		params.NewWindow = &yes
	}
	opened, err := cdp.Call(b.ctx, chromedp.FromContext(b.ctx).Browser, target.CreateTarget, params)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(opened.TargetID))
	t.Cleanup(cancel)
	b = &tab{t: t, ctx: ctx, user: b.user, hidden: b.hidden, site: site}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	// Only one of several tabs has the focus, but each of them must accept input.
	b.do(chromedp.EmulateViewport(1200, 900), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, complaint := range b.complaints {
			t.Errorf("the browser complains: %s", complaint)
		}
	})
	return b
}

// listen collects what the browser writes to its console: violated policies,
// refused cookies, deprecated markup.
func (b *tab) listen(ev any) {
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		if ev.Entry.Level != log.EntryLevelError && ev.Entry.Level != log.EntryLevelWarning || ev.Entry.Source == log.EntrySourceNetwork {
			return // the console reports a refusal as an error
		}
		if strings.Contains(b.site, plainHost) && strings.HasPrefix(ev.Entry.Text, "Clear-Site-Data header") {
			return // the policy has an effect only over HTTPS and on localhost
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, ev.Entry.Text)
	case *runtime.EventExceptionThrown:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, ev.ExceptionDetails.Text)
	}
}

// do runs steps that do not load another page.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// lead runs steps that load another page, waits for the page, and returns its status.
func (b *tab) lead(steps ...chromedp.Action[chromedp.Void]) int {
	b.t.Helper()
	evaluate[int](b, "window.left = 1")
	b.do(steps...)
	const arrived = "!window.left && document.readyState === 'complete'"
	for end := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		// While the browser loads a page, no script can be evaluated.
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		done, err := chromedp.Run(ctx, chromedp.Evaluate[bool](arrived))
		cancel()
		if err == nil && done {
			break
		}
		if time.Now().After(end) {
			b.t.Fatalf("no new page comes, it shows %s (%v)", b.at(), err)
		}
	}
	return evaluate[int](b, "performance.getEntriesByType('navigation')[0].responseStatus")
}

// visit opens a path and returns the status of the page.
func (b *tab) visit(path string) int {
	b.t.Helper()
	return b.lead(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.Navigate, page.NavigateParams{URL: b.site + path})
		return err
	}))
}

// back goes back in the browser's history, as its button does.
func (b *tab) back() int {
	b.t.Helper()
	return b.lead(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
		if err != nil {
			return err
		}
		before := history.Entries[history.CurrentIndex-1].ID
		_, err = cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: before})
		return err
	}))
}

// evaluate evaluates JavaScript in the page.
func evaluate[T any](b *tab, script string, opts ...chromedp.EvaluateOption) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// enter types text into the field that has the focus, in place of the field's value,
// until the field shows the text.
func (b *tab) enter(field, text string) {
	b.t.Helper()
	type state struct{ Name, Value string }
	insert := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
	// A browser sets the first focus when it paints the page. TestKeyboardOnPages checks
	// that.
	if b.hidden {
		evaluate[bool](b, "document.activeElement === document.body && document.querySelector('[autofocus]')?.focus(), true")
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		const look = "(({name = '', value = ''}) => ({name, value}))(document.activeElement)"
		got := evaluate[state](b, look)
		if got == (state{field, text}) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s: the field %q has the value %q, want %q in %q", b.at(), got.Name, got.Value, text, field)
		}
		if got.Name == field {
			evaluate[bool](b, "document.activeElement.select(), true")
			b.do(insert)
		}
	}
}

// at returns the path and query of the page.
func (b *tab) at() string {
	b.t.Helper()
	u, err := url.Parse(evaluate[string](b, "location.href"))
	if err != nil {
		b.t.Fatal(err)
	}
	if site := u.Scheme + "://" + u.Host; site != b.site {
		b.t.Fatalf("the browser is at %s", site)
	}
	return u.RequestURI()
}

// is fails the test unless the browser shows the page of a path, with a
// heading.
func (b *tab) is(path, heading string) {
	b.t.Helper()
	if at := b.at(); at != path {
		b.t.Fatalf("the browser is at %s, want %s", at, path)
	}
	if h1 := evaluate[string](b, "document.querySelector('h1').innerText"); h1 != heading {
		b.t.Fatalf("%s: the heading is %q, want %q", path, h1, heading)
	}
}

// text returns what the page shows.
func (b *tab) text() string { b.t.Helper(); return evaluate[string](b, "document.body.innerText") }

func (b *tab) shows(text string) {
	b.t.Helper()
	if !strings.Contains(b.text(), text) {
		b.t.Fatalf("%s does not show %q:\n%s", b.at(), text, b.text())
	}
}

// cookies returns the cookies that the browser has, by name.
func (b *tab) cookies() map[string]*network.Cookie {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{b.site}})
	if err != nil {
		b.t.Fatal(err)
	}
	cookies := map[string]*network.Cookie{}
	for _, c := range res.Cookies {
		cookies[c.Name] = c
	}
	return cookies
}

// sessionCookies are the cookies except that of a known device, which outlives sessions.
func (b *tab) sessionCookies() map[string]*network.Cookie {
	b.t.Helper()
	cookies := b.cookies()
	maps.DeleteFunc(cookies, func(name string, _ *network.Cookie) bool { return strings.HasSuffix(name, "-device") })
	return cookies
}
