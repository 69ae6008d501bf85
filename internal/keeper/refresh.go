package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// This file refreshes the access token of a session. It reads from top to
// bottom in the order in which a refresh goes through it:
//
//	Renew    a request needs an access token that is due for refresh
//	board    the request joins the session's flight, or starts it
//	fly      the flight runs, independent of all requests
//	attempt  the flight reads the record until it may refresh
//	turn     the flight waits for a slot (gate.go) and takes the lease (lease.go)
//	call     the flight sends the refresh token
//
// response.go continues with the response of the auth service, backoff.go has
// the pauses between attempts. The rules are the same for stored sessions and
// for cookie sessions: both work on the session's record.
const (
	// refreshPatience is how many times AuthTimeout a flight waits for the
	// service. Requests wait for one AuthTimeout. The flight waits longer,
	// because a late response is better than an unknown outcome (rule 1).
	refreshPatience = 3

	// validPatience is how long a request waits for the flight that it has started, if its
	// token is still valid.
	validPatience = time.Second

	// maxStoreErrors is how many store errors in a row a flight tolerates before
	// it has sent the refresh token. No token is lost if it stops then.
	maxStoreErrors = 3

	// maxTries limits how many flights a request waits for if an API has
	// rejected its token and those flights started before the rejection.
	maxTries = 3
)

// flight is the refresh of one session in this process (rule 1).
type flight struct {
	rejected uint64 // the generation whose access token an API has rejected, or 0
	nonce    uint64 // identifies the lease that the flight takes
	roles    uint64 // the user's mark before the call; set by call

	// until is when requests stop waiting for the flight, in Unix nanoseconds. The
	// flight extends it for a take-over, and when its call starts.
	until atomic.Int64

	landed chan struct{} // closed when result and err are set
	result *Record
	err    error // an *Error

	done chan struct{} // closed when the new tokens are written, or added to a mark
}

// waitUntil makes requests wait for the flight until t. It never shortens the
// wait.
func (f *flight) waitUntil(t time.Time) { f.until.Store(max(f.until.Load(), t.UnixNano())) }

// patience returns how much longer requests wait for the flight.
func (f *flight) patience() time.Duration { return time.Until(time.Unix(0, f.until.Load())) }

// land sets the outcome of the flight and wakes the requests that wait for it.
func (f *flight) land(r *Record, err error) {
	f.result, f.err = r, err
	close(f.landed)
}

// hasLanded reports whether the outcome of the flight is known.
func (f *flight) hasLanded() bool {
	select {
	case <-f.landed:
		return true
	default:
		return false
	}
}

// Fresh returns r, or a newer state of the session, with a valid access token.
// The error is an [*Error].
//
// If the token has expired, Fresh waits for the session's flight: up to AuthTimeout
// until this process or another one makes the call, or takeOverTime if that is longer, and
// up to AuthTimeout for the response. Fresh also returns when ctx is done. If ctx is done
// before, Fresh starts no flight: no request would use its result.
func (k *Keeper) Fresh(ctx context.Context, r *Record) (*Record, error) {
	return k.Renew(ctx, r, 0)
}

// Renew is Fresh for a request whose access token an API has rejected. The
// access token of the generation rejected counts as expired.
func (k *Keeper) Renew(ctx context.Context, r *Record, rejected uint64) (*Record, error) {
	var late <-chan time.Time // fires when the request stops waiting
	for tries := 0; ; tries++ {
		now := k.now()
		due, valid := k.dueFor(r, rejected, now)
		if !due {
			return r, nil
		}
		// No request starts a flight during the pause after a failure (rule 9).
		if wait := k.holdOff(r, now); wait > 0 {
			if valid {
				return r, nil
			}
			return nil, &Error{RetryAfter: wait, Err: auth.ErrUnavailable}
		}
		if err := ctx.Err(); err != nil {
			return ifValid(r, valid, err)
		}
		f, started := k.board(r, rejected)
		if valid && !started && !f.hasLanded() {
			// While the token is valid, only the request that started the flight waits. The
			// others use their current token.
			return r, nil
		}
		// A request that waits for several flights in turn keeps its timer.
		if late == nil {
			t := time.NewTimer(requestPatience(f, r, valid, now))
			defer t.Stop()
			late = t.C
		}
		select {
		case <-f.landed:
			if f.err == nil && f.result.Pair.Gen == rejected && f.rejected != rejected && tries < maxTries {
				continue // the flight did not know about the rejection
			}
			return k.outcome(f, r)
		case <-late:
			if _, stillValid := k.Due(r, k.now()); valid && stillValid {
				return r, nil
			}
			// The flight continues. Only this request fails: the browser may try again
			// later.
			if !valid && f.patience() <= 0 {
				return nil, &Error{RetryAfter: time.Second, Err: errSlow}
			}
			// The token has expired in the meantime, or the flight waits for a take-over.
			late = nil
		case <-ctx.Done():
			return ifValid(r, valid, ctx.Err())
		}
	}
}

