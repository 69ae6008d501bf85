package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// A session's access token is renewed by one state machine, whether the
// session is stored or sealed into cookies. It works on the session's record.
//
//  1. In a process there is one flight for a session. It belongs to no
//     request: a client that hangs up ends nothing. Requests wait for
//     Config.AuthTimeout, a flight waits longer for the service: a late response
//     is worth more than an outcome that is unknown.
//  2. A flight waits for its turn first, and takes the session's lease then; see
//     gate.go and lease.go.
//  3. Every write is read, check, re-apply, swap. New tokens are fenced by the
//     generation: they are written whoever wrote values in between, and even if
//     the lease was taken. Only a newer generation or the session's end stops
//     them, and then they are revoked.
//  4. Requests that come late with cookies of an older generation are served
//     from the record, which keeps the newest until a browser has shown it, and
//     Config.Grace longer.
//  5. A refusal ends the session. Where another process's attempt may have
//     reached the service, that process's write is waited for first.
//  6. The end is final; see end.go.
//  7. After a failure the next try waits, for all requests of the session.
const (
	// pollMin and pollMax bound the pauses between looks at another's lease.
	pollMin = 20 * time.Millisecond
	pollMax = 250 * time.Millisecond

	// maxStoreErrors in a row end a flight that has nothing to lose yet.
	maxStoreErrors = 3

	// refreshPatience is how many times AuthTimeout a flight waits for the
	// service.
	refreshPatience = 3

	// validPatience is how long a request whose token is still valid waits for
	// the refresh that it has begun.
	validPatience = time.Second

	// retryAfterMax is the longest Retry-After that is obeyed, and rateLimitMax
	// the longest rate limit.
	retryAfterMax = pacing.MaxRetryAfter
	rateLimitMax  = 15 * time.Minute

	// maxTries bounds how often a request whose token an API has rejected waits
	// for flights that had begun before and knew nothing of it.
	maxTries = 3

	// maxFlights bounds the refreshes on the wire at one time, of all sessions.
	maxFlights = 64

	// maxUnwritten bounds how many sessions' new tokens wait for their store,
	// and ended sessions' tokens for the service, at one time.
	maxUnwritten = 10_000

	// logoutPatience is how long a logout waits for a flight, and for the
	// service to revoke the tokens.
	logoutPatience = 2 * time.Second
)

// flight is the refresh of one session in this process.
type flight struct {
	rejected uint64 // the generation whose access token an API has rejected, 0 for none
	nonce    uint64 // of the lease that it takes

	until atomic.Int64 // how long requests wait for it, in Unix nanoseconds

	landed chan struct{} // closed when result and err are set
	result *Record
	err    error // *Error, *Error
}

// waitUntil has requests wait for the flight until t, if that is longer.
func (f *flight) waitUntil(t time.Time) { f.until.Store(max(f.until.Load(), t.UnixNano())) }

// patience is for how much longer requests wait for the flight.
func (f *flight) patience() time.Duration { return time.Until(time.Unix(0, f.until.Load())) }

func (f *flight) land(r *Record, err error) {
	f.result, f.err = r, err
	close(f.landed)
}

func (f *flight) hasLanded() bool {
	select {
	case <-f.landed:
		return true
	default:
		return false
	}
}

// Due reports whether the access token has to be renewed, and whether it is
// still good until then.
func (k *Keeper) Due(r *Record, now time.Time) (due, valid bool) {
	left := r.Pair.Expires.Sub(now)
	// The share spreads the refreshes of sessions that began together. It depends on
	// the ID, so that it is the same in every process.
	share := 0.8 + 0.2*float64(r.ID[0])/255
	return left <= pacing.Before(k.cfg.RefreshBefore, r.Pair.Life, share), left > 0
}

// Fresh returns r, or its successor, with an access token that is valid. Its
// errors are an *Error or an *Error.
func (k *Keeper) Fresh(ctx context.Context, r *Record) (*Record, error) {
	return k.Renew(ctx, r, 0)
}

