package middleware_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

const droppedText = "will not keep you signed in"

// plainBrowser returns a browser that requests the app over plain HTTP by the name
// host.
func (a *app) plainBrowser(host string) *browser {
	a.t.Helper()
	srv := httptest.NewServer(middleware.Sessions(a.m)(a.mux))
	a.t.Cleanup(srv.Close)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}
	a.t.Cleanup(transport.CloseIdleConnections)
	return newBrowser(a.t, webapp.NewBrowser(a.t, "http://"+host, transport))
}

// Over plain HTTP, a correct password leads back to the login page, which explains
// why. The log has a warning, once an hour.
func TestLoginOverPlainHTTP(t *testing.T) {
	clock := time.Now()
	a := newApp(t, func(c *session.Config) { c.Now = func() time.Time { return clock } })
	a.mux.Handle("GET /page", middleware.RequireUser(http.NotFoundHandler()))
	b := a.plainBrowser("app.example.org:8080")
	page := func(path string) response { t.Helper(); return b.get(path, "Accept", asPage) }

	page("/login").isPage(t, 200, droppedText)
	login := b.do("POST", "/login", "email=admin%40example.com&password="+strings.ReplaceAll(password, " ", "+")+"&return_to=%2Fpage",
		"Content-Type", "application/x-www-form-urlencoded", "Accept", asPage, "Origin", b.base)
	to := page(login.isRedirect(t, "/page").Header.Get("Location")).is(t, 303, "").Header.Get("Location")
	if !strings.HasPrefix(to, "/login") {
		t.Fatalf("the sign-in leads to %s", to)
	}
	page(to).isPage(t, 200, droppedText)
	page("/login?expired=1").isPage(t, 200, droppedText)
	logged := func() int { return strings.Count(a.log.String(), `"level":"WARN","msg":"cookies_dropped"`) }
	if n := logged(); n != 1 {
		t.Errorf("the warning was logged %d times, want once", n)
	}
	clock = clock.Add(time.Hour)
	page("/login").isPage(t, 200, droppedText)
	if n := logged(); n != 2 {
		t.Errorf("after an hour the warning was logged %d times, want twice", n)
	}
	// A sign-in with JSON logs the warning, too.
	clock = clock.Add(time.Hour)
	b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`"}`).is(t, 200, "")
	if n := logged(); n != 3 {
		t.Errorf("after a sign-in with JSON the warning was logged %d times, want 3", n)
	}
}

// If the browser may keep the cookies, there is no warning.
func TestLoginWhereCookiesAreKept(t *testing.T) {
	insecure := func(c *session.Config) { c.Cookie.Insecure = true }
	for _, c := range []struct {
		name, host string
		set        func(*session.Config)
		header     []string
		dropped    bool
	}{
		{name: "another host", host: "10.0.0.7:8080", dropped: true},
		{name: "a name that begins with localhost", host: "localhost.example.org", dropped: true},
		{name: "a proxy that was reached over plain HTTP", host: "app.example.org", header: []string{"X-Forwarded-Proto", "http", "X-Forwarded-Port", "80", "Forwarded", "for=192.0.2.1;proto=http"}, dropped: true},
		{name: "insecure cookies", host: "app.example.org", set: insecure},
		{name: "localhost", host: "localhost:8080"},
		{name: "a name below localhost", host: "app.localhost:8080"},
		{name: "a loopback address", host: "127.0.0.1:8080"},
		{name: "an IPv6 loopback address", host: "[::1]:8080"},
		{name: "a trusted origin, as reported by the browser", host: "app.example.org", header: []string{"Sec-Fetch-Site", "none"}},
		{name: "X-Forwarded-Proto", host: "app.example.org", header: []string{"X-Forwarded-Proto", "https"}},
		{name: "X-Forwarded-Proto of two proxies", host: "app.example.org", header: []string{"X-Forwarded-Proto", "HTTPS, http"}},
		{name: "Forwarded", host: "app.example.org", header: []string{"Forwarded", "for=192.0.2.1;Proto=https"}},
		{name: "Forwarded, quoted", host: "app.example.org", header: []string{"Forwarded", `proto="https"`}},
		{name: "X-Forwarded-Ssl", host: "app.example.org", header: []string{"X-Forwarded-Ssl", "on"}},
		{name: "an origin", host: "app.example.org", header: []string{"Origin", "https://app.example.org"}},
		{name: "a cookie that was kept", host: "app.example.org", header: []string{"Cookie", "__Host-session=x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, c.set)
			page := a.plainBrowser(c.host).get("/login", append([]string{"Accept", asPage}, c.header...)...).isPage(t, 200, "Sign in")
			said, logged := strings.Contains(page.body, droppedText), strings.Contains(a.log.String(), session.EventCookiesDropped)
			if said != c.dropped || logged != c.dropped {
				t.Errorf("warning on the page: %v, in the log: %v, want %v", said, logged, c.dropped)
			}
		})
	}
	a := newApp(t, nil)
	if page := a.browser().get("/login", "Accept", asPage); strings.Contains(page.body, droppedText) {
		t.Error("the page has a warning over TLS")
	}
}

