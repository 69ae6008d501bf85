package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/internal/cache"
	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/internal/throttle"
	"github.com/synmetrix/session/store/memstore"
)

// The order of locks. Every lock is held for a few lines of this module. Code that holds a
// lock never waits, and never calls a store, the auth service, a hook or a log: these may
// be slow, or use the session and so need the same lock. Code that holds the first of these
// two may lock the second, but not the reverse:
//
//	Exchange.mu
//	Session.mu
//
// All other locks (Manager.mu and those of the floor, the caches and the keeper)
// are innermost: code that holds one locks no other, except the lock of a cache.

// Manager signs users in, keeps their sessions and refreshes their tokens. Make
// one with [New]. All methods are safe for concurrent use.
//
// Methods that sign the user of a request in or out, or use the request's session, need the
// request's context, or a context derived from it. They fail with [ErrNotLoaded] outside
// the session middleware of this Manager. A request with a bearer token has no session:
// they fail with [ErrSessionRequired], or with [ErrBearer] if the token is not accepted.
type Manager struct {
	cfg      Config
	keeper   *keeper.Keeper
	auth     guard.Auth
	features Features
	calls    guard.Calls
	secrets  []seal.Secret
	jar      *cookies.Jar
	own      place // of the cookies of a user's own session
	acting   place // of the cookies of a session in which a user acts as another user
	opened   *cache.Cache[openedCookie]
	origins  *http.CrossOriginProtection

	floor         floor // the least duration of refused sign-ins
	mailFloor     floor // the least duration of requests that may send an e-mail
	counters      *throttle.Counters
	cookieReports hourly // limits EventCookiesDropped
	hasLogin      atomic.Bool

	streams    context.Context // done when the channels of Session.Done are closed
	endStreams context.CancelFunc

	mu       sync.Mutex
	outgrown map[string]uint64 // the newest generation that fits no cookie, by the key of the record
}

// New returns a Manager for cfg. Its error names the field of cfg that is invalid,
// and what is allowed. New does not call the auth service or the store.
//
// New logs a warning, "unsafe_setting", for each setting that is valid but weakens the
// protection of sessions: Cookie.Insecure, the address of an auth service or a JWKS on
// another machine with plain HTTP, and a newest key that is older than a year; see
// [ParseKeys].
func New(cfg Config) (*Manager, error) {
	ownLogin := cfg.LoginPath != ""
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg:      cfg,
		calls:    newCalls(cfg),
		opened:   cache.New[openedCookie](cfg.CacheBytes-cfg.recordBytes(), cfg.CacheBytes/64, cfg.Now),
		origins:  http.NewCrossOriginProtection(),
		outgrown: map[string]uint64{},
	}
	m.streams, m.endStreams = context.WithCancel(context.Background())
	m.auth = guard.Auth{Service: cfg.Auth, Log: cfg.Logger, Calls: m.calls}
	m.features = featuresOf(cfg.Auth)
	for i, o := range cfg.TrustedOrigins {
		// Check the spelling first: net/http's error quotes the text, which may contain a
		// password.
		err := checkOriginSpelling(o)
		if err == nil {
			err = m.origins.AddTrustedOrigin(o)
		}
		if err != nil {
			return nil, invalid("TrustedOrigins", "is invalid: origin %d: %w", i+1, err)
		}
	}
	for _, k := range cfg.Keys {
		m.secrets = append(m.secrets, seal.NewSecret(k.value()))
	}
	m.jar = cookies.NewJar(cookies.Config{
		Name: cfg.Cookie.Name, HTTPPrefix: cfg.Cookie.HTTPPrefix,
		Domain: cfg.Cookie.Domain, Path: cfg.Cookie.Path, Partitioned: cfg.Cookie.Partitioned, SameSite: cfg.Cookie.SameSite,
		Insecure: cfg.Cookie.Insecure, MaxChunks: cfg.Cookie.MaxChunks,
		Keys: len(cfg.Keys), MinSize: seal.Size(0), Authentic: m.authentic,
	})
	j := m.jar
	m.own = place{j.Tokens, j.State, seal.Tokens, seal.State, seal.ID, true}
	m.acting = place{j.Acting, j.ActingState, seal.Acting, seal.ActingState, seal.Acting, false}
	m.keeper = newKeeper(cfg, m.secrets, m.calls, m.keeperEvent)
	m.counters = newCounters(cfg, m.keeper)
	m.hasLogin.Store(ownLogin)
	m.warn()
	m.cfg.Keys = nil // the Manager needs only the secrets derived from them
	return m, nil
}

// newKeeper returns the keeper of a Manager. Both kinds of sessions use the same
// one: it keeps whole sessions in a Store, or the records of cookie sessions in a
// Coordinator.
func newKeeper(cfg Config, secrets []seal.Secret, calls guard.Calls, event func(context.Context, slog.Level, *keeper.Record, keeper.Event)) *keeper.Keeper {
	records := cfg.Store
	switch {
	case records != nil:
	case cfg.Coordinator != nil:
		records = cfg.Coordinator
	default:
		records = &memstore.Store{Now: cfg.Now}
	}
	_, private := records.(*memstore.Store)
	return keeper.New(keeper.Config{
		Store: records, Stored: cfg.Store != nil, Private: private,
		Auth: cfg.Auth, Claims: cfg.Claims, Verifier: cfg.Verifier, Secrets: secrets,
		AuthTimeout: cfg.AuthTimeout, Grace: cfg.Grace, IdleTimeout: cfg.IdleTimeout, Lifetime: cfg.Lifetime,
		RefreshBefore: cfg.RefreshBefore, MaxTokenAge: max(cfg.MaxTokenAge, 0), StoreTimeout: cfg.StoreTimeout,
		MaxSessions: cfg.MaxSessions, RejectOverMax: cfg.RejectOverMax,
		CacheBytes: cfg.recordBytes(), Now: cfg.Now, Log: cfg.Logger, Calls: calls, Event: event,
	})
}

