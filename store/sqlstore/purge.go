package sqlstore

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Purge removes expired rows and returns their number. Call it from a job with its own
// schedule. A Store also removes expired rows by itself; see [Config.PurgeEvery].
//
// Purge removes the rows in batches of a few hundred, with pauses in between, until
// none is left or ctx is done. [Config.Timeout] applies to each batch.
func (s *Store) Purge(ctx context.Context) (int64, error) {
	var total int64
	for {
		n, err := do(s, ctx, "purge", func(ctx context.Context) (int64, error) {
			return s.exec(ctx, s.stmts.purge, args{})
		})
		total += n
		if err != nil || n < purgeBatch {
			return total, err
		}
		select {
		case <-time.After(purgePause):
		case <-ctx.Done():
			return total, failed("purge", ctx.Err())
		}
	}
}

// purgePause is the pause between two batches, in which other statements get the locks.
const purgePause = 10 * time.Millisecond

// purgeSometimes starts a purge if the last one was long ago. It is called after a
// successful call: a store without calls does not grow, and while the database is down
// a purge would fail.
func (s *Store) purgeSometimes() {
	if s.purgeEvery < 0 {
		return
	}
	now := time.Now().UnixNano()
	next := s.purgeNext.Load()
	if now < next {
		return
	}
	// The random part keeps several processes from purging at the same time.
	every := s.purgeEvery/2 + rand.N(s.purgeEvery)
	if !s.purgeNext.CompareAndSwap(next, now+int64(every)) || next == 0 {
		return // no purge at the first call of a store
	}
	go func() {
		if !s.purging.TryLock() {
			return
		}
		defer s.purging.Unlock()
		defer func() { _ = recover() }() // the slog.Handler of the app may panic
		if n, err := s.Purge(context.Background()); err != nil {
			s.log().Warn("session store: expired sessions not removed", slog.Int64("removed", n), slog.Any("error", err))
		}
	}()
}

func (s *Store) log() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	return slog.Default()
}