// A browser in a frame of another site or at another domain drops the cookies. The page
// reports this, and the log has the cause.
func TestLoginWhereCookiesAreDropped(t *testing.T) {
	ofPage := func(dest string, more ...string) []string {
		return append([]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", dest}, more...)
	}
	none := func(c *session.Config) { c.Cookie.SameSite = http.SameSiteNoneMode }
	inDomain := func(domain string) func(*session.Config) {
		return func(c *session.Config) { c.Cookie.Domain = domain }
	}
	for _, c := range []struct {
		name   string
		set    func(*session.Config)
		header []string
		cause  string // in the log; empty if the browser may keep the cookies
	}{
		{"a page in a foreign frame", nil, ofPage("iframe", "Sec-Fetch-Storage-Access", "none"), "Partitioned"},
		{"a page in a foreign frame of a frameset", nil, ofPage("frame", "Sec-Fetch-Storage-Access", "active"), "Partitioned"},
		{"a page in a frame of the same site", nil, ofPage("iframe"), ""},
		{"a page in a window", nil, ofPage("document", "Sec-Fetch-Storage-Access", "none"), ""},
		{"a frame that another site has opened", nil, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Storage-Access", "none"}, ""},
		{"a page in a foreign frame, with a kept cookie", nil, ofPage("iframe", "Sec-Fetch-Storage-Access", "none", "Cookie", "__Host-session=x"), ""},
		{"a page in a foreign frame, with SameSite=None", none, ofPage("iframe", "Sec-Fetch-Storage-Access", "none"), ""},
		{"another domain", inDomain("example.org"), ofPage("document", "Origin", "https://app.example.com"), "Cookie.Domain"},
		{"a domain with the same end", inDomain("example.org"), ofPage("document", "Origin", "https://badexample.org"), "Cookie.Domain"},
		{"the domain", inDomain("example.org"), ofPage("document", "Origin", "https://example.org"), ""},
		{"a host of the domain", inDomain(".Example.org"), ofPage("document", "Origin", "https://app.EXAMPLE.org:8443"), ""},
		{"an opaque origin", inDomain("example.org"), ofPage("document", "Origin", "null"), ""},
		{"an origin that is no address", inDomain("example.org"), ofPage("document", "Origin", "https://%"), ""},
		{"no origin", inDomain("example.org"), ofPage("document"), ""},
		{"an origin of another site", inDomain("example.org"), []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, c.set)
			page := a.browser().get("/login", append([]string{"Accept", asPage}, c.header...)...).isPage(t, 200, "Sign in")
			if said := strings.Contains(page.body, droppedText); said != (c.cause != "") {
				t.Errorf("warning on the page: %v, want %v", said, c.cause != "")
			}
			log := a.log.String()
			if reported := strings.Contains(log, session.EventCookiesDropped); reported != (c.cause != "") || !strings.Contains(log, c.cause) {
				t.Errorf("the log has no %q: %s", c.cause, log)
			}
		})
	}
}