// ifValid returns r if its token is valid, for a request that has stopped waiting for a
// newer one because of err.
func ifValid(r *Record, valid bool, err error) (*Record, error) {
	if valid {
		return r, nil
	}
	return nil, &Error{Err: err}
}

// dueFor is Due for a request. A rejected token is due and not valid, whatever
// its age.
func (k *Keeper) dueFor(r *Record, rejected uint64, now time.Time) (due, valid bool) {
	if r.Pair.Gen == rejected {
		return true, false
	}
	return k.Due(r, now)
}

// requestPatience returns how long a request waits for f. A valid token is usable, so the
// request waits only briefly for a newer one.
func requestPatience(f *flight, r *Record, valid bool, now time.Time) time.Duration {
	if valid {
		return min(validPatience, r.Pair.Expires.Sub(now))
	}
	return f.patience()
}

var errSlow = fmt.Errorf("%w: no response yet", auth.ErrUnavailable)

// outcome returns the result of the landed flight f for a request that has the tokens of r.
func (k *Keeper) outcome(f *flight, r *Record) (*Record, error) {
	if isEnded(f.err) {
		return nil, f.err
	}
	if f.err != nil {
		// An outage does not affect requests while their token is valid (rule 6).
		if _, valid := k.Due(r, k.now()); valid && r.Pair.Gen != f.rejected {
			return r, nil
		}
		return nil, f.err
	}
	if _, valid := k.Due(f.result, k.now()); !valid {
		// A flight that cannot write its tokens stays on the board, and the tokens may
		// expire before it can write them.
		return nil, &Error{Err: auth.ErrUnavailable}
	}
	return f.result, nil
}

// board returns the flight of the session, and reports whether board has started it. The
// map of flights ensures that a process makes one refresh of a session at a time (rule 1).
func (k *Keeper) board(r *Record, rejected uint64) (f *flight, started bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f = k.flights[r.Key]; f != nil {
		return f, false
	}
	f = &flight{landed: make(chan struct{}), done: make(chan struct{}), rejected: rejected, nonce: newVersion()}
	f.waitUntil(time.Now().Add(k.cfg.AuthTimeout))
	// The flight lands at once. It has sent no request, so the tokens are still valid.
	if k.closed {
		f.land(nil, &Error{Err: ErrShutdown})
		return f, true
	}
	k.flights[r.Key] = f
	k.backgroundLocked(func() {
		// The flight has the Keeper's context and not the request's: if the client
		// disconnects after the token was sent, the flight must still save the new tokens.
		k.fly(k.ctx, f, k.ledger(r), r)
		close(f.done)
	})
	return f, true
}

// fly refreshes the session of l, and lands when requests can continue. r is
// the state of the session when the flight started.
func (k *Keeper) fly(ctx context.Context, f *flight, l *ledger, r *Record) {
	start := k.cfg.Calls.Start()
	got, err := k.attempt(ctx, l, f, r)
	k.cfg.Calls.Done(ctx, k.cfg.Log, "session.refresh", start, err)
	if unwritten := (*unwrittenError)(nil); errors.As(err, &unwritten) {
		// The record still has the old tokens. The flight stays on the board, so
		// that the requests of this process find the new ones in it.
		f.land(unwritten.next(), nil)
		k.writeLater(ctx, l, unwritten)
		k.remove(r.Key)
		return
	}
	// Remove the flight before it lands. A request that wakes up and is due again
	// must start a new flight, not join this one.
	k.remove(r.Key)
	f.land(got, err)
}

// remove removes the session's flight from the board.
func (k *Keeper) remove(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.flights, key)
}

