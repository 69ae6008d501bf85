package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synmetrix/session/store"
)

const (
	// breakAfter is how many slow failures in a row stop calls of the store.
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

// breaker is a store in front of another. It stops calling the other one while that
// does not respond. Without it each request would wait for StoreTimeout.
//
// While calls are stopped, the breaker lets one through every probeEvery, to see
// whether the store responds again. It does not wait for the response to a probe
// before the next one: a probe may hang on a dead connection.
//
// The breaker is also the one place where StoreTimeout limits a call. The memory of
// the process needs neither.
type breaker struct {
	store   store.Store
	timeout time.Duration
	outages *outages

	mu       sync.Mutex
	failures int       // slow ones, in a row
	last     error     // of the store
	probeAt  time.Time // when the next probe may be made
}

var _ store.Store = (*breaker)(nil)

// do makes a call of the store, if the breaker lets it through.
func (b *breaker) do(ctx context.Context, call func(context.Context) error) error {
	if err := b.allow(); err != nil {
		return err
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, b.timeout)
	err := call(limited)
	cancel()
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull):
		// These errors are responses of a store that works.
		b.responded()
		b.outages.worked()
	case errors.Is(ctx.Err(), context.Canceled):
		// The caller has stopped waiting. This says nothing about the store.
	default:
		// Each failure may keep a session's use from being noted. Only slow ones make
		// requests wait.
		b.outages.failed()
		if time.Since(start) >= breakSlow {
			b.failed(err)
		}
	}
	return err
}

// allow returns an error if the store must not be called now.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return nil
	}
	now := time.Now()
	if now.Before(b.probeAt) {
		return fmt.Errorf("%w: %w", errBroken, b.last)
	}
	b.probeAt = now.Add(probeEvery) // this call is the probe
	return nil
}

// responded notes a response of the store. One is enough to let all calls through.
func (b *breaker) responded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.last = 0, nil
}

// failed notes a slow failure.
func (b *breaker) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.last = b.failures+1, err
	// A failure of a probe changes nothing: allow has already set the time of the next.
	if b.failures == breakAfter {
		b.probeAt = time.Now().Add(probeEvery)
	}
}

// Get implements [store.Store].
func (b *breaker) Get(ctx context.Context, key string) (rec store.Record, err error) {
	err = b.do(ctx, func(ctx context.Context) error { rec, err = b.store.Get(ctx, key); return err })
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
