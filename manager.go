package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
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
	case c.Lifetime > maxAge:
		return invalid("Lifetime", "is %v; cookies live for %v at most", c.Lifetime, maxAge)
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

func (c Cookie) validate() error {
	for i := range len(c.Name) {
		if ch := c.Name[i]; !inBase64URL[ch] && ch != '.' {
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
	case c.MaxChunks < 0 || c.MaxChunks > mostChunks:
		return invalid("Cookie.MaxChunks", "is %d; 1 to %d are allowed, 0 means %d", c.MaxChunks, mostChunks, defaultChunks)
	}
	return nil
}

// The order of locks. Each of them is held for a few lines of this package, and
// never while a store, the auth service, a hook, a log or anything else outside
// of it is called, nor while anything is waited for. Of these two the first may
// be held when the second is taken:
//
//	Exchange.mu
//	Session.mu
//
// Every other lock of the package (Manager.mu and those of the gate, the breaker,
// outages, caches and so on) is taken last: nothing that holds one takes another.

// Manager signs users in, keeps their sessions and renews their tokens. Make
// one with [New]; its methods are safe for concurrent use.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	secrets []secret
	jar     *jar
	origins *http.CrossOriginProtection

	cookies *Cache[sealedCookie, openedCookie]
	records *Cache[string, *Record] // by their keys

	auth   guardedAuth
	self   attempt     // names this process in records
	store  store.Store // of the sessions, or the coordinator of cookie sessions
	stored bool        // sessions are in the store
	plain  bool        // the store is this process's memory: there is nothing to seal

	ctx       context.Context // of all that outlives a request
	cancel    context.CancelFunc
	running   sync.WaitGroup
	gate      *gate
	floor     floor  // under refused sign-ins
	dropped   hourly // reports of dropped cookies
	hasLogin  atomic.Bool
	unwritten atomic.Int64
	endings   endings
	outages   outages // of the store

	mu          sync.Mutex
	closed      bool
	stopping    chan struct{}          // closed with it
	flights     map[string]*flight     // by the key of the record
	revocations map[string]*revocation // by the key of the record
	tooLarge    map[string]uint64      // the newest generation that fits no cookie, by the key of the record
}

// New returns a Manager for cfg, or an error that names the field of cfg that
// is wrong and what is allowed.
func New(cfg Config) (*Manager, error) {
	ownLogin := cfg.LoginPath != ""
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg:     cfg,
		log:     cfg.Logger,
		jar:     newJar(cfg.Cookie, len(cfg.Keys)),
		origins: http.NewCrossOriginProtection(),
		store:   cfg.Store,
		stored:  cfg.Store != nil,
		gate:    newGate(),
		cookies: NewCache[sealedCookie, openedCookie](cfg.CacheBytes/2, cfg.CacheBytes/64),
		records: NewCache[string, *Record](cfg.CacheBytes/2, cfg.CacheBytes/64),
		flights: map[string]*flight{},
		auth:    guardedAuth{cfg.Auth, cfg.Logger},
		self:    attempt(max(newVersion(), 2)),

		stopping:    make(chan struct{}),
		revocations: map[string]*revocation{},
		tooLarge:    map[string]uint64{},
	}
	m.outages.now = cfg.Now
	m.jar.authentic = m.authentic
	for _, o := range cfg.TrustedOrigins {
		if err := m.origins.AddTrustedOrigin(o); err != nil {
			return nil, invalid("TrustedOrigins", "can't be used: %w", err)
		}
		if err := asSent(o); err != nil {
			return nil, invalid("TrustedOrigins", "can't be used: %w", err)
		}
	}
	for _, k := range cfg.Keys {
		m.secrets = append(m.secrets, newSecret(k))
	}
	switch {
	case m.stored:
	case cfg.Coordinator != nil:
		m.store = cfg.Coordinator
	default:
		m.store = &memstore.Store{Now: cfg.Now}
	}
	if _, m.plain = m.store.(*memstore.Store); !m.plain {
		m.store = &breaker{store: guardedStore{m.store, cfg.Logger}, outages: &m.outages}
	}
	m.hasLogin.Store(ownLogin)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

func (m *Manager) now() time.Time { return m.cfg.Now() }

// Logger returns Config.Logger, or its default.
func (m *Manager) Logger() *slog.Logger { return m.log }

// BasePath returns Config.BasePath, without a slash at its end.
func (m *Manager) BasePath() string { return m.cfg.BasePath }

// LoginPath returns Config.LoginPath, or its default.
func (m *Manager) LoginPath() string { return m.cfg.LoginPath }

