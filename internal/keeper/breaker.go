package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/internal/deadline"
	"github.com/synmetrix/session/store"
)

const (
	// breakAfter is how many slow failures in a row stop calls of the store. At least one
	// of these calls must have begun after another had failed: calls that fail together
	// only show that the store was slow once.
	breakAfter = 3

	// breakSlow is the shortest failure that counts. A store that fails at once delays
	// no request, so the breaker lets all calls through.
	breakSlow = 100 * time.Millisecond

	// probeEvery is the pause between two probes.
	probeEvery = 500 * time.Millisecond
)

// errBroken is the breaker's error for a call that it has not let through. It
// wraps the last error of the store.
var errBroken = errors.New("store does not respond")

// breaker is a store that wraps another store. It stops calling that store while the store
// does not respond. Without the breaker, each request would wait for StoreTimeout.
//
// While calls are stopped, the breaker lets one call through every probeEvery, the probe,
// to check whether the store responds again. It sends the next probe even if there is no
// response to the last one, which may hang on a broken connection.
//
// The breaker is also the only place where StoreTimeout limits a call. A store in the
// memory of the process needs no breaker.
//
// A call that is not let through fails at once. Its error has the same effect on a request
// as any error of the store: see "When the store fails" in docs/protocol.md.
type breaker struct {
	store   store.Store
	timeout time.Duration
	// outages records failures and responses, for the idle timeout.
	outages *outages

	calm     atomic.Bool // no failure is noted below; saves most calls the lock
	mu       sync.Mutex
	failures int       // slow ones, in a row
	since    time.Time // when the first of them was recorded
	repeated bool      // one of them began after since
	last     error     // of the store
	probeAt  time.Time // when the next probe may be made
}

var _ store.Store = (*breaker)(nil)

// do makes a call of the store, if the breaker lets it through.
func (b *breaker) do(ctx context.Context, call func(context.Context) error) error {
	c, err := b.begin(ctx)
	if err != nil {
		return err
	}
	err = call(c)
	b.end(c, err)
	return err
}

// begin returns the context for a call, if the breaker lets it through. The caller must
// call end afterwards. No lock is held during the call, so that other calls can be made at
// the same time.
func (b *breaker) begin(ctx context.Context) (*deadline.Context, error) {
	if err := b.allow(); err != nil {
		return nil, err
	}
	return deadline.New(ctx, b.timeout), nil
}

// end notes the result of a call.
func (b *breaker) end(c *deadline.Context, err error) {
	c.End()
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull):
		// These errors are responses of a store that works.
		b.responded()
		b.outages.worked()
	case errors.Is(c.Context.Err(), context.Canceled):
		// The caller has stopped waiting. The store may work.
	default:
		// Each failure may have kept the use of a session from being recorded, so it counts
		// as an outage. Only slow failures make requests wait, so only these count for the
		// breaker.
		b.outages.failed()
		if start := c.Start(); time.Since(start) >= breakSlow {
			b.failed(start, err)
		}
	}
}

// allow returns an error if the store must not be called now.
func (b *breaker) allow() error {
	if b.calm.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.openLocked() {
		return nil
	}
	// The time of the next probe is set under the lock, so only one of many calls after the
	// pause is the probe.
	now := time.Now()
	if now.Before(b.probeAt) {
		return fmt.Errorf("%w: %w", errBroken, b.last)
	}
	b.probeAt = now.Add(probeEvery) // this call is the probe
	return nil
}

// openLocked reports whether calls are stopped.
func (b *breaker) openLocked() bool { return b.failures >= breakAfter && b.repeated }

// responded records a response of the store. One response is enough to let all calls
// through.
func (b *breaker) responded() {
	if b.calm.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// The response may belong to a call that began before the store failed. Then breakAfter
	// more slow failures stop the calls again.
	b.failures, b.repeated, b.last = 0, false, nil
	b.calm.Store(true)
}

// failed records the slow failure of a call that began at start.
func (b *breaker) failed(start time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, wasOpen := time.Now(), b.openLocked()
	if b.failures == 0 {
		b.since = now
	}
	b.failures, b.last = b.failures+1, err
	b.calm.Store(false)
	// For example, twenty requests of one page time out together: all of them began before
	// the first failure was recorded. Only a call that began after that failure shows that
	// the store is still slow.
	b.repeated = b.repeated || !start.Before(b.since)
	// A probe that fails changes nothing: allow has already set the time of the next one.
	if !wasOpen && b.openLocked() {
		b.probeAt = now.Add(probeEvery)
	}
}

// Get implements [store.Store].
func (b *breaker) Get(ctx context.Context, key string) (store.Record, error) {
	c, err := b.begin(ctx)
	if err != nil {
		return store.Record{}, err
	}
	rec, err := b.store.Get(c, key)
	b.end(c, err)
	return rec, err
}

// Put implements [store.Store].
func (b *breaker) Put(ctx context.Context, rec store.Record, prev uint64) error {
	return b.do(ctx, func(ctx context.Context) error { return b.store.Put(ctx, rec, prev) })
}

// Delete implements [store.Store].
func (b *breaker) Delete(ctx context.Context, key string) error {
	return b.do(ctx, func(ctx context.Context) error { return b.store.Delete(ctx, key) })
}

// List implements [store.Store].
func (b *breaker) List(ctx context.Context, owner string) (recs []store.Record, err error) {
	err = b.do(ctx, func(ctx context.Context) error { recs, err = b.store.List(ctx, owner); return err })
	return recs, err
}
