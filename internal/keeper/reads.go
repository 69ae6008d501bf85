package keeper

import (
	"context"
	"sync"

	"github.com/synmetrix/session/store"
)

// reads is a store that shares the reads of another. A page that loads sends many
// requests of one session at once, and one read is enough for all of them.
//
// No call of Get returns a state that is older than the call. A call that comes while
// the record is being read does not use that read: it waits for the next one, which
// begins when the first has ended and serves all calls that wait for it.
type reads struct {
	store.Store
	ctx context.Context // for reads that belong to no single request

	mu     sync.Mutex
	active map[string]*read // by key
}

// read is one read of the store.
type read struct {
	next *read // the read after this one, nil if no call waits for it; guarded by reads.mu

	done chan struct{} // closed when rec and err are set
	rec  store.Record
	err  error
}

// Get implements [store.Store].
func (s *reads) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	first := s.active[key]
	if first == nil {
		r := &read{}
		s.active[key] = r
		s.mu.Unlock()
		defer s.ended(key, r)
		return s.Store.Get(ctx, key)
	}
	if first.next == nil {
		first.next = &read{done: make(chan struct{})}
	}
	r := first.next
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.rec, r.err
	case <-ctx.Done():
		return store.Record{}, ctx.Err()
	}
}

// ended starts the read after r if calls wait for it.
func (s *reads) ended(key string, r *read) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := r.next
	if next == nil {
		delete(s.active, key)
		return
	}
	s.active[key] = next
	go func() {
		defer s.ended(key, next)
		next.rec, next.err = s.Store.Get(s.ctx, key)
		close(next.done)
	}()
}
