package keeper

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often Watch reads the record. Only these reads find an end in another
// process.
const watchEvery = 2 * time.Second

// Watch waits for the end of a session and returns true. It returns false when
// ctx is done.
func (k *Keeper) Watch(ctx context.Context, r *Record) (ended bool) {
	// Wait first and then read. In the reverse order, an end between the two would be
	// missed.
	here, stop := k.endings.wait(r.Key, r.UserID)
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		// An error of the store does not end the session: the next read may succeed. The
		// lifetime is checked by the clock even during an outage. Each read needs a new
		// ledger, because its base and origin are r, which changes.
		l := k.ledger(r)
		newest, err := l.read(ctx)
		if isEnded(err) {
			k.revokeGone(l, err)
			return true
		}
		if err == nil && k.cfg.Stored {
			r = newest // other requests extend the idle timeout
		}
		// After an error, userMark returns the known mark, or an empty one, which ends no
		// session.
		if mark, _ := k.userMark(ctx, r.UserID); mark.endReason(r, k.cfg.MaxSessions > 0) != "" {
			if why, err := k.newestEndReason(ctx, r); err == nil && why != "" {
				return true
			}
		}
		// The idle timeout of a cookie session is in its cookies. Only the
		// browser's next request shows whether it has passed.
		if why := k.expired(r, k.now()); why == endedByLifetime || why != "" && k.cfg.Stored {
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

// endings wakes the calls of Watch at once when a session ends in this process. The reads
// of Watch find an end in another process. The zero value is ready to use.
type endings struct {
	mu    sync.Mutex
	waits map[string]*ending // by the key of the record
}

// ending is shared by all calls that wait for the end of one session.
type ending struct {
	userID string
	n      int           // the number of calls
	ended  chan struct{} // closed when the session has ended
}

// wait returns a channel that is closed when the session of the record ends in this
// process. The caller must call stop when it no longer waits.
func (e *endings) wait(key, userID string) (ended <-chan struct{}, stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// A page may open many streams, so they share one channel.
	w := e.waits[key]
	if w == nil {
		w = &ending{userID: userID, ended: make(chan struct{})}
		if e.waits == nil {
			e.waits = map[string]*ending{}
		}
		e.waits[key] = w
	}
	w.n++
	return w.ended, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		// announce may have removed w, and a later call may have added another.
		if w.n--; w.n == 0 && e.waits[key] == w {
			delete(e.waits, key)
		}
	}
}

// announce wakes all calls that wait for the end of the session.
func (e *endings) announce(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// The entry is removed, so that a channel is closed only once, even if the end is
	// announced again.
	if w := e.waits[key]; w != nil {
		close(w.ended)
		delete(e.waits, key)
	}
}

// announceUser wakes all calls that wait for the end of a session of the user, except
// the session with the key kept.
func (e *endings) announceUser(userID, kept string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, w := range e.waits {
		if w.userID == userID && key != kept {
			close(w.ended)
			delete(e.waits, key)
		}
	}
}
