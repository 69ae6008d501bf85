package keeper

import (
	"context"
	"sync"

	"github.com/synmetrix/session/store"
)

// reads is a store that wraps another store and shares its reads. While a page loads, the
// browser sends many requests of one session at once, and one read is enough for all of
// them.
//
// No call of Get returns a state that is older than the call. A call that arrives while the
// record is being read does not use that read. It waits for the next read, which begins
// when the first has ended, and which serves all calls that wait for it.
//
// The rule matters for the end of a session: a read begins, a logout writes the mark, and a
// request that arrives after the logout must not be served with the state from before the
// logout.
//
// Only Get is shared, because each write has its own outcome.
type reads struct {
	store.Store

	mu sync.Mutex
	// active has the keys that are being read, each with the read after that one, which is nil
	// if no call waits for it.
	active map[string]*read
}

// read is a read of the store for the calls that wait for it. The first read of a key is made
// by the call itself, without a read, so that a single request costs neither memory nor a
// goroutine.
type read struct {
	done chan struct{} // closed when rec and err are set
	rec  store.Record
	err  error
}

// Get implements [store.Store].
func (s *reads) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	next, active := s.active[key]
	if !active {
		s.active[key] = nil
		s.mu.Unlock()
		// The read has the context of its caller: if the request is canceled, its read
		// stops.
		defer s.ended(key)
		return s.Store.Get(ctx, key)
	}
	// The read after the active one has not begun, so it may serve this call.
	if next == nil {
		next = &read{done: make(chan struct{})}
		s.active[key] = next
	}
	s.mu.Unlock()
	// If this call stops waiting, the read continues for the others.
	select {
	case <-next.done:
		return next.rec, next.err
	case <-ctx.Done():
		return store.Record{}, ctx.Err()
	}
}

// ended is called when the active read of key has ended. It starts the next read if calls wait
// for it.
func (s *reads) ended(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.active[key]
	if next == nil {
		delete(s.active, key)
		return
	}
	// The read has no caller's context: one canceled caller must not fail the read of the
	// others. The breaker limits its time. Calls that arrive from now on wait for the read
	// after it, so at most one read of a key is under way.
	s.active[key] = nil
	go func() {
		defer s.ended(key)
		// The read belongs to several requests, so it has no request's context.
		next.rec, next.err = s.Store.Get(context.Background(), key)
		close(next.done)
	}()
}
