package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// This file revokes the tokens of sessions that have ended (rule 8). A session ends
// without it, but a copy of its refresh token could still be used at the service.
//
//	RevokeSoon, revokeTokens             tokens that no mark has
//	revokeEnded, resumeRevocation        tokens in the mark of a session
//	addToMark                            tokens of a flight that landed late
//	startRevocationLocked, revokeMarked  the attempts for one mark
//	revoke                               one attempt: the calls of the service
//
// Attempts are made in the background until the service has revoked or rejected the
// tokens, or until Shutdown. After a restart the next request with a cookie of the
// session resumes them, because the mark has the tokens.

// logoutPatience is how long a logout waits for a flight, and for the service.
const logoutPatience = 2 * time.Second

// revocation is the work on the tokens of one session in this process.
type revocation struct {
	all   bool          // revoke the tokens of all sessions of the user
	tried chan struct{} // closed after the first attempt
	again bool          // the mark has newer tokens; guarded by Keeper.mu

	mu   sync.Mutex
	done bool // the service has confirmed the revocation
}

// succeeded reports whether the service has confirmed the revocation.
func (r *revocation) succeeded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// attempted notes the outcome of an attempt. The first one wakes the callers that wait.
func (r *revocation) attempted(done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = done
	select {
	case <-r.tried:
	default:
		close(r.tried)
	}
}

// RevokeSoon revokes tokens that belong to no session, and waits up to
// logoutPatience for that. It takes no context: the revocation may outlive the request,
// and some frameworks reuse the contexts of requests.
func (k *Keeper) RevokeSoon(t auth.Tokens) { waitFor(k.revokeTokens(t, false).tried, logoutPatience) }

