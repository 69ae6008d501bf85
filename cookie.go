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
	// "__Host-", or "__Secure-" if Domain is set, or none if Insecure is set.
	// Default (""): "session".
	Name string

	// Domain makes browsers send the cookies to all hosts of this domain. All of
	// these hosts must then be trusted. Default (""): only to the host that has
	// set them.
	Domain string

	// SameSite is the SameSite attribute. With http.SameSiteStrictMode a user who
	// follows a link from another site appears signed out. Default (0):
	// http.SameSiteLaxMode.
	SameSite http.SameSite

	// Insecure makes browsers send the cookies over plain HTTP, too. It is for
	// local work on hosts other than localhost, and with Safari, which reportedly
	// drops Secure cookies of http://localhost. See [Manager.DropsCookies].
	// Default: false.
	Insecure bool

	// NonPersistent makes browsers delete the cookies when they are closed.
	// Default (false): the cookies last as long as the session's Lifetime.
	NonPersistent bool

	// MaxChunks is the maximum number of cookies over which the tokens, and
	// likewise the values, may be split if they are too long for one cookie.
	// The maximum is 10. Default (0): 4.
	MaxChunks int
}

// maxCookieName bounds the length of Cookie.Name.
const maxCookieName = 64

// validate checks c. Names and domains become part of a Set-Cookie header, so only
// characters that have no meaning there are allowed.
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
	case strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-"):
		return invalid("Cookie.Name", "is %q; it must not have a prefix, which is added automatically", c.Name)
	case c.Domain != "" && ((&http.Cookie{Name: "n", Domain: c.Domain}).Valid() != nil || !strings.Contains(strings.Trim(c.Domain, "."), ".")):
		return invalid("Cookie.Domain", "must be a domain of two labels or more, or empty")
	case c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode:
		return invalid("Cookie.SameSite", "is %d; it must be one of net/http's modes", c.SameSite)
	case c.SameSite == http.SameSiteNoneMode && c.Insecure:
		return invalid("Cookie.SameSite", "is None; browsers reject such a cookie if it is Insecure")
	case c.MaxChunks < 0 || c.MaxChunks > cookies.MaxChunks:
		return invalid("Cookie.MaxChunks", "is %d; 1 to %d are allowed, 0 means %d", c.MaxChunks, cookies.MaxChunks, cookies.DefaultChunks)
	}
	return nil
}
