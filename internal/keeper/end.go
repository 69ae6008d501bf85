package keeper

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// The end of a session is final (rule 7).
//
//  1. First the record is replaced by a mark, which has the reason of the end. No later
//     write revives a session with a mark. The mark of a cookie session stays until the end
//     of the session's lifetime: copies of its cookies may be of any generation, and the
//     coordinator may have lost the newest.
//  2. Then the tokens are revoked at the auth service (rule 8); see revoke.go. The mark
//     keeps them until the service has revoked them. It also records whether the service
//     must end all sessions of the user. A failed attempt is retried after a pause that is
//     in the mark, so that all processes and requests together make one attempt at a time.
//  3. A refresh that is under way adds its new tokens to the mark.

// Reason is the reason why a session has ended. Operators search logs for its text, so the
// text does not change.
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
	endedByStore        Reason = "revoked" // ended by another session or by the app, or lost by the store
	EndedBeforeDelivery Reason = "login_not_delivered"
	EndedElsewhere      Reason = "logout_elsewhere"
	endedByLimit        Reason = "max_sessions"
	EndedByActor        Reason = "actor_ended" // the own session of the user who acts as this session's user has ended
)

// reasons lists all reasons. A mark encodes a reason as its index here, so new
// reasons are added at the end.
var reasons = []Reason{
	EndedByLogout, EndedByLogoutAll, EndedByLogin, endedByRefusal, endedByUnknown, endedByOtherUser,
	endedByIdleTimeout, endedByLifetime, endedByStore, EndedBeforeDelivery, EndedElsewhere, endedByLimit, EndedByActor,
}

// ByBrowser reports whether a request of the session's own browser has ended it.
// The response to that request has deleted or replaced the session's cookies. The
// responses to late requests must leave the browser's cookies as they are: they
// may belong to the next session, of another user.
func (why Reason) ByBrowser() bool {
	return why == EndedByLogout || why == EndedByLogoutAll || why == EndedByLogin
}

// byService reports whether the service has rejected the session's refresh token. No token
// is then left to revoke.
func (why Reason) byService() bool {
	return why == endedByRefusal || why == endedByUnknown || why == endedByOtherUser
}

// unrevoked reports whether the mark of err has tokens that are not revoked, and the pause
// after the last attempt has ended.
func (k *Keeper) unrevoked(err *Error) bool {
	return err.mark != nil && err.mark.Pair.Tokens() != (auth.Tokens{}) && k.attemptPause(err.mark, k.now()) == 0
}

// ErrIncomplete is returned by [Keeper.End] if the session has ended, but the end of the
// user's other sessions could not be stored.
var ErrIncomplete = errors.New("other sessions of the user may not have ended")

// End ends the session of which r is a state. If all is set, it ends all sessions of the
// user. It revokes the tokens and waits a few seconds for the result. It does not wait
// after a login, whose response does not depend on the result.
//
// If the session had already ended, the error wraps an [*Error]. If the error is
// [ErrIncomplete] or wraps it, the session has ended, but other sessions of the user may
// not have ended. After any other error the session may not have ended, and End has not
// reported the error.
func (k *Keeper) End(ctx context.Context, r *Record, why Reason, all bool) error {
	return k.endSession(ctx, r, why, all, nil)
}

// EndReplaced ends a session that a sign-in has replaced. If the session is stored,
// EndReplaced calls then with its last values, which other requests may have changed since
// r was read. If the store fails, EndReplaced retries in the background.
func (k *Keeper) EndReplaced(ctx context.Context, r *Record, then func(ctx context.Context, values map[string][]byte) error) {
	var last *Record
	ended := false
	try := func(ctx context.Context) error {
		if !ended {
			err := k.endSession(ctx, r, EndedByLogin, false, func(q *Record) error { last = q.Clone(); return nil })
			if err != nil {
				return err
			}
			ended = true
		}
		if !k.cfg.Stored {
			return nil
		}
		return then(ctx, last.Values)
	}
	err := try(context.WithoutCancel(ctx))
	if err == nil || isEnded(err) {
		return
	}
	// The browser already has the cookies of another session, so no later request of the
	// browser would end this one.
	k.background(func() {
		// A record that does not open cannot be ended, and its session cannot be used
		// either. If the session was not read, its start is unknown, so the retries last
		// for a whole Lifetime.
		until := k.now().Add(k.cfg.Lifetime)
		for failures := 1; !errors.Is(err, ErrCorrupt) && k.now().Before(until) && k.pauseRevocation(k.backoff(failures, err)); failures++ {
			if err = try(k.ctx); err == nil || isEnded(err) {
				return
			}
		}
		_ = k.Report(k.ctx, r, err)
	})
}

