package redisstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// read returns the response to GET, from the client's cache if possible.
func (s *Store) read(ctx context.Context, key string) rueidis.RedisResult {
	if s.cacheTTL < 0 {
		return s.fetch(ctx, key)
	}
	// The cache may still have the state from before a write of this process. A response of
	// the server to this read includes all writes that have ended before the read.
	written := s.writes.last(key)
	res := s.client.DoCache(ctx, s.client.B().Get().Key(s.recordKey(key)).Cache(), s.cacheTTL)
	err := res.Error()
	switch {
	case (isShared(err) || isFull(err)) && ctx.Err() == nil:
		// Either this call has waited for another call, which failed. Or the memory of the
		// server is full: the server then allows reads, but not the transaction in which
		// the client reads for its cache.
		return s.fetch(ctx, key)
	case err != nil && !rueidis.IsRedisNil(err), written == 0:
		return res
	case !res.IsCacheHit():
		s.writes.seen(key, written)
		return res
	}
	fresh := s.fetch(ctx, key)
	if same(res, fresh) {
		s.writes.seen(key, written)
	} else {
		// Another call may have forgotten the write in the meantime. After this call has
		// returned the newer state, no call may return the older state from the cache.
		s.writes.add(key)
	}
	return fresh
}

// fetch returns the server's response to GET.
func (s *Store) fetch(ctx context.Context, key string) rueidis.RedisResult {
	return s.client.Do(ctx, s.client.B().Get().Key(s.recordKey(key)).Build())
}

// isShared reports whether an error of DoCache may be that of another call that has read the
// same key.
func isShared(err error) bool {
	return err != nil && (errors.Is(err, rueidis.ErrDoCacheAborted) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// same reports whether two responses to GET are equal. Errors other than "nil" are not
// equal to anything.
func same(a, b rueidis.RedisResult) bool {
	x, errA := a.ToString()
	y, errB := b.ToString()
	if rueidis.IsRedisNil(errA) {
		return rueidis.IsRedisNil(errB)
	}
	return errA == nil && errB == nil && x == y
}

// writes remembers which keys this process has written, until the client's cache is known to
// have the written state or a newer one. A cached record that is older than keep has
// expired, so that a write need not be remembered for longer.
type writes struct {
	keep time.Duration

	mu     sync.RWMutex
	count  uint64            // of all writes
	turned time.Time         // when old was replaced by young
	young  map[string]uint64 // the number of the last write of a key, since turned
	old    map[string]uint64 // before turned
}

// add is called after a write, or after an attempt whose outcome is unknown.
func (w *writes) add(key string) {
	if w.keep < 0 {
		return // nothing is cached
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.turned) >= w.keep {
		w.old, w.young, w.turned = w.young, make(map[string]uint64), now
	}
	w.count++
	w.young[key] = w.count
}

// last returns the number of the last write of key, or 0 if it is not remembered.
func (w *writes) last(key string) uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.find(key)
}

// seen is called when the cache has a state that is not older than the write with the given
// number. If no write has ended since, the key is forgotten.
func (w *writes) seen(key string, number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.find(key) == number {
		delete(w.young, key)
		delete(w.old, key)
	}
}

func (w *writes) find(key string) uint64 {
	if n := w.young[key]; n != 0 {
		return n
	}
	return w.old[key]
}
