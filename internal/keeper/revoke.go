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

// This file revokes the tokens of sessions that have ended (rule 8). Without the
// revocation, a copy of a refresh token could still be used at the service.
//
//	RevokeSoon, revokeTokens             tokens that are in no mark
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
	// all does not change. If a logout of all sessions follows, a second revocation starts
	// in addition to the first; see revokeEnded.
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

// attempted records the outcome of an attempt. The first call wakes the callers that wait.
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

// RevokeSoon revokes tokens that belong to no session, and waits up to logoutPatience for
// the result. It takes no context: the revocation may outlive the request, and some
// frameworks reuse the contexts of requests.
func (k *Keeper) RevokeSoon(t auth.Tokens) { waitFor(k.revokeTokens(t).tried, logoutPatience) }

// RevokeLater is RevokeSoon without the wait.
func (k *Keeper) RevokeLater(t auth.Tokens) { k.revokeTokens(t) }

// revokeTokens revokes tokens that are in no mark, in the background. Only this process
// knows them, so they stay valid if it dies before it has revoked them.
func (k *Keeper) revokeTokens(t auth.Tokens) *revocation {
	rev := &revocation{tried: make(chan struct{})}
	k.background(func() {
		end := k.now().Add(k.cfg.Lifetime)
		for failures := 1; k.now().Before(end); failures++ {
			_, err := k.revoke(k.ctx, &Record{Pair: Pair{tokens: t}}, false)
			rev.attempted(err == nil)
			// A rejection is final: the service no longer accepts the tokens.
			if err == nil || errors.Is(err, auth.ErrRefused) || !k.pauseRevocation(k.backoff(failures, err)) {
				return
			}
		}
	})
	return rev
}

// revokeEnded revokes the tokens in the mark of a session, in the background. If a
// revocation of the session is under way that covers the same tokens, revokeEnded returns
// that one. noted is true if the mark already records the first attempt of this process.
func (k *Keeper) revokeEnded(l *ledger, mark *Record, all, noted bool) *revocation {
	rev := &revocation{all: all || mark.all, tried: make(chan struct{})}
	if mark.Pair.Tokens() == (auth.Tokens{}) {
		rev.attempted(true) // nothing is left to revoke
		return rev
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// Many requests may find the same mark. One revocation is enough for all of them,
	// unless the new one has to end more sessions.
	if running := k.revocations[l.key]; running != nil && (running.all || !rev.all) {
		return running
	}
	// A flight that has left the map has already added its tokens to the mark. The new
	// revocation replaces a running one in the map. Both record their attempts in the mark,
	// so they take turns as two processes do.
	k.startRevocationLocked(l, mark, rev, noted, k.flights[l.key])
	return rev
}

// resumeRevocation continues to revoke the tokens of an ended session. The process that
// started may have died. err is the error of a read, which has the mark.
func (k *Keeper) resumeRevocation(l *ledger, err error) {
	var e *Error
	if errors.As(err, &e) && k.unrevoked(e) {
		k.revokeEnded(l, e.mark, false, false)
	}
}

// addToMark adds the tokens p to the mark of the session and revokes them. They
// come from a flight that landed after the end of the session.
func (l *ledger) addToMark(ctx context.Context, p Pair) {
	// For example, a flight sends the refresh token, a logout writes the mark with the
	// older tokens, and then the response to the flight has new tokens. Only the copy in
	// the mark outlives this process.
	mark, err := l.updateMark(ctx, func(q *Record) error {
		if q.Created.IsZero() { // a mark without tokens has only its reason
			q.SignIn = l.origin.SignIn
		}
		// The older tokens in the mark are used up: the flight has exchanged them.
		q.Pair, q.failures, q.retryAt = p, 0, time.Time{}
		return nil
	})
	if err != nil {
		// No mark keeps the tokens, so this process has to revoke them.
		l.k.revokeTokens(p.Tokens())
		return
	}
	k := l.k
	k.mu.Lock()
	defer k.mu.Unlock()
	// Under the lock there are two cases: finishRevocation will find again set, or it has
	// already removed the revocation. The new tokens are revoked in both.
	if running := k.revocations[l.key]; running != nil {
		running.again = true // running may have read the mark before these tokens
		return
	}
	k.startRevocationLocked(l, mark, &revocation{all: mark.all, tried: make(chan struct{})}, false, nil)
}

// startRevocationLocked starts rev. f is the flight of the session, nil if there is
// none or if it has landed.
func (k *Keeper) startRevocationLocked(l *ledger, mark *Record, rev *revocation, noted bool, f *flight) {
	k.revocations[l.key] = rev
	k.backgroundLocked(func() {
		switch {
		case f == nil:
		case rev.all:
			// The flight has sent the refresh token, and this process may need one to end
			// the other sessions. The flight adds its new tokens to the mark.
			<-f.done
			noted = false // the mark may have other tokens now
		default:
			// A logout can use the older tokens, but the newer ones are better.
			waitFor(f.done, logoutPatience)
			noted = false
		}
		for more := true; more; noted = false {
			k.revokeMarked(l, mark, rev, noted)
			more = k.finishRevocation(l.key, rev)
		}
		rev.attempted(rev.succeeded()) // wakes the callers if no attempt was made
	})
}

// finishRevocation removes rev from the list. If newer tokens were added to the mark in the
// meantime, it keeps rev and returns true.
func (k *Keeper) finishRevocation(key string, rev *revocation) (more bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if rev.again {
		rev.again = false
		return true
	}
	// A logout of all sessions may have replaced it.
	if k.revocations[key] == rev {
		delete(k.revocations, key)
	}
	return false
}

// revokeMarked makes attempts until the tokens in the mark are revoked. It records each
// attempt in the mark before the call, so that several processes do not call the service
// for the same tokens.
func (k *Keeper) revokeMarked(l *ledger, mark *Record, rev *revocation, noted bool) {
	// If the mark expires before that, nextAttempt finds no tokens.
	end := k.now().Add(k.cfg.Lifetime)
	a := &attempt{mark: mark, stored: mark.Pair.Tokens()}
	for k.now().Before(end) {
		// The write of the mark by end may already record the first attempt.
		if !noted {
			wait, err := l.nextAttempt(k.ctx, a, rev.all)
			switch {
			case err == nil:
			// If the other process dies during its attempt, this process takes over.
			case errors.Is(err, errNotYet):
				if !k.pauseRevocation(wait) {
					return
				}
				continue
			default:
				return
			}
		}
		noted = false
		// Another process may have recorded a logout of all sessions in the mark.
		all := rev.all || a.mark.all
		p, err := k.revoke(k.ctx, a.mark, all)
		if err == nil || errors.Is(err, auth.ErrRefused) {
			// The service has revoked the tokens, or no longer accepts them. In both cases
			// they need no further attempt.
			rev.attempted(err == nil)
			if l.confirmRevoked(k.ctx, a, p.Tokens(), all) {
				return
			}
			continue // a flight has added newer tokens, or more sessions must be ended
		}
		wait := k.backoff(a.mark.failures, err)
		l.attemptFailed(k.ctx, a, p, k.now().Add(wait))
		rev.attempted(false)
		if !k.pauseRevocation(wait) {
			return
		}
	}
}

// pauseRevocation waits before the next attempt. It returns false if this process
// makes no further attempt: the Keeper is shut down, or too many revocations wait.
// The mark still has the tokens, so a later request resumes the revocation.
func (k *Keeper) pauseRevocation(d time.Duration) bool {
	// During an outage of the service, each logout would otherwise add a goroutine that
	// waits.
	if k.waiting.Add(1) > maxWaiting {
		k.waiting.Add(-1)
		return false
	}
	defer k.waiting.Add(-1)
	// The pause may be from the mark, and the clock of the process that wrote it may be
	// wrong.
	t := time.NewTimer(min(max(d, pacing.Min), pacing.MaxRetryAfter))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.stopping:
		return false
	}
}

