package keeper

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxOutages is how many past outages are remembered.
	maxOutages = 16

	// outageGap joins outages that are closer together. A request in between may not have
	// been able to record the session's use.
	outageGap = time.Minute
)

// outages remembers when the store did not respond, as far as this process has noticed.
// During an outage the use of a stored session cannot be recorded, so the time of the
// outage must not count as idle time; see Keeper.uncounted.
type outages struct {
	now func() time.Time

	open atomic.Bool // an outage is under way
	mu   sync.Mutex
	// An outage is open from the first failure to the next success, however few calls are
	// made in between.
	from time.Time // when the current outage began, zero if there is none
	past []span    // the newest last
}

// span is a past outage.
type span struct{ from, to time.Time }

// failed records that a call of the store has failed.
func (o *outages) failed() {
	now := o.now() // before the lock: the app's clock may be slow
	o.mu.Lock()
	defer o.mu.Unlock()
	// Later failures belong to the same outage.
	if o.from.IsZero() {
		o.from = now
		o.open.Store(true)
	}
}

// worked records that a call of the store has succeeded.
func (o *outages) worked() {
	if !o.open.Load() {
		return // the usual case, without the clock and the lock
	}
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from.IsZero() {
		return // another call was faster
	}
	s := span{o.from, now}
	o.from = time.Time{}
	o.open.Store(false)
	// Without this, many short outages would push earlier ones out of past.
	if n := len(o.past); n > 0 && s.from.Sub(o.past[n-1].to) < outageGap {
		o.past[n-1].to = s.to
		return
	}
	// The oldest outage is forgotten. Its time then counts as idle time for a session that
	// was not used since.
	if o.past = append(o.past, s); len(o.past) > maxOutages {
		o.past = o.past[1:]
	}
}

// since returns how long the store did not respond since begin, in total.
func (o *outages) since(begin time.Time) time.Duration {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	var sum time.Duration
	// Only the part of an outage after begin counts: the session was in use before.
	for _, s := range o.past {
		if s.to.After(begin) {
			sum += s.to.Sub(later(s.from, begin))
		}
	}
	// The current outage counts, too. It may begin after now if the app's clock
	// was set back.
	if !o.from.IsZero() {
		sum += max(now.Sub(later(o.from, begin)), 0)
	}
	return sum
}
