package middleware

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// maxAddress bounds the part of a request's address that is read. A longer
// address is cut to its path, and a longer path at a slash.
const maxAddress = 2048

// addressOf returns the address of a request as the server got it. r.URL does
// not have it where a handler has stripped a prefix.
func addressOf(r *http.Request) *url.URL {
	uri := r.RequestURI
	if len(uri) > maxAddress {
		path, _, whole := strings.Cut(uri[:maxAddress], "?")
		if !whole {
			path = path[:strings.LastIndexByte(path, '/')+1]
		}
		uri = path
	}
	if uri != "" {
		if u, err := url.ParseRequestURI(uri); err == nil {
			return u
		}
	}
	if len(r.URL.Path) > maxAddress || len(r.URL.RawPath) > maxAddress {
		return &url.URL{Path: "/"}
	}
	return r.URL
}

// maxQuery bounds the query that is searched for a parameter: a return_to of
// maxReturnTo bytes, each of them escaped, and some more.
const maxQuery = 4 * maxReturnTo

// parameter returns the first value of a parameter of the request's query, and
// whether there is one that can be read.
func parameter(r *http.Request, name string) (value string, ok bool) {
	if len(r.URL.RawQuery) > maxQuery {
		return "", false
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			value, err := url.QueryUnescape(value)
			return value, err == nil
		}
	}
	return "", false
}

// isClean reports whether every reader takes a path for the same, however often
// it decodes and cleans the path, or compares the path without decoding it.
func isClean(u *url.URL) bool {
	if len(u.Path) > maxAddress || len(u.RawPath) > maxAddress {
		return false
	}
	p := u.EscapedPath()
	return strings.HasPrefix(p, "/") && !strings.Contains(p, "//") && plainPath(p) &&
		strings.Count(decode(p), "/") == strings.Count(p, "/") && !needlessEscape.MatchString(p)
}

// needlessEscape is an escape that no path needs: of a character that RFC 3986
// never reserves, or with a hexadecimal digit in lower case. Some routers
// compare paths as they were sent, and would not find "/admin" in "/%61dmin".
var needlessEscape = regexp.MustCompile(`%(2[DE]|3\d|[46][1-9A-F]|[57][0-9A]|5F|7E|.?[a-f])`)

func (s *settings) isAPI(r *http.Request) bool {
	if len(s.api) == 0 {
		return false
	}
	path := addressOf(r).Path
	for _, prefix := range s.api {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// isLogin reports whether a request is for the login page itself. A guard in
// front of it is a mistake in the app, and must not redirect it to itself.
func (s *settings) isLogin(r *http.Request) bool { return addressOf(r).Path == s.loginPath }

// hasLogin reports whether the app has a login page. Without one, which is a
// mistake in the app unless it serves programs alone, the log says so once.
func (s *settings) hasLogin() bool {
	if s.manager == nil || s.manager.HasLoginPage() {
		return true
	}
	s.noLogin.Do(func() {
		s.log.Error("no login page is mounted, and guards cannot send visitors there: call middleware.Mount, or set Config.LoginPath to the path of the app's own login page")
	})
	return false
}

// loginURL returns the address of the login page for a browser. It leads back
// to this request if the browser can make it again, and to the page that a form
// came from.
func (s *settings) loginURL(r *http.Request) string {
	login := s.base + s.loginPath
	if !isSafe(r) {
		return withReturnTo(login, s.returnTo(sourceOf(r)))
	}
	if len(r.RequestURI) > maxReturnTo {
		return login
	}
	return withReturnTo(login, s.returnTo(s.base+addressOf(r).RequestURI()))
}

// sourceOf returns the path and query of the page of this app that a request
// came from, as the browser sees it, or the empty string.
func sourceOf(r *http.Request) string {
	referer := r.Header.Get("Referer")
	if len(referer) > 2*maxReturnTo {
		return ""
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	// A proxy may have changed the Host field, which the browser's own judgment
	// does not depend on.
	if !strings.EqualFold(u.Host, r.Host) && r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		return ""
	}
	return u.RequestURI()
}

// homeURL returns the address of the app's start page for a browser.
func (s *settings) homeURL() string { return s.base + s.home }

// returnTo returns where the value of a return_to parameter leads, or the empty
// string if that is not a page of this app.
func (s *settings) returnTo(value string) string {
	to := ReturnTo(value)
	path, _, _ := strings.Cut(to, "?")
	below := path == s.base || strings.HasPrefix(path, s.base+"/")
	if !below || canonicalPath(path) == canonicalPath(s.base+s.loginPath) {
		return ""
	}
	return to
}

// sibling returns the address of one of the routes for a browser that has
// requested another one of them. Both are below the same prefix.
func sibling(r *http.Request, own, other string) string {
	s := settingsOf(r.Context())
	if prefix, ok := strings.CutSuffix(addressOf(r).EscapedPath(), own); ok {
		if to := localAddress(s.base + prefix + other); to != "" {
			return to
		}
	}
	// The prefix is not fit for an address, or the router takes odd spellings.
	prefix, ok := strings.CutSuffix(s.loginPath, loginPath)
	if !ok {
		prefix = ""
	}
	return s.base + prefix + other
}

// withReturnTo appends the parameter return_to to an address, unless to is
// empty.
func withReturnTo(address, to string) string {
	if to == "" {
		return address
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + "return_to=" + url.QueryEscape(to)
}

// redirect sends the browser that has made a GET or a POST to another address
// with a GET. Unlike http.Redirect it does not resolve location: the request
// does not have the path that the browser has asked for where a prefix has been
// stripped.
func redirect(w http.ResponseWriter, location string) {
	h := w.Header()
	h.Set("Location", location)
	writeBody(w, http.StatusSeeOther, nil)
}
