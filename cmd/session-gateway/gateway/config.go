package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Config configures a [Gateway]. Manager is required.
type Config struct {
	// Manager has the sessions. With PagesPath, its LoginPath must be PagesPath
	// followed by "/login". All cookies with the name of its cookies, with any prefix such
	// as __Host- and with any suffix after a dash, are the gateway's own.
	//
	// Its TrustedProxies are the proxies in front of the gateway. Their X-Forwarded-Proto is
	// passed on, and only they may use [Gateway.AuthHandler].
	Manager *session.Manager

	// Upstreams are the services behind the gateway. If several match a request, an
	// Upstream with a Host has priority over one without, and then a longer Path over a
	// shorter one. Default (nil): the gateway has only the built-in routes.
	Upstreams []Upstream

	// PagesPath is the path below which the built-in routes are, such as "/_session", for
	// upstreams that have their own /login. Default (""): the routes are /login, /logout
	// and so on.
	PagesPath string

	// Features are further built-in routes; see middleware.Routes.
	Features []middleware.Feature

	// Options configure the pages; see middleware.Sessions.
	Options []middleware.Option

	// AuthHeaders are the header fields in the response of [Gateway.AuthHandler].
	// Default (nil): none.
	AuthHeaders []Header
}

// Upstream is a service behind the gateway. Only signed-in users reach it. URL and
// Path are required.
type Upstream struct {
	// Host is the host, without a port, whose requests the upstream serves. Default
	// (""): every host.
	Host string

	// Path is the path of the upstream, which also has all paths below it. "/app" and
	// "/app/" mean the same: /app, /app/ and /app/x, but not /apple.
	Path string

	// URL is the address of the service: http or https, a host, and a path to which
	// that of the request is appended.
	URL *url.URL

	// StripPath removes Path from the path of requests, and passes it on in
	// X-Forwarded-Prefix.
	StripPath bool

	// Roles are the roles of which a user needs at least one. Default (nil): every
	// signed-in user may use the service.
	Roles []string

	// Public are paths of the service that need no sign-in, and neither do the paths below
	// them. They must be below Path. Requests for them do not identify the user to the
	// service.
	Public []string

	// Headers are the header fields that identify the user to the service. Default
	// (nil): none.
	Headers []Header

	// Timeout bounds the time between the request and the header of the response.
	// Default (0): a minute. A negative value sets no limit.
	Timeout time.Duration
}

// Header is a header field that identifies the user.
type Header string

// The header fields. Bytes that have a meaning in lists and those that are not
// visible ASCII are percent-encoded, as by url.PathEscape.
const (
	// User is X-Forwarded-User, the user's ID.
	User Header = "user"

	// Email is X-Forwarded-Email, the user's e-mail address. It is missing if the
	// auth service has not reported it.
	Email Header = "email"

	// Roles is X-Forwarded-Roles, the user's roles, separated by commas.
	Roles Header = "roles"

	// Token is Authorization with the user's access token as bearer token. It is refreshed
	// first if it is due. A service with the token can act as the user until the token
	// expires, so list Token only for services that need it. The client's own Authorization
	// never reaches such a service. Other services receive the client's Authorization,
	// unless it is a bearer token that the gateway has accepted.
	Token Header = "token"
)

const (
	defaultTimeout = time.Minute
	maxUpstreams   = 1000 // the upstreams are tried one after the other
)

// validate returns all errors of c, each with the name of its field.
func (c Config) validate() error {
	var errs []error
	fail := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %w", field, fmt.Errorf(format, args...)))
	}
	switch {
	case c.Manager == nil:
		fail("Manager", "is required")
	case c.PagesPath != "" && !isPlainPath(c.PagesPath):
		fail("PagesPath", "must be a path such as /_session, without characters that need escaping")
	case c.Manager.Features().PasswordLogin && c.Manager.Config().LoginPath != trimSlash(c.PagesPath)+"/login":
		fail("PagesPath", "must fit the Manager's LoginPath, which must be PagesPath followed by /login")
	}
	checkHeaders(c.AuthHeaders, func(format string, args ...any) { fail("AuthHeaders", format, args...) })
	if n := len(c.Upstreams); n > maxUpstreams {
		fail("Upstreams", "has %d entries; at most %d are allowed", n, maxUpstreams)
	}
	for i, u := range c.Upstreams {
		u.validate(func(field, format string, args ...any) {
			fail(fmt.Sprintf("Upstreams[%d].%s", i, field), format, args...)
		})
		for j, other := range c.Upstreams[:i] {
			if other.host() == u.host() && trimSlash(other.Path) == trimSlash(u.Path) {
				fail(fmt.Sprintf("Upstreams[%d].Path", i), "is also that of Upstreams[%d]", j)
			}
		}
	}
	return errors.Join(errs...)
}

func (u Upstream) validate(fail func(field, format string, args ...any)) {
	if strings.ContainsAny(u.Host, ":/ *") {
		fail("Host", "must be the name of one host, without a port")
	}
	if !isPlainPath(u.Path) {
		fail("Path", "must be a path such as /app, without characters that need escaping")
	}
	switch {
	case u.URL == nil:
		fail("URL", "is required")
	case u.URL.Scheme != "http" && u.URL.Scheme != "https" || u.URL.Hostname() == "" || u.URL.User != nil || u.URL.RawQuery != "" || u.URL.Fragment != "":
		fail("URL", "must be an http or https address without a user, a query or a fragment") // not quoted: it may contain a password
	case u.URL.Path != "" && !isPlainPath(absolute(u.URL.Path)):
		fail("URL", "must have a path without characters that need escaping")
	}
	if slices.Contains(u.Roles, "") {
		fail("Roles", "has an empty role")
	}
	for _, p := range u.Public {
		if !isPlainPath(p) || !below(p, trimSlash(u.Path)) {
			fail("Public", "must be paths below Path, without characters that need escaping")
			break
		}
	}
	checkHeaders(u.Headers, func(format string, args ...any) { fail("Headers", format, args...) })
}

func checkHeaders(headers []Header, fail func(format string, args ...any)) {
	for i, h := range headers {
		switch {
		case !slices.Contains([]Header{User, Email, Roles, Token}, h):
			fail("must be user, email, roles or token")
			return
		case slices.Contains(headers[:i], h):
			fail("has %s twice", h)
			return
		}
	}
}

// host returns the host in the form in which it is compared with that of requests.
func (u Upstream) host() string { return strings.ToLower(strings.TrimSuffix(u.Host, ".")) }

// isPlainPath reports whether a path, with or without a slash at its end, has only one
// spelling.
func isPlainPath(p string) bool {
	u := url.URL{Path: p}
	return strings.HasPrefix(p, "/") && (p == "/" || path.Clean(p) == trimSlash(p)) && u.EscapedPath() == p && !strings.Contains(p, ";")
}

// absolute returns a path with a slash at its start, which url.URL.JoinPath leaves out.
func absolute(p string) string { return "/" + strings.TrimPrefix(p, "/") }

// trimSlash returns a path without the slash at its end: "" for "/".
func trimSlash(p string) string { return strings.TrimSuffix(p, "/") }
