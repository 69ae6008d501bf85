package middleware

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxReturnTo bounds the address that a sign-in returns to, in bytes. A longer one
// is ignored, because it has to fit into the URL of the login page.
const maxReturnTo = 2048

// ReturnTo validates the value of a return_to parameter. It returns the value's
// path and query, for a Location header. It returns the empty string if the value
// is not a path on this host, or is the path of a sign-in route.
//
// Guards redirect visitors to the login page, with the address of the request in
// return_to. Attackers can publish a link to the login page with another address
// in it, so the value is not trusted. The routes of this package call ReturnTo
// themselves. Apps with their own login page should call it, too.
//
// ReturnTo rejects a value that a browser or a proxy could interpret as an
// address on another host. Browsers read "\" as "/" and ignore tabs and line
// breaks (WHATWG URL). Proxies may decode and clean paths. So ReturnTo rejects
// dot segments and repeated slashes at the start, in any encoding. It removes a
// fragment.
//
// The sign-in routes are the paths that end with /login, /login/mfa, /logout,
// /register, /magic-link, /callback, /password/lost or /password/reset, and those
// that contain /login/with/, below any prefix and in any spelling. A redirect to
// them would show a page for visitors to a user who has just signed in.
func ReturnTo(value string) string {
	to := localAddress(value)
	if isSignIn(canonicalPath(to)) {
		return ""
	}
	return to
}

// localAddress returns the path and query of an address on this host, for a
// Location header, and the empty string for any other value. This package calls
// localAddress for every address that it derives from a request.
func localAddress(value string) string {
	if len(value) > maxReturnTo || !utf8.ValidString(value) {
		return ""
	}
	u, err := url.Parse(value) // also rejects control characters
	if err != nil || !onThisHost(u) || !plainPath(u.EscapedPath()) {
		return ""
	}
	to := u.EscapedPath()
	if u.RawQuery != "" {
		to += "?" + escapeQuery(u.RawQuery)
	}
	// Check the result again: the browser parses the escaped address and not the
	// original value.
	again, err := url.Parse(to)
	if err != nil || len(to) > maxReturnTo || !onThisHost(again) || again.Path != u.Path || !plainPath(again.EscapedPath()) {
		return ""
	}
	return to
}

// onThisHost reports whether u has a path and no scheme or host.
func onThisHost(u *url.URL) bool {
	return u.Scheme == "" && u.Opaque == "" && u.User == nil && u.Host == "" && strings.HasPrefix(u.EscapedPath(), "/")
}

// plainPath reports whether an escaped path stays on this host and below its
// root, no matter how many proxies and routers decode and clean it. It checks the
// path after each layer of decoding.
func plainPath(path string) bool {
	const layers = 4 // of encoding; correct addresses have one
	for range layers {
		if len(path) > 1 && path[1] == '/' || strings.ContainsRune(path, '\\') || hasControl(path) {
			return false
		}
		for segment := range strings.SplitSeq(path, "/") {
			// Some servers remove path parameters first. They read "/..;a=b/"
			// as a dot segment.
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

// canonicalPath returns the path of an address in a canonical spelling: decoded,
// cleaned, in lower case and without path parameters. plainPath must have
// accepted the path.
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

// isSignIn reports whether a canonical path is that of a sign-in route.
func isSignIn(canonical string) bool {
	// A suffix, because apps may mount the routes below a prefix.
	return strings.Contains(canonical, providerPath) ||
		slices.ContainsFunc([]string{loginPath, codePath, logoutPath, registerPath, magicPath, callbackPath, lostPath, resetPath}, func(route string) bool {
			return strings.HasSuffix(canonical, route)
		})
}

// decode removes all layers of encoding from a path. plainPath must have accepted
// the path, which bounds their number.
func decode(path string) string {
	for {
		decoded := unescape(path)
		if decoded == path {
			return path
		}
		path = decoded
	}
}

// unescape decodes percent-encoded bytes. It keeps malformed escapes, as lenient
// servers do. url.PathUnescape would return an error.
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

// escapeQuery encodes the bytes that are not allowed in a URI (RFC 3986). It does
// not change a valid query.
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

// hasControl reports whether s contains a control character (C0, DEL or C1).
// Browsers ignore some of them, so that "/\t/host" becomes "//host", and header
// fields must not contain any.
func hasControl(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return true
		}
	}
	return false
}
