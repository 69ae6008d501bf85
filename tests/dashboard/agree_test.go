package dashboard_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// The program's responses are the same under every framework: status, header and body.
func TestFrameworksAgree(t *testing.T) {
	t.Parallel()
	for i, p := range places {
		if i >= scale.Of(1, 1, len(places)) {
			break // cookies show the differences between frameworks
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			address := p.open(t)
			transcripts := make([][]string, len(frameworks))
			t.Run("frameworks", func(t *testing.T) {
				for i, framework := range frameworks {
					t.Run(framework, func(t *testing.T) {
						t.Parallel()
						transcripts[i] = transcript(t, p.target(framework, address(t)))
					})
				}
			})
			want := transcripts[0]
			for i, framework := range frameworks[1:] {
				got, differing := transcripts[i+1], 0
				for i := range min(len(want), len(got)) {
					if want[i] == got[i] {
						continue
					}
					if differing++; differing <= 20 {
						t.Errorf("%s differs\nnethttp:\n%s\n\n%s:\n%s", framework, want[i], framework, got[i])
					}
				}
				if len(want) != len(got) || len(want) < 1000 {
					t.Errorf("%s: %d responses, nethttp has %d", framework, len(got), len(want))
				}
			}
		})
	}
}

// transcript sends all requests and returns the responses.
func transcript(t *testing.T, tt target) []string {
	known := accounts()
	for i := range known {
		known[i].ID = "00000000-0000-4000-8000-00000000000" + string(rune('0'+i))
	}
	s := start(t, tt, authtest.Options{Accounts: known})
	var all []string
	for i, b := range []*browser{s.signedIn(t, admin), s.signedIn(t, viewer), s.browser(t)} {
		send := func(method, path, body string, header ...string) {
			t.Helper()
			a, err := b.try(b.raw(method, path, body, header...))
			if err != nil {
				t.Fatal(err)
			}
			a.what = strings.Join(append([]string{method, path, body}, header...), " ")
			all = append(all, a.transcript())
		}
		for _, path := range paths {
			send("GET", path, "")
			send("GET", path, "", "Accept", acceptPage)
			send("PUT", path, `"x"`, "Content-Type", typeJSON)
			send("POST", path, "a=b", "Content-Type", typeForm, "Accept", acceptPage, "Sec-Fetch-Site", "cross-site")
			if i > 0 {
				continue // the following requests do not depend on the client
			}
			for _, method := range []string{"HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"} {
				if method != "POST" || path != "/logout" {
					send(method, path, "")
				}
			}
			send("DELETE", path, "", "Accept", acceptPage)
			send("GET", path, "", "Accept", acceptPage, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
			send("GET", path, "", "Authorization", "Bearer x")
		}
		send("GET", "/api/prefs", "")
		send("GET", "/api/events?n=3&every=1ms", "")
		send("GET", "/api/events?n=0", "")
		send("POST", "/login", "{", "Content-Type", typeJSON)
		send("POST", "/login", "{}", "Content-Type", typeJSON)
		send("POST", "/login", "email=x", "Content-Type", typeForm, "Accept", acceptPage)
		send("POST", "/login", "email=x@example.com&password=y", "Content-Type", typeForm, "Accept", acceptPage)
		send("POST", "/login", strings.Repeat("x", 64<<10+1), "Content-Type", typeForm, "Accept", acceptPage)
		send("POST", "/login", "x", "Content-Type", "text/plain")
		send("POST", "/login", `{"email":"`+viewer+`","password":"`+password+`"}`, "Content-Type", typeJSON)
		send("POST", "/login", url.Values{"email": {mfa}, "password": {password}, "return_to": {"/reports"}}.Encode(), "Content-Type", typeForm, "Accept", acceptPage)
		send("GET", "/login/mfa", "", "Accept", acceptPage)
		send("POST", "/login/mfa", "code=1", "Content-Type", typeForm, "Accept", acceptPage)
		send("POST", "/logout", "", "Sec-Fetch-Site", "same-site")
		send("POST", "/logout", "", "Accept", acceptPage)
		send("GET", "/api/me", "")
		send("POST", "/logout", `{"all":true}`, "Content-Type", typeJSON)
	}
	// A service that is down.
	b := s.signedIn(t, analyst)
	s.auth.Inject(authtest.Any, authtest.Fault{Status: http.StatusServiceUnavailable})
	for _, path := range []string{"/readyz", "/dashboard", "/api/me", "/api/upstream"} {
		all = append(all, b.get(path).transcript(), b.page(path).transcript())
	}
	all = append(all, b.postForm("/login", "email", viewer, "password", password).transcript())
	return all
}

// paths are the routes, similar paths, and paths that routers may misinterpret.
var paths = []string{
	"/", "/dashboard", "/reports", "/admin", "/api/me", "/api/prefs", "/api/prefs/theme", "/api/upstream",
	"/healthz", "/login", "/login/mfa", "/logout",
	"/nowhere", "/api", "/api/", "/api/nowhere", "/api/prefs/", "/api/prefs/a/b", "/login/", "/login/x", "/dashboard/", "/healthz/",
	"/Dashboard", "/LOGIN", "/admin?x=1", "/admin?", "/admin;x", "/admin.", "/admin%20", "/admin+", "/:key", "/*", "/{$}", "/api/prefs/{key}",
	"/%61dmin", "/%2561dmin", "/admin%2F", "/admin%2f", "/admin%5C", "/admin%00", "/admin%0A", "/%61pi/me", "/api%2Fme", "/healthz%2F", "/%68ealthz",
	"/api/prefs/%74heme", "/api/prefs/a%2Fb", "/api/prefs/a%2fb", "/api/prefs/a%252Fb", "/api/prefs/a+b", "/api/prefs/a%2Bb", "/api/prefs/%C3%A9",
	"/api/prefs/:key", "/api/prefs/*", "/api/prefs/.", "/api/prefs/..", "/api/prefs/%2e%2e", "/api/prefs/%2F", "/api/prefs/a%20b",
	"//", "//dashboard", "/dashboard//", "/./dashboard", "/../dashboard", "/x/../dashboard", "/%2e/dashboard", "/%2e%2e/dashboard",
	"/x/%2e%2e/dashboard", "/api//me", "//login", "/login/../admin", "/login/..%2fadmin", "/login//mfa", "//healthz", "/./healthz", "/api/prefs//theme",
	"/é", "/%E9", "/%FF", "/dashboard%3Fx", "/dashboard%23x",
}

// raw returns a request for a path without any change of the path.
func (b *browser) raw(method, path, body string, header ...string) *http.Request {
	b.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := b.request(method, "/", r, header...)
	req.URL.Opaque = "//" + req.URL.Host + path
	if strings.HasPrefix(path, "//") {
		req.URL.Opaque = path
	}
	return req
}

var (
	whenever = regexp.MustCompile(`\d{10}|\d+ \w{3} \d{4}, [\d:]+ UTC|datetime="[^"]*"|"access_token_expires_in":[\d.]+`)
	maxAge   = regexp.MustCompile(`Max-Age=(0|\d)\d*`)
	itself   = regexp.MustCompile(`\b(nethttp|echo5?|gin)\b`)
)

// ago matches a time in words, such as "1 minute ago".
var ago = regexp.MustCompile(`<time TIME>[^<]+<`)

// transcript is the part of a response that must be the same under every framework. It
// excludes times and sealed values.
func (a *response) transcript() string {
	h := a.header.Clone()
	h.Del("Date")
	for i, line := range h["Set-Cookie"] {
		pair, attributes, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(pair, "=")
		if value != "" {
			value = "..."
		}
		h["Set-Cookie"][i] = name + "=" + value + ";" + maxAge.ReplaceAllString(attributes, "Max-Age=$1")
	}
	body := withoutStyle(a.body)
	body = whenever.ReplaceAllString(body, "TIME")
	if ago.MatchString(body) {
		body = ago.ReplaceAllString(body, "<time TIME>AGO <")
		h.Del("Content-Length")
	}
	if itself.MatchString(body) { // the page for admins names the framework
		body = itself.ReplaceAllString(body, "FRAMEWORK")
		h.Del("Content-Length")
	}
	var text strings.Builder
	text.WriteString(a.what + " " + http.StatusText(a.status) + "\n")
	_ = h.Write(&text)
	text.WriteString("\n" + body)
	return text.String()
}

// withoutStyle returns a page without its style, which is most of the page.
func withoutStyle(page string) string {
	before, rest, found := strings.Cut(page, "<style>")
	if !found {
		return page
	}
	_, after, _ := strings.Cut(rest, "</style>")
	return before + after
}
