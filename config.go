package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/store"
)

// Config configures a [Manager]. Auth and Keys are required. The zero value of
// every other field selects its default, which suits most programs.
type Config struct {
	// Auth is the auth service. Required. If it has a method Warnings() []string, New logs
	// the returned texts as warnings, for example that the service has a plain HTTP
	// address.
	Auth auth.Service

	// AuthTimeout is how long a request waits for the auth service. A refresh
	// continues in the background for three times as long, so that new tokens in
	// a late response are not lost. The maximum is 24 h. Default (0): 10 s.
	AuthTimeout time.Duration

	// BasePath is the path prefix, such as "/app", that a proxy in front of the app strips
	// from requests. The Manager adds it to every address that it sends to a browser, and
	// only accepts return addresses below it. All other paths in Config are without the
	// prefix, except Cookie.Path. Default (""): the proxy strips no prefix.
	BasePath string

	// BeforeCall is called before every call of Auth, Store and Coordinator, with a name
	// that [Call] lists. It returns the context for the call, which must be derived from
	// the context that it receives, for example with a span. It is called from many
	// goroutines and delays requests, so it must be safe for concurrent use and fast. Its
	// context has no session, because using a session may make calls. Default (nil): the
	// context is not changed.
	BeforeCall func(ctx context.Context, name string) context.Context

	// CacheBytes bounds the memory of the cache of decoded sessions, in bytes. A
	// session that is not in the cache is decrypted for each request. Sessions
	// larger than 1/64 of CacheBytes are not cached. A session leaves the cache when it
	// ends in this process, and within a minute after its expiry. An old cookie of a session
	// that is in use leaves the cache after IdleTimeout. Default (0): 64 MiB.
	CacheBytes int

	// Claims names the claims of an access token that hold the user's ID and
	// roles. Default: the names that Hasura's auth services use.
	Claims auth.ClaimNames

	// Cookie configures the cookies. Its zero value is the safest setting.
	Cookie Cookie

	// Coordinator is a store that the processes of an app share to coordinate
	// the refreshes and ends of cookie sessions. It must be nil if Store is set.
	// Default (nil): the memory of this process, for apps with one process.
	Coordinator store.Store

	// Embedders are the origins of other sites, such as "https://shop.example.com", whose
	// pages may show the app in a frame. Every response then has a Content-Security-Policy
	// whose frame-ancestors are these origins and the app's own. Guards also redirect
	// frames to the login page, and the built-in pages can be shown in frames.
	//
	// Browsers drop the cookies in a frame of another site, unless Cookie.SameSite is
	// http.SameSiteNoneMode, and many drop those as well unless Cookie.Partitioned is set.
	// Without Partitioned, a script in the frame may request access to the cookies from the
	// user (Storage Access API). After the user has granted the access, responses activate
	// it for Embedders (Activate-Storage-Access), and no script is needed. Default (nil):
	// the built-in pages cannot be shown in frames, and the app decides about its own
	// pages.
	Embedders []string

	// Grace is how long requests with older cookies are still served after a
	// browser has sent newer ones. Default (0): 1 min.
	Grace time.Duration

	// IdleTimeout ends a session that has not been used for this time. Use is recorded at
	// most once per tenth of IdleTimeout. It cannot be recorded in a store that is down.
	// The part of an outage that the process has noticed therefore does not count, up to an
	// hour or IdleTimeout, whichever is shorter. Default (0): 24 h or Lifetime, whichever
	// is shorter.
	IdleTimeout time.Duration

	// KeepValue reports whether a value that a visitor has is kept when the visitor signs
	// in, by the name of its [Key]. The values of a user who signs in again are always kept.
	// Default (nil): all values are kept.
	KeepValue func(name string) bool

	// Keys are the secrets that encrypt and authenticate cookies and records,
	// newest first: the first seals, and every key opens. Required. See
	// [ParseKeys].
	Keys []SecretKey

	// Lifetime ends a session this long after the sign-in, even if it is in use. The
	// maximum is 400 days, the longest life of a cookie. Default (0): 30 days, the life of
	// a refresh token of the Synmetrix auth service.
	Lifetime time.Duration

	// Limits limit wrong passwords and codes, and e-mails. Default: see [Limits].
	Limits Limits

	// Logger receives the events of sessions. Their names are stable, and they
	// never contain a secret. Default (nil): slog.Default() at the call of New.
	Logger *slog.Logger

	// LoginPath is the path, without BasePath, to which guards redirect visitors who are
	// not signed in. An app with its own login page must set it, even if it is "/login".
	// Default (""): "/login" if the built-in routes are mounted. Otherwise there is no
	// login page, and guards respond with status 401.
	LoginPath string

	// MaxSessions limits how many sessions a user may have, at most 1000. A further sign-in
	// ends the session that was least recently used. Use is recorded as for IdleTimeout.
	// With a limit, a sign-in of a cookie session needs the Coordinator. Sessions that were
	// started before the limit was set end when their user signs in again. Default (0): no
	// limit.
	MaxSessions int

	// MaxTokenAge is the age at which tokens are due for refresh, even if they are valid
	// for longer. New roles take effect with the refresh: a role that was removed at the
	// auth service is gone after this time. Each session uses 80 to 100 percent of it, so
	// that sessions that began together do not refresh together. While the service is down,
	// an older token is still used until it expires. Default (0): an hour. A negative value
	// sets no limit.
	//
	// An active session causes one refresh per MaxTokenAge. Compare this with the rate
	// limit of the auth service: a service that accepts 4,000 requests an hour from this
	// program's address refreshes at most 4,000 sessions an hour.
	MaxTokenAge time.Duration

	// MaxValueBytes bounds the size of the values of one stored session, in
	// bytes: the sum of their names and their JSON. See [Key.Set].
	// Cookie.MaxChunks bounds values in cookies. Default (0): 1 MiB.
	MaxValueBytes int

	// Now returns the current time. Tests set it to control time. It must be safe for
	// concurrent use, and must not use the Manager. Default (nil): time.Now.
	Now func() time.Time

	// OnCall is called for every [Call], for example to measure durations. The context is
	// that of BeforeCall, which is derived from the request's, if the call belongs to a
	// request. The rules of BeforeCall apply. Default (nil): calls are not reported.
	OnCall func(context.Context, Call)

	// OnEvent is called for every [Event] before the event is logged, for example
	// to count events, or to act on the start or end of a session. It is called
	// from many goroutines and delays requests, so it must be safe for concurrent
	// use and fast. The context is the request's, if the event belongs to one.
	// Default (nil): events are only logged.
	OnEvent func(context.Context, Event)

	// RefreshBefore is how long before its expiry an access token is refreshed. A
	// token is never refreshed in the first half of its life. Default (0): a tenth
	// of the token's life, at most a minute, and up to 20 percent less, so that
	// sessions that began together do not refresh together.
	RefreshBefore time.Duration

	// RejectOverMax rejects a sign-in over MaxSessions with [ErrTooManySessions],
	// instead of ending another session.
	RejectOverMax bool

	// Store keeps the sessions, and the cookie holds only a session ID. Default
	// (nil): sessions are sealed into cookies.
	Store store.Store

	// StoreTimeout bounds one call of Store or Coordinator. Requests of one session
	// share reads, so a request may also wait for the read before its own. The maximum is
	// 24 h. Default (0): 2 s.
	StoreTimeout time.Duration

	// TrustedOrigins are other origins, such as "https://app.example.org", whose
	// pages may send requests with unsafe methods and open WebSockets. Default
	// (nil): only the app's own origin may.
	TrustedOrigins []string

	// TrustedProxies are the addresses of the proxies in front of the app. A request
	// from one of them has its client's address in X-Forwarded-For; see
	// [Manager.ClientAddr]. Default (nil): there is no proxy, and X-Forwarded-For,
	// which any client can send, is ignored.
	TrustedProxies []netip.Prefix

	// Verifier decides which access tokens are genuine. With a Verifier, the user of a
	// request with a bearer token is the user of the token; see [Session.Bearer]. The
	// tokens that Auth issues are checked, too. A token that the Verifier rejects is an
	// invalid response of Auth: a sign-in fails, and a session continues with its previous
	// token. Package auth/verify has a Verifier for shared secrets and public keys, and
	// module auth/jwks adds the keys of a JWKS. Default (nil): bearer tokens are rejected,
	// and the tokens of Auth are not checked.
	Verifier auth.Verifier
}

