package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// watchEvery is how often the end of a session is looked for in its store,
// while somebody waits for it.
const watchEvery = 2 * time.Second

// Done returns a channel that is closed when the session has ended, for what
// answers a request for a long time: a stream of events, a WebSocket. An end
// in this process (a logout, a refused refresh) closes it at once; an end in
// another process that shares the store or the coordinator, and the end of the
// session's lifetime, within about two seconds, or after an outage of the store
// within as long of its return. So does the idle timeout of a stored session,
// which a stream does not move; that of a cookie session is only known to the
// browser's next request.
//
// If nobody is signed in the channel is closed already. When the request is
// over nothing is watched any more, and the channel stays as it is.
func (s *Session) Done() <-chan struct{} {
	rec := s.user()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return s.done
	}
	if rec == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	done := make(chan struct{})
	s.done = done
	ctx := s.ctx
	go func() {
		if s.m.watch(ctx, rec) {
			close(done)
		}
	}()
	return done
}

// watch reports that the session of rec has ended, or returns false when ctx
// is done.
func (m *Manager) watch(ctx context.Context, rec *Record) (ended bool) {
	here, stop := m.endings.wait(rec.Key)
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		now, err := m.ledger(rec).read(ctx)
		if errors.Is(err, ErrEnded) {
			return true
		}
		if err == nil && m.stored {
			rec = now // the idle timeout moves when the user comes back
		}
		if why := m.expired(rec); why == endedByLifetime || why != "" && m.stored {
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

// endings tells those who wait in this process that a session has ended here.
// Its zero value is ready to use.
type endings struct {
	mu    sync.Mutex
	waits map[string]*ending // by the key of the record
}

type ending struct {
	n     int // who wait
	ended chan struct{}
}

func (e *endings) wait(key string) (ended <-chan struct{}, stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.waits[key]
	if w == nil {
		w = &ending{ended: make(chan struct{})}
		if e.waits == nil {
			e.waits = map[string]*ending{}
		}
		e.waits[key] = w
	}
	w.n++
	return w.ended, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if w.n--; w.n == 0 && e.waits[key] == w {
			delete(e.waits, key)
		}
	}
}

func (e *endings) announce(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.waits[key]; w != nil {
		close(w.ended)
		delete(e.waits, key)
	}
}