func (m *Manager) now() time.Time { return m.cfg.Now() }

// Config returns the configuration of m, without Keys. Fields that were not set, such as
// LoginPath, Logger and Cookie.Name, have their defaults, and BasePath has no slash at its
// end. The caller must not modify the slices.
func (m *Manager) Config() Config { return m.cfg }

// stored reports whether sessions are kept in a store.
func (m *Manager) stored() bool { return m.cfg.Store != nil }

// AddLoginPage records that the app serves a login page at Config.LoginPath. Package
// middleware calls it when it mounts the built-in routes. An app with its own login page
// sets Config.LoginPath instead.
func (m *Manager) AddLoginPage() { m.hasLogin.Store(true) }

// HasLoginPage reports whether guards can send visitors to a login page: Config.LoginPath
// was set for [New], or AddLoginPage has been called.
func (m *Manager) HasLoginPage() bool { return m.hasLogin.Load() }

// CheckOrigin returns an error that is [ErrCrossOrigin] if r has an unsafe method
// and a page of another origin has sent it, including other origins of the same
// site. A request to switch protocols, for example to a WebSocket, counts as one
// with an unsafe method: browsers send it with GET and cookies from any page.
//
// CheckOrigin accepts requests from Config.TrustedOrigins, requests with a bearer
// token, which browsers never add by themselves, and requests of programs that are
// not browsers.
func (m *Manager) CheckOrigin(r *http.Request) error {
	if hasBearer(r.Header) || m.sameOrigin(r) {
		return nil
	}
	m.event(r.Context(), slog.LevelWarn, nil, Event{Name: EventCrossOriginRefused})
	return fmt.Errorf("session: %w", ErrCrossOrigin)
}

// maxOrigin bounds the Origin fields that are parsed. A scheme, a host name of 253
// bytes and a port are shorter.
const maxOrigin = 512

// sameOrigin reports whether r is safe, or comes from an allowed origin.
func (m *Manager) sameOrigin(r *http.Request) bool {
	switch {
	case len(r.Header["Upgrade"]) > 0:
		// net/http accepts all GET requests, so it checks a copy with POST.
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
		return true
	}
	return len(r.Header.Get("Origin")) <= maxOrigin && m.origins.Check(r) == nil
}

// publicError turns an error of the keeper about the session of r into the error
// for the app: an *endedError, an *UnavailableError, [ErrTooManySessions], or the
// [ErrTooLarge] that a change of values has returned. It reports errors of the store that the keeper
// has not reported yet. This is the only place where keeper errors become errors
// of this package.
func (m *Manager) publicError(ctx context.Context, r *keeper.Record, err error) error {
	if err == nil || errors.Is(err, ErrTooLarge) {
		return err
	}
	var e *keeper.Error
	switch {
	case errors.Is(err, keeper.ErrTooMany):
		return ErrTooManySessions
	case !errors.As(err, &e):
		return m.publicError(ctx, r, m.keeper.Report(ctx, r, err))
	case e.Ended != "":
		return &endedError{why: e.Ended}
	}
	return &UnavailableError{RetryAfter: e.RetryAfter, Err: e.Err}
}

// endedError is [ErrEnded] with the reason.
type endedError struct{ why keeper.Reason }

func (e *endedError) Error() string {
	return "session: " + ErrEnded.Error() + " (" + string(e.why) + ")"
}

func (e *endedError) Is(target error) bool { return target == ErrEnded }

// EndStreams closes the channels of [Session.Done], including those that are requested
// later, so that event streams and WebSockets end. It ends no session, and tokens are
// still refreshed.
//
// The Shutdown of an HTTP server waits for event streams. Register EndStreams with
// [http.Server.RegisterOnShutdown], so that they end when Shutdown begins.
func (m *Manager) EndStreams() { m.endStreams() }

// Shutdown calls EndStreams, and then waits until all refreshes have ended and their
// tokens are stored. Refresh tokens work once, so tokens that are not stored are lost and
// their sessions end early. If ctx ends first, Shutdown stops the work and returns ctx's
// error.
//
// After Shutdown, no tokens are refreshed. Call Shutdown after the HTTP server's own
// Shutdown, so that requests in progress can still refresh their tokens.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.EndStreams()
	if err := m.keeper.Shutdown(ctx); err != nil {
		return fmt.Errorf("session: shutdown: %w", err)
	}
	return nil
}

// redacted replaces a secret in text output. fmt prints the fields of structs,
// also unexported ones, without calling their methods. Every type that holds a
// secret at any depth therefore has a Format method.
const redacted = "[redacted]"

// Format keeps the keys and tokens out of every fmt verb.
func (m *Manager) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("session.Manager" + redacted)) }

// recordBytes returns the part of CacheBytes for records. The rest is for cookies: of most
// cookie sessions the coordinator has no record.
func (c *Config) recordBytes() int {
	if c.Store == nil {
		return c.CacheBytes / 4
	}
	return c.CacheBytes / 2
}