// Renew is fresh, for which the tokens of one generation are due whatever
// their age: an API has rejected the access token.
func (k *Keeper) Renew(ctx context.Context, r *Record, rejected uint64) (*Record, error) {
	var late <-chan time.Time // when the request stops waiting
	for tries := 0; ; tries++ {
		now := k.now()
		due, valid := k.Due(r, now)
		if r.Pair.Gen == rejected {
			due, valid = true, false
		}
		if !due {
			return r, nil
		}
		if wait := k.holdOff(r, now); wait > 0 {
			if valid {
				return r, nil
			}
			return nil, &Error{RetryAfter: wait, Err: auth.ErrUnavailable}
		}
		f, began := k.board(r, rejected)
		if valid && !began && !f.hasLanded() {
			return r, nil
		}
		if late == nil {
			patience := f.patience()
			if valid {
				patience = min(validPatience, r.Pair.Expires.Sub(now))
			}
			t := time.NewTimer(patience)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-f.landed:
			if f.err == nil && f.result.Pair.Gen == rejected && f.rejected != rejected && tries < maxTries {
				continue // that flight knew nothing of the rejection
			}
			return k.outcome(f, r)
		case <-late:
			if _, stillValid := k.Due(r, k.now()); valid && stillValid {
				return r, nil
			}
			if !valid && f.patience() <= 0 {
				return nil, &Error{RetryAfter: time.Second, Err: errSlow}
			}
			late = nil // there is reason to wait longer
		case <-ctx.Done():
			if valid {
				return r, nil
			}
			return nil, &Error{Err: ctx.Err()}
		}
	}
}

var errSlow = fmt.Errorf("%w: it has not responded yet", auth.ErrUnavailable)

// outcome is what a flight that has landed means for a request with the tokens
// of r.
func (k *Keeper) outcome(f *flight, r *Record) (*Record, error) {
	if isEnded(f.err) {
		return nil, f.err
	}
	if f.err != nil {
		if _, valid := k.Due(r, k.now()); valid && r.Pair.Gen != f.rejected {
			return r, nil
		}
		return nil, f.err
	}
	if _, valid := k.Due(f.result, k.now()); !valid {
		// A flight that cannot write its tokens outlives them.
		return nil, &Error{Err: auth.ErrUnavailable}
	}
	return f.result, nil
}

// holdOff is how long the session's next try has to wait.
func (k *Keeper) holdOff(r *Record, now time.Time) time.Duration {
	// The clocks of other processes may differ: none can hold us off for
	// longer than the longest pause there is.
	wait := min(r.retryAt.Sub(now), retryAfterMax)
	return max(wait, k.gate.closedFor(now), 0)
}

// board joins the session's flight, or begins it.
func (k *Keeper) board(r *Record, rejected uint64) (f *flight, began bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f = k.flights[r.Key]; f != nil {
		return f, false
	}
	f = &flight{landed: make(chan struct{}), rejected: rejected, nonce: newVersion()}
	f.waitUntil(time.Now().Add(k.cfg.AuthTimeout))
	if k.closed {
		f.land(nil, &Error{Err: ErrShutdown})
		return f, true
	}
	k.flights[r.Key] = f
	k.running.Add(1)
	go func() {
		defer k.running.Done()
		k.fly(k.ctx, f, k.ledger(r), r)
	}()
	return f, true
}

// remove takes the session's flight off the board: requests that come now find
// what it has written in the record.
func (k *Keeper) remove(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.flights, key)
}

// fly refreshes the session of l, which had the state r when it became due.
// It returns when nothing is left to do, and lands when requests can go on.
func (k *Keeper) fly(ctx context.Context, f *flight, l *ledger, r *Record) {
	got, err := k.attempt(ctx, l, f, r)
	if unwritten := (*unwrittenError)(nil); errors.As(err, &unwritten) {
		f.land(unwritten.r, nil)
		k.writeLater(ctx, l, unwritten)
		k.remove(r.Key)
		return
	}
	k.remove(r.Key)
	f.land(got, err)
}

