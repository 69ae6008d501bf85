package keeper

import (
	"context"
	"sync/atomic"
	"time"
)

// A process may send a session's refresh token only while it holds the lease in
// the session's record (rule 2). It renews the lease while the call runs, and
// with every other write to the record. Another process takes a lease over in
// two steps (rule 3):
//
//  1. It watches the lease. The lease must be unchanged for leaseTime on this process's own
//     monotonic clock, in at least minReads reads, each begun after the previous read had
//     ended and none of them slow. A store error restarts the watch. The wall clocks of
//     machines are never compared.
//  2. It writes a claim. If the holder is alive, it finds the claim at its next
//     renewal and takes the lease back. After claimWrites writes, claimPause
//     apart, all but the first of them quick, one more makes the claim the lease.
//
// The second step is needed because a silent holder may be alive, with its
// renewals stuck in a store whose reads still work. Quick writes of the claim
// prove that the store accepts writes, so the holder's would come through too.
const (
	leaseTime = 3 * time.Second
	leaseBeat = time.Second

	// claimPause is the pause between two writes of a claim. With claimWrites such writes,
	// the claim stands longer than the holder needs for a renewal.
	claimPause = 3 * leaseBeat / 4

	// takeOverTime is how long a take-over lasts if the store is quick.
	takeOverTime = 2*leaseTime + claimWrites*claimPause

	minReads    = 8
	claimWrites = 3

	// slowCall is the longest duration of a read or a write of the record that counts
	// as quick.
	slowCall = 500 * time.Millisecond
)

// leaseWatch watches a lease that another process holds.
type leaseWatch struct {
	lease lease
	since time.Time // when the lease was first seen
	quick time.Time // the time after which all reads were quick
	reads int       // the number of reads since quick
}

// observe notes a read that returned the lease l and lasted took.
func (w *leaseWatch) observe(l lease, took time.Duration) {
	switch {
	case l != w.lease || w.since.IsZero():
		now := time.Now()
		*w = leaseWatch{lease: l, since: now, quick: now}
	case took > slowCall:
		// While the store is slow, the holder's renewals may be late, too.
		w.quick, w.reads = time.Now(), 0
	default:
		w.reads++
	}
}

// silent reports whether the holder may have stopped.
//
// The number of reads counts as well as the time: a process that was paused for leaseTime
// between two reads could not see a renewal.
func (w *leaseWatch) silent() bool {
	return w.reads >= minReads && time.Since(w.quick) >= leaseTime
}

// longestCall returns how long the call of a holder can last after the last renewal of its
// lease. A holder that was silent for longer no longer waits for a response of the service.
func (k *Keeper) longestCall() time.Duration {
	return refreshPatience*k.cfg.AuthTimeout + 2*leaseTime
}

// takeLease takes the lease of r, which is free or whose holder is silent. It
// returns the record as read after that, and when that read began. The error is
// errChanged if another process was faster, or if the holder is alive.
func (k *Keeper) takeLease(ctx context.Context, l *ledger, f *flight, r *Record, watch *leaseWatch) (*Record, time.Time, error) {
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
		err = k.claim(ctx, l, f, r, time.Since(watch.since) > k.longestCall())
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	// A read must confirm the lease: the write may have taken long, and another process may
	// have claimed the lease since. The lease then counts from the start of that read.
	readAt := time.Now()
	got, err := l.read(ctx)
	if err == nil && (got.lease.nonce != f.nonce || got.Pair.Gen != r.Pair.Gen) {
		err = errChanged
	}
	return got, readAt, err
}

// claim takes over the lease of r from a silent holder. If the holder's call
// has certainly ended, one write is enough.
func (k *Keeper) claim(ctx context.Context, l *ledger, f *flight, r *Record, certain bool) error {
	for quick := 0; quick < claimWrites; {
		if quick > 0 {
			if err := sleep(ctx, claimPause); err != nil {
				return err
			}
		}
		wroteAt := time.Now()
		_, err := l.update(ctx, func(q *Record) error {
			claimed := q.lease.nonce == f.nonce && q.lease.claim
			if q.Pair.Gen != r.Pair.Gen || q.lease != r.lease && !claimed {
				return errChanged // the holder is alive, or another process was faster
			}
			q.lease = lease{nonce: f.nonce, beat: q.lease.beat + 1, claim: !certain}
			// The holder may have sent the refresh token. If the service rejects this
			// process's call, the process waits for the holder's write (rule 6).
			q.unknown, q.shown = r.unknown.and(someSender), false
			return nil
		})
		if err != nil {
			return err
		}
		// The first write only announces the claim, so a slow first write is no problem. A
		// slow later write restarts the count, because the holder's renewals may be slow,
		// too.
		if quick == 0 || time.Since(wroteAt) <= slowCall {
			quick++
		} else {
			quick = 1
		}
		if certain {
			return nil
		}
	}
	// From this write on the holder cannot take the lease back.
	_, err := l.update(ctx, func(q *Record) error {
		if q.Pair.Gen != r.Pair.Gen || q.lease.nonce != f.nonce {
			return errChanged
		}
		q.lease.beat, q.lease.claim = q.lease.beat+1, false
		return nil
	})
	return err
}

// keepLease renews the lease of r, which this process had at readAt, until stop is called.
// held reports whether the process certainly still has the lease, because no other process
// can have taken it over.
func (k *Keeper) keepLease(ctx context.Context, l *ledger, r *Record, readAt time.Time) (held func() bool, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var last atomic.Pointer[time.Time]
	last.Store(&readAt)
	own := *l
	own.seals = nil // a ledger makes its seals without a lock
	go func() {
		defer close(done)
		for sleep(ctx, leaseBeat) == nil {
			// The lease counts from the start of the write, because the write may take
			// long.
			wroteAt := time.Now()
			// An error does not end the lease. The next renewal may succeed.
			if _, err := own.update(ctx, renewLease(r)); err == nil {
				last.Store(&wroteAt)
			}
		}
	}()
	held = func() bool { return time.Since(*last.Load()) < leaseTime }
	return held, func() { cancel(); <-done }
}

// renewLease returns a change that renews the lease of r, or takes it back from
// a claim.
func renewLease(r *Record) func(*Record) error {
	return func(q *Record) error {
		switch {
		case q.Pair.Gen != r.Pair.Gen:
			return errChanged
		case q.lease.nonce == r.lease.nonce:
			// update changes the beat
		case q.lease.claim:
			q.lease = lease{nonce: r.lease.nonce, beat: q.lease.beat + 1}
			// The claiming process has not sent the refresh token.
			q.unknown = r.unknown
		default:
			return errChanged
		}
		return nil
	}
}

// beat renews the lease in r, which is about to be written, if a flight of this
// process holds it. Any write proves that the process is alive. Without this,
// many concurrent writes of values could keep the lease's own renewal from
// succeeding for too long.
func (k *Keeper) beat(r *Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[r.Key]; f != nil && r.lease.nonce == f.nonce {
		r.lease.beat++
	}
}
