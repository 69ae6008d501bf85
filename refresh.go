package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A session's access token is renewed by one state machine, whether the
// session is stored or sealed into cookies. It works on the session's record.
//
//  1. In a process there is one flight for a session. It belongs to no
//     request: a client that hangs up takes nothing with it.
//  2. Among processes the flight takes a lease in the record, confirms it by
//     reading it back, and renews it while it waits for its turn and while the
//     call runs; so does whatever else its process writes into the record.
//     Others wait. One takes over only when it has seen the same lease unchanged
//     for a whole leaseTime by its own monotonic clock, begun anew after a store
//     error. Who has stood still for so long calls nobody.
//  3. Every write is read, check, re-apply, swap. What fences new tokens is
//     the generation: they are written whoever wrote values in between, and
//     even if the lease was taken. Only a newer generation or the session's
//     end stops them, and then they are given back to the service.
//  4. Late-comers with cookies of an older generation are served from the
//     record, which keeps the newest until a browser has shown it, and
//     Config.Grace longer.
//  5. A refusal ends the session. Where the attempt before it may have reached
//     the service (a take-over, a lost answer), its holder's write is waited
//     for first.
//  6. The end is final. Whoever finishes later gives back its own tokens.
//  7. After a failure the next try waits, for all requests of the session.
const (
	leaseTime = 3 * time.Second
	leaseBeat = time.Second

	// pollMin and pollMax bound the pauses of one who waits for another's lease.
	pollMin = 20 * time.Millisecond
	pollMax = 250 * time.Millisecond

	// maxStoreErrors in a row end a flight that has nothing to lose yet.
	maxStoreErrors = 3

	// patience is how long a request whose token is still good waits for the
	// refresh that it has begun.
	patience = time.Second

	// backoffMin doubles with every failure up to backoffMax; a Retry-After is
	// obeyed up to retryAfterMax, the end of a rate limit up to rateLimitMax.
	backoffMin    = 250 * time.Millisecond
	backoffMax    = 10 * time.Second
	retryAfterMax = time.Minute
	rateLimitMax  = 15 * time.Minute

	// maxTries bounds how often one whose token an API has refused boards
	// flights that had begun before and knew nothing of it.
	maxTries = 3

	// maxFlights bounds the refreshes on the wire at one time, of all sessions.
	maxFlights = 64

	// maxUnwritten bounds the sessions whose new tokens wait for their store.
	maxUnwritten = 10_000

	// logoutPatience is how long a logout waits for a flight, and for the
	// service to take the tokens back.
	logoutPatience = 2 * time.Second
)

// flight is the refresh of one session in this process.
type flight struct {
	refused uint64 // the generation that an API has refused, 0 for none
	nonce   uint64 // of the lease that it takes

	landed chan struct{} // closed when result and err are set
	result *record
	err    error // *endedError, *UnavailableError

	mu        sync.Mutex
	heir      bool   // a logout waits: tokens that come too late are left to it
	leftovers Tokens // what was left
}

