package keeper

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// The end of a session is final.
//
//  1. First the record is marked as ended. The mark of a cookie session stays
//     until the end of the session's lifetime, since copies of its cookies may
//     be of any generation, and the coordinator may have forgotten the newest.
//     No later write revives a marked record.
//  2. Then the tokens are revoked at the auth service. The mark keeps them, and
//     whether the service must end all sessions of the user, until the service
//     has done so. A failed attempt is repeated after a pause that the mark
//     holds, so that all processes and requests together make one attempt.
//  3. A refresh that is under way at the end leaves its new tokens in the mark.

// Reason says why a session has ended. Its text is stable: it stands in logs.
type Reason string

const (
	EndedByLogout       Reason = "logout"
	EndedByLogoutAll    Reason = "logout_all"
	EndedByLogin        Reason = "replaced_by_login"
	endedByRefusal      Reason = "refresh_refused"
	endedByUnknown      Reason = "refresh_outcome_unknown"
	endedByOtherUser    Reason = "refresh_other_user"
	endedByIdleTimeout  Reason = "idle_timeout"
	endedByLifetime     Reason = "lifetime"
	endedByStore        Reason = "revoked" // the store has no record of it any more
	EndedBeforeDelivery Reason = "login_not_delivered"
)

// reasons are all of them. A mark holds a reason by its index here: new ones are
// added at the end.
var reasons = []Reason{
	EndedByLogout, EndedByLogoutAll, EndedByLogin, endedByRefusal, endedByUnknown, endedByOtherUser,
	endedByIdleTimeout, endedByLifetime, endedByStore, EndedBeforeDelivery,
}

// ByBrowser reports whether the session ended at a request of its own browser,
// and the response deleted or replaced its cookies. Late requests that still
// carry those must not touch the cookies that the browser has by then, which
// may be of another user's session.
func (why Reason) ByBrowser() bool {
	return why == EndedByLogout || why == EndedByLogoutAll || why == EndedByLogin
}

// byService reports whether the auth service has no refresh token of the session
// any more.
func (why Reason) byService() bool {
	return why == endedByRefusal || why == endedByUnknown || why == endedByOtherUser
}

// unrevoked reports whether the mark has tokens whose revocation may be tried
// now.
func (e *Error) unrevoked(now time.Time) bool {
	return e.mark != nil && e.mark.Pair.Tokens != (auth.Tokens{}) && !now.Before(e.mark.retryAt)
}

// ErrIncomplete is returned by [Keeper.End] where the session has ended, and the
// auth service has not confirmed the end of the user's other sessions.
var ErrIncomplete = errors.New("other sessions of the user may live on")

// End ends the session of which rec is a state, and all of its user's if all is
// set. It revokes the tokens, for which it waits a little while. For a session
// that had ended before, the error is an [*Error]. After any other error except
// [ErrIncomplete] the session may live; that error has not been reported.
func (k *Keeper) End(ctx context.Context, rec *Record, why Reason, all bool) error {
	ctx = context.WithoutCancel(ctx)
	l := k.ledger(rec)
	if all && k.cfg.Stored {
		// The others first: if one of them cannot be ended, this one is not
		// ended either, and its user can try again.
		now, err := l.read(ctx)
		if err != nil {
			return err
		}
		if err := k.endOthers(ctx, now.UserID, l.key); err != nil {
			return err
		}
	}
	last, err := l.end(ctx, why, all, nil)
	var ended *Error
	switch {
	case err == nil:
		k.event(ctx, slog.LevelInfo, last, Event{Name: EventSessionEnded, Reason: string(why)})
	case errors.As(err, &ended) && ended.mark != nil:
		// By another request, or by one of this process whose response was lost:
		// there may be tokens left.
		last = ended.mark
	default:
		return err
	}
	rev := k.revokeEnded(l, last, all, ended == nil)
	if why != EndedByLogin {
		waitFor(rev.tried, 2*logoutPatience)
	}
	if ended != nil {
		return ended
	}
	if all && !k.cfg.Stored && !rev.succeeded() {
		return ErrIncomplete
	}
	return nil
}