// endSession is End with a function that checks the last state of the session.
func (k *Keeper) endSession(ctx context.Context, r *Record, why Reason, all bool, check func(*Record) error) error {
	// If the browser disconnects, the user must still be signed out.
	ctx = context.WithoutCancel(ctx)
	if r.Visitor && !k.cfg.Stored {
		return nil // the session is only in its cookie
	}
	l := k.ledger(r)
	// End this session first: its mark keeps the tokens with which the service ends the
	// others.
	mark, err := l.end(ctx, why, all, check)
	var ended *Error
	switch {
	case err == nil:
		k.reportEnd(ctx, mark, why)
	case errors.As(err, &ended):
		// Another request was faster, or an earlier write of this call succeeded and its
		// response was lost. The mark may have tokens that are not revoked.
		mark = ended.mark
	default:
		return err
	}
	var rev *revocation
	if mark != nil {
		rev = k.revokeEnded(l, mark, all, ended == nil)
	}
	if all {
		if others := k.endOthers(ctx, l, mark); others != nil {
			err = errors.Join(ErrIncomplete, others, err)
		}
	}
	if rev != nil && why != EndedByLogin {
		waitFor(rev.tried, 2*logoutPatience)
	}
	return err
}

// reportEnd reports the end of a session. It does not report the end of a visitor's
// session, because visitors have not signed in.
func (k *Keeper) reportEnd(ctx context.Context, mark *Record, why Reason) {
	if !mark.Visitor {
		k.event(ctx, slog.LevelInfo, mark, Event{Name: EventSessionEnded, Reason: string(why)})
	}
}

// expire ends a session that has reached its idle timeout or its lifetime. It returns
// errChanged if another request has used the session in the meantime.
//
// If the store does not respond, the session is still not accepted, because the clock
// decides. The next request tries again to end it.
func (k *Keeper) expire(ctx context.Context, l *ledger, why Reason) error {
	return k.finish(ctx, l, why, func(q *Record) error {
		// The record of a cookie session does not have the time of its last use.
		if k.cfg.Stored && k.expired(q, k.now()) == "" {
			return errChanged
		}
		return nil
	})
}

// finish ends a session because of its age or its user's mark, unless check returns an
// error.
func (k *Keeper) finish(ctx context.Context, l *ledger, why Reason, check func(*Record) error) error {
	ctx = context.WithoutCancel(ctx)
	mark, err := l.end(ctx, why, false, check)
	if err == nil {
		k.reportEnd(ctx, mark, why)
		k.revokeEnded(l, mark, false, true)
	}
	return err
}

// endOthers ends the other sessions of the user of l, which has ended. mark is its mark,
// or nil. endOthers waits for the removal of stored sessions, so that they end at once in
// other processes, too.
func (k *Keeper) endOthers(ctx context.Context, l *ledger, mark *Record) error {
	userID := l.origin.UserID
	if mark != nil {
		userID = cmp.Or(mark.UserID, userID)
	}
	switch {
	case userID != "":
	case mark != nil && mark.ended == EndedByLogoutAll:
		return nil // an earlier call has ended them, or has reported its failure
	default:
		return errors.New("the session has ended, and its mark does not have the user")
	}
	removed, err := k.endUser(ctx, userID, nil, func(ctx context.Context) error {
		return k.removeSessions(ctx, userID, l.key, EndedByLogoutAll)
	})
	if err == nil {
		waitFor(removed, logoutPatience)
	}
	return err
}

// Undelivered ends a new session whose cookies did not reach the browser. No
// request can ever use it. If the store fails, Undelivered revokes the tokens.
func (k *Keeper) Undelivered(ctx context.Context, r *Record) {
	k.background(func() {
		if k.End(ctx, r, EndedBeforeDelivery, false) != nil {
			k.revokeTokens(r.Pair.Tokens())
		}
	})
}

// end replaces the record by a mark and returns it. The mark has the tokens that are left
// to revoke, and records that this process makes the first attempt. If check returns an
// error, end writes nothing and returns that error.
func (l *ledger) end(ctx context.Context, why Reason, all bool, check func(*Record) error) (*Record, error) {
	var full bool
	var tokens auth.Tokens
	change := func(r *Record) error {
		if check != nil {
			if err := check(r); err != nil {
				return err
			}
		}
		*r = Record{
			ID: r.ID, Key: r.Key, SignIn: r.SignIn, Visitor: r.Visitor, Pair: r.Pair, version: r.version,
			ended: why, all: all, failures: 1, retryAt: l.k.now().Add(l.k.attemptTime(all)),
		}
		if why.byService() {
			r.Pair.SetTokens(auth.Tokens{})
		}
		if tokens = r.Pair.Tokens(); full {
			r.Pair.SetTokens(auth.Tokens{})
		}
		return nil
	}
	mark, err := l.swap(ctx, l.readToEnd, change)
	if errors.Is(err, store.ErrFull) {
		// A full coordinator has no room for the tokens. It always has room for a
		// mark without tokens (rule 7).
		full = true
		mark, err = l.swap(ctx, l.readToEnd, change)
	}
	if err != nil {
		return nil, err
	}
	l.k.endings.announce(l.key)
	l.k.removeMember(ctx, mark)
	if tokens == (auth.Tokens{}) {
		l.forget(ctx, why)
	}
	if full {
		mark = mark.Clone()
		mark.version = 0
		mark.Pair.SetTokens(tokens) // only this process has them
	}
	return mark, nil
}

// forget deletes the mark of a stored session that has no tokens. Without a record the
// session has also ended. The mark stays if late requests need the reason of the end. If
// forget fails, the mark takes space until it expires.
func (l *ledger) forget(ctx context.Context, why Reason) {
	if l.base != nil || why.ByBrowser() || why == EndedElsewhere {
		return
	}
	_ = l.k.store.Delete(ctx, l.key)
}
