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
	"github.com/synmetrix/session/store/memstore"
)

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
	keeper  *keeper.Keeper
	auth    guard.Auth
	secrets []seal.Secret
	jar     *cookies.Jar
	opened  *cache.Cache[sealedCookie, openedCookie]
	origins *http.CrossOriginProtection

	floor    floor  // under refused sign-ins
	dropped  hourly // reports of dropped cookies
	hasLogin atomic.Bool

	mu       sync.Mutex
	tooLarge map[string]uint64 // the newest generation that fits no cookie, by the key of the record
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
		cfg:      cfg,
		auth:     guard.Auth{Service: cfg.Auth, Log: cfg.Logger},
		opened:   cache.New[sealedCookie, openedCookie](cfg.CacheBytes/2, cfg.CacheBytes/64),
		origins:  http.NewCrossOriginProtection(),
		tooLarge: map[string]uint64{},
	}
	for _, o := range cfg.TrustedOrigins {
		if err := m.origins.AddTrustedOrigin(o); err != nil {
			return nil, invalid("TrustedOrigins", "can't be used: %w", err)
		}
		if err := asSent(o); err != nil {
			return nil, invalid("TrustedOrigins", "can't be used: %w", err)
		}
	}
	for _, k := range cfg.Keys {
		m.secrets = append(m.secrets, seal.NewSecret(k.value()))
	}
	m.jar = cookies.NewJar(cookies.Config{
		Name: cfg.Cookie.Name, Domain: cfg.Cookie.Domain, SameSite: cfg.Cookie.SameSite,
		Insecure: cfg.Cookie.Insecure, NonPersistent: cfg.Cookie.NonPersistent, MaxChunks: cfg.Cookie.MaxChunks,
		Keys: len(cfg.Keys), MinSize: seal.Size(0), Authentic: m.authentic,
	})
	m.keeper = newKeeper(cfg, m.secrets, m.keeperEvent)
	m.hasLogin.Store(ownLogin)
	return m, nil
}

func newKeeper(cfg Config, secrets []seal.Secret, event func(context.Context, slog.Level, *keeper.Record, keeper.Event)) *keeper.Keeper {
	at := cfg.Store
	switch {
	case at != nil:
	case cfg.Coordinator != nil:
		at = cfg.Coordinator
	default:
		at = &memstore.Store{Now: cfg.Now}
	}
	_, private := at.(*memstore.Store)
	return keeper.New(keeper.Config{
		Store: at, Stored: cfg.Store != nil, Private: private,
		Auth: cfg.Auth, Claims: cfg.Claims, Secrets: secrets,
		AuthTimeout: cfg.AuthTimeout, Grace: cfg.Grace, IdleTimeout: cfg.IdleTimeout, Lifetime: cfg.Lifetime,
		RefreshBefore: cfg.RefreshBefore, StoreTimeout: cfg.StoreTimeout,
		CacheBytes: cfg.CacheBytes / 2, Now: cfg.Now, Log: cfg.Logger, Event: event,
	})
}

func (m *Manager) now() time.Time { return m.cfg.Now() }

// Logger returns Config.Logger, or its default.
func (m *Manager) Logger() *slog.Logger { return m.cfg.Logger }

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
func (m *Manager) Stored() bool { return m.cfg.Store != nil }

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

// failure returns the error for the app of one that a keeper has returned about
// the session of which r is a state: nil, an *endedError, an *UnavailableError, or
// what a change of values has returned. It reports errors of the store.
func (m *Manager) failure(ctx context.Context, r *keeper.Record, err error) error {
	var e *keeper.Error
	switch {
	case err == nil || errors.Is(err, ErrTooLarge):
		return err
	case !errors.As(err, &e):
		return m.failure(ctx, r, m.keeper.Report(ctx, r, err))
	case e.Ended != "":
		return &endedError{why: e.Ended}
	case errors.Is(e.Err, keeper.ErrShutdown):
		return &UnavailableError{Err: ErrShutdown}
	}
	return &UnavailableError{RetryAfter: e.RetryAfter, Err: e.Err}
}

// endedError is [ErrEnded] with the reason.
type endedError struct{ why keeper.Reason }

func (e *endedError) Error() string {
	return "session: " + ErrEnded.Error() + " (" + string(e.why) + ")"
}

func (e *endedError) Is(target error) bool { return target == ErrEnded }

// Shutdown waits until every refresh has ended and new tokens are written, or
// until ctx is done; then it returns ctx's error and gives them up. Sessions
// can't be renewed after it. Call it after the HTTP server's own Shutdown.
func (m *Manager) Shutdown(ctx context.Context) error {
	if err := m.keeper.Shutdown(ctx); err != nil {
		return fmt.Errorf("session: shutdown: %w", err)
	}
	return nil
}
