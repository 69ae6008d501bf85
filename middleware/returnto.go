package middleware

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxReturnTo bounds the path and query that a sign-in returns to. What is
// longer is dropped: it would have to fit into the login page's URL.
const maxReturnTo = 2048

// ReturnTo returns the path and query that the value of a return_to parameter
// leads to, fit for a Location header. It returns the empty string if the value
// is not a path on this host, or is the path of a sign-in route.
//
// Guards send a visitor who has to sign in to the login page, with the address
// of the request in return_to. Anybody can write such a link, so the value must
// not be trusted. The routes of this package use ReturnTo themselves. It is for
// apps with their own login page.
//
// ReturnTo refuses a value if any reader on the way could take it for an
// address on another host: a browser, which reads "\" as "/" and skips tabs and
// line ends (WHATWG URL), or a proxy that decodes or cleans paths. Dot segments
// are refused, and more than one slash at the start, in any encoding. A
// fragment is dropped.
//
// The sign-in routes are the paths that end with /login, /login/mfa or /logout,
// below any prefix and in any spelling: a user who has just signed in must not
// arrive at the login page again.
func ReturnTo(value string) string {
	to := localAddress(value)
	if isSignIn(canonicalPath(to)) {
		return ""
	}
	return to
}

// localAddress returns the path and query of an address on this host, fit for a
// Location header, or the empty string for any other value. Every address that
// this package makes of a request passes it.
func localAddress(value string) string {
	if len(value) > maxReturnTo || !utf8.ValidString(value) {
		return ""
	}
	u, err := url.Parse(value) // no control characters, for one
	if err != nil || !onThisHost(u) || !plainPath(u.EscapedPath()) {
		return ""
	}
	to := u.EscapedPath()
	if u.RawQuery != "" {
		to += "?" + escapeQuery(u.RawQuery)
	}
	// What is sent is what counts, so it is judged again as it will be read.
	again, err := url.Parse(to)
	if err != nil || len(to) > maxReturnTo || !onThisHost(again) || again.Path != u.Path || !plainPath(again.EscapedPath()) {
		return ""
	}
	return to
}

func onThisHost(u *url.URL) bool {
	return u.Scheme == "" && u.Opaque == "" && u.User == nil && u.Host == "" && strings.HasPrefix(u.EscapedPath(), "/")
}

// plainPath reports whether an escaped path stays on this host and below its
// root however often it is decoded and cleaned on its way to a handler.
func plainPath(path string) bool {
	const layers = 4 // of encoding; nobody needs more than one
	for range layers {
		if len(path) > 1 && path[1] == '/' || strings.ContainsRune(path, '\\') || hasControl(path) {
			return false
		}
		for segment := range strings.SplitSeq(path, "/") {
			// A path parameter does not keep some servers from seeing a dot
			// segment: "/..;a=b/".
			name, _, _ := strings.Cut(segment, ";")
			if name == "." || name == ".." {
				return false
			}
		}
		decoded := unescape(path)
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}

// canonicalPath returns the path of an address in the one spelling that all
// spellings of a route have in common. plainPath has let the path through.
func canonicalPath(address string) string {
	p, _, _ := strings.Cut(address, "?")
	p = decode(p)
	if strings.Contains(p, ";") {
		segments := strings.Split(p, "/")
		for i, segment := range segments {
			segments[i], _, _ = strings.Cut(segment, ";")
		}
		p = strings.Join(segments, "/")
	}
	return strings.ToLower(path.Clean(p))
}

func isSignIn(canonical string) bool {
	return slices.ContainsFunc([]string{loginPath, codePath, logoutPath}, func(route string) bool {
		return strings.HasSuffix(canonical, route)
	})
}

// decode decodes a path as often as it is encoded. plainPath has let the path
// through, which bounds how often that is.
func decode(path string) string {
	for {
		decoded := unescape(path)
		if decoded == path {
			return path
		}
		path = decoded
	}
}

// unescape decodes percent-encoded bytes and, as lenient readers do, leaves
// alone what is none.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escapeQuery encodes the bytes that a URI must not hold (RFC 3986) and leaves
// all others alone, so that a query that is one already stays the same.
func escapeQuery(query string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(query) {
		c := query[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>\\^`{|}", c) >= 0 {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// hasControl reports whether s holds a control character (C0, DEL or C1).
// Browsers skip some of them, and a header field must not hold any.
func hasControl(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return true
		}
	}
	return false
}
