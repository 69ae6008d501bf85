package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/synmetrix/session/auth"
)

// This file applies the response to a refresh request to the session; see the table "What a
// response means" in docs/protocol.md. Every write goes through ledger.update, which reads
// the newest state, calls a function that checks and changes it, and stores it by a swap
// (rule 4).

// maxWaiting limits how many sessions' new tokens wait for the store, and how
// many ended sessions' tokens wait for the service, at one time.
const maxWaiting = 10_000

// settle handles the response to the refresh of r: grant and err.
func (k *Keeper) settle(ctx context.Context, l *ledger, f *flight, r *Record, grant auth.Grant, err error) (*Record, error) {
	tokens := grant.Tokens
	switch {
	case err == nil:
		// A successful response may still be unusable; NewPair checks it. If the verifier
		// is down, the session keeps the new refresh token, too.
		p, err := k.NewPair(ctx, tokens, r.Pair.Tokens())
		if err != nil {
			return k.halfRenewed(ctx, l, r, tokens, err)
		}
		// If the API rejects this token, too, another refresh does not help: see the caller
		// of Renew.
		p.Forced = r.Pair.Gen == f.rejected
		p.User = NewUser(grant.User, p.Claims, r.Pair.User)
		p.Roles = f.roles
		if p.Claims.UserID != r.UserID {
			// The service or a proxy has mixed up responses. The session must not get
			// another user's tokens.
			k.revokeTokens(p.Tokens())
			return k.refused(ctx, l, r, endedByOtherUser)
		}
		return k.renewed(ctx, l, r, p)
	case tokens.RefreshToken != "":
		// The client has reported an error, but the service has replaced the refresh token.
		return k.halfRenewed(ctx, l, r, tokens, err)
	case !errors.Is(err, auth.ErrRefused):
		// An outage ends no session (rule 6).
		return nil, k.failed(ctx, l, r, err)
	case r.unknown == 0:
		// No other attempt can have used the refresh token: the session has ended
		// at the service.
		return k.refused(ctx, l, r, endedByRefusal)
	case r.unknown == k.self || k.cfg.Private:
		// The earlier attempt was this process's, and its response is lost. No
		// other process can have new tokens to write.
		return k.refused(ctx, l, r, endedByUnknown)
	}
	if q, err := k.awaitOther(ctx, l, r); q != nil || err != nil {
		return q, err
	}
	return k.refused(ctx, l, r, endedByUnknown)
}

// awaitOther waits for another process to write new tokens (rule 6). That process may have
// used the refresh token of r, which would explain the rejection here. If it has new
// tokens, it writes them within the time of a call. awaitOther returns nil, nil if it has
// written none.
func (k *Keeper) awaitOther(ctx context.Context, l *ledger, r *Record) (*Record, error) {
	poll := pollMin
	for until := time.Now().Add(k.cfg.AuthTimeout); time.Now().Before(until) && ctx.Err() == nil; {
		q, err := l.read(ctx)
		if isEnded(err) {
			return nil, err
		}
		// The wait continues after a store error: the other process may write as soon as
		// the store works.
		if err == nil && q.Pair.Gen != r.Pair.Gen {
			return q, nil
		}
		k.pause(ctx, &poll)
	}
	return nil, nil
}

// renewed writes p, the successor of the tokens of r.
func (k *Keeper) renewed(ctx context.Context, l *ledger, r *Record, p Pair) (*Record, error) {
	return k.succeed(ctx, l, &successor{from: r, p: p})
}

// halfRenewed handles a response with a new refresh token and without a usable
// access token. The old refresh token is used up, so the session would be lost
// without the new one.
func (k *Keeper) halfRenewed(ctx context.Context, l *ledger, r *Record, got auth.Tokens, cause error) (*Record, error) {
	if got.RefreshToken == "" || got.RefreshToken == r.Pair.Tokens().RefreshToken {
		return nil, k.failed(ctx, l, r, fmt.Errorf("%w: %w: %w", auth.ErrInvalidResponse, auth.ErrOutcomeUnknown, cause))
	}
	// The new generation has the old access token, which may still be valid. The next
	// refresh brings a new one.
	p := r.Pair
	p.setRefreshToken(got.RefreshToken)
	// The new generation records the pause. Otherwise the next request would call the
	// service at once, because the old access token is still due.
	wait := k.backoff(r.failures+1, cause)
	k.event(ctx, slog.LevelWarn, r, Event{Name: EventRefreshUnavailable, RetryAfter: wait, Err: cause})
	q, err := k.succeed(ctx, l, &successor{from: r, p: p, failures: r.failures + 1, retryAt: k.now().Add(wait)})
	if err == nil && q.Pair.Tokens() == p.Tokens() {
		return nil, &Error{RetryAfter: wait, Err: cause}
	}
	return q, err
}

// successor is the next generation of a session's tokens.
type successor struct {
	from *Record // the state whose refresh token was exchanged
	p    Pair    // the new tokens

	// If the response had no usable access token, p has the old one, and these determine
	// when the next attempt may be made.
	failures int
	retryAt  time.Time
}

