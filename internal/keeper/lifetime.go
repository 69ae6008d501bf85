package keeper

import (
	"time"

	"github.com/synmetrix/session/auth"
)

// This file has the rules about time: when a session ends by itself, and how long a store
// keeps its record.

// clockSlack is how much longer than needed a store keeps a record. The clocks
// of machines differ, and a record that is removed too early ends its session.
const clockSlack = 5 * time.Minute

// EndOf returns when the session ends if its user sends no further request.
func (k *Keeper) EndOf(r *Record) time.Time {
	return earlier(k.LifetimeEnd(r), r.LastSeen.Add(k.cfg.IdleTimeout))
}

// LifetimeEnd returns when the session ends even if it is in use.
func (k *Keeper) LifetimeEnd(r *Record) time.Time {
	if r.Lifetime > 0 && r.Lifetime < k.cfg.Lifetime {
		return r.Created.Add(r.Lifetime)
	}
	return r.Created.Add(k.cfg.Lifetime)
}

// expired returns the reason why the session has ended by the time now, or "" if it has not
// ended.
func (k *Keeper) expired(r *Record, now time.Time) Reason {
	switch idle := r.LastSeen.Add(k.cfg.IdleTimeout); {
	case !now.Before(k.LifetimeEnd(r)):
		return endedByLifetime
	// The first comparison is cheap and false for nearly all requests. uncounted
	// takes a lock.
	case !now.Before(idle) && !now.Before(idle.Add(k.uncounted(r))):
		return endedByIdleTimeout
	}
	return ""
}

// uncounted returns how much of the time since r was last used does not count as idle,
// because the store was down. A cookie session records its use in its cookie, even during
// an outage, so all of its time counts.
func (k *Keeper) uncounted(r *Record) time.Duration {
	if !k.cfg.Stored {
		return 0
	}
	return min(k.outages.since(r.LastSeen), k.outageSlack())
}

// outageSlack returns the longest time in an outage of the store that does not count as
// idle time.
func (k *Keeper) outageSlack() time.Duration { return min(k.cfg.IdleTimeout, time.Hour) }

// expiry returns when the store may remove r.
//
// The coordinator keeps the record of a cookie session until a browser has sent
// the newest cookie: until then it may be the only place that has these tokens
// (rule 5).
func (l *ledger) expiry(r *Record) time.Time {
	now, cfg := l.k.now(), &l.k.cfg
	end := l.k.LifetimeEnd(r)
	switch {
	case r.ended != "" && l.base == nil && r.Pair.Tokens() == (auth.Tokens{}):
		// Without a record a stored session has also ended. The mark is kept only for late
		// requests, which need the reason.
		end = now.Add(cfg.Grace)
	case r.ended != "":
		// Copies of a cookie session's cookies may be of any generation. The mark
		// stays as long as any of them could be accepted (rule 7).
		end = later(end, now.Add(cfg.Grace))
	case l.base == nil:
		// uncounted may extend the idle timeout by outageSlack.
		end = earlier(end, r.LastSeen.Add(cfg.IdleTimeout+l.k.outageSlack()))
	case r.shown:
		// The browser has the newest cookie. Only late requests with an older one
		// still need the record (rule 5).
		end = now.Add(cfg.Grace)
	default:
		end = earlier(end, now.Add(cfg.IdleTimeout))
	}
	return end.Add(clockSlack)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