func (f *flight) land(r *record, err error) {
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

// due reports whether the access token has to be renewed, and whether it is
// still good until then.
func (m *Manager) due(r *record, now time.Time) (due, valid bool) {
	left := r.pair.expires.Sub(now)
	before := m.cfg.RefreshBefore
	if before == 0 {
		// A share between 0.8 and 1, the same in every process.
		jitter := 0.8 + 0.2*float64(r.id[0])/255
		before = time.Duration(jitter * float64(min(r.pair.life/10, time.Minute)))
	}
	// A token is never renewed in the first half of its life.
	return left <= min(before, r.pair.life/2), left > 0
}

// fresh returns r, or its successor, with an access token that is good. Its
// errors are an *endedError or an *UnavailableError.
func (m *Manager) fresh(ctx context.Context, r *record) (*record, error) {
	return m.renew(ctx, r, 0)
}

// renew is fresh, for which the tokens of one generation are due whatever
// their age: an API has refused them.
func (m *Manager) renew(ctx context.Context, r *record, refused uint64) (*record, error) {
	for tries := 0; ; tries++ {
		now := m.now()
		due, valid := m.due(r, now)
		if r.pair.gen == refused {
			due, valid = true, false
		}
		if !due {
			return r, nil
		}
		if wait := m.holdOff(r, now); wait > 0 {
			if valid {
				return r, nil
			}
			return nil, &UnavailableError{RetryAfter: wait, Err: ErrUnavailable}
		}
		f, began := m.board(r, refused)
		if valid && !began && !f.hasLanded() {
			return r, nil
		}
		var timeout <-chan time.Time
		if valid {
			t := time.NewTimer(min(patience, r.pair.expires.Sub(now)))
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-f.landed:
			if errors.Is(f.err, ErrEnded) {
				return nil, f.err
			}
			if _, valid := m.due(r, m.now()); valid && f.err != nil {
				return r, nil
			}
			if f.err != nil {
				return nil, f.err
			}
			if _, valid := m.due(f.result, m.now()); !valid {
				// A flight that cannot write its tokens outlives them.
				return nil, &UnavailableError{Err: ErrUnavailable}
			}
			if f.result.pair.gen == refused && f.refused != refused && tries < maxTries {
				continue // that flight knew nothing of the refusal
			}
			return f.result, nil
		case <-timeout:
			if _, valid := m.due(r, m.now()); valid {
				return r, nil
			}
		case <-ctx.Done():
			return nil, &UnavailableError{Err: ctx.Err()}
		}
	}
}

// holdOff is how long the session's next try has to wait.
func (m *Manager) holdOff(r *record, now time.Time) time.Duration {
	// The clocks of other processes may differ: none can hold us off for
	// longer than the longest pause there is.
	wait := min(r.retryAt.Sub(now), retryAfterMax)
	return max(wait, m.gate.closedFor(now), 0)
}

// board joins the session's flight, or begins it.
func (m *Manager) board(r *record, refused uint64) (f *flight, began bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f = m.flights[r.key]; f != nil {
		return f, false
	}
	f = &flight{landed: make(chan struct{}), refused: refused, nonce: newVersion()}
	if m.closed {
		f.land(nil, &UnavailableError{Err: ErrShutdown})
		return f, true
	}
	m.flights[r.key] = f
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		m.fly(m.ctx, f, m.ledger(r), r)
	}()
	return f, true
}

// beat renews the lease in r, which is about to be written, if a flight of this
// process holds it: whoever writes, the process is alive. Where many values are
// written at once the lease's own renewal may not get its turn for too long.
func (m *Manager) beat(r *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.flights[r.key]; f != nil && r.lease.nonce == f.nonce {
		r.lease.beat++
	}
}

// leave takes the session's flight off the board: who comes now finds what it
// has written in the record.
func (m *Manager) leave(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.flights, key)
}

// fly refreshes the session of l, which had the state r when it became due.
// It returns when nothing is left to do, and lands when requests can go on.
func (m *Manager) fly(ctx context.Context, f *flight, l *ledger, r *record) {
	now, lost, err := m.attempt(ctx, l, r, f.refused, f.nonce)
	lost = f.bequeath(lost)
	if unwritten := (*unwrittenError)(nil); errors.As(err, &unwritten) {
		f.land(unwritten.r, nil)
		m.writeLater(ctx, f, l, unwritten)
		m.leave(r.key)
		return
	}
	m.leave(r.key)
	f.land(now, err)
	m.revokeOwn(ctx, lost)
}