const (
	defaultAuthTimeout  = 10 * time.Second
	defaultGrace        = time.Minute
	defaultIdleTimeout  = 24 * time.Hour
	defaultLifetime     = 30 * 24 * time.Hour
	defaultStoreTimeout = 2 * time.Second
	defaultMaxTokenAge  = time.Hour

	maxTimeout = 24 * time.Hour // of AuthTimeout and StoreTimeout

	defaultCacheBytes    = 64 << 20
	defaultMaxValueBytes = 1 << 20
)

// withDefaults returns c with defaults in place of zero values.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.AuthTimeout, defaultAuthTimeout)
	def(&c.Grace, defaultGrace)
	def(&c.Lifetime, defaultLifetime)
	// This follows Lifetime, because the default must not exceed a short lifetime.
	def(&c.IdleTimeout, min(defaultIdleTimeout, c.Lifetime))
	def(&c.StoreTimeout, defaultStoreTimeout)
	def(&c.MaxTokenAge, defaultMaxTokenAge)
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = defaultMaxValueBytes
	}
	if c.Cookie.Name == "" {
		c.Cookie.Name = "session"
	}
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.LoginPath == "" {
		c.LoginPath = "/login"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// invalid returns an error that names a field of Config and what it must be.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("session: Config.%s %w", field, fmt.Errorf(format, args...))
}

