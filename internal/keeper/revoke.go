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

// revocation is the work that is left to do at the auth service for tokens that
// this process does not use any more. It is tried until it is done, until
// nothing is left to do it with, or until the Manager is shut down.
type revocation struct {
	all   bool          // every session of the user
	tried chan struct{} // closed after the first attempt
	again bool          // there are newer tokens; guarded by Manager.mu

	mu   sync.Mutex
	done bool // the service has confirmed it
}

func (r *revocation) succeeded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// attempted notes what came of an attempt.
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

// revokeEnded revokes the tokens of a session that has ended, in the
// background. ours says that mark holds this process's first attempt.
func (k *Keeper) revokeEnded(l *ledger, mark *Record, all, ours bool) *revocation {
	rev := &revocation{all: all || mark.all, tried: make(chan struct{})}
	if mark.Pair.Tokens == (auth.Tokens{}) {
		rev.attempted(!rev.all)
		return rev
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if running := k.revocations[l.key]; running != nil && (running.all || !rev.all) {
		return running
	}
	k.startRevocationLocked(l, mark, rev, ours, false)
	return rev
}

func (k *Keeper) startRevocationLocked(l *ledger, mark *Record, rev *revocation, ours, nested bool) {
	f := k.flights[l.key]
	k.revocations[l.key] = rev
	k.backgroundLocked(nested, func() {
		if f != nil && !nested {
			// Its new tokens will be in the mark.
			waitFor(f.landed, logoutPatience)
			ours = false
		}
		for more := true; more; ours = false {
			k.revokeMarked(l, mark, rev, ours)
			more = k.finishRevocation(l.key, rev)
		}
		rev.attempted(rev.succeeded())
	})
}

// finishRevocation takes rev off the list, unless newer tokens have come.
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

var (
	errRevoked = errors.New("the tokens are revoked")
	errNotYet  = errors.New("another attempt to revoke the tokens is recent")
)

// attemptTime is how long others leave an attempt alone that this process has
// begun.
func (k *Keeper) attemptTime() time.Duration { return 2*k.cfg.AuthTimeout + 2*logoutPatience }

// revokeMarked makes attempts until the tokens in the mark are revoked.
func (k *Keeper) revokeMarked(l *ledger, mark *Record, rev *revocation, ours bool) {
	end := k.now().Add(k.cfg.Lifetime)
	for k.now().Before(end) {
		if !ours {
			next, err := l.nextAttempt(k.ctx, mark, rev.all)
			switch {
			case errors.Is(err, errRevoked) || errors.Is(err, errNoMark):
				return
			case errors.Is(err, errNotYet):
				if !k.pauseRevocation(next.retryAt.Sub(k.now())) {
					return
				}
				mark = next
				continue
			case err == nil:
				mark = next
			} // else the store does not respond, and the tokens are in hand
		}
		ours = false
		p, err := k.revoke(k.ctx, mark.Pair, rev.all)
		if err == nil || errors.Is(err, auth.ErrRefused) {
			rev.attempted(err == nil)
			if l.confirmRevoked(k.ctx, mark.Pair.Tokens) {
				return
			}
			continue // a refresh has left newer tokens
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

// pauseRevocation waits before the next attempt. It returns false if there will
// be none: the Manager is shut down, or too many revocations are waiting.
func (k *Keeper) pauseRevocation(d time.Duration) bool {
	if k.unwritten.Add(1) > maxUnwritten {
		k.unwritten.Add(-1)
		return false
	}
	defer k.unwritten.Add(-1)
	t := time.NewTimer(min(max(d, pacing.Min), retryAfterMax))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.stopping:
		return false
	}
}

// nextAttempt notes in the mark that this process tries to revoke its tokens.
// known is the mark as of its last attempt.
func (l *ledger) nextAttempt(ctx context.Context, known *Record, all bool) (*Record, error) {
	return l.updateMark(ctx, func(q *Record) error {
		now := l.k.now()
		switch {
		case q.Pair.Tokens == (auth.Tokens{}):
			return errRevoked
		case q.failures != known.failures && now.Before(q.retryAt):
			return errNotYet
		}
		q.all = q.all || all
		q.failures++
		q.retryAt = now.Add(l.k.attemptTime())
		return nil
	})
}

// attemptFailed notes when the next attempt may be made, and tokens that were
// renewed for the one that failed.
func (l *ledger) attemptFailed(ctx context.Context, mark *Record) {
	_, _ = l.updateMark(ctx, func(q *Record) error {
		if q.failures != mark.failures || q.Pair.Tokens == (auth.Tokens{}) {
			return errChanged
		}
		q.Pair, q.retryAt = mark.Pair, mark.retryAt
		return nil
	})
}

// confirmRevoked removes tokens from the mark. It returns false if the mark has
// other tokens by now.
func (l *ledger) confirmRevoked(ctx context.Context, revoked auth.Tokens) bool {
	mark, err := l.updateMark(ctx, func(q *Record) error {
		if q.Pair.Tokens != revoked {
			return errChanged
		}
		q.Pair, q.all = Pair{}, false
		return nil
	})
	if errors.Is(err, errChanged) {
		return mark.Pair.Tokens == (auth.Tokens{})
	}
	if err == nil {
		l.forget(ctx, mark.ended)
	}
	return true
}

// resumeRevocation tries again to revoke the tokens that the mark of an ended
// session holds, unless another attempt is recent.
func (k *Keeper) resumeRevocation(l *ledger, err error) {
	var e *Error
	if errors.As(err, &e) && e.unrevoked(k.now()) {
		k.revokeEnded(l, e.mark, false, false)
	}
}

// leave puts tokens that a refresh has brought after the session's end into the
// mark, and has them revoked.
func (l *ledger) leave(ctx context.Context, p Pair) {
	mark, err := l.updateMark(ctx, func(q *Record) error {
		if q.Created.IsZero() { // it had no tokens
			q.UserID, q.Created = l.known.UserID, l.known.Created
		}
		q.Pair, q.failures, q.retryAt = p, 0, time.Time{}
		return nil
	})
	if err != nil {
		l.k.revokeTokens(p.Tokens, true)
		return
	}
	k := l.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if running := k.revocations[l.key]; running != nil {
		running.again = true // it may have done its work before these tokens came
		return
	}
	k.startRevocationLocked(l, mark, &revocation{all: mark.all, tried: make(chan struct{})}, false, true)
}

// revokeTokens revokes tokens of which no mark knows. nested says that the
// caller is work that Shutdown waits for.
func (k *Keeper) revokeTokens(t auth.Tokens, nested bool) *revocation {
	rev := &revocation{tried: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.backgroundLocked(nested, func() {
		end := k.now().Add(k.cfg.Lifetime)
		for failures := 1; k.now().Before(end); failures++ {
			_, err := k.revoke(k.ctx, Pair{Tokens: t}, false)
			rev.attempted(err == nil)
			if err == nil || errors.Is(err, auth.ErrRefused) || !k.pauseRevocation(k.backoff(failures, err)) {
				return
			}
		}
	})
	return rev
}

// RevokeSoon revokes tokens, for which it waits a little while. It may go on
// when the request has ended, whose context a framework then uses for another.
func (k *Keeper) RevokeSoon(t auth.Tokens) { waitFor(k.revokeTokens(t, false).tried, logoutPatience) }

// revoke has the service revoke tokens, or with all every session of their user.
// For that the service needs a valid access token: revoke returns the tokens,
// which it may have renewed. The error is auth.ErrRefused if nothing is left to do it
// with.
func (k *Keeper) revoke(ctx context.Context, p Pair, all bool) (Pair, error) {
	renewed := false
	var err error
	if all && !k.now().Before(p.Expires) {
		p, err = k.renewToRevoke(ctx, p)
		renewed = true
	}
	if err == nil {
		err = k.logoutAtService(ctx, p.Tokens, all)
	}
	if all && !renewed && errors.Is(err, auth.ErrRefused) {
		if p, err = k.renewToRevoke(ctx, p); err == nil {
			err = k.logoutAtService(ctx, p.Tokens, all)
		}
	}
	if err != nil {
		k.event(ctx, slog.LevelWarn, nil, Event{Name: EventRevokeFailed, Err: err})
	}
	return p, err
}

func (k *Keeper) logoutAtService(ctx context.Context, t auth.Tokens, all bool) error {
	return k.throughGate(ctx, func(ctx context.Context) error { return k.auth.Logout(ctx, t, all) })
}

// renewToRevoke renews the tokens of a session that has ended.
func (k *Keeper) renewToRevoke(ctx context.Context, p Pair) (Pair, error) {
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
		return p, fmt.Errorf("%w: %w", auth.ErrInvalidAnswer, err)
	}
	return next, nil
}

// throughGate makes a call of the auth service that counts against its rate
// limit as a refresh does.
func (k *Keeper) throughGate(ctx context.Context, call func(context.Context) error) error {
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

// background does work that no request should lose by ending, and that
// Shutdown waits for.
func (k *Keeper) background(work func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.backgroundLocked(false, work)
}

// backgroundLocked is background for a caller that holds k.mu. Work that other
// such work has begun is waited for even after Shutdown was called.
func (k *Keeper) backgroundLocked(nested bool, work func()) {
	waited := nested || !k.closed
	if waited {
		k.running.Add(1)
	}
	go func() {
		if waited {
			defer k.running.Done()
		}
		work()
	}()
}

func waitFor(done <-chan struct{}, patience time.Duration) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