// attempt brings the record of l to tokens that are not due, nor of the
// generation that was refused. It returns the record, or why there is none,
// and tokens that nobody will use. mine is the nonce of its lease.
func (m *Manager) attempt(ctx context.Context, l *ledger, known *record, refused, mine uint64) (*record, Tokens, error) {
	var (
		others    lease     // the lease that we see another hold,
		othersAt  time.Time // unchanged since
		errorsNow int       // of the store, in a row
		poll      = pollMin
		deadline  = time.Now().Add(3*m.cfg.AuthTimeout + 2*leaseTime)
	)
	for time.Now().Before(deadline) {
		asked := time.Now()
		r, err := l.read(ctx)
		if errors.Is(err, ErrEnded) {
			return nil, Tokens{}, err
		}
		if err != nil {
			if errorsNow++; errorsNow > maxStoreErrors || ctx.Err() != nil {
				return nil, Tokens{}, m.storeDown(ctx, known, err)
			}
			others = lease{} // whoever held it may have renewed it unseen
			m.pause(ctx, &poll)
			continue
		}
		errorsNow = 0
		if due, valid := m.due(r, m.now()); r.pair.gen != refused && (!due || valid && r.pair.gen > known.pair.gen) {
			return r, Tokens{}, nil
		}
		if r.lease.nonce != mine {
			if wait := m.holdOff(r, m.now()); wait > 0 {
				return nil, Tokens{}, &UnavailableError{RetryAfter: wait, Err: ErrUnavailable}
			}
			takeOver := r.lease.nonce != 0
			if takeOver {
				if r.lease != others {
					others, othersAt = r.lease, time.Now()
				}
				if time.Since(othersAt) < leaseTime {
					m.pause(ctx, &poll)
					continue
				}
			}
			_, err := l.update(ctx, func(q *record) error {
				if q.pair.gen != r.pair.gen || q.lease != r.lease {
					return errChanged
				}
				q.lease = lease{nonce: mine}
				q.unknown = q.unknown || takeOver
				q.shown = false
				return nil
			})
			if err != nil && !errors.Is(err, errChanged) && !errors.Is(err, ErrEnded) {
				errorsNow++
				m.pause(ctx, &poll)
			}
			continue // the lease counts once it has been read
		}
		r, lost, err := m.call(ctx, l, r, asked, r.pair.gen == refused)
		if errors.Is(err, errChanged) {
			continue // the lease was taken
		}
		return r, lost, err
	}
	return nil, Tokens{}, &UnavailableError{Err: ErrUnavailable}
}

var errChanged = errors.New("the record has changed")

// call sends the refresh token of r, whose lease is ours as of a read that
// began when asked, to the service and writes down what came of it.
func (m *Manager) call(ctx context.Context, l *ledger, r *record, asked time.Time, forced bool) (*record, Tokens, error) {
	held, stop := m.keepLease(ctx, l, r.lease.nonce, asked)
	defer stop()
	leave, err := m.gate.enter(ctx, m.cfg.AuthTimeout, m.now)
	if err != nil {
		return nil, Tokens{}, m.failed(ctx, l, r, err)
	}
	if !held() {
		leave(errNotSent)
		return nil, Tokens{}, errChanged
	}
	callCtx, cancel := context.WithTimeout(ctx, m.cfg.AuthTimeout)
	tokens, err := m.cfg.Auth.Refresh(callCtx, r.pair.tokens.RefreshToken)
	cancel()
	leave(err)

	switch {
	case err == nil:
		p, err := m.newPair(tokens, r.pair.tokens)
		if err != nil {
			return m.halfRenewed(ctx, l, r, tokens, err)
		}
		p.forced = forced
		if p.claims.UserID != r.userID {
			return m.refused(ctx, l, r, endedByOtherUser, p.tokens)
		}
		return m.renewed(ctx, l, r, p)
	case tokens.RefreshToken != "":
		return m.halfRenewed(ctx, l, r, tokens, err)
	case !errors.Is(err, ErrRefused):
		return nil, Tokens{}, m.failed(ctx, l, r, err)
	}
	if !r.unknown {
		return m.refused(ctx, l, r, endedByRefusal, Tokens{})
	}
	// Somebody may have got the answer that we are refused, and be about to
	// write it. A write comes within the time of a call, or not at all.
	poll := pollMin
	for until := time.Now().Add(m.cfg.AuthTimeout); time.Now().Before(until) && ctx.Err() == nil; {
		q, err := l.read(ctx)
		if errors.Is(err, ErrEnded) {
			return nil, Tokens{}, err
		}
		if err == nil && q.pair.gen != r.pair.gen {
			return q, Tokens{}, nil
		}
		m.pause(ctx, &poll)
	}
	return m.refused(ctx, l, r, endedByUnknown, Tokens{})
}

