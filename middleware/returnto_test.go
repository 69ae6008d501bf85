package middleware_test

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

func TestReturnToAccepted(t *testing.T) {
	for value, want := range map[string]string{
		"/":                             "/",
		"/reports":                      "/reports",
		"/reports/":                     "/reports/",
		"/reports?x=1&y=2":              "/reports?x=1&y=2",
		"/reports?":                     "/reports",
		"/reports#part":                 "/reports",
		"/reports?x#part?y":             "/reports?x",
		"/a%20b":                        "/a%20b",
		"/a b":                          "/a%20b",
		"/a%2Fb":                        "/a%2Fb",
		"/100%25":                       "/100%25",
		"/ünï/世界":                       "/%C3%BCn%C3%AF/%E4%B8%96%E7%95%8C",
		"/%C3%BC":                       "/%C3%BC",
		"/search?q=http://x.example//y": "/search?q=http://x.example//y",
		"/search?q=a b\"<ü>":            "/search?q=a%20b%22%3C%C3%BC%3E",
		`/search?q=\\x`:                 "/search?q=%5C%5Cx",
		"/search?q=%0d%0a":              "/search?q=%0d%0a",
		"/search?q=//evil.example":      "/search?q=//evil.example",
		"/time/12:30":                   "/time/12:30",
		"/user@example.com":             "/user@example.com",
		"/a//b":                         "/a//b",
		"/a;v=1/b,c=2":                  "/a;v=1/b,c=2",
		"/.well-known/x":                "/.well-known/x",
		"/a..b/...":                     "/a..b/...",
		"/~me/!$&'()*+":                 "/~me/%21$&%27%28%29%2A+",
	} {
		got := middleware.ReturnTo(value)
		if u, err := url.Parse(want); err != nil || got != want && !samePath(got, u) {
			t.Errorf("ReturnTo(%q) = %q, want %q", value, got, want)
		}
		if again := middleware.ReturnTo(got); again != got {
			t.Errorf("ReturnTo(%q) = %q, want the same value", got, again)
		}
		if where := browse(t, got); !where.local {
			t.Errorf("ReturnTo(%q) = %q leads a browser to %q", value, got, where.host)
		}
	}
}

func samePath(got string, want *url.URL) bool {
	u, err := url.Parse(got)
	return err == nil && u.Path == want.Path && u.RawQuery == want.RawQuery
}

// signInRoutes returns spellings of the sign-in routes' paths that some router
// accepts.
func signInRoutes() []string {
	var spellings []string
	for _, route := range []string{
		"/login", "/login/mfa", "/logout", "/register", "/magic-link", "/callback", "/password/lost", "/password/reset", "/login/with/github",
	} {
		encoded := ""
		for _, c := range []byte(route[1:]) {
			encoded += fmt.Sprintf("%%%02x", c)
		}
		spellings = append(spellings,
			route, route+"/", route+"//", route+"?return_to=/", route+"#x", strings.ToUpper(route), "/"+strings.ToUpper(route[1:2])+route[2:],
			"/"+encoded, "/"+strings.ReplaceAll(encoded, "%", "%25"), "/"+strings.ReplaceAll(route[1:], "o", "%6F"), route+"%2F",
			"/acme"+route, "/acme/team"+route, "/acme/"+route, "/%61cme"+route, "/acme%2F"+route[1:], "/a/b/c/d"+route+"/",
			route+";v=1", "/acme;v=1"+route+";v=1/", "/acme"+strings.ReplaceAll(route, "/", "//"), "/login"+route, "/w%20x"+route,
		)
	}
	return spellings
}

// A sign-in must not lead to a sign-in route again.
func TestReturnToSignInRoutes(t *testing.T) {
	t.Parallel()
	for _, value := range signInRoutes() {
		if got := middleware.ReturnTo(value); got != "" {
			t.Errorf("ReturnTo(%q) = %q", value, got)
		}
	}
	for _, value := range []string{"/relogin", "/login/x", "/login.html", "/mfa", "/log/in", "/x?y=/login", "/logout/now", "/loginx", "/login/with", "/password", "/email/confirm"} {
		if got := middleware.ReturnTo(value); got != value {
			t.Errorf("ReturnTo(%q) = %q", value, got)
		}
	}

	a := newApp(t, func(c *session.Config) { c.LoginPath = "/sign-in" }, middleware.WithHome("/home"))
	b := a.browser()
	for _, value := range append(signInRoutes(), "/sign-in", "/sign-in/", "/Sign%2Din?x") {
		b.submit("/login", "email", "admin@example.com", "password", password, "return_to", value).isRedirect(t, "/home")
		page := b.open("/login?return_to="+url.QueryEscape(value)).isPage(t, 200, "Sign in")
		if strings.Contains(page.body, "return_to") {
			t.Errorf("the login page for return_to=%q has the field", value)
		}
	}
	b.submit("/login", "email", "mfa@example.com", "password", password, "return_to", "/logout").isRedirect(t, "/login/mfa")
	b.submit("/login/mfa", "code", code(t, a), "return_to", "/login/mfa").isRedirect(t, "/home")
}

// elsewhere returns values that ReturnTo must reject. The file explains each
// group.
func elsewhere(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/return_to.txt")
	if err != nil {
		t.Fatal(err)
	}
	values := []string{
		"/" + strings.Repeat("a", 2048), "/" + strings.Repeat("a", 2046) + " ", "/?" + strings.Repeat("a", 2045) + "\"", // too long
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		value, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		values = append(values, value)
	}
	if len(values) < 300 {
		t.Fatalf("only %d values", len(values))
	}
	return values
}