// revokeTokens revokes tokens that no mark has, in the background. nested says that
// the caller is work that Shutdown waits for.
func (k *Keeper) revokeTokens(t auth.Tokens, nested bool) *revocation {
	// Without a mark, only this process knows these tokens. They are lost if it dies
	// before it has revoked them.
	rev := &revocation{tried: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.backgroundLocked(nested, func() {
		end := k.now().Add(k.cfg.Lifetime)
		for failures := 1; k.now().Before(end); failures++ {
			_, err := k.revoke(k.ctx, &Record{Pair: Pair{Tokens: t}}, false)
			rev.attempted(err == nil)
			if err == nil || errors.Is(err, auth.ErrRefused) || !k.pauseRevocation(k.backoff(failures, err)) {
				return
			}
		}
	})
	return rev
}

// revokeEnded revokes the tokens in the mark of a session, in the background. If a
// revocation of the session is under way that covers the same tokens, revokeEnded
// returns that one.
// noted says that the mark already has the note of this process's first attempt.
func (k *Keeper) revokeEnded(l *ledger, mark *Record, all, noted bool) *revocation {
	rev := &revocation{all: all || mark.all, tried: make(chan struct{})}
	if mark.Pair.Tokens == (auth.Tokens{}) {
		// Without tokens the user's other sessions cannot be ended at the service.
		rev.attempted(!rev.all)
		return rev
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// Many requests may find the same mark. One revocation is enough for all of them,
	// unless this one has to end more sessions.
	if running := k.revocations[l.key]; running != nil && (running.all || !rev.all) {
		return running
	}
	k.startRevocationLocked(l, mark, rev, noted, false)
	return rev
}

// resumeRevocation continues to revoke the tokens of an ended session. The process
// that began may have died. err is the error of a read, which has the mark.
func (k *Keeper) resumeRevocation(l *ledger, err error) {
	var e *Error
	if errors.As(err, &e) && e.unrevoked(k.now()) {
		k.revokeEnded(l, e.mark, false, false)
	}
}

// addToMark adds the tokens p to the mark of the session and revokes them. They
// come from a flight that landed after the end of the session.
func (l *ledger) addToMark(ctx context.Context, p Pair) {
	mark, err := l.updateMark(ctx, func(q *Record) error {
		if q.Created.IsZero() { // a mark without tokens encodes its reason only
			q.UserID, q.Created = l.origin.UserID, l.origin.Created
		}
		// The older tokens in the mark are used up: the flight has exchanged them.
		q.Pair, q.failures, q.retryAt = p, 0, time.Time{}
		return nil
	})
	if err != nil {
		// No mark can keep the tokens, so this process has to revoke them.
		l.k.revokeTokens(p.Tokens, true)
		return
	}
	k := l.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if running := k.revocations[l.key]; running != nil {
		running.again = true // running may have read the mark before these tokens
		return
	}
	k.startRevocationLocked(l, mark, &revocation{all: mark.all, tried: make(chan struct{})}, false, true)
}

// startRevocationLocked starts rev. nested says that the caller is a flight or
// other work that Shutdown waits for.
func (k *Keeper) startRevocationLocked(l *ledger, mark *Record, rev *revocation, noted, nested bool) {
	f := k.flights[l.key]
	k.revocations[l.key] = rev
	k.backgroundLocked(nested, func() {
		if f != nil && !nested {
			// The flight adds its new tokens to the mark. The older ones are used up
			// then, so this process does not start with those.
			waitFor(f.landed, logoutPatience)
			noted = false // the mark may have other tokens now
		}
		for more := true; more; noted = false {
			k.revokeMarked(l, mark, rev, noted)
			more = k.finishRevocation(l.key, rev)
		}
		rev.attempted(rev.succeeded()) // wakes the callers if no attempt was made
	})
}

// finishRevocation removes rev from the list. If newer tokens were added to the
// mark meanwhile, it keeps rev and returns true.
func (k *Keeper) finishRevocation(key string, rev *revocation) (more bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if rev.again {
		rev.again = false
		return true
	}
	if k.revocations[key] == rev {
		delete(k.revocations, key)
	}
	return false
}

// revokeMarked makes attempts until the tokens in the mark are revoked. It notes
// each attempt in the mark before it makes it, so that several processes do not
// call the service for the same tokens.
func (k *Keeper) revokeMarked(l *ledger, mark *Record, rev *revocation, noted bool) {
	end := k.now().Add(k.cfg.Lifetime)
	for k.now().Before(end) {
		if !noted {
			next, err := l.nextAttempt(k.ctx, mark, rev.all)
			switch {
			case errors.Is(err, errRevoked) || errors.Is(err, errNoMark):
				return
			case errors.Is(err, errNotYet):
				// Another process makes the attempt. This one takes over if the mark
				// still has tokens after the pause.
				if !k.pauseRevocation(next.retryAt.Sub(k.now())) {
					return
				}
				mark = next
				continue
			case err == nil:
				mark = next
			}
			// After any other error the store does not respond. This process has the
			// tokens and tries to revoke them without the note.
		}
		noted = false
		p, err := k.revoke(k.ctx, mark, rev.all)
		if err == nil || errors.Is(err, auth.ErrRefused) {
			// The service has revoked the tokens, or it does not accept them any more.
			// Nothing is left to do for them in either case.
			rev.attempted(err == nil)
			if l.confirmRevoked(k.ctx, mark.Pair.Tokens) {
				return
			}
			continue // a flight has added newer tokens
		}
		wait := k.backoff(mark.failures, err)
		mark = mark.Clone()
		mark.Pair, mark.retryAt = p, k.now().Add(wait)
		l.attemptFailed(k.ctx, mark)
		rev.attempted(false)
		if !k.pauseRevocation(wait) {
			return
		}
	}
}

var (
	// errRevoked is returned by nextAttempt if the mark has no tokens.
	errRevoked = errors.New("the tokens are revoked")

	// errNotYet is returned by nextAttempt if another process makes an attempt.
	errNotYet = errors.New("another process revokes the tokens")
)

// nextAttempt notes in the mark that this process tries to revoke its tokens.
// last is the mark as this process has read it last. The error is errRevoked if
// the mark has no tokens left, and errNotYet if another process has made an
// attempt since.
func (l *ledger) nextAttempt(ctx context.Context, last *Record, all bool) (*Record, error) {
	return l.updateMark(ctx, func(q *Record) error {
		now := l.k.now()
		switch {
		case q.Pair.Tokens == (auth.Tokens{}):
			return errRevoked
		// Each attempt changes failures, so the attempt of another process is visible.
		// The pause after this process's own attempt has ended already.
		case q.failures != last.failures && now.Before(q.retryAt):
			return errNotYet
		}
		q.all = q.all || all
		q.failures++
		q.retryAt = now.Add(l.k.attemptTime())
		return nil
	})
}

// attemptTime returns how long an attempt may last. Until then no other process
// makes one.
func (k *Keeper) attemptTime() time.Duration { return 2*k.cfg.AuthTimeout + 2*logoutPatience }

// attemptFailed notes in the mark when the next attempt may be made. It also writes
// the tokens of mark, which the failed attempt may have refreshed: the older ones are
// used up then. If the write fails, the next attempt is made after attemptTime.
func (l *ledger) attemptFailed(ctx context.Context, mark *Record) {
	_, _ = l.updateMark(ctx, func(q *Record) error {
		// Another process may have begun the next attempt, with the same tokens.
		if q.failures != mark.failures || q.Pair.Tokens == (auth.Tokens{}) {
			return errChanged
		}
		q.Pair, q.retryAt = mark.Pair, mark.retryAt
		return nil
	})
}

// confirmRevoked removes revoked tokens from the mark. It returns false if the mark
// has other tokens, which are not revoked yet.
func (l *ledger) confirmRevoked(ctx context.Context, revoked auth.Tokens) bool {
	mark, err := l.updateMark(ctx, func(q *Record) error {
		if q.Pair.Tokens != revoked {
			return errChanged
		}
		q.Pair, q.all = Pair{}, false
		return nil
	})
	if errors.Is(err, errChanged) {
		// A flight has added newer tokens, or another process was faster.
		return mark.Pair.Tokens == (auth.Tokens{})
	}
	// If the store has failed, the mark keeps the revoked tokens. A later request has
	// them revoked again, which is harmless.
	if err == nil {
		l.forget(ctx, mark.ended)
	}
	return true
}

// pauseRevocation waits before the next attempt. It returns false if this process
// makes no further attempt: the Keeper is shut down, or too many revocations wait.
// The mark still has the tokens, so a later request resumes the revocation.
func (k *Keeper) pauseRevocation(d time.Duration) bool {
	if k.waiting.Add(1) > maxWaiting {
		k.waiting.Add(-1)
		return false
	}
	defer k.waiting.Add(-1)
	t := time.NewTimer(min(max(d, pacing.Min), retryAfterMax))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.stopping:
		return false
	}
}

// revoke makes one attempt to revoke the tokens of r, or with all the tokens of all
// sessions of their user. The service needs a valid access token for the latter, so revoke
// may refresh the tokens. It returns the newest ones. The error is auth.ErrRefused if
// the service has rejected them: then no attempt can succeed.
func (k *Keeper) revoke(ctx context.Context, r *Record, all bool) (Pair, error) {
	p, refreshed := r.Pair, false
	var err error
	if all && !k.now().Before(p.Expires) {
		p, err = k.refreshToRevoke(ctx, p, r.UserID)
		refreshed = true
	}
	if err == nil {
		err = k.logoutAtService(ctx, p.Tokens, all)
	}
	if all && !refreshed && errors.Is(err, auth.ErrRefused) {
		// The access token may be invalid before its time: the service has changed
		// its key. A refresh token may still be valid.
		if p, err = k.refreshToRevoke(ctx, p, r.UserID); err == nil {
			err = k.logoutAtService(ctx, p.Tokens, all)
		}
	}
	if err != nil {
		k.event(ctx, slog.LevelWarn, nil, Event{Name: EventRevokeFailed, Err: err})
	}
	return p, err
}

// logoutAtService makes the call that revokes tokens.
func (k *Keeper) logoutAtService(ctx context.Context, t auth.Tokens, all bool) error {
	return k.throughGate(ctx, func(ctx context.Context) error { return k.auth.Logout(ctx, t, all) })
}

// refreshToRevoke refreshes the tokens of a user's session that has ended. After an
// error it returns the new refresh token, if there is one: the old one is used up.
func (k *Keeper) refreshToRevoke(ctx context.Context, p Pair, userID string) (Pair, error) {
	var grant auth.Grant
	err := k.throughGate(ctx, func(ctx context.Context) (err error) {
		grant, err = k.auth.Refresh(ctx, p.Tokens)
		return err
	})
	tokens := grant.Tokens
	if tokens.RefreshToken != "" {
		p.Tokens.RefreshToken = tokens.RefreshToken
	}
	if err != nil {
		return p, err
	}
	next, err := k.NewPair(tokens, p.Tokens)
	if err != nil {
		return p, fmt.Errorf("%w: %w", auth.ErrInvalidResponse, err)
	}
	if next.Claims.UserID != userID {
		// With these tokens the sessions of another user would end.
		k.revokeTokens(next.Tokens, true)
		return p, fmt.Errorf("%w: the tokens of another user: %w", auth.ErrInvalidResponse, auth.ErrRefused)
	}
	return next, nil
}

// throughGate makes a call of the auth service with a slot of the gate. The call
// counts against the service's rate limit as a refresh does.
func (k *Keeper) throughGate(ctx context.Context, call func(context.Context) error) error {
	// A logout waits for the first attempt, so it does not wait long for a slot.
	leave, err := k.gate.enter(ctx, logoutPatience, k.now)
	if err != nil {
		return err
	}
	ctx, cancel := k.callContext(ctx)
	defer cancel()
	err = call(ctx)
	leave(err)
	return err
}

// callContext returns the context for one call of the auth service. The context
// is not canceled with the request: the service would carry out the call all the
// same, and the tokens in its response would be lost.
func (k *Keeper) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), k.cfg.AuthTimeout)
}