// attempt brings the record of l to tokens that are not due, nor of the
// generation that was rejected. known is the record as the request has it.
func (k *Keeper) attempt(ctx context.Context, l *ledger, f *flight, known *Record) (*Record, error) {
	var (
		watch    silence
		failures int // of the store, in a row
		poll     = pollMin
		start    = time.Now()
		deadline = start.Add(k.longestCall())
	)
	for time.Now().Before(deadline) {
		began := time.Now()
		r, err := l.read(ctx)
		if isEnded(err) {
			return nil, err
		}
		if err != nil {
			if failures++; failures > maxStoreErrors || ctx.Err() != nil {
				return nil, k.Report(ctx, known, err)
			}
			watch = silence{} // the lease may have been renewed unseen
			k.pause(ctx, &poll)
			continue
		}
		failures = 0
		if due, valid := k.Due(r, k.now()); r.Pair.Gen != f.rejected && (!due || valid && r.Pair.Gen > known.Pair.Gen) {
			return r, nil
		}
		if wait := k.holdOff(r, k.now()); wait > 0 {
			return nil, &Error{RetryAfter: wait, Err: auth.ErrUnavailable}
		}
		if r.lease.nonce != 0 {
			f.waitUntil(start.Add(takeOverTime))
			watch.observe(r.lease, time.Since(began))
			if !watch.long() && time.Since(watch.since) < k.longestCall() {
				k.pause(ctx, &poll)
				continue
			}
		}
		r, err = k.turn(ctx, l, f, r, &watch)
		if err == nil || !errors.Is(err, errChanged) {
			return r, err
		}
		k.pause(ctx, &poll)
	}
	return nil, &Error{RetryAfter: time.Second, Err: auth.ErrUnavailable}
}

var errChanged = errors.New("the record has changed")

// turn waits for the flight's turn, takes the lease of r and makes the call. The
// error is errChanged if another process was faster.
func (k *Keeper) turn(ctx context.Context, l *ledger, f *flight, r *Record, watch *silence) (*Record, error) {
	leave, err := k.gate.enter(ctx, k.cfg.AuthTimeout, k.now)
	if err != nil {
		return nil, k.unavailableAuth(err)
	}
	held, began, err := k.takeLease(ctx, l, f, r, watch)
	switch {
	case errors.Is(err, errChanged) || isEnded(err):
		leave(errNotSent)
		return nil, err
	case err != nil:
		leave(errNotSent)
		return nil, k.Report(ctx, r, err)
	}
	return k.call(ctx, l, f, held, began, leave)
}

// unavailableAuth is the error for requests where the gate let nothing through.
func (k *Keeper) unavailableAuth(err error) error {
	wait := time.Second
	if ae := (*auth.Error)(nil); errors.As(err, &ae) && ae.RetryAfter > 0 {
		wait = min(ae.RetryAfter, retryAfterMax)
	}
	return &Error{RetryAfter: wait, Err: err}
}

