package keeper

import (
	"sync"
	"time"
)

// outages remembers when the store did not respond, as far as this process has
// seen it. While it is down nothing can note that a session is in use: the time
// does not count as idle.
type outages struct {
	now func() time.Time

	mu   sync.Mutex
	from time.Time // the begin of the outage that goes on, zero if there is none
	past []span    // the last ones, the newest last
}

type span struct{ from, to time.Time }

const (
	maxOutages = 16
	// Between outages that are so close a request may not have had its turn.
	outageGap = time.Minute
)

func (o *outages) failed() {
	now := o.now() // not under the lock: it is the app's clock
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from.IsZero() {
		o.from = now
	}
}

func (o *outages) worked() {
	o.mu.Lock()
	down := !o.from.IsZero()
	o.mu.Unlock()
	if !down {
		return
	}
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from.IsZero() {
		return
	}
	s := span{o.from, now}
	o.from = time.Time{}
	if n := len(o.past); n > 0 && s.from.Sub(o.past[n-1].to) < outageGap {
		o.past[n-1].to = s.to
		return
	}
	if o.past = append(o.past, s); len(o.past) > maxOutages {
		o.past = o.past[1:]
	}
}

// since is how much of the time from begin to now the store did not respond.
func (o *outages) since(begin time.Time) time.Duration {
	now := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	var sum time.Duration
	for _, s := range o.past {
		if s.to.After(begin) {
			sum += s.to.Sub(later(s.from, begin))
		}
	}
	if !o.from.IsZero() {
		sum += max(now.Sub(later(o.from, begin)), 0)
	}
	return sum
}
