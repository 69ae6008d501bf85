package middleware

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/synmetrix/session"
)

// maxAddress bounds the part of a request's address that is parsed, in bytes.
// addressOf drops the query of a longer address. It cuts a longer path after a
// slash, so that prefixes such as "/api/" still match.
const maxAddress = 2048

// addressOf returns the address of a request as the server received it. r.URL
// may differ: http.StripPrefix and some routers change its path.
func addressOf(r *http.Request) *url.URL {
	uri := r.RequestURI // empty if no server has read r, as in tests
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

// maxQuery bounds the query that is searched for a parameter, in bytes. It has
// room for a return_to of maxReturnTo bytes, each escaped to three, and for
// other parameters.
const maxQuery = 4 * maxReturnTo

// parameter returns the first value of a query parameter. ok is false if the
// query has no such parameter, or its value cannot be decoded. URL.Query would
// parse the whole query, however long.
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

// isClean reports whether all routers and file servers read a path in the same way. Some
// decode and clean a path once, some repeatedly, and some compare it undecoded. If the
// guard of "/admin/" and the handler of "/" disagree about a path, the handler may serve a
// file that the guard should protect.
func isClean(u *url.URL) bool {
	if len(u.Path) > maxAddress || len(u.RawPath) > maxAddress {
		return false
	}
	p := u.EscapedPath()
	// Decoding must not add a slash. Otherwise routers and file servers would split
	// the path differently.
	return strings.HasPrefix(p, "/") && !strings.Contains(p, "//") && plainPath(p) &&
		strings.Count(decode(p), "/") == strings.Count(p, "/") && !hasNeedlessEscape(p)
}

// hasNeedlessEscape reports whether a path has a needless escape, in any layer of
// encoding. plainPath must have accepted the path.
func hasNeedlessEscape(p string) bool {
	for {
		if needlessEscape.MatchString(p) {
			return true
		}
		decoded := unescape(p)
		if decoded == p {
			return false
		}
		p = decoded
	}
}

// needlessEscape matches escapes of unreserved characters (RFC 3986, section 2.3)
// and escapes with lower-case hexadecimal digits. Some routers compare paths
// undecoded. Such a router does not recognize "/%61dmin" as "/admin", and sends the
// request to an unguarded handler.
var needlessEscape = regexp.MustCompile(`%(2[DE]|3\d|[46][1-9A-F]|[57][0-9A]|5F|7E|[a-f][0-9A-Fa-f]|[0-9A-F][a-f])`)

// isAPI reports whether a request is below a prefix of WithAPI. It uses the path that the
// server received. Otherwise the refusals of a handler inside http.StripPrefix and of its
// guard would have different forms.
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

// isLogin reports whether a request is for the login page itself. If an app puts a guard
// around its login page by mistake, redirects to it would never end.
func (s *settings) isLogin(r *http.Request) bool { return addressOf(r).Path == s.loginPath }

// hasLogin reports whether the app has a login page. Outside Sessions there is no
// Manager to check, and hasLogin returns true.
func (s *settings) hasLogin() bool {
	return s.manager == nil || s.manager.HasLoginPage()
}

// knownLoginURL returns the address of the login page, as the browser sees it, without an
// address to return to. It returns the empty string if the app has no login page, and
// outside Sessions.
func (s *settings) knownLoginURL() string {
	if s.manager == nil || !s.hasLogin() {
		return ""
	}
	return s.base + s.loginPath
}

// logNoLogin logs, once, that the app has no login page. This is a mistake in the app,
// unless all its clients are programs.
func (s *settings) logNoLogin() {
	s.noLoginOnce.Do(func() {
		s.log.Error("no login page is mounted, so guards cannot redirect visitors to it: call middleware.Mount, or set Config.LoginPath to the path of the app's own login page")
	})
}

// loginURL returns the address of the login page, as the browser sees it, with the address
// to return to. For a GET or HEAD request that is the request's address. For any other
// request, it is the address of the page with the form, because after the sign-in the
// browser can only send a GET. For a request for a part of a page, it is the address of the
// whole page.
func (s *settings) loginURL(r *http.Request) string {
	login := s.base + s.loginPath
	if !isSafe(r) || isPart(r.Header) {
		return withReturnTo(login, s.returnTo(sourceOf(r)))
	}
	// addressOf cuts a long address, and the rest would be the address of another page.
	if len(r.RequestURI) > maxReturnTo {
		return login
	}
	return withReturnTo(login, s.returnTo(s.base+addressOf(r).RequestURI()))
}

// sourceOf returns the path and query of the page that a request came from, as the browser
// sees it. It returns the empty string if that page is not known to be on this host. The
// Referer field may be missing or shortened to the origin, depending on the page's
// Referrer-Policy. htmx sends the address in a separate field. Programs can forge the
// fields, so the caller has to validate the result like any other address to return to.
func sourceOf(r *http.Request) string {
	source := r.Header.Get("Referer")
	if isHTMX(r.Header) && r.Header.Get("Hx-Current-Url") != "" {
		source = r.Header.Get("Hx-Current-Url")
	}
	if len(source) > 2*maxReturnTo {
		return ""
	}
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	// Behind a proxy that changes the Host field, the hosts differ. The browser
	// compares the origins itself and reports the result in Sec-Fetch-Site, which
	// a page cannot forge.
	if !strings.EqualFold(u.Host, r.Host) && r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		return ""
	}
	return u.RequestURI()
}

