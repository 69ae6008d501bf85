package sqlstore

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Purge removes rows that have expired and returns their number. It is for
// jobs that clean up on their own schedule; a Store also does it by itself, as
// [Config.PurgeEvery] says.
//
// The rows are removed a few hundred at a time, with a pause after each, until
// none is left or ctx is done. Each time has [Config.Timeout].
func (s *Store) Purge(ctx context.Context) (int64, error) {
	var all int64
	for {
		n, err := do(s, ctx, "purge", func(ctx context.Context) (int64, error) {
			return s.exec(ctx, s.stmts.purge, args{})
		})
		all += n
		if err != nil || n < purgeBatch {
			return all, err
		}
		select {
		case <-time.After(purgePause):
		case <-ctx.Done():
			return all, failed("purge", ctx.Err())
		}
	}
}

// purgePause is the time for others between two batches.
const purgePause = 10 * time.Millisecond

// purgeSometimes begins a purge if the last was long ago. It is called after
// calls that succeeded: a store that nobody uses does not grow, and one that
// is down has other troubles.
func (s *Store) purgeSometimes() {
	if s.purgeEvery < 0 {
		return
	}
	now := time.Now().UnixNano()
	next := s.purgeNext.Load()
	if now < next {
		return
	}
	// Several processes do not keep step.
	every := s.purgeEvery/2 + rand.N(s.purgeEvery)
	if !s.purgeNext.CompareAndSwap(next, now+int64(every)) || next == 0 {
		return // a store that was just opened has time
	}
	go func() {
		if !s.purging.TryLock() {
			return
		}
		defer s.purging.Unlock()
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
