// Package keeper keeps sessions alive: it holds their records, refreshes their
// tokens once for any number of requests and processes, ends them for good and
// revokes what is left. It knows nothing of HTTP, cookies or an app's handlers.
//
//   - record.go: the state of a session, and its encoding
//   - ledger.go: reads and swaps of one session's record
//   - refresh.go: flights, and what a response of the auth service means
//   - lease.go: the right to refresh among several processes
//   - gate.go: how many refreshes are on the wire, and rate limits
//   - end.go, revoke.go: the mark of an ended session, and its tokens
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

// Config is what a Keeper works with. Every field is required, except Claims.
type Config struct {
	// Store keeps the sessions or, if Stored is false, what cookie sessions need.
	// Private says that it is this process's own memory: its records are not
	// sealed, and no other process can have a hand in them.
	Store           store.Store
	Stored, Private bool

	Auth    auth.Service
	Claims  auth.ClaimNames
	Secrets []seal.Secret // the newest first

	AuthTimeout, Grace, IdleTimeout, Lifetime, RefreshBefore, StoreTimeout time.Duration

	CacheBytes int // of decoded records

	Now func() time.Time
	Log *slog.Logger // of panics in code of the app

	// Event is told what happens to sessions. r is a state of the session, nil if
	// the event is about none.
	Event func(ctx context.Context, level slog.Level, r *Record, e Event)
}

// Event is something that happened to a session.
type Event struct {
	Name       string
	Reason     string
	RetryAfter time.Duration
	Err        error
}

// The names of events.
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

// Error is why a session cannot be used: it has ended, or it is unavailable.
type Error struct {
	// Ended is why the session has ended, empty if it has not.
	Ended Reason

	// RetryAfter is when a session that is unavailable may be available again, 0
	// if that is not known.
	RetryAfter time.Duration

	// Err is why the session is unavailable.
	Err error

	mark *Record // of the end, nil where there is none
}

