package adaptertest

import (
	"net/http"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

// embedder is the origin of a page that may show the app in a frame.
const embedder = "https://shop.example.com"

// cookieScripts need other settings of cookies.
var cookieScripts = []struct {
	script
	set func(*session.Config)
}{
	{script{"cookie path", cookiePath}, atPath},
	{script{"frames", inFrame}, inFrames},
	{script{"partitioned cookies", inFrame}, partitioned},
}

// atPath are the settings of an app whose cookies have a path.
func atPath(c *session.Config) {
	c.LoginPath = "/account/login"
	c.Cookie = session.Cookie{Path: "/account", HTTPPrefix: true}
}

// cookiePath uses an app whose cookies are sent to a path only.
func cookiePath(a *trial) []*webapp.Response {
	const path = "/account"
	b, _, _ := a.serve(Spec{Prefix: path, Routes: []Route{
		{"GET", path + "/page", Guard{User: true}, Whoami},
		{"GET", "/outside", Guard{}, Whoami},
	}})
	b.Open(path + "/page").Is(303)
	for _, c := range b.Submit(path+"/login", "email", Viewer, "password", Password).Is(303).Cookies() {
		if !strings.HasPrefix(c.Name, "__Http-session") || c.Path != path {
			a.T.Errorf("a cookie %s with the path %s", c.Name, c.Path)
		}
	}
	b.Open(path+"/page").Says(200, "00000000000b")
	if out := b.Open("/outside").Is(200); strings.Contains(out.Body, "00000000000b") {
		a.T.Errorf("the cookies are sent outside their path: %s", out.Body)
	}
	b.Submit(path + "/logout").Is(303)
	b.Open(path + "/page").Is(303)
	for _, c := range b.Client.Jar.Cookies(b.Request("GET", path+"/", "").URL) {
		if !strings.HasSuffix(c.Name, "-device") {
			a.T.Errorf("%s was not deleted", c.Name)
		}
	}
	return b.Responses
}

// inFrames are the settings of an app that another site shows in a frame.
func inFrames(c *session.Config) {
	c.Embedders = []string{embedder}
	c.Cookie = session.Cookie{SameSite: http.SameSiteNoneMode}
}

// partitioned are inFrames with partitioned cookies.
func partitioned(c *session.Config) {
	inFrames(c)
	c.Cookie.Partitioned = true
}

// inFrame sends the requests of a browser for a frame of the embedder: without access to
// cookies, with it, and from elsewhere.
func inFrame(a *trial) []*webapp.Response {
	visitor, viewer, _ := a.serve(Spec{
		Options: []middleware.Option{middleware.WithAPI("/api/")},
		Routes: []Route{
			{"GET", "/page", Guard{User: true}, Whoami}, {"GET", "/open", Guard{}, Whoami}, {"POST", "/open", Guard{}, Whoami},
		},
	})
	frame := func(b *webapp.Browser, method, path string, header ...string) *webapp.Response {
		a.T.Helper()
		return b.Do(method, path, "", append([]string{"Accept", webapp.AsPage,
			"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site"}, header...)...)
	}
	frame(visitor, "GET", "/page", "Sec-Fetch-Storage-Access", "inactive", "Origin", embedder).Is(303)
	frame(visitor, "GET", "/open", "Sec-Fetch-Storage-Access", "inactive", "Origin", "https://other.example.com").Is(200)
	frame(visitor, "GET", "/open", "Sec-Fetch-Storage-Access", "none").Is(200)
	frame(visitor, "POST", "/open", "Sec-Fetch-Storage-Access", "inactive", "Origin", embedder).Is(200)
	frame(viewer, "GET", "/page", "Sec-Fetch-Storage-Access", "active").Is(200)
	frame(viewer, "GET", "/login").Is(200)
	viewer.Open("/page").Is(200)

	partitioned := strings.HasSuffix(viewer.Responses[0].Header.Get("Set-Cookie"), "; Partitioned")
	for i, r := range append(visitor.Responses, viewer.Responses...) {
		want := ""
		if !partitioned {
			want = map[int]string{0: `retry; allowed-origin="` + embedder + `"`, len(visitor.Responses) + 1: "load"}[i]
		}
		if got := r.Header.Get("Activate-Storage-Access"); got != want {
			a.T.Errorf("response %d: Activate-Storage-Access: %q, want %q", i, got, want)
		}
		if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'self' "+embedder) {
			a.T.Errorf("response %d: Content-Security-Policy: %q", i, policy)
		}
		if vary := strings.Join(r.Header["Vary"], ", "); strings.Contains(vary, "Origin, Sec-Fetch-Storage-Access") == partitioned {
			a.T.Errorf("response %d: Vary: %q", i, vary)
		}
	}
	return append(visitor.Responses, viewer.Responses...)
}