func TestReturnToRejected(t *testing.T) {
	for _, value := range elsewhere(t) {
		if got := middleware.ReturnTo(value); got != "" {
			t.Errorf("ReturnTo(%q) = %q", value, got)
		}
	}
}

// A rejected value that is encoded again, or that is a part of an address, must
// not lead to another host.
func TestReturnToEncodedAgain(t *testing.T) {
	accepted := 0
	for _, value := range elsewhere(t) {
		for _, encoded := range []string{
			url.QueryEscape(value), url.PathEscape(value), url.QueryEscape(url.QueryEscape(value)),
			"/" + url.PathEscape(value), "/" + url.QueryEscape(value), "/" + url.PathEscape(url.PathEscape(value)),
			"/x?y=" + value, "/x/" + value, "/x/" + url.PathEscape(value),
		} {
			checkReturnTo(t, encoded)
			if middleware.ReturnTo(encoded) != "" {
				accepted++
			}
		}
	}
	if accepted < 300 {
		t.Errorf("only %d values were accepted and checked", accepted)
	}
}

func FuzzReturnTo(f *testing.F) {
	// The tests above use all values. A few are enough as seeds, because each seed
	// takes time from fuzzing.
	for i, value := range elsewhere(f) {
		switch i % 12 {
		case 0:
			f.Add(value)
		case 4:
			f.Add(url.QueryEscape(value))
		case 8:
			f.Add("/" + url.PathEscape(value))
		}
	}
	f.Add("/reports?x=1&y=2")
	f.Fuzz(func(t *testing.T, value string) { checkReturnTo(t, value) })
}

// headerSafe matches a safe Location: a path and a query of visible ASCII
// characters.
var headerSafe = regexp.MustCompile(`^/[!-~]*$`)

// checkReturnTo checks that browsers, lenient decoders and net/url all read an
// accepted value as an address on this host.
func checkReturnTo(t *testing.T, value string) {
	t.Helper()
	to := middleware.ReturnTo(value)
	if to == "" {
		return
	}
	if !headerSafe.MatchString(to) {
		t.Errorf("ReturnTo(%q) = %q is not safe in a header", value, to)
	}
	if again := middleware.ReturnTo(to); again != to {
		t.Errorf("ReturnTo(%q) = %q, and again %q", value, to, again)
	}
	// Proxies may decode the address repeatedly.
	for decoded, i := to, 0; i < 5; i++ {
		if where := browse(t, decoded); !where.local || strings.HasPrefix(where.path, "//") {
			t.Errorf("ReturnTo(%q) = %q, decoded %d times %q, leads a browser to %q %q", value, to, i, decoded, where.host, where.path)
		}
		path, query, _ := strings.Cut(decoded, "?")
		next := lenientDecode(path)
		if query != "" {
			next += "?" + query
		}
		if next == decoded {
			break
		}
		decoded = next
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Fragment != "" {
		t.Errorf("ReturnTo(%q) = %q is a %#v to net/url (%v)", value, to, u, err)
	}
	if got := base.ResolveReference(u); got.Host != base.Host || got.Scheme != base.Scheme {
		t.Errorf("ReturnTo(%q) = %q resolves to %s", value, to, got)
	}
}

var base = &url.URL{Scheme: "https", Host: "app.example", Path: "/login"}

// destination is the address that a browser requests.
type destination struct {
	local      bool
	host, path string
}

var scheme = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*):`)

// browse resolves a Location at https://app.example/login like a browser
// (https://url.spec.whatwg.org/#url-parsing). It handles scheme, host and path.
func browse(t *testing.T, location string) destination {
	t.Helper()
	s := strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	if m := scheme.FindStringSubmatch(s); m != nil {
		if !strings.EqualFold(m[1], "https") {
			return destination{host: m[0]}
		}
		// In a special scheme, "https:x" is relative, and "https:/x" may not be.
		s = s[len(m[0]):]
		if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, `\`) {
			return destination{host: s}
		}
		s = "//" + strings.TrimLeft(s, `/\`)
	}
	s, _, _ = strings.Cut(s, "#")
	s, _, _ = strings.Cut(s, "?")
	s = strings.ReplaceAll(s, `\`, "/")
	if strings.HasPrefix(s, "//") {
		host, path, _ := strings.Cut(strings.TrimLeft(s, "/"), "/")
		return destination{host: host, path: "/" + path}
	}
	if !strings.HasPrefix(s, "/") {
		s = "/" + s // relative to /login
	}
	var out []string
	segments := strings.Split(s[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); dots {
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		case ".":
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, segment)
		}
	}
	return destination{local: true, host: base.Host, path: "/" + strings.Join(out, "/")}
}

var escaped = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

func lenientDecode(s string) string {
	return escaped.ReplaceAllStringFunc(s, func(e string) string {
		c, _ := url.PathUnescape(e)
		return c
	})
}

// The tests depend on browse, so it has a test, too.
func TestBrowse(t *testing.T) {
	for location, local := range map[string]bool{
		"/x": true, "x": true, "/..//y": true, "//y": false, `/\y`: false, "/\t/y": false, " //y": false, "https:y": false,
		"https:/y": false, "javascript:x": false, `\\y`: false, "/?//y": true, "/%2Fy": true,
	} {
		if got := browse(t, location); got.local != local {
			t.Errorf("browse(%q) = %+v", location, got)
		}
	}
	if got := browse(t, "/a/..//evil"); got.path != "//evil" {
		t.Errorf("path %q", got.path)
	}
}
