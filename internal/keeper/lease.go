package keeper

import (
	"context"
	"sync/atomic"
	"time"
)

// A process may send a session's refresh token only while it holds the lease in
// the session's record. It renews the lease while the call runs, and with every
// other write to the record. Other processes take over a lease in two steps:
//
//  1. They see the same lease unchanged for leaseTime, by their own monotonic
//     clock and in minReads reads, each begun after the one before had ended and
//     none of them slow. A store error begins the watch anew.
//  2. They write a claim. Whoever holds the lease finds the claim at its next
//     renewal and takes the lease back. Only when the claim has stood for
//     claimWrites quick writes, claimPause apart, is the holder taken for dead:
//     silence proves nothing to a process whose own writes do not get through.
//
// A process that was paused for longer than leaseTime must not send the token.
const (
	leaseTime = 3 * time.Second
	leaseBeat = time.Second

	// claimPause lies between two writes of a claim: the claim stands for longer
	// than the holder takes for a renewal.
	claimPause = 3 * leaseBeat / 4

	// takeOverTime is how long a take-over takes where the store is quick.
	takeOverTime = 2*leaseTime + claimWrites*claimPause

	minReads    = 8
	claimWrites = 3

	// slowCall is how long a read or a write of the record may take to count.
	slowCall = 500 * time.Millisecond
)

// silence is the watch over a lease that another process holds.
type silence struct {
	lease lease
	since time.Time // when the lease was first seen,
	quick time.Time // and from when all reads have been quick
	reads int       // since then
}

// observe notes what a read that took so long has seen.
func (s *silence) observe(l lease, took time.Duration) {
	switch {
	case l != s.lease || s.since.IsZero():
		now := time.Now()
		*s = silence{lease: l, since: now, quick: now}
	case took > slowCall:
		s.quick, s.reads = time.Now(), 0
	default:
		s.reads++
	}
}

// long reports whether the holder may be dead.
func (s *silence) long() bool { return s.reads >= minReads && time.Since(s.quick) >= leaseTime }

// longestCall is how long a holder can be at work after it has last renewed its
// lease: whoever is silent for longer has nothing on the wire.
func (k *Keeper) longestCall() time.Duration {
	return refreshPatience*k.cfg.AuthTimeout + 2*leaseTime
}

// takeLease takes the lease of r, which is free or whose holder has been silent,
// and returns the record as read after that, and when that read began. The
// error is errChanged if another process was faster or is alive.
func (k *Keeper) takeLease(ctx context.Context, l *ledger, f *flight, r *Record, s *silence) (*Record, time.Time, error) {
	var err error
	if r.lease.nonce == 0 {
		_, err = l.update(ctx, func(q *Record) error {
			if q.Pair.Gen != r.Pair.Gen || q.lease != r.lease {
				return errChanged
			}
			q.lease, q.shown = lease{nonce: f.nonce}, false
			return nil
		})
	} else {
		err = k.claim(ctx, l, f, r, time.Since(s.since) > k.longestCall())
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	// The lease counts once it has been read.
	began := time.Now()
	got, err := l.read(ctx)
	if err == nil && (got.lease.nonce != f.nonce || got.Pair.Gen != r.Pair.Gen) {
		err = errChanged
	}
	return got, began, err
}

// claim takes the lease of r over from a silent holder. If that certainly has
// nothing on the wire any more, one write is enough.
func (k *Keeper) claim(ctx context.Context, l *ledger, f *flight, r *Record, certain bool) error {
	for quick := 0; ; {
		began := time.Now()
		_, err := l.update(ctx, func(q *Record) error {
			mine := q.lease.nonce == f.nonce && q.lease.claim
			if q.Pair.Gen != r.Pair.Gen || q.lease != r.lease && !mine {
				return errChanged
			}
			q.lease = lease{nonce: f.nonce, beat: q.lease.beat + 1, claim: true}
			q.unknown, q.shown = r.unknown.and(someAttempt), false
			return nil
		})
		if err != nil {
			return err
		}
		// The first write only announces the claim.
		if quick == 0 || time.Since(began) <= slowCall {
			quick++
		} else {
			quick = 1
		}
		if certain || quick == claimWrites {
			return nil
		}
		if err := sleep(ctx, claimPause); err != nil {
			return err
		}
	}
}

// keepLease renews the lease of r, which was this process's at a time, until
// stop is called. held reports whether it still is: whether no other process can
// have taken it over since.
func (k *Keeper) keepLease(ctx context.Context, l *ledger, r *Record, at time.Time) (held func() bool, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var last atomic.Pointer[time.Time]
	last.Store(&at)
	own := *l // seals are made without a lock
	own.seals = nil
	go func() {
		defer close(done)
		for sleep(ctx, leaseBeat) == nil {
			began := time.Now()
			// An error is not the end of the lease: the next renewal may come through.
			if _, err := own.update(ctx, renewLease(r)); err == nil {
				last.Store(&began)
			}
		}
	}()
	held = func() bool { return time.Since(*last.Load()) < leaseTime }
	return held, func() { cancel(); <-done }
}

// renewLease renews the lease of r, or takes it back from a claim.
func renewLease(r *Record) func(*Record) error {
	return func(q *Record) error {
		switch {
		case q.Pair.Gen != r.Pair.Gen:
			return errChanged
		case q.lease.nonce == r.lease.nonce:
			q.lease.claim = false // update changes the beat
		case q.lease.claim:
			q.lease = lease{nonce: r.lease.nonce, beat: q.lease.beat + 1}
			q.unknown = r.unknown
		default:
			return errChanged
		}
		return nil
	}
}

// beat renews the lease in r, which is about to be written, if a flight of this
// process holds it: whoever writes, the process is alive. Where many values are
// written at once the lease's own renewal may not get its turn for too long.
func (k *Keeper) beat(r *Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[r.Key]; f != nil && r.lease.nonce == f.nonce {
		r.lease.beat++
	}
}