// call sends the refresh token of r, whose lease is this flight's as of a read
// at a time, to the service and writes down what came of it.
func (k *Keeper) call(ctx context.Context, l *ledger, f *flight, r *Record, at time.Time, leave func(error)) (*Record, error) {
	held, stop := k.keepLease(ctx, l, r, at)
	defer stop()
	if !held() {
		leave(errNotSent)
		return nil, errChanged
	}
	f.waitUntil(time.Now().Add(k.cfg.AuthTimeout))
	callCtx, cancel := context.WithTimeout(ctx, refreshPatience*k.cfg.AuthTimeout)
	grant, err := k.auth.Refresh(callCtx, r.Pair.Tokens)
	tokens := grant.Tokens
	cancel()
	leave(err)

	switch {
	case err == nil:
		p, err := k.NewPair(tokens, r.Pair.Tokens)
		if err != nil {
			return k.halfRenewed(ctx, l, r, tokens, err)
		}
		p.Forced = r.Pair.Gen == f.rejected
		if p.Claims.UserID != r.UserID {
			k.revokeTokens(p.Tokens, true)
			return k.refused(ctx, l, r, endedByOtherUser)
		}
		return k.renewed(ctx, l, r, p)
	case tokens.RefreshToken != "":
		return k.halfRenewed(ctx, l, r, tokens, err)
	case !errors.Is(err, auth.ErrRefused):
		return nil, k.failed(ctx, l, r, err)
	case r.unknown == 0:
		return k.refused(ctx, l, r, endedByRefusal)
	case r.unknown == k.self || k.cfg.Private:
		// The attempt before was this process's own, and has come to nothing:
		// no other process can have tokens to write.
		return k.refused(ctx, l, r, endedByUnknown)
	}
	// The other process may have got the response that refuses this one, and be
	// about to write it. Its write comes within the time of a call, or never.
	poll := pollMin
	for until := time.Now().Add(k.cfg.AuthTimeout); time.Now().Before(until) && ctx.Err() == nil; {
		q, err := l.read(ctx)
		if isEnded(err) {
			return nil, err
		}
		if err == nil && q.Pair.Gen != r.Pair.Gen {
			return q, nil
		}
		k.pause(ctx, &poll)
	}
	return k.refused(ctx, l, r, endedByUnknown)
}

// renewed writes the next generation, p, of r. Tokens that it may not write are
// revoked.
func (k *Keeper) renewed(ctx context.Context, l *ledger, r *Record, p Pair) (*Record, error) {
	q, err := l.update(ctx, succeed(r, p))
	switch {
	case err == nil:
		k.event(ctx, slog.LevelInfo, r, Event{Name: EventSessionRefreshed})
		if p.Claims.Err() != nil {
			k.event(ctx, slog.LevelWarn, r, Event{Name: EventClaimsUnreadable, Err: p.Claims.Err()})
		}
		return q, nil
	case errors.Is(err, errChanged) && q.Pair.Tokens.RefreshToken == p.Tokens.RefreshToken:
		return q, nil // this process's own write, whose response was lost
	case errors.Is(err, errChanged):
		k.revokeTokens(p.Tokens, true)
		return q, nil
	case isEnded(err):
		l.leave(ctx, p)
		return nil, err
	}
	next := r.Clone()
	next.renew(p)
	return nil, &unwrittenError{r: next, from: r, p: p, err: err}
}

// succeed makes p the successor of r's tokens.
func succeed(r *Record, p Pair) func(*Record) error {
	return func(q *Record) error {
		if q.Pair.Gen != r.Pair.Gen {
			return errChanged
		}
		p.Gen = q.Pair.Gen
		q.renew(p)
		return nil
	}
}

// unwrittenError: the tokens were renewed and the store has not taken them.
type unwrittenError struct {
	r, from *Record
	p       Pair
	err     error
}

func (e *unwrittenError) Error() string {
	return fmt.Sprintf("session: new tokens not written: %v", e.err)
}

// writeLater tries to write new tokens until the session's end. Meanwhile the
// flight stays, and requests of the session in this process are served from it.
func (k *Keeper) writeLater(ctx context.Context, l *ledger, u *unwrittenError) {
	if k.unwritten.Add(1) > maxUnwritten {
		k.unwritten.Add(-1)
		k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
		return
	}
	defer k.unwritten.Add(-1)
	k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensUnwritten, Err: u.err})
	end := earlier(u.from.Created.Add(k.cfg.Lifetime), k.now().Add(k.cfg.IdleTimeout))
	poll := pollMin
	for k.now().Before(end) {
		k.pause(ctx, &poll)
		if ctx.Err() != nil {
			break
		}
		if _, err := k.renewed(ctx, l, u.from, u.p); !errors.As(err, new(*unwrittenError)) {
			return
		}
	}
	k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
}