// validate checks c after withDefaults. It does not check TrustedOrigins; New does.
func (c Config) validate() error {
	if c.Auth == nil {
		return invalid("Auth", "is required")
	}
	if v, ok := c.Auth.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return invalid("Auth", "is invalid: %w", err)
		}
	}
	if err := validateKeys(c.Keys); err != nil {
		return invalid("Keys", "is invalid: %w", err)
	}
	if err := cmp.Or(c.validateNumbers(), c.Limits.validate()); err != nil {
		return err
	}
	switch {
	case c.Store != nil && c.Coordinator != nil:
		return invalid("Coordinator", "is for cookie sessions; it must be nil if Store is set")
	case !validPrefixes(c.TrustedProxies):
		return invalid("TrustedProxies", "must be valid prefixes; write an IPv4 address as such, and not as an IPv6 address")
	case c.BasePath != "" && !isPlainPath(c.BasePath):
		// The errors do not quote BasePath and LoginPath: a URL with a password may have
		// been set by mistake.
		return invalid("BasePath", "must be a path such as /app, without characters that need escaping")
	case !strings.HasPrefix(c.LoginPath, "/") || strings.HasPrefix(c.LoginPath, "//") || strings.ContainsAny(c.LoginPath, "?#\\"):
		return invalid("LoginPath", "must be a path that begins with one slash")
	}
	if err := cmp.Or(c.Cookie.validate(), validateEmbedders(c.Embedders)); err != nil {
		return err
	}
	if !c.Cookie.covers(c.BasePath + c.LoginPath) {
		return invalid("Cookie.Path", "is %q; BasePath and LoginPath together must be below it", c.Cookie.Path)
	}
	return nil
}

// validateNumbers checks the durations and the other numbers of c.
func (c Config) validateNumbers() error {
	for _, d := range []struct {
		field string
		v     time.Duration
	}{
		{"AuthTimeout", c.AuthTimeout}, {"Grace", c.Grace}, {"IdleTimeout", c.IdleTimeout},
		{"Lifetime", c.Lifetime}, {"RefreshBefore", c.RefreshBefore}, {"StoreTimeout", c.StoreTimeout},
	} {
		if d.v < 0 {
			return invalid(d.field, "is %v; it must not be negative", d.v)
		}
	}
	switch {
	// Multiples of these two limit calls, and must not overflow.
	case c.AuthTimeout > maxTimeout:
		return invalid("AuthTimeout", "is %v; at most %v are allowed", c.AuthTimeout, maxTimeout)
	case c.StoreTimeout > maxTimeout:
		return invalid("StoreTimeout", "is %v; at most %v are allowed", c.StoreTimeout, maxTimeout)
	case c.MaxSessions < 0 || c.MaxSessions > keeper.MaxMembers:
		return invalid("MaxSessions", "is %d; it must be from 0 to %d", c.MaxSessions, keeper.MaxMembers)
	case c.RejectOverMax && c.MaxSessions == 0:
		return invalid("RejectOverMax", "is set without MaxSessions")
	case c.CacheBytes < 0:
		return invalid("CacheBytes", "is %d; it must not be negative", c.CacheBytes)
	case c.MaxValueBytes < 0:
		return invalid("MaxValueBytes", "is %d; it must not be negative", c.MaxValueBytes)
	case c.Lifetime > cookies.MaxAge:
		return invalid("Lifetime", "is %v; at most %v are allowed, the longest life of a cookie", c.Lifetime, cookies.MaxAge)
	case c.Lifetime < c.IdleTimeout:
		return invalid("Lifetime", "is %v, shorter than IdleTimeout, %v", c.Lifetime, c.IdleTimeout)
	}
	return nil
}

// isPlainPath reports whether a path begins with a slash and has only one spelling.
// Return addresses are compared with BasePath, and a second spelling of the same
// path would make the comparison fail, or succeed where it must not.
func isPlainPath(p string) bool {
	u := url.URL{Path: p}
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && u.EscapedPath() == p && !strings.Contains(p, ";")
}

// validateEmbedders checks Embedders. They become part of header fields.
func validateEmbedders(origins []string) error {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789-_.:/[]"
	for i, o := range origins {
		err := checkOriginSpelling(o)
		if err == nil && strings.Trim(o, plain) != "" {
			err = errors.New("letters, digits, '-', '_' and '.' are allowed in its host")
		}
		if err != nil {
			return invalid("Embedders", "is invalid: origin %d: %w", i+1, err)
		}
	}
	return nil
}

// checkOriginSpelling returns an error for an origin that no browser sends in this
// spelling (RFC 6454, section 6.2). Origins are compared as text, so such an entry
// would never match, and its author would not notice.
func checkOriginSpelling(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.User != nil || u.Host == "" {
		return errors.New("an origin is a scheme and a host") // not quoted: it may contain a password
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%q has no port from 1 to 65535", origin)
		}
		host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if sent := strings.ToLower(u.Scheme) + "://" + host; sent != origin || strings.Contains(host, "*") {
		return fmt.Errorf("%q must be one host, as browsers send it: %s", origin, strings.ReplaceAll(sent, "*", "app"))
	}
	return nil
}
