package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/store"
)

// Config is what a [Manager] is made of. Auth and Keys are required; the zero
// value of every other field is right for most programs.
type Config struct {
	// Auth is the auth service. Required.
	Auth auth.Service

	// AuthTimeout is how long a request waits for the auth service. A refresh
	// goes on in the background for three times as long, so that new tokens that
	// come late are not lost. Default: 10 s.
	AuthTimeout time.Duration

	// BasePath is the path by which browsers reach the app where a proxy in
	// front of it strips it, such as "/app". It is put before every address
	// that is sent to a browser, and every address that comes back must be
	// below it. All other paths in settings are without it. Cookies keep the
	// path "/". Default: none, the proxy strips nothing.
	BasePath string

	// CacheBytes bounds the memory that the Manager takes to remember sessions
	// in their decoded form, in bytes. Sessions that it does not remember are
	// opened anew for each request; so is a session larger than a 64th of it.
	// Default: 64 MiB.
	CacheBytes int

	// Claims says where an access token has the user's ID and roles.
	// Default: where Hasura's auth services put them.
	Claims auth.ClaimNames

	// Cookie is how cookies are set. Default: as safely as can be.
	Cookie Cookie

	// Coordinator is a store where cookie sessions keep their lease, newest
	// tokens and end, for processes that share it. It needs a Manager without
	// a Store. Default: the memory of this process, which is right for one.
	Coordinator store.Store

	// Grace is how long tokens are kept for late requests once a browser has
	// shown newer ones. Default: 1 min.
	Grace time.Duration

	// IdleTimeout ends a session that is not used for so long. It is noted in
	// steps of a tenth of it. While the store is down no use can be noted: as far
	// as a process has seen the outage, up to an hour of it (or IdleTimeout, if
	// that is shorter) does not count. Default: 24 h, or Lifetime if that is
	// shorter.
	IdleTimeout time.Duration

	// Keys are the secrets that seal cookies and records, the newest first:
	// the first seals, every one opens. Required. See [ParseKeys].
	Keys []SecretKey

	// Lifetime ends a session, counted from login, however much it is used.
	// Default: 30 days, as long as the auth service's refresh tokens live. At
	// most 400 days.
	Lifetime time.Duration

	// Logger gets the events of sessions; their names do not change. It never
	// gets a secret. Default: slog.Default().
	Logger *slog.Logger

	// LoginPath is where guards send a visitor who is not signed in, without
	// BasePath. An app with its own login page sets it, even to "/login".
	// Default: "/login", if the ready-made routes are mounted; else there is
	// no login page, and guards refuse with status 401.
	LoginPath string

	// MaxValueBytes bounds what the values of one stored session take, in bytes:
	// their names, and the values as JSON. See [Key.Set]. Values in cookies
	// are bounded by Cookie.MaxChunks. Default: 1 MiB.
	MaxValueBytes int

	// Now is the clock, for tests. Default: time.Now.
	Now func() time.Time

	// OnEvent is called for every [Event], before it is logged: for counters,
	// and for what an app does when a session starts or ends. It is called
	// from many goroutines, within requests, and must be quick. Where there is
	// a request the context is its own. Default: none.
	OnEvent func(context.Context, Event)

	// RefreshBefore is how long before its expiry an access token is renewed;
	// never in the first half of its life. Default: a tenth of its life, at
	// most a minute, and for each session a little less than that.
	RefreshBefore time.Duration

	// Store keeps the sessions; the cookie then holds nothing but a session
	// ID. Default: none, sessions are sealed into cookies.
	Store store.Store

	// StoreTimeout bounds one call of the store. Default: 2 s.
	StoreTimeout time.Duration

	// TrustedOrigins are other origins whose pages may send requests with
	// unsafe methods and open WebSockets, such as "https://app.example.org".
	// Default: none.
	TrustedOrigins []string
}

const (
	defaultAuthTimeout  = 10 * time.Second
	defaultGrace        = time.Minute
	defaultIdleTimeout  = 24 * time.Hour
	defaultLifetime     = 30 * 24 * time.Hour
	defaultStoreTimeout = 2 * time.Second

	defaultCacheBytes    = 64 << 20
	defaultMaxValueBytes = 1 << 20
)

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.AuthTimeout, defaultAuthTimeout)
	def(&c.Grace, defaultGrace)
	def(&c.Lifetime, defaultLifetime)
	def(&c.IdleTimeout, min(defaultIdleTimeout, c.Lifetime))
	def(&c.StoreTimeout, defaultStoreTimeout)
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = defaultMaxValueBytes
	}
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

// invalid names the field and what it must be.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("session: Config.%s %w", field, fmt.Errorf(format, args...))
}

func (c Config) validate() error {
	if c.Auth == nil {
		return invalid("Auth", "is required")
	}
	if v, ok := c.Auth.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return invalid("Auth", "can't be used: %w", err)
		}
	}
	if err := validateKeys(c.Keys); err != nil {
		return invalid("Keys", "can't be used: %w", err)
	}
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
	case c.CacheBytes < 0:
		return invalid("CacheBytes", "is %d; it must not be negative", c.CacheBytes)
	case c.MaxValueBytes < 0:
		return invalid("MaxValueBytes", "is %d; it must not be negative", c.MaxValueBytes)
	case c.Lifetime > cookies.MaxAge:
		return invalid("Lifetime", "is %v; cookies live for %v at most", c.Lifetime, cookies.MaxAge)
	case c.Lifetime < c.IdleTimeout:
		return invalid("Lifetime", "is %v, shorter than IdleTimeout, %v", c.Lifetime, c.IdleTimeout)
	case c.Store != nil && c.Coordinator != nil:
		return invalid("Coordinator", "is for cookie sessions; it must be nil beside a Store")
	case c.BasePath != "" && !isPlainPath(c.BasePath):
		return invalid("BasePath", "is %q; it must be a path such as /app, with no character that needs escaping", c.BasePath)
	case !strings.HasPrefix(c.LoginPath, "/") || strings.HasPrefix(c.LoginPath, "//") || strings.ContainsAny(c.LoginPath, "?#\\"):
		return invalid("LoginPath", "is %q; it must be a path that begins with one slash", c.LoginPath)
	}
	return c.Cookie.validate()
}

// isPlainPath reports whether a path begins with a slash and has one spelling.
func isPlainPath(p string) bool {
	u := url.URL{Path: p}
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && u.EscapedPath() == p && !strings.Contains(p, ";")
}

// asSent returns an error for an origin that no browser ever sends in this
// spelling (RFC 6454, section 6.2): it would be compared, and never be found.
func asSent(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.User != nil {
		return errors.New("an origin is a scheme and a host") // what it is may hold a password
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