// homeURL returns the address of the app's start page, as the browser sees it.
func (s *settings) homeURL() string { return s.base + s.home }

// signedOutURL returns the address of the page after a sign-out, as the browser sees it.
func (s *settings) signedOutURL() string { return s.base + cmp.Or(s.signedOutHome, s.home) }

// landingURL returns the address of the page after a sign-in, as the browser sees it, if
// no other page was requested.
func (s *settings) landingURL(r *http.Request) string {
	if s.landing == nil {
		return s.homeURL()
	}
	path := s.landing(session.FromContext(r.Context()))
	if path == "" {
		return s.homeURL()
	}
	// The app's function may build the path from data that users choose, so it is checked.
	// It is not logged, because it may contain an e-mail address.
	if !strings.HasPrefix(path, "/") || localAddress(path) == "" || localAddress(s.base+path) == "" {
		s.log.ErrorContext(r.Context(), "the function of WithLanding returned an address that is not a path on this host; redirecting to the start page")
		return s.homeURL()
	}
	return localAddress(s.base + path)
}

// returnTo returns the address to which the value of a return_to parameter redirects the
// browser. It returns the empty string if that is not a page of this app. If the app has a
// BasePath, other apps may share the host, and a redirect to one of them could lead to a
// forged login form.
func (s *settings) returnTo(value string) string {
	to := ReturnTo(value)
	path, _, _ := strings.Cut(to, "?")
	// The slash matters: "/app-old" is not below "/app".
	below := path == s.base || strings.HasPrefix(path, s.base+"/")
	if !below || canonicalPath(path) == canonicalPath(s.base+s.loginPath) {
		return ""
	}
	return to
}

// sibling returns the address of the route other, as the browser sees it, for a
// request to the route own. If the app mounts the routes below a prefix, both
// addresses have that prefix.
func sibling(r *http.Request, own, other string) string {
	s := settingsOf(r.Context())
	if prefix, ok := strings.CutSuffix(addressOf(r).EscapedPath(), own); ok {
		if to := localAddress(s.base + prefix + other); to != "" {
			return to
		}
	}
	// The router has accepted another spelling of the path, or the prefix is not safe in a
	// redirect. Use the prefix of the configured login page instead.
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
	return withParameter(address, "return_to", to)
}

// withParameter appends a parameter to the query of an address.
func withParameter(address, name, value string) string {
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + name + "=" + url.QueryEscape(value)
}

// redirect sends the browser to another address, which the browser requests with
// a GET (303; RFC 9110, section 15.4.4). After 307 or 308 the browser would send the
// form again, with its password. Unlike http.Redirect, redirect does not resolve
// location against the request's path, because a proxy or a handler may have stripped
// a prefix of it.
//
// htmx would follow a redirect itself and insert the page. The response to htmx therefore
// has a header field that makes the browser load the page, and not status 303, with which
// htmx would ignore the field.
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	h := w.Header()
	if isHTMX(r.Header) {
		h.Set("HX-Redirect", location)
		writeBody(w, http.StatusOK, nil)
		return
	}
	h.Set("Location", location)
	writeBody(w, http.StatusSeeOther, nil)
}