// attempt returns the record of l once its tokens are neither due nor rejected. It
// refreshes them, or waits until another process has refreshed them. first is the state of
// the session when the flight started.
func (k *Keeper) attempt(ctx context.Context, l *ledger, f *flight, first *Record) (*Record, error) {
	var (
		watch    leaseWatch
		failures int // of the store, in a row
		poll     = pollMin
		start    = time.Now()
		// The deadline limits the wait for other processes, which may take the lease in
		// turn. It does not limit the call.
		deadline = start.Add(k.longestCall())
	)
	for time.Now().Before(deadline) {
		readAt := time.Now()
		// The state from the request may be old: its cookie may have an earlier generation,
		// and another process may have refreshed the tokens since.
		r, err := l.read(ctx)
		if isEnded(err) {
			return nil, err
		}
		if err != nil {
			if failures++; failures > maxStoreErrors || ctx.Err() != nil {
				return nil, k.Report(ctx, first, err)
			}
			watch = leaseWatch{} // the holder may have renewed the lease during the failure
			k.pause(ctx, &poll)
			continue
		}
		failures = 0
		// Each read may show that the work is done, or that the attempt must wait.
		if k.upToDate(r, first, f) {
			return r, nil
		}
		if wait := k.holdOff(r, k.now()); wait > 0 {
			return nil, &Error{RetryAfter: wait, Err: auth.ErrUnavailable}
		}
		if r.lease.nonce != 0 && k.holderMayWork(f, r.lease, &watch, start, readAt) {
			// A failed read restarts the watch of the lease, so that frequent reads would keep
			// it from being taken over while the store loses some of them.
			if time.Since(start) < oftenFor {
				poll = min(poll, pollOften)
			}
			k.pause(ctx, &poll)
			continue
		}
		// The lease is free, or its holder is silent.
		r, err = k.turn(ctx, l, f, r, &watch)
		// After errChanged, another process has taken the lease or written new tokens. The
		// next read shows which.
		if err == nil || !errors.Is(err, errChanged) {
			return r, err
		}
		k.pause(ctx, &poll)
	}
	return nil, &Error{RetryAfter: time.Second, Err: auth.ErrUnavailable}
}

// holderMayWork reports whether the process that holds the lease l may still refresh the
// session. l was read at readAt, and the flight f started at start.
//
// The call of that process may have begun when the lease was first seen. Requests wait for
// it as for a call of their own process, and longer if the flight can take the lease over.
// If several processes hold the lease in turn, requests wait for the call of one of them.
func (k *Keeper) holderMayWork(f *flight, l lease, watch *leaseWatch, start, readAt time.Time) bool {
	if l.nonce != watch.lease.nonce {
		f.waitUntil(earlier(time.Now(), start.Add(k.cfg.AuthTimeout)).Add(k.cfg.AuthTimeout))
	}
	f.waitUntil(start.Add(takeOverTime))
	watch.observe(l, time.Since(readAt))
	return !watch.silent() && time.Since(watch.since) < k.longestCall()
}

// upToDate reports whether the tokens of r need no refresh by the flight f. Another request
// or process may have refreshed them since the state first. A newer token that is due again
// is accepted while it is valid: the next request starts a flight for it.
func (k *Keeper) upToDate(r, first *Record, f *flight) bool {
	due, valid := k.Due(r, k.now())
	return r.Pair.Gen != f.rejected && (!due || valid && r.Pair.Gen > first.Pair.Gen)
}

// errChanged means that the record was not in the expected state, because another process
// was faster.
var errChanged = errors.New("the record has changed")

// turn waits for a slot, takes the lease of r and makes the call. The error is
// errChanged if another process was faster.
//
// The order matters (rule 2): a flight that holds a lease while it waits for a
// slot would keep other processes from refreshing, and would write to the store
// all that time.
func (k *Keeper) turn(ctx context.Context, l *ledger, f *flight, r *Record, watch *leaseWatch) (*Record, error) {
	leave, err := k.gate.enter(ctx, "refresh", k.cfg.AuthTimeout, k.now)
	if err != nil {
		return nil, unavailableAuth(err)
	}
	leased, readAt, err := k.takeLease(ctx, l, f, r, watch)
	switch {
	case errors.Is(err, errChanged) || isEnded(err):
		leave(errNotSent)
		return nil, err
	case err != nil:
		leave(errNotSent)
		return nil, k.Report(ctx, r, err)
	}
	return k.call(ctx, l, f, leased, readAt, leave)
}

// unavailableAuth returns the error for requests if the gate has not let the
// flight through.
func unavailableAuth(err error) error {
	return &Error{RetryAfter: cmp.Or(retryAfter(err, pacing.MaxRetryAfter), time.Second), Err: err}
}

// call sends the refresh token of r to the service and handles the response. r
// was read at readAt, and its lease is this flight's.
func (k *Keeper) call(ctx context.Context, l *ledger, f *flight, r *Record, readAt time.Time, leave func(error)) (*Record, error) {
	held, stop := k.keepLease(ctx, l, r, readAt)
	defer stop() // only after the response was written to the record
	if !held() {
		// The process was paused since it took the lease. Another process may
		// have taken the lease over and sent the refresh token (rule 2).
		leave(errNotSent)
		return nil, errChanged
	}
	// The flight may have waited long for its slot and the lease. Requests wait for the
	// service for AuthTimeout from here.
	f.waitUntil(time.Now().Add(k.cfg.AuthTimeout))
	// Read the value before the call. If the user's roles change during the call, the new
	// tokens may have the old roles, and are then due again (rule 10).
	f.roles = k.rolesMark(r)
	callCtx, cancel := context.WithTimeout(ctx, refreshPatience*k.cfg.AuthTimeout)
	grant, err := k.auth.Refresh(callCtx, r.Pair.Tokens())
	cancel()
	leave(err)
	return k.settle(ctx, l, f, r, grant, err)
}