// revoke makes one attempt to revoke the tokens of a mark, or with all the tokens of all
// sessions of its user. To revoke the tokens of all sessions, the service needs a valid
// access token, so revoke may refresh the tokens. It returns the newest ones. The error is
// auth.ErrRefused if the service has rejected them: no attempt can then succeed.
func (k *Keeper) revoke(ctx context.Context, mark *Record, all bool) (Pair, error) {
	// A logout of one session needs no valid access token, because the call contains the
	// refresh token.
	p, refreshed := mark.Pair, false
	var err error
	if all && !k.now().Before(p.Expires) {
		p, err = k.refreshToRevoke(ctx, p, mark.UserID)
		refreshed = true
	}
	if err == nil {
		err = k.logoutAtService(ctx, p.Tokens(), all)
	}
	if all && !refreshed && errors.Is(err, auth.ErrRefused) {
		// The access token may be invalid before it expires, because the service has
		// changed its key. The refresh token may still be valid.
		if p, err = k.refreshToRevoke(ctx, p, mark.UserID); err == nil {
			err = k.logoutAtService(ctx, p.Tokens(), all)
		}
	}
	if err != nil {
		k.event(ctx, slog.LevelWarn, nil, Event{Name: EventRevokeFailed, Err: err})
	}
	return p, err
}

// logoutAtService makes the call that revokes tokens.
func (k *Keeper) logoutAtService(ctx context.Context, t auth.Tokens, all bool) error {
	return k.throughGate(ctx, "logout", k.cfg.AuthTimeout, func(ctx context.Context) error {
		return k.auth.Logout(ctx, t, all)
	})
}

// refreshToRevoke refreshes the tokens of a session of userID that has ended. After an
// error it returns the new refresh token, if there is one: the old one is used up.
func (k *Keeper) refreshToRevoke(ctx context.Context, p Pair, userID string) (Pair, error) {
	var grant auth.Grant
	// As in call, a late response is better than an unknown outcome.
	err := k.throughGate(ctx, "refresh", refreshPatience*k.cfg.AuthTimeout, func(ctx context.Context) (err error) {
		grant, err = k.auth.Refresh(ctx, p.Tokens())
		return err
	})
	tokens := grant.Tokens
	if err == nil {
		next, invalid := k.newPair(tokens, p.Tokens()) // only the service receives them
		switch {
		case invalid != nil:
			err = fmt.Errorf("%w: %w", auth.ErrInvalidResponse, invalid)
		case next.Claims.UserID != userID:
			// The service has mixed up responses. A logout with these tokens would end all
			// sessions of another user. The tokens of p are used up.
			k.revokeTokens(tokens)
			return p, fmt.Errorf("%w: tokens of another user", auth.ErrRefused)
		default:
			return next, nil
		}
	}
	if tokens.RefreshToken != "" {
		p.setRefreshToken(tokens.RefreshToken)
	}
	return p, err
}

// throughGate makes a call of the auth service with a slot of the gate. The call counts
// against the service's rate limit as a refresh does. It is not canceled with the request:
// the service may still execute the call, and the tokens in its response would be lost.
func (k *Keeper) throughGate(ctx context.Context, op string, timeout time.Duration, call func(context.Context) error) error {
	// A logout waits for the first attempt, so it does not wait long for a slot.
	leave, err := k.gate.enter(ctx, op, logoutPatience, k.now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err = call(ctx)
	leave(err)
	return err
}