// keepLease renews the lease, which was ours at a time, until stop is called.
// held reports whether it still is: whether nobody can have waited for all of
// it since.
func (m *Manager) keepLease(ctx context.Context, l *ledger, nonce uint64, at time.Time) (held func() bool, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var last atomic.Pointer[time.Time]
	last.Store(&at)
	beats := *l // seals are made without a lock
	beats.seals = nil
	go func() {
		defer close(done)
		tick := time.NewTicker(leaseBeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			_, err := beats.update(ctx, func(q *record) error {
				if q.lease.nonce != nonce {
					return errChanged
				}
				return nil // to be written is enough
			})
			// An error is not the end of the lease: the next beat may come through.
			if err == nil {
				last.Store(&began)
			}
		}
	}()
	held = func() bool { return time.Since(*last.Load()) < leaseTime }
	return held, func() { cancel(); <-done }
}

// renewed writes the next generation. r is what was refreshed.
func (m *Manager) renewed(ctx context.Context, l *ledger, r *record, p pair) (*record, Tokens, error) {
	q, err := l.update(ctx, succeed(r, p))
	switch {
	case err == nil:
		m.event(ctx, slog.LevelInfo, r, Event{Name: EventSessionRefreshed})
		if p.claims.odd != nil {
			m.event(ctx, slog.LevelWarn, r, Event{Name: EventClaimsUnreadable, Err: p.claims.odd})
		}
		return q, Tokens{}, nil
	case errors.Is(err, errChanged) && q.pair.tokens.RefreshToken == p.tokens.RefreshToken:
		return q, Tokens{}, nil // our own write, its answer lost
	case errors.Is(err, errChanged):
		return q, p.tokens, nil
	case errors.Is(err, ErrEnded):
		return nil, p.tokens, err
	}
	next := r.clone()
	next.renew(p)
	return nil, Tokens{}, &unwrittenError{r: next, from: r, p: p, err: err}
}

// succeed makes p the successor of r's tokens.
func succeed(r *record, p pair) func(*record) error {
	return func(q *record) error {
		if q.pair.gen != r.pair.gen {
			return errChanged
		}
		p.gen = q.pair.gen
		q.renew(p)
		return nil
	}
}

// unwrittenError: the tokens were renewed and the store has not taken them.
type unwrittenError struct {
	r, from *record
	p       pair
	err     error
}

func (e *unwrittenError) Error() string {
	return fmt.Sprintf("session: new tokens not written: %v", e.err)
}

// writeLater tries to write new tokens until the session's end. Meanwhile the
// flight stays, and requests of the session in this process are served from it.
func (m *Manager) writeLater(ctx context.Context, f *flight, l *ledger, u *unwrittenError) {
	if m.unwritten.Add(1) > maxUnwritten {
		m.unwritten.Add(-1)
		m.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
		return
	}
	defer m.unwritten.Add(-1)
	m.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensUnwritten, Err: u.err})
	end := earlier(u.from.created.Add(m.cfg.Lifetime), m.now().Add(m.cfg.IdleTimeout))
	poll := pollMin
	for m.now().Before(end) {
		m.pause(ctx, &poll)
		if ctx.Err() != nil {
			break
		}
		_, lost, err := m.renewed(ctx, l, u.from, u.p)
		if errors.As(err, new(*unwrittenError)) {
			continue
		}
		m.revokeOwn(ctx, f.bequeath(lost))
		return
	}
	m.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
}

// halfRenewed keeps a new refresh token that came without a usable access
// token: the old one is dead.
func (m *Manager) halfRenewed(ctx context.Context, l *ledger, r *record, got Tokens, cause error) (*record, Tokens, error) {
	if got.RefreshToken == "" || got.RefreshToken == r.pair.tokens.RefreshToken {
		return nil, Tokens{}, m.failed(ctx, l, r, fmt.Errorf("%w: %w: %w", ErrInvalidAnswer, ErrOutcomeUnknown, cause))
	}
	p := r.pair
	p.tokens.RefreshToken = got.RefreshToken
	wait := m.backoff(r.failures+1, cause)
	q, err := l.update(ctx, func(q *record) error {
		if err := succeed(r, p)(q); err != nil {
			return err
		}
		q.failures, q.retryAt = r.failures+1, m.now().Add(wait)
		return nil
	})
	m.event(ctx, slog.LevelWarn, r, Event{Name: EventRefreshUnavailable, RetryAfter: wait, Err: cause})
	switch {
	case err == nil:
		return nil, Tokens{}, &UnavailableError{RetryAfter: wait, Err: cause}
	case errors.Is(err, errChanged):
		return q, got, nil
	case errors.Is(err, ErrEnded):
		return nil, got, err
	}
	next := r.clone()
	next.renew(p)
	return nil, Tokens{}, &unwrittenError{r: next, from: r, p: p, err: err}
}