func (e *Error) Error() string {
	if e.Ended != "" {
		return "session has ended (" + string(e.Ended) + ")"
	}
	return fmt.Sprintf("session unavailable: %v", e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// isEnded reports whether err says that the session has ended.
func isEnded(err error) bool {
	if err == nil {
		return false // and nothing is allocated
	}
	var e *Error
	return errors.As(err, &e) && e.Ended != ""
}

// ErrShutdown is in the errors of a Keeper that was shut down.
var ErrShutdown = errors.New("shut down")

// Keeper keeps sessions. Make one with [New]; its methods are safe for concurrent
// use. No lock of it is held over a call of the store, the auth service, Event
// or Log.
type Keeper struct {
	cfg     Config
	auth    guard.Auth
	store   store.Store
	self    attempt // names this process in records
	records *cache.Cache[string, *Record]

	ctx       context.Context // of all that outlives a request
	cancel    context.CancelFunc
	running   sync.WaitGroup
	gate      *gate
	unwritten atomic.Int64 // what waits for the store, or for the service
	endings   endings
	outages   outages // of the store

	mu          sync.Mutex
	closed      bool
	stopping    chan struct{}          // closed with it
	flights     map[string]*flight     // by the key of the record
	revocations map[string]*revocation // by the key of the record
}

// New returns a Keeper for cfg.
func New(cfg Config) *Keeper {
	k := &Keeper{
		cfg:         cfg,
		auth:        guard.Auth{Service: cfg.Auth, Log: cfg.Log},
		store:       cfg.Store,
		self:        attempt(max(newVersion(), 2)),
		records:     cache.New[string, *Record](cfg.CacheBytes, cfg.CacheBytes/32),
		gate:        newGate(),
		stopping:    make(chan struct{}),
		flights:     map[string]*flight{},
		revocations: map[string]*revocation{},
	}
	k.outages.now = cfg.Now
	if !cfg.Private {
		k.store = &breaker{store: guard.Store{Store: cfg.Store, Log: cfg.Log}, outages: &k.outages}
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

func (k *Keeper) now() time.Time { return k.cfg.Now() }

func (k *Keeper) event(ctx context.Context, level slog.Level, r *Record, e Event) {
	k.cfg.Event(ctx, level, r, e)
}

// Load returns the state of a session as it is now. r is the state that its
// cookies say. The error is an [*Error] if the session has ended; after any other
// error, which has not been reported, it is unknown whether it has. down is the
// error of a coordinator that is not needed to load the session. It has not
// been reported either.
func (k *Keeper) Load(ctx context.Context, r *Record) (now *Record, down, err error) {
	l := k.ledger(r)
	now, err = l.read(ctx)
	switch {
	case isEnded(err):
		k.resumeRevocation(l, err)
		return nil, nil, err
	case err != nil && k.cfg.Stored:
		return nil, nil, err
	case err != nil:
		// The cookies alone tell whose session it is. Only the coordinator knows
		// whether it was ended, or its tokens refreshed, elsewhere.
		now, down = r, err
	case now == l.base:
		now = r
	case !k.cfg.Stored:
		if now.version != 0 && now.Pair.Gen == r.Pair.Gen && !now.shown && !now.busy() {
			k.acknowledge(ctx, l, now)
		}
		// The coordinator has no values; those are in the state cookie.
		c := *now
		c.Values, c.LastSeen = r.Values, r.LastSeen
		now = &c
	}
	if why := k.expired(now); why != "" {
		k.expire(ctx, l, why)
		return nil, down, &Error{Ended: why}
	}
	return now, down, nil
}

// acknowledge notes that a browser has shown the newest generation: late
// requests with the one before may come for Config.Grace longer.
func (k *Keeper) acknowledge(ctx context.Context, l *ledger, r *Record) {
	_, _ = l.update(ctx, func(q *Record) error {
		if q.version == 0 || q.Pair.Gen != r.Pair.Gen || q.shown || q.busy() {
			return errChanged
		}
		q.shown = true
		return nil
	})
}

// Newest returns the newest tokens of a session, nil if only its cookies have
// them. It reads what other requests and processes have written. Its errors are
// those of Load.
func (k *Keeper) Newest(ctx context.Context, r *Record) (*Record, error) {
	l := k.ledger(r)
	now, err := l.read(ctx)
	if now == l.base {
		now = nil
	}
	return now, err
}

// Create stores a new session. A cookie session has nothing to store.
func (k *Keeper) Create(ctx context.Context, r *Record) error {
	if !k.cfg.Stored {
		return nil
	}
	r.version = newVersion()
	l := k.ledger(r)
	ctx = context.WithoutCancel(ctx)
	err := l.put(ctx, r, 0)
	if err != nil {
		if got, readErr := l.read(ctx); readErr == nil && got.version == r.version {
			return nil
		}
		return k.Report(ctx, r, err)
	}
	return nil
}

// Update applies change to the newest state of a stored session and stores it.
// It returns the error of change, an [*Error] if the session has ended, or an
// error that has not been reported. change may be called several times.
func (k *Keeper) Update(ctx context.Context, r *Record, change func(*Record) error) (*Record, error) {
	return k.ledger(r).update(ctx, change)
}

// Report reports that the store did not respond, or not with the record, and
// returns the error for requests.
func (k *Keeper) Report(ctx context.Context, r *Record, err error) error {
	name := EventStoreUnavailable
	if errors.Is(err, errCorrupt) {
		name = EventRecordCorrupt
	}
	if !errors.Is(err, context.Canceled) {
		k.event(ctx, slog.LevelError, r, Event{Name: name, Err: err})
	}
	return &Error{RetryAfter: time.Second, Err: err}
}

// RateLimited notes that a call of the auth service has failed, which stops
// refreshes if it was for a rate limit: the service counts all calls.
func (k *Keeper) RateLimited(err error) { k.gate.note(err, k.now()) }

// EndOf is when a session ends unless its user comes back.
func (k *Keeper) EndOf(r *Record) time.Time {
	return earlier(r.Created.Add(k.cfg.Lifetime), r.LastSeen.Add(k.cfg.IdleTimeout))
}

func (k *Keeper) expired(r *Record) Reason {
	now := k.now()
	switch idle := r.LastSeen.Add(k.cfg.IdleTimeout); {
	case !now.Before(r.Created.Add(k.cfg.Lifetime)):
		return endedByLifetime
	case !now.Before(idle) && !now.Before(idle.Add(k.uncounted(r))):
		return endedByIdleTimeout
	}
	return ""
}

// uncounted is how much of the time since a session was last seen does not count
// as idle, because its store was down. A cookie session notes its use all the
// same.
func (k *Keeper) uncounted(r *Record) time.Duration {
	if !k.cfg.Stored {
		return 0
	}
	return min(k.outages.since(r.LastSeen), k.outageSlack())
}

// watchEvery is how often Watch looks for the end of a session in its store.
const watchEvery = 2 * time.Second

// Watch waits for the end of a session and returns true, or false when ctx is
// done.
func (k *Keeper) Watch(ctx context.Context, r *Record) (ended bool) {
	here, stop := k.endings.wait(r.Key)
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		now, err := k.ledger(r).read(ctx)
		if isEnded(err) {
			return true
		}
		if err == nil && k.cfg.Stored {
			r = now // the idle timeout moves when the user comes back
		}
		if why := k.expired(r); why == endedByLifetime || why != "" && k.cfg.Stored {
			return true
		}
		select {
		case <-here:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// Shutdown waits until all flights have landed and new tokens are written, or
// until ctx is done; then it returns ctx's error and gives up. Nothing is
// refreshed after it.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.stopping)
	}
	k.mu.Unlock()
	done := make(chan struct{})
	go func() { k.running.Wait(); close(done) }()
	defer k.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
