package browser_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// framed is an app that pages of another site show in a frame.
type framed struct {
	t    *testing.T
	url  string
	log  testkit.LogBuffer
	seen chan string // the paths of requests, and whether a user was signed in
}

// startFramed starts an app. Its page signs a user in if no user is signed in, and a
// script in the page requests a resource.
func startFramed(t *testing.T, auth, embedder string, cookie session.Cookie) *framed {
	t.Helper()
	f := &framed{t: t, seen: make(chan string, 100)}
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth), Keys: []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)), Embedders: []string{embedder}, Cookie: cookie,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		in := session.FromContext(r.Context()).SignedIn()
		f.seen <- fmt.Sprint(r.URL.RequestURI(), " ", in)
		w.Header().Set("Content-Type", "text/html")
		script := `fetch("/resource")`
		if !in && r.URL.RawQuery == "" {
			script = `document.forms[0].submit()`
		}
		_, _ = fmt.Fprintf(w, `<!doctype html><title>A page</title><link rel=icon href=data:,><form method=post action=/login>
			<input name=email value=user@example.com><input name=password value=%q><input name=return_to value="/page?again"></form>
			<script>%s</script>`, password, script)
	})
	srv := httptest.NewServer(middleware.Sessions(m)(mux))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// expects fails the test unless these are the next requests.
func (f *framed) expects(want ...string) {
	f.t.Helper()
	for _, w := range want {
		select {
		case got := <-f.seen:
			if got != w {
				f.t.Fatalf("request %s, want %s", got, w)
			}
		case <-time.After(patience):
			f.t.Fatalf("no request, want %s", w)
		}
	}
}

// A browser that blocks the cookies of other sites keeps the partitioned cookies of an
// app in a frame, separately from those of the app in a window. It drops other cookies.
// The log reports this for cookies that every browser drops. After the user has granted
// access to unpartitioned cookies, the browser sends them, and no script is needed.
func TestFrames(t *testing.T) {
	t.Parallel()
	auth, err := authtest.Start(authtest.Options{
		PasswordCost: -1, Accounts: []authtest.Account{{Email: "user@example.com", Password: password}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>A shop</title><link rel=icon href=data:,><iframe src=%q></iframe>`, r.FormValue("app")+"/page")
	}))
	t.Cleanup(shop.Close)
	embedder := strings.Replace(shop.URL, "127.0.0.1", "localhost", 1) // another site
	b := open(t, embedder, chromedp.Flag("test-third-party-cookie-phaseout", true))
	show := func(f *framed) { t.Helper(); b.visit("/?app=" + f.url) }

	lax := startFramed(t, auth.URL, embedder, session.Cookie{Name: "lax"})
	show(lax)
	lax.expects("/page false", "/page?again false", "/resource false")
	if !strings.Contains(lax.log.String(), session.EventCookiesDropped) {
		t.Errorf("the log does not say that the browser drops the cookies: %s", lax.log.String())
	}

	parts := startFramed(t, auth.URL, embedder, session.Cookie{Name: "parts", SameSite: http.SameSiteNoneMode, Partitioned: true, HTTPPrefix: true})
	show(parts)
	parts.expects("/page false", "/page?again true", "/resource true")
	show(parts)
	parts.expects("/page true", "/resource true")

	none := startFramed(t, auth.URL, embedder, session.Cookie{Name: "none", SameSite: http.SameSiteNoneMode})
	show(none)
	none.expects("/page false", "/page?again false", "/resource false")
	if log := none.log.String() + parts.log.String(); strings.Contains(log, session.EventCookiesDropped) {
		t.Errorf("an unnecessary warning: %s", log)
	}
	for _, f := range []*framed{none, parts} {
		window := b.another(f.url)
		window.visit("/page")
		f.expects("/page false", "/page?again true", "/resource true")
		window.checkPrefixes()
	}
	if _, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "storage-access"}, Setting: "granted", Origin: embedder, EmbeddedOrigin: none.url,
	}); err != nil {
		t.Fatal(err)
	}
	show(none)
	none.expects("/page false", "/page true", "/resource true")

	// A site that is not among the Embedders cannot show the app.
	elsewhere := startFramed(t, auth.URL, "http://localhost:1", session.Cookie{Name: "elsewhere", SameSite: http.SameSiteNoneMode, Partitioned: true})
	show(elsewhere)
	elsewhere.expects("/page false")
	show(parts)
	parts.expects("/page true", "/resource true")
	if len(elsewhere.seen) > 0 {
		t.Errorf("the page was shown: %s", <-elsewhere.seen)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) != 1 || !strings.Contains(b.complaints[0], "frame-ancestors") {
		t.Errorf("the browser complains: %q", b.complaints)
	}
	b.complaints = nil
}

// checkPrefixes checks that the browser has the cookie of the app "parts", and that a script
// cannot set one of its prefix.
func (b *tab) checkPrefixes() {
	b.t.Helper()
	evaluate[int](b, `["__Host-Http-", "__Http-", "__Host-"].map(p => document.cookie = p + "forged=x; Path=/; Secure").length`)
	cookies := b.cookies()
	// The browser stores a script's cookies after a while, in their order.
	for end := time.Now().Add(patience); cookies["__Host-forged"] == nil && time.Now().Before(end); cookies = b.cookies() {
		time.Sleep(20 * time.Millisecond)
	}
	if cookies["__Host-forged"] == nil || cookies["__Host-Http-forged"] != nil || cookies["__Http-forged"] != nil {
		b.t.Errorf("a script has set %q", slices.Collect(maps.Keys(cookies)))
	}
	if cookies["__Host-Http-parts"] == nil && cookies["__Host-none"] == nil {
		b.t.Errorf("the browser has kept %q", slices.Collect(maps.Keys(cookies)))
	}
}