// failed writes down that the service has not renewed the tokens of r, so that
// nobody tries again too soon, and releases the lease.
func (m *Manager) failed(ctx context.Context, l *ledger, r *record, cause error) error {
	wait := m.backoff(r.failures+1, cause)
	unknown := errors.Is(cause, ErrOutcomeUnknown) || !errors.Is(cause, ErrUnavailable)
	_, err := l.update(ctx, func(q *record) error {
		if q.pair.gen != r.pair.gen || q.lease.nonce != r.lease.nonce {
			return errChanged
		}
		q.lease = lease{}
		q.unknown = q.unknown || unknown
		q.failures, q.retryAt = r.failures+1, m.now().Add(wait)
		return nil
	})
	name := EventRefreshUnavailable
	if unknown {
		name = EventRefreshUnknown
	}
	m.event(ctx, slog.LevelWarn, r, Event{Name: name, RetryAfter: wait, Err: cause})
	if errors.Is(err, ErrEnded) {
		return err
	}
	return &UnavailableError{RetryAfter: wait, Err: cause}
}

// refused ends the session, unless its tokens have been renewed meanwhile.
// given are tokens that the service gave all the same.
func (m *Manager) refused(ctx context.Context, l *ledger, r *record, why reason, given Tokens) (*record, Tokens, error) {
	_, err := l.end(ctx, why, func(q *record) error {
		if q.pair.gen != r.pair.gen || q.lease.nonce != r.lease.nonce {
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
		m.event(ctx, level, r, Event{Name: EventSessionEnded, Reason: string(why)})
		return nil, given, &endedError{why: why}
	case errors.Is(err, errChanged):
		if q, err := l.read(ctx); err == nil && q.pair.gen > r.pair.gen {
			return q, given, nil
		}
		return nil, given, errChanged
	case errors.Is(err, ErrEnded):
		return nil, given, err
	}
	return nil, given, m.storeDown(ctx, r, err)
}

// bequeath leaves tokens that nobody will use to the logout that waits for the
// flight, and returns them if none does.
func (f *flight) bequeath(t Tokens) (rest Tokens) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.heir {
		return t
	}
	f.leftovers = t
	return Tokens{}
}

// revokeOwn gives back what a flight got for a session that is over, or has
// newer tokens.
func (m *Manager) revokeOwn(ctx context.Context, t Tokens) {
	if t != (Tokens{}) {
		_ = m.revoke(ctx, t, false)
	}
}

// await waits for the flight, if there is one, and returns tokens that it
// could not keep. The flight gives back by itself what comes later than that.
func (f *flight) await(ctx context.Context) (leftovers Tokens) {
	f.mu.Lock()
	f.heir = true
	f.mu.Unlock()
	select {
	case <-f.landed:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heir = false
	return f.leftovers
}

// backoff is the pause after the given number of failures in a row.
func (m *Manager) backoff(failures int, cause error) time.Duration {
	wait := backoffMax
	if shift := failures - 1; shift < 6 {
		wait = min(backoffMin<<shift, backoffMax)
	}
	// Between 0.75 and 1.25 of it, so that sessions do not return in step.
	wait = time.Duration((0.75 + 0.5*rand.Float64()) * float64(wait))
	if ae := (*AuthError)(nil); errors.As(cause, &ae) {
		wait = max(wait, min(ae.RetryAfter, retryAfterMax))
	}
	return wait
}

// pause waits a little longer each time.
func (m *Manager) pause(ctx context.Context, d *time.Duration) {
	t := time.NewTimer(time.Duration((0.5 + rand.Float64()) * float64(*d)))
	defer t.Stop()
	*d = min(2**d, pollMax)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
