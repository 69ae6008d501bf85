// Package keeper keeps sessions. It stores their records, refreshes their tokens once for
// any number of requests and processes, ends sessions and revokes their tokens. It does not
// depend on HTTP, cookies or handlers.
//
// docs/protocol.md describes the protocol. "Rule 3" in a comment of this package
// is rule 3 of that page. To follow a refresh, start at Renew in refresh.go and read
// downwards.
//
//   - keeper.go: the Keeper, its configuration, events and errors
//   - record.go, encoding.go, packed.go: the state of a session, and its encoding
//   - tokens.go: the tokens of a session, and their claims
//   - load.go: the newest state for a request; late requests
//   - ledger.go: reads and swaps of one session's record
//   - refresh.go: flights, from the request to the call of the auth service
//   - response.go: the effect of the auth service's response on the session
//   - backoff.go: when a token is due, and the pauses after failures
//   - lease.go: the right to refresh among several processes, and take-overs
//   - gate.go: the number of concurrent refreshes, and rate limits
//   - end.go: the end of a session, and its mark
//   - revoke.go, attempt.go: the revocation of tokens after the end
//   - list.go: the sessions of a user
//   - users.go, endall.go, members.go: the mark of a user, which ends or refreshes all
//     sessions of the user, and limits their number
//   - lifetime.go: timeouts, and how long a store keeps a record
//   - watch.go: waiting for the end of a session
//   - reads.go: requests of one session share a read of the store
//   - breaker.go, outage.go: a store that does not respond
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/cache"
	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

// Config configures a Keeper. All fields are required, except Claims and
// Verifier.
type Config struct {
	// Store keeps records.
	Store store.Store

	// Stored is true if Store keeps the sessions themselves. Otherwise the sessions are in
	// cookies, and Store is their coordinator.
	Stored bool

	// Private is true if Store is the memory of this process. Its records are not sealed,
	// and no other process can write to it.
	Private bool

	// Auth is the auth service that issues the tokens.
	Auth auth.Service

	// Claims names the claims of access tokens.
	Claims auth.ClaimNames

	// Verifier checks new access tokens and bearer tokens. nil: new tokens are not
	// checked.
	Verifier auth.Verifier

	// Secrets seal the records. The first one seals, and all of them open.
	Secrets []seal.Secret

	// AuthTimeout is how long a request waits for the auth service.
	AuthTimeout time.Duration

	// Grace is how long late requests with an older cookie are served after the
	// browser has sent the newest.
	Grace time.Duration

	// IdleTimeout ends a session that was not used for this time. Lifetime ends a
	// session this long after its login.
	IdleTimeout, Lifetime time.Duration

	// RefreshBefore is how long before its expiry an access token is due for
	// refresh. The zero value selects a part of the token's life; see
	// [Keeper.Due].
	RefreshBefore time.Duration

	// MaxSessions limits the sessions of a user, at most MaxMembers. The zero value sets no
	// limit. A further sign-in ends the session that was least recently used, or is
	// rejected if RejectOverMax is set.
	MaxSessions   int
	RejectOverMax bool

	// MaxTokenAge is the age at which tokens are due, even if they are valid for longer.
	// The zero value sets no limit.
	MaxTokenAge time.Duration

	// StoreTimeout limits each call of Store.
	StoreTimeout time.Duration

	// CacheBytes is how much memory decoded records may use.
	CacheBytes int

	// Now returns the current time. Waits and leases use the clock of the system.
	Now func() time.Time

	// Log receives panics in code of the app. They are not events.
	Log *slog.Logger

	// Calls are the app's hooks around calls.
	Calls guard.Calls

	// Event is called for each event. r is a state of the session, or nil if the event is
	// about no session.
	Event func(ctx context.Context, level slog.Level, r *Record, e Event)
}

// Event reports a change of a session, or a failure.
type Event struct {
	Name       string
	Reason     string        // why the session has ended, for EventSessionEnded
	RetryAfter time.Duration // how long until the next attempt, 0 if there is none
	Err        error         // the cause, nil if there is none
}

// The names of events. docs/events.md describes them.
const (
	EventClaimsUnreadable   = "claims_unreadable"
	EventRecordCorrupt      = "record_corrupt"
	EventRefreshUnavailable = "refresh_unavailable"
	EventRefreshUnknown     = "refresh_unknown"
	EventRevokeFailed       = "revoke_failed"
	EventSessionEnded       = "session_ended"
	EventSessionRefreshed   = "session_refreshed"
	EventStoreUnavailable   = "store_unavailable"
	EventTokensLost         = "tokens_lost"
	EventTokensUnwritten    = "tokens_unwritten"
)

// Error is the reason why a session cannot be used: it has ended, or it is unavailable.
type Error struct {
	// Ended is why the session has ended, empty if it has not.
	Ended Reason

	// RetryAfter is the shortest time for which the session stays unavailable, 0 if
	// unknown.
	RetryAfter time.Duration

	// Err is why the session is unavailable.
	Err error

	mark *Record // the mark of the ended session, nil if it has none
}