// apply makes s.p the tokens of q.
//
// It checks only the generation (rule 4): the older tokens are used up, so the new ones
// must be written even if another process has changed a value or taken the lease in the
// meantime.
func (s *successor) apply(q *Record) error {
	if q.Pair.Gen != s.from.Pair.Gen {
		return errChanged
	}
	p := s.p
	p.Gen = q.Pair.Gen // renew adds one
	q.renew(p)
	q.failures, q.retryAt = s.failures, s.retryAt
	return nil
}

// succeed writes the tokens of s, and returns the record that has them. It revokes them if
// the record cannot have them any more.
func (k *Keeper) succeed(ctx context.Context, l *ledger, s *successor) (*Record, error) {
	q, err := l.update(ctx, s.apply)
	switch {
	case err == nil, errors.Is(err, errChanged) && q.Pair.Tokens() == s.p.Tokens():
		// In the second case an earlier attempt has written them, and its response was
		// lost.
		k.reportSuccess(ctx, s)
		return q, nil
	case errors.Is(err, errChanged) && q.Pair.Tokens().RefreshToken == s.p.Tokens().RefreshToken:
		// A revocation of s.p would revoke the tokens of q as well.
		return q, nil // the service does not rotate refresh tokens
	case errors.Is(err, errChanged):
		// Another process has written a newer generation, whose tokens stay.
		k.revokeTokens(s.p.Tokens())
		return q, nil
	case isEnded(err):
		// The end is final, even if a refresh was under way (rule 7).
		l.addToMark(ctx, s.p)
		return nil, err
	}
	// The store has failed. The tokens are not revoked: writeLater retries the write.
	return nil, &unwrittenError{s, err}
}

// reportSuccess reports that the record has the tokens of s.
func (k *Keeper) reportSuccess(ctx context.Context, s *successor) {
	if s.failures > 0 {
		return // halfRenewed has already reported the failure
	}
	k.event(ctx, slog.LevelInfo, s.from, Event{Name: EventSessionRefreshed})
	// The user is known, so the session continues without the unreadable roles.
	if err := s.p.Claims.Err(); err != nil {
		k.event(ctx, slog.LevelWarn, s.from, Event{Name: EventClaimsUnreadable, Err: err})
	}
}

// failed records that the service has not refreshed the tokens of r, and releases the
// lease. All processes then pause before the next attempt (rule 9). If the record cannot be
// written, the lease expires later.
func (k *Keeper) failed(ctx context.Context, l *ledger, r *Record, cause error) error {
	wait := k.backoff(r.failures+1, cause)
	// The service may have used the refresh token before the response was lost. A later
	// rejection may then be due to this call; see settle.
	unknown := errors.Is(cause, auth.ErrOutcomeUnknown) || !errors.Is(cause, auth.ErrUnavailable)
	_, err := l.update(ctx, func(q *Record) error {
		// A claim of another process does not stop this: the call has ended, and
		// that process may continue at once.
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
	// An unknown outcome has its own event, because only after it may a refresh token be
	// sent twice.
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

// refused ends the session, because the service has rejected its refresh token (rule 6).
// The session continues if another process has refreshed the tokens in the meantime. The
// error is errChanged if another process has taken the lease: it may be about to refresh
// them.
func (k *Keeper) refused(ctx context.Context, l *ledger, r *Record, why Reason) (*Record, error) {
	// The check is made for the newest state in each attempt to swap. A rejection of older
	// tokens does not end the session.
	_, err := l.end(ctx, why, false, func(q *Record) error {
		if q.Pair.Gen != r.Pair.Gen || q.lease.nonce != r.lease.nonce {
			return errChanged
		}
		return nil
	})
	switch {
	case err == nil:
		// Tokens of another user are a fault of the service that an operator must see.
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

// unwrittenError means that the service has issued new tokens for a session, and that the
// store has not accepted them.
type unwrittenError struct {
	*successor
	err error // of the store
}

func (e *unwrittenError) Error() string {
	return fmt.Sprintf("session: new tokens not written: %v", e.err)
}

// next returns the state with which a flight serves requests until the tokens are
// written.
func (s *successor) next() *Record {
	next := s.from.Clone()
	_ = s.apply(next) // the generation is the same
	return next
}

// writeLater retries to write new tokens until the session's end. The old refresh token is
// used up, so without the new one the session would be lost. Until then, the flight serves
// the requests of this process.
func (k *Keeper) writeLater(ctx context.Context, l *ledger, u *unwrittenError) {
	// Each waiting session holds memory and retries. An outage of the store must not
	// make both grow without limit.
	if k.waiting.Add(1) > maxWaiting {
		k.waiting.Add(-1)
		k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
		return
	}
	defer k.waiting.Add(-1)
	k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensUnwritten, Err: u.err})
	end := earlier(k.LifetimeEnd(u.from), k.now().Add(k.cfg.IdleTimeout))
	// The retries also find out whether the session has ended or another process has
	// written a newer generation.
	poll := pollMin
	for k.now().Before(end) {
		k.pause(ctx, &poll)
		if ctx.Err() != nil {
			break // Shutdown has given up
		}
		if _, err := k.succeed(ctx, l, u.successor); !errors.As(err, new(*unwrittenError)) {
			return
		}
	}
	k.event(ctx, slog.LevelError, u.from, Event{Name: EventTokensLost, Err: u.err})
}