// AddLoginPage records that the app serves a login page at LoginPath. The
// ready-made routes of package middleware do so themselves, and an app with its
// own login page sets Config.LoginPath instead.
func (m *Manager) AddLoginPage() { m.hasLogin.Store(true) }

// HasLoginPage reports whether guards can send visitors to LoginPath:
// Config.LoginPath is set, or AddLoginPage has been called.
func (m *Manager) HasLoginPage() bool { return m.hasLogin.Load() }

// Stored reports whether sessions are kept in a store.
func (m *Manager) Stored() bool { return m.stored }

// CheckOrigin returns an error that is [ErrCrossOrigin] if a page of another
// origin, also one of the same site, sends r with an unsafe method. A request to
// switch protocols, as for a WebSocket, is judged as one with an unsafe method:
// browsers send it by GET, with cookies, from any page.
//
// Requests of Config.TrustedOrigins, requests with a bearer token, and requests
// of programs that are not browsers pass.
func (m *Manager) CheckOrigin(r *http.Request) error {
	if hasBearer(r.Header) || m.sameOrigin(r) {
		return nil
	}
	m.event(r.Context(), slog.LevelWarn, nil, Event{Name: EventCrossOriginRefused})
	return fmt.Errorf("session: %w", ErrCrossOrigin)
}

// maxOrigin bounds an Origin field that is parsed: a scheme, a host's name of
// 253 bytes and a port are shorter.
const maxOrigin = 512

func (m *Manager) sameOrigin(r *http.Request) bool {
	switch {
	case len(r.Header["Upgrade"]) > 0:
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
		return true
	}
	return len(r.Header.Get("Origin")) <= maxOrigin && m.origins.Check(r) == nil
}

// claimsOf returns the claims of a session's access token.
func (m *Manager) claimsOf(r *Record) (*auth.Claims, error) {
	if r.Pair.Claims != nil {
		return r.Pair.Claims, nil
	}
	c, err := auth.ParseClaims(r.Pair.Tokens.AccessToken, m.cfg.Claims)
	if err == nil && c.UserID != r.UserID {
		err = fmt.Errorf("session: %w: it is another user's", auth.ErrInvalidToken)
	}
	return &c, err
}

// readClaims returns the claims of a record that has just been opened, nil if
// they can't be read: claimsOf tells why.
func (m *Manager) readClaims(r *Record) *auth.Claims {
	c, err := m.claimsOf(r)
	if err != nil {
		return nil
	}
	return c
}

// newPair judges tokens that the service has just answered with. old are
// those that they replace.
func (m *Manager) newPair(t, old auth.Tokens) (Pair, error) {
	claims, err := auth.ParseClaims(t.AccessToken, m.cfg.Claims)
	if err != nil {
		return Pair{}, err
	}
	now := m.now()
	life := claims.ExpiresAt.Sub(now)
	if !claims.IssuedAt.IsZero() {
		// The service's clock may be off: what it says about the token's life
		// holds from its receipt.
		life = claims.ExpiresAt.Sub(claims.IssuedAt)
	}
	if life <= 0 {
		return Pair{}, errors.New("the access token has expired at issue")
	}
	if t.RefreshToken == "" {
		t.RefreshToken = old.RefreshToken
	}
	return Pair{Tokens: t, Expires: now.Add(life), Life: life, Claims: &claims}, nil
}

// unavailable makes of a ledger's error one for the app: nil, an *endedError,
// ErrTooLarge or an *UnavailableError.
func (m *Manager) unavailable(ctx context.Context, r *Record, err error) error {
	if err == nil || errors.Is(err, ErrEnded) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrSessionUnavailable) {
		return err
	}
	return m.storeDown(ctx, r, err)
}

// storeDown logs that the store did not answer, or not with the record.
func (m *Manager) storeDown(ctx context.Context, r *Record, err error) error {
	name := EventStoreUnavailable
	if errors.Is(err, errCorrupt) {
		name = EventRecordCorrupt
	}
	if !errors.Is(err, context.Canceled) {
		m.event(ctx, slog.LevelError, r, Event{Name: name, Err: err})
	}
	return &UnavailableError{RetryAfter: time.Second, Err: err}
}

// Shutdown waits until every refresh has ended and new tokens are written, or
// until ctx is done; then it returns ctx's error and gives them up. Sessions
// can't be renewed after it. Call it after the HTTP server's own Shutdown.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.stopping)
	}
	m.mu.Unlock()
	done := make(chan struct{})
	go func() { m.running.Wait(); close(done) }()
	defer m.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("session: shutdown: %w", ctx.Err())
	}
}