// expire ends a session that has reached its idle timeout or its lifetime.
// Where the store does not respond the session is refused all the same, by the
// clock, and the next request ends it.
func (k *Keeper) expire(ctx context.Context, l *ledger, why Reason) {
	ctx = context.WithoutCancel(ctx)
	last, err := l.end(ctx, why, false, nil)
	if err != nil {
		return
	}
	k.event(ctx, slog.LevelInfo, last, Event{Name: EventSessionEnded, Reason: string(why)})
	k.revokeEnded(l, last, false, true)
}

// endOthers deletes the stored sessions of a user except one. Only the browser
// of a session can open its tokens: the service ends those sessions by way of
// the session that is kept.
func (k *Keeper) endOthers(ctx context.Context, userID, except string) error {
	for _, s := range k.cfg.Secrets {
		listCtx, cancel := context.WithTimeout(ctx, k.cfg.StoreTimeout)
		records, err := k.store.List(listCtx, s.Owner(userID))
		cancel()
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Key == except {
				continue
			}
			delCtx, cancel := context.WithTimeout(ctx, k.cfg.StoreTimeout)
			err := k.store.Delete(delCtx, r.Key)
			cancel()
			if err != nil {
				return err
			}
			k.endings.announce(r.Key)
			k.event(ctx, slog.LevelInfo, &Record{Key: r.Key, UserID: userID}, Event{Name: EventSessionEnded, Reason: string(EndedByLogoutAll)})
		}
	}
	return nil
}

// Undelivered ends a session whose cookies no browser will ever have. If the
// store does not accept the end, the tokens at least are revoked.
func (k *Keeper) Undelivered(ctx context.Context, rec *Record) {
	k.background(func() {
		if k.End(ctx, rec, EndedBeforeDelivery, false) != nil {
			k.revokeTokens(rec.Pair.Tokens, true)
		}
	})
}

// end marks the session as ended and returns the mark, which holds the tokens
// that are left to revoke, and the first attempt to do so. A check that returns
// an error stops it.
func (l *ledger) end(ctx context.Context, why Reason, all bool, check func(*Record) error) (*Record, error) {
	var full bool
	var tokens auth.Tokens
	mark := func(r *Record) error {
		if check != nil {
			if err := check(r); err != nil {
				return err
			}
		}
		*r = Record{
			ID: r.ID, Key: r.Key, UserID: r.UserID, Created: r.Created, Pair: r.Pair, version: r.version,
			ended: why, all: all, failures: 1, retryAt: l.k.now().Add(l.k.attemptTime()),
		}
		if why.byService() {
			r.Pair.Tokens = auth.Tokens{}
		}
		if tokens = r.Pair.Tokens; full {
			r.Pair.Tokens = auth.Tokens{}
		}
		return nil
	}
	last, err := l.update(ctx, mark)
	if errors.Is(err, store.ErrFull) {
		// There is no room for the tokens, and always for a mark without them.
		full = true
		last, err = l.update(ctx, mark)
	}
	if err != nil {
		return nil, err
	}
	l.k.endings.announce(l.key)
	if tokens == (auth.Tokens{}) {
		l.forget(ctx, why)
	}
	if full {
		last = last.Clone()
		last.Pair.Tokens = tokens // only this process has them
	}
	return last, nil
}

// forget deletes the mark of a stored session, whose absence says the same,
// unless late requests have to see why the session has ended. A failure costs
// nothing but space.
func (l *ledger) forget(ctx context.Context, why Reason) {
	if l.base != nil || why.ByBrowser() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.k.cfg.StoreTimeout)
	defer cancel()
	_ = l.k.store.Delete(ctx, l.key)
}
