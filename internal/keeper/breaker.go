package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synmetrix/session/store"
)

// A store that does not answer would have every request wait for its time-out.
// So after a few failures in a row that had to be waited for the breaker
// answers for it, and lets only one call in a while through to see whether it
// is back. A probe that hangs does not keep the next from being made.
const (
	breakAfter = 3
	breakSlow  = 100 * time.Millisecond // a store that fails at once may be asked by all
	probeEvery = 500 * time.Millisecond
)

// errBroken is the breaker's answer; it wraps the store's last.
var errBroken = errors.New("store has not answered, and is not asked again yet")

type breaker struct {
	store   store.Store
	outages *outages

	mu       sync.Mutex
	failures int // in a row
	last     error
	probeAt  time.Time // when one may ask again
}

var _ store.Store = (*breaker)(nil)

// call asks the store, if it may be asked.
func (b *breaker) call(ctx context.Context, ask func() error) error {
	if err := b.mayAsk(); err != nil {
		return err
	}
	start := time.Now()
	err := ask()
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict):
		b.answered()
		b.outages.worked()
	case errors.Is(ctx.Err(), context.Canceled):
		// Nobody has waited for the answer: it says nothing of the store.
	default:
		b.outages.failed()
		if time.Since(start) >= breakSlow {
			b.failed(err)
		}
	}
	return err
}

func (b *breaker) mayAsk() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return nil
	}
	now := time.Now()
	if now.Before(b.probeAt) {
		return fmt.Errorf("%w: %w", errBroken, b.last)
	}
	b.probeAt = now.Add(probeEvery)
	return nil
}

func (b *breaker) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.last = 0, nil
}

func (b *breaker) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.last = b.failures+1, err
	if b.failures == breakAfter {
		b.probeAt = time.Now().Add(probeEvery)
	}
}

func (b *breaker) Get(ctx context.Context, key string) (rec store.Record, err error) {
	err = b.call(ctx, func() error { rec, err = b.store.Get(ctx, key); return err })
	return rec, err
}

func (b *breaker) Put(ctx context.Context, rec store.Record, prev uint64) error {
	return b.call(ctx, func() error { return b.store.Put(ctx, rec, prev) })
}

func (b *breaker) Delete(ctx context.Context, key string) error {
	return b.call(ctx, func() error { return b.store.Delete(ctx, key) })
}

func (b *breaker) List(ctx context.Context, owner string) (recs []store.Record, err error) {
	err = b.call(ctx, func() error { recs, err = b.store.List(ctx, owner); return err })
	return recs, err
}
