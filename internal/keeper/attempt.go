package keeper

import (
	"context"
	"errors"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// This file has the attempts to revoke the tokens in a mark. Each attempt is recorded in
// the mark, so that several processes take turns (rule 8).

// attempt is an attempt of this process to revoke the tokens of an ended session.
type attempt struct {
	// mark is the mark as this process has last read or written it. Its tokens may be
	// the successors of the stored ones: an attempt that failed has refreshed them, and
	// the store has not accepted the new ones.
	mark   *Record
	stored auth.Tokens // the tokens that the store has
}

// adopt makes q, which was read or written, the mark of a. It keeps the successors of
// the tokens in q.
func (a *attempt) adopt(q *Record) {
	// For example, the access token has expired, and an attempt refreshes it for a logout
	// of all sessions. Then the logout fails, and the write of the new tokens fails, too.
	// The tokens in the store are then used up. If q has other tokens, a flight or another
	// process has written them since, and they apply.
	if p := a.mark.Pair; q.Pair.Tokens() == a.stored && p.Tokens() != a.stored {
		q = q.Clone()
		q.Pair = p
	} else {
		a.stored = q.Pair.Tokens()
	}
	a.mark = q
}

// nextAttempt records in the mark that this process tries to revoke its tokens. The error
// is errNotYet if another process has made an attempt since a.mark: this one takes over if
// the mark still has tokens after wait. Any other error means that no tokens are left to
// revoke.
func (l *ledger) nextAttempt(ctx context.Context, a *attempt, all bool) (wait time.Duration, err error) {
	q, err := l.updateMark(ctx, func(q *Record) error {
		now := l.k.now()
		switch {
		// The coordinator was full when the session ended; see end.
		case a.mark.version == 0:
			return errUnmarked
		case q.Pair.Tokens() == (auth.Tokens{}):
			return errRevoked
		// The pause after this process's own attempt has ended already.
		case q.version != a.mark.version && l.k.attemptPause(q, now) > 0:
			return errNotYet
		}
		// The store may have failed after the last attempt; see adopt. Tokens that another
		// process has written stay.
		if q.Pair.Tokens() == a.stored {
			q.Pair = a.mark.Pair
		}
		q.all = q.all || all
		// The attempt counts as failed until confirmRevoked. If the process dies during the
		// call, the others wait until the time of the attempt is over, and continue with
		// the right pause.
		q.failures++
		q.retryAt = now.Add(l.k.attemptTime(q.all))
		return nil
	})
	switch {
	case err == nil:
		a.mark, a.stored = q, q.Pair.Tokens()
		return 0, nil
	case errors.Is(err, errNotYet):
		a.adopt(q)
		return l.k.attemptPause(q, l.k.now()), err
	case errors.Is(err, errRevoked) || errors.Is(err, errNoMark):
		return 0, err
	}
	// The store does not respond, or it has no room for the tokens. This process has them
	// and tries to revoke them without a record of the attempt. Other processes may then
	// make an attempt at the same time, which is harmless after the end. The count makes
	// the next pause longer.
	a.mark = a.mark.Clone()
	a.mark.failures++
	return 0, nil
}

var (
	// errRevoked is returned by nextAttempt if the mark has no tokens.
	errRevoked = errors.New("the tokens are revoked")

	// errNotYet is returned by nextAttempt if another process makes an attempt.
	errNotYet = errors.New("another process revokes the tokens")

	// errUnmarked is the error inside nextAttempt if only this process has the tokens.
	errUnmarked = errors.New("the mark has no room for the tokens")
)

// attemptTime returns how long an attempt may take: the calls of revoke, and their waits
// for a slot. No other process makes an attempt during this time.
func (k *Keeper) attemptTime(all bool) time.Duration {
	if all {
		return (2+refreshPatience)*k.cfg.AuthTimeout + 3*logoutPatience
	}
	return k.cfg.AuthTimeout + logoutPatience
}

// attemptPause returns how long the next attempt to revoke the tokens of a mark has to wait.
func (k *Keeper) attemptPause(mark *Record, now time.Time) time.Duration {
	return pauseLeft(mark.retryAt, now, max(k.attemptTime(true), pacing.MaxRetryAfter))
}

// attemptFailed records in the mark when the next attempt may be made. It also writes p,
// because the failed attempt may have refreshed the tokens, and the older ones are then
// used up. If the write fails, the next attempt writes p.
func (l *ledger) attemptFailed(ctx context.Context, a *attempt, p Pair, retryAt time.Time) {
	failed := a.mark.Clone()
	failed.Pair, failed.retryAt = p, retryAt
	q, err := l.updateMark(ctx, func(q *Record) error {
		// Another process may have begun the next attempt, or a flight may have added its
		// tokens. An older state must not replace theirs.
		if q.version != a.mark.version || q.Pair.Tokens() == (auth.Tokens{}) {
			return errChanged
		}
		q.Pair, q.failures, q.retryAt = failed.Pair, failed.failures, failed.retryAt
		return nil
	})
	// Otherwise a.mark is newer than the store, and a.stored has the tokens in the store.
	if err == nil {
		failed, a.stored = q, q.Pair.Tokens()
	}
	a.mark = failed
}

// confirmRevoked removes the revoked tokens from the mark. all is true if the call has
// ended all sessions of the user. confirmRevoked returns false if another attempt is
// needed: the mark has other tokens, or another process has recorded that all sessions must
// end.
func (l *ledger) confirmRevoked(ctx context.Context, a *attempt, revoked auth.Tokens, all bool) bool {
	mark, err := l.updateMark(ctx, func(q *Record) error {
		// If the attempt has refreshed the tokens and could not write them, the mark still
		// has the older ones (a.stored). These are used up, and are removed, too.
		switch t := q.Pair.Tokens(); {
		case t == (auth.Tokens{}):
			return errRevoked
		case t != revoked && t != a.stored, q.all && !all:
			return errChanged
		}
		// Without tokens the mark has the length that rule 7 promises.
		q.Pair, q.all = Pair{}, false
		return nil
	})
	switch {
	case errors.Is(err, errChanged):
		// updateMark has returned the state that the check rejected. The next attempt
		// revokes its tokens.
		a.mark, a.stored = mark, mark.Pair.Tokens()
		return false
	case err == nil:
		l.forget(ctx, mark.ended)
	}
	// If the store has failed, the mark keeps the revoked tokens. A later request revokes
	// them again, which is harmless.
	return true
}