func (e *Error) Error() string {
	if e.Ended != "" {
		return "session has ended (" + string(e.Ended) + ")"
	}
	return fmt.Sprintf("session unavailable: %v", e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// isEnded reports whether err means that the session has ended.
func isEnded(err error) bool {
	if err == nil {
		return false // errors.As would allocate
	}
	var e *Error
	return errors.As(err, &e) && e.Ended != ""
}

// ErrShutdown is wrapped by the errors of a Keeper that was shut down.
var ErrShutdown = errors.New("session manager is shut down")

// Keeper keeps sessions. Create one with [New]. Its methods are safe for
// concurrent use. They hold no lock while they call the store, the auth service,
// Config.Event or Config.Log: that code may be slow, or call the Keeper.
type Keeper struct {
	cfg     Config
	auth    guard.Auth
	store   store.Store
	self    sender // names this process in records
	names   namesHash
	records *cache.Cache[*Record]

	ctx     context.Context // for work that continues after its request
	cancel  context.CancelFunc
	gate    *gate
	waiting atomic.Int64 // tokens that wait for the store or the service
	endings endings
	users   users
	outages outages // of the store

	mu          sync.Mutex
	closed      bool                   // Shutdown was called
	stopping    chan struct{}          // closed when closed is set
	running     int                    // background work
	idle        chan struct{}          // closed when closed is set and no work runs
	flights     map[string]*flight     // by the key of the record
	revocations map[string]*revocation // by the key of the record
}

// New returns a Keeper for cfg.
func New(cfg Config) *Keeper {
	k := &Keeper{
		cfg:         cfg,
		auth:        guard.Auth{Service: cfg.Auth, Log: cfg.Log, Calls: cfg.Calls},
		store:       cfg.Store,
		names:       hashOf(cfg.Claims),
		self:        sender(max(newVersion(), 2)), // 0 and 1 have other meanings
		records:     cache.New[*Record](cfg.CacheBytes, cfg.CacheBytes/32, cfg.Now),
		users:       users{lifetime: cfg.Lifetime, now: cfg.Now, marks: cache.New[knownMark](max(cfg.CacheBytes/8, 1<<20), 1<<20, cfg.Now)},
		gate:        newGate(),
		stopping:    make(chan struct{}),
		idle:        make(chan struct{}),
		flights:     map[string]*flight{},
		revocations: map[string]*revocation{},
	}
	k.outages.now = cfg.Now
	k.ctx, k.cancel = context.WithCancel(context.Background())
	guarded := guard.Store{Store: cfg.Store, Log: cfg.Log, Calls: cfg.Calls}
	switch {
	case !cfg.Private:
		// The memory of the process does not panic or hang, and a read is faster than a
		// wait for another request's read.
		limited := &breaker{store: guarded, timeout: cfg.StoreTimeout, outages: &k.outages}
		k.store = &reads{Store: limited, active: map[string]*read{}}
	case cfg.Calls.Any():
		k.store = guarded
	}
	return k
}

func (k *Keeper) now() time.Time { return k.cfg.Now() }

// event reports an event. The caller must not hold a lock.
func (k *Keeper) event(ctx context.Context, level slog.Level, r *Record, e Event) {
	k.cfg.Event(ctx, level, r, e)
}

// Shared returns the store, with its timeout, if other processes use it, too. It returns
// nil for the memory of this process.
//
// The counters of attempts in the root package use it, so that all processes count
// together. The keys of counters must differ from those of records.
func (k *Keeper) Shared() store.Store {
	if k.cfg.Private {
		return nil
	}
	return k.store
}

// RateLimited handles the error of a call of the auth service that another part of the
// program has made. A rate limit also stops refreshes, because the service counts all calls
// together (rule 9).
func (k *Keeper) RateLimited(err error) { k.gate.note(err, k.now()) }

// Shutdown waits until all flights have landed and new tokens are written. If ctx
// is done before that, Shutdown gives up and returns the error of ctx. The Keeper
// refreshes no session after Shutdown was called.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.stopping)
		k.noteIdleLocked()
	}
	k.mu.Unlock()
	defer k.cancel()
	select {
	case <-k.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// background runs work that must not end with the request. Shutdown waits for it, unless
// all earlier work had already ended.
func (k *Keeper) background(work func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.backgroundLocked(work)
}

// backgroundLocked is background for a caller that holds k.mu.
func (k *Keeper) backgroundLocked(work func()) {
	k.running++
	go func() {
		defer func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.running--
			k.noteIdleLocked()
		}()
		work()
	}()
}

// noteIdleLocked wakes Shutdown if no background work runs.
func (k *Keeper) noteIdleLocked() {
	if !k.closed || k.running > 0 {
		return
	}
	select {
	case <-k.idle: // late requests have started more work
	default:
		close(k.idle)
	}
}
