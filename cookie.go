package session

import (
	"net/http"
	"strings"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/seal"
)

// Cookie is how the session's cookies are set. The zero value is the safest
// there is: "__Host-session", Secure, HttpOnly, SameSite=Lax, Path=/
// (RFC 6265bis).
type Cookie struct {
	// Name is the name of the cookies without its prefix, which the library
	// puts before it: "__Host-", or "__Secure-" with a Domain, or none if
	// Insecure. Default: "session".
	Name string

	// Domain sends the cookies to all hosts below it, too. Default: the host
	// that set them, alone.
	Domain string

	// SameSite is http.SameSiteLaxMode by default. With
	// http.SameSiteStrictMode a visitor who follows a link from another site
	// arrives signed out.
	SameSite http.SameSite

	// Insecure sends the cookies over plain HTTP, too, for local work: on
	// hosts other than localhost, and with Safari, which reportedly drops
	// Secure cookies from http://localhost. See [Manager.DropsCookies].
	Insecure bool

	// NonPersistent ends the session with the browser's. Default: the
	// cookies last as long as the session's Lifetime.
	NonPersistent bool

	// MaxChunks is over how many cookies a value that is longer than one
	// cookie may be split. Default: 4; at most 10.
	MaxChunks int
}

func (c Cookie) validate() error {
	for i := range len(c.Name) {
		if ch := c.Name[i]; !seal.InBase64URL[ch] && ch != '.' {
			return invalid("Cookie.Name", "is %q; letters, digits, '-', '_' and '.' are allowed", c.Name)
		}
	}
	lower := strings.ToLower(c.Name)
	switch {
	case len(c.Name) > maxNameSize/2:
		return invalid("Cookie.Name", "has %d characters; at most %d are allowed", len(c.Name), maxNameSize/2)
	case strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-"):
		return invalid("Cookie.Name", "is %q; the prefix is added by itself", c.Name)
	case c.Domain != "" && ((&http.Cookie{Name: "n", Domain: c.Domain}).Valid() != nil || !strings.Contains(strings.Trim(c.Domain, "."), ".")):
		return invalid("Cookie.Domain", "is %q; it must be a domain of two labels or more, or empty", c.Domain)
	case c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode:
		return invalid("Cookie.SameSite", "is %d; it must be one of net/http's modes", c.SameSite)
	case c.SameSite == http.SameSiteNoneMode && c.Insecure:
		return invalid("Cookie.SameSite", "is None, which browsers refuse of a cookie that is Insecure")
	case c.MaxChunks < 0 || c.MaxChunks > cookies.MaxChunks:
		return invalid("Cookie.MaxChunks", "is %d; 1 to %d are allowed, 0 means %d", c.MaxChunks, cookies.MaxChunks, cookies.DefaultChunks)
	}
	return nil
}