// halfRenewed keeps a new refresh token that came without a usable access
// token: the old one is used up.
func (k *Keeper) halfRenewed(ctx context.Context, l *ledger, r *Record, got auth.Tokens, cause error) (*Record, error) {
	if got.RefreshToken == "" || got.RefreshToken == r.Pair.Tokens.RefreshToken {
		return nil, k.failed(ctx, l, r, fmt.Errorf("%w: %w: %w", auth.ErrInvalidAnswer, auth.ErrOutcomeUnknown, cause))
	}
	p := r.Pair
	p.Tokens.RefreshToken = got.RefreshToken
	wait := k.backoff(r.failures+1, cause)
	q, err := l.update(ctx, func(q *Record) error {
		if err := succeed(r, p)(q); err != nil {
			return err
		}
		q.failures, q.retryAt = r.failures+1, k.now().Add(wait)
		return nil
	})
	k.event(ctx, slog.LevelWarn, r, Event{Name: EventRefreshUnavailable, RetryAfter: wait, Err: cause})
	switch {
	case err == nil:
		return nil, &Error{RetryAfter: wait, Err: cause}
	case errors.Is(err, errChanged):
		k.revokeTokens(got, true)
		return q, nil
	case isEnded(err):
		l.leave(ctx, p)
		return nil, err
	}
	next := r.Clone()
	next.renew(p)
	return nil, &unwrittenError{r: next, from: r, p: p, err: err}
}

// failed writes down that the service has not renewed the tokens of r, so that
// no process tries again too soon, and releases the lease.
func (k *Keeper) failed(ctx context.Context, l *ledger, r *Record, cause error) error {
	wait := k.backoff(r.failures+1, cause)
	unknown := errors.Is(cause, auth.ErrOutcomeUnknown) || !errors.Is(cause, auth.ErrUnavailable)
	_, err := l.update(ctx, func(q *Record) error {
		if q.Pair.Gen != r.Pair.Gen || q.lease.nonce != r.lease.nonce && !q.lease.claim {
			return errChanged
		}
		q.lease = lease{}
		q.unknown = r.unknown
		if unknown {
			q.unknown = r.unknown.and(k.self)
		}
		q.failures, q.retryAt = r.failures+1, k.now().Add(wait)
		return nil
	})
	name := EventRefreshUnavailable
	if unknown {
		name = EventRefreshUnknown
	}
	k.event(ctx, slog.LevelWarn, r, Event{Name: name, RetryAfter: wait, Err: cause})
	if isEnded(err) {
		return err
	}
	return &Error{RetryAfter: wait, Err: cause}
}

// refused ends the session, unless its tokens have been renewed meanwhile.
func (k *Keeper) refused(ctx context.Context, l *ledger, r *Record, why Reason) (*Record, error) {
	_, err := l.end(ctx, why, false, func(q *Record) error {
		if q.Pair.Gen != r.Pair.Gen || q.lease.nonce != r.lease.nonce {
			return errChanged
		}
		return nil
	})
	switch {
	case err == nil:
		level := slog.LevelInfo
		if why == endedByOtherUser {
			level = slog.LevelError
		}
		k.event(ctx, level, r, Event{Name: EventSessionEnded, Reason: string(why)})
		return nil, &Error{Ended: why}
	case errors.Is(err, errChanged):
		if q, err := l.read(ctx); err == nil && q.Pair.Gen > r.Pair.Gen {
			return q, nil
		}
		return nil, errChanged
	case isEnded(err):
		return nil, err
	}
	return nil, k.Report(ctx, r, err)
}

// backoff is the pause after the given number of failures in a row.
func (k *Keeper) backoff(failures int, cause error) time.Duration {
	wait := pacing.Spread(pacing.Pause(failures), 0.75, 1.25)
	if ae := (*auth.Error)(nil); errors.As(cause, &ae) {
		wait = max(wait, min(ae.RetryAfter, retryAfterMax))
	}
	return wait
}

// pause waits a little longer each time.
func (k *Keeper) pause(ctx context.Context, d *time.Duration) {
	_ = sleep(ctx, pacing.Spread(*d, 0.5, 1.5))
	*d = min(2**d, pollMax)
}

// sleep waits for a time, or until ctx is done, and returns its error then.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
