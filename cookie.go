package session

import (
	"net/http"
	"strings"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/seal"
)

// Cookie configures the session's cookies. The zero value is the safest setting:
// the name "__Host-session", Secure, HttpOnly, SameSite=Lax and Path=/
// (RFC 6265bis).
type Cookie struct {
	// Name is the name of the cookies without its prefix. The prefix is added:
	// "__Host-", or "__Secure-" if Domain or Path is set, or none if Insecure is set.
	// See also HTTPPrefix. Some of the cookies have the name with an ending: "-1" to "-9",
	// "-state", "-visitor", "-acting", "-mfa", "-link" or "-device". If apps on one host
	// have different names, none of them must be another with such an ending. Default (""):
	// "session".
	Name string

	// HTTPPrefix adds the prefix "__Host-Http-" in place of "__Host-", and "__Http-" in
	// place of "__Secure-". Browsers that support these prefixes accept a cookie of this
	// name only if a response sets it, and not if a script sets it. In other browsers
	// "__Http-" has no effect, and "__Host-Http-" has the effect of "__Host-". A change of
	// HTTPPrefix renames the cookies, which signs all users out. It must not be set with
	// Insecure. Default: false.
	HTTPPrefix bool

	// Domain makes browsers send the cookies to all hosts of this domain. All of these
	// hosts must then be trusted. Default (""): browsers send them only to the host that
	// set them.
	Domain string

	// Path makes browsers send the cookies only to this path and the paths below it, such
	// as "/app" and "/app/page". It is the path that browsers see, with Config.BasePath.
	// Config.LoginPath must be below Path, and the page after a sign-in
	// (middleware.WithHome) should be, too. Path separates the cookies of two apps on one
	// host, but does not protect the apps from each other. Default (""): "/".
	Path string

	// Partitioned makes browsers keep separate cookies for each site whose pages show the
	// app in a frame (CHIPS), so that sign-ins in such frames work even in browsers that
	// block other cookies there. A user signs in once per such site, and once more outside
	// frames. SameSite must be http.SameSiteNoneMode: browsers drop other cookies in frames
	// of another site, and outside of them Partitioned has no use. See Config.Embedders.
	// Default: false.
	Partitioned bool

	// SameSite is the SameSite attribute. With http.SameSiteStrictMode a user who
	// follows a link from another site appears signed out. Default (0):
	// http.SameSiteLaxMode.
	SameSite http.SameSite

	// Insecure makes browsers send the cookies over plain HTTP, too. Use it for local work
	// on hosts other than localhost, and with Safari, which reportedly drops Secure cookies
	// of http://localhost. See [Manager.DropsCookies]. Default: false.
	Insecure bool

	// NonPersistent makes browsers delete the cookies when they are closed.
	// Default (false): the cookies last as long as the session's Lifetime.
	NonPersistent bool

	// MaxChunks is the maximum number of cookies over which the tokens, and
	// likewise the values, may be split if they are too long for one cookie.
	// The maximum is 10. Default (0): 4.
	MaxChunks int
}

// maxCookieName bounds the length of Cookie.Name, and maxCookiePath the length of
// Cookie.Path. Both reduce the room for each cookie's value.
const (
	maxCookieName = 64
	maxCookiePath = 256
)

// validate checks c. Names, domains and paths become part of a Set-Cookie header, so
// only characters that have no meaning there are allowed.
func (c Cookie) validate() error {
	for i := range len(c.Name) {
		if ch := c.Name[i]; !seal.InBase64URL[ch] && ch != '.' {
			return invalid("Cookie.Name", "is %q; letters, digits, '-', '_' and '.' are allowed", c.Name)
		}
	}
	lower := strings.ToLower(c.Name)
	switch {
	case len(c.Name) > maxCookieName:
		return invalid("Cookie.Name", "has %d characters; at most %d are allowed", len(c.Name), maxCookieName)
	case strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-") || strings.HasPrefix(lower, "__http-"):
		return invalid("Cookie.Name", "is %q; it must not have a prefix, which is added automatically", c.Name)
	case c.Domain != "" && ((&http.Cookie{Name: "n", Domain: c.Domain}).Valid() != nil || !strings.Contains(strings.Trim(c.Domain, "."), ".")):
		return invalid("Cookie.Domain", "must be a domain of two labels or more, or empty")
	case strings.HasSuffix(c.Domain, "."):
		return invalid("Cookie.Domain", "ends with a dot; browsers reject such a cookie")
	case len(c.Path) > maxCookiePath:
		return invalid("Cookie.Path", "has %d characters; at most %d are allowed", len(c.Path), maxCookiePath)
	case c.Path != "" && !isPlainPath(c.Path):
		return invalid("Cookie.Path", "must be a path such as /app, without characters that need escaping")
	case c.HTTPPrefix && c.Insecure:
		return invalid("Cookie.HTTPPrefix", "is set; browsers reject such a cookie if it is Insecure")
	case c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode:
		return invalid("Cookie.SameSite", "is %d; it must be one of net/http's modes", c.SameSite)
	case c.SameSite == http.SameSiteNoneMode && c.Insecure:
		return invalid("Cookie.SameSite", "is None; browsers reject such a cookie if it is Insecure")
	case c.Partitioned && c.SameSite != http.SameSiteNoneMode:
		// This also excludes Insecure, which the case above rejects for None.
		return invalid("Cookie.Partitioned", "is set; SameSite must be None, because browsers drop other cookies in frames of another site")
	case c.MaxChunks < 0 || c.MaxChunks > cookies.MaxChunks:
		return invalid("Cookie.MaxChunks", "is %d; 1 to %d are allowed, 0 means %d", c.MaxChunks, cookies.MaxChunks, cookies.DefaultChunks)
	}
	return nil
}

// covers reports whether browsers send the cookies to a path that they see (RFC 6265,
// section 5.1.4).
func (c Cookie) covers(path string) bool {
	below, ok := strings.CutPrefix(path, strings.TrimSuffix(c.Path, "/"))
	return ok && (below == "" || below[0] == '/')
}
