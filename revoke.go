package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
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
func (m *Manager) revokeEnded(l *ledger, mark *Record, all, ours bool) *revocation {
	rev := &revocation{all: all || mark.all, tried: make(chan struct{})}
	if mark.Pair.Tokens == (auth.Tokens{}) {
		rev.attempted(!rev.all)
		return rev
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if running := m.revocations[l.key]; running != nil && (running.all || !rev.all) {
		return running
	}
	m.startRevocationLocked(l, mark, rev, ours, false)
	return rev
}

func (m *Manager) startRevocationLocked(l *ledger, mark *Record, rev *revocation, ours, nested bool) {
	f := m.flights[l.key]
	m.revocations[l.key] = rev
	m.backgroundLocked(nested, func() {
		if f != nil && !nested {
			// Its new tokens will be in the mark.
			waitFor(f.landed, logoutPatience)
			ours = false
		}
		for more := true; more; ours = false {
			m.revokeMarked(l, mark, rev, ours)
			more = m.finishRevocation(l.key, rev)
		}
		rev.attempted(rev.succeeded())
	})
}

// finishRevocation takes rev off the list, unless newer tokens have come.
func (m *Manager) finishRevocation(key string, rev *revocation) (more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rev.again {
		rev.again = false
		return true
	}
	if m.revocations[key] == rev {
		delete(m.revocations, key)
	}
	return false
}

var (
	errRevoked = errors.New("the tokens are revoked")
	errNotYet  = errors.New("another attempt to revoke the tokens is recent")
)

// attemptTime is how long others leave an attempt alone that this process has
// begun.
func (m *Manager) attemptTime() time.Duration { return 2*m.cfg.AuthTimeout + 2*logoutPatience }

// revokeMarked makes attempts until the tokens in the mark are revoked.
func (m *Manager) revokeMarked(l *ledger, mark *Record, rev *revocation, ours bool) {
	end := m.now().Add(m.cfg.Lifetime)
	for m.now().Before(end) {
		if !ours {
			next, err := l.nextAttempt(m.ctx, mark, rev.all)
			switch {
			case errors.Is(err, errRevoked) || errors.Is(err, errNoMark):
				return
			case errors.Is(err, errNotYet):
				if !m.pauseRevocation(next.retryAt.Sub(m.now())) {
					return
				}
				mark = next
				continue
			case err == nil:
				mark = next
			} // else the store does not respond, and the tokens are in hand
		}
		ours = false
		p, err := m.revoke(m.ctx, mark.Pair, rev.all)
		if err == nil || errors.Is(err, auth.ErrRefused) {
			rev.attempted(err == nil)
			if l.confirmRevoked(m.ctx, mark.Pair.Tokens) {
				return
			}
			continue // a refresh has left newer tokens
		}
		wait := m.backoff(mark.failures, err)
		mark = mark.Clone()
		mark.Pair, mark.retryAt = p, m.now().Add(wait)
		l.attemptFailed(m.ctx, mark)
		rev.attempted(false)
		if !m.pauseRevocation(wait) {
			return
		}
	}
}

// pauseRevocation waits before the next attempt. It returns false if there will
// be none: the Manager is shut down, or too many revocations are waiting.
func (m *Manager) pauseRevocation(d time.Duration) bool {
	if m.unwritten.Add(1) > maxUnwritten {
		m.unwritten.Add(-1)
		return false
	}
	defer m.unwritten.Add(-1)
	t := time.NewTimer(min(max(d, backoffMin), retryAfterMax))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.stopping:
		return false
	}
}

// nextAttempt notes in the mark that this process tries to revoke its tokens.
// known is the mark as of its last attempt.
func (l *ledger) nextAttempt(ctx context.Context, known *Record, all bool) (*Record, error) {
	return l.updateMark(ctx, func(q *Record) error {
		now := l.m.now()
		switch {
		case q.Pair.Tokens == (auth.Tokens{}):
			return errRevoked
		case q.failures != known.failures && now.Before(q.retryAt):
			return errNotYet
		}
		q.all = q.all || all
		q.failures++
		q.retryAt = now.Add(l.m.attemptTime())
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
		l.m.revokeTokens(p.Tokens, true)
		return
	}
	m := l.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if running := m.revocations[l.key]; running != nil {
		running.again = true // it may have done its work before these tokens came
		return
	}
	m.startRevocationLocked(l, mark, &revocation{all: mark.all, tried: make(chan struct{})}, false, true)
}

// revokeTokens revokes tokens of which no mark knows. nested says that the
// caller is work that Shutdown waits for.
func (m *Manager) revokeTokens(t auth.Tokens, nested bool) *revocation {
	rev := &revocation{tried: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backgroundLocked(nested, func() {
		end := m.now().Add(m.cfg.Lifetime)
		for failures := 1; m.now().Before(end); failures++ {
			_, err := m.revoke(m.ctx, Pair{Tokens: t}, false)
			rev.attempted(err == nil)
			if err == nil || errors.Is(err, auth.ErrRefused) || !m.pauseRevocation(m.backoff(failures, err)) {
				return
			}
		}
	})
	return rev
}

// revokeSoon revokes tokens, for which it waits a little while. It may go on
// when the request has ended, whose context a framework then uses for another.
func (m *Manager) revokeSoon(t auth.Tokens) { waitFor(m.revokeTokens(t, false).tried, logoutPatience) }

// revoke has the service revoke tokens, or with all every session of their user.
// For that the service needs a valid access token: revoke returns the tokens,
// which it may have renewed. The error is auth.ErrRefused if nothing is left to do it
// with.
func (m *Manager) revoke(ctx context.Context, p Pair, all bool) (Pair, error) {
	renewed := false
	var err error
	if all && !m.now().Before(p.Expires) {
		p, err = m.renewToRevoke(ctx, p)
		renewed = true
	}
	if err == nil {
		err = m.logoutAtService(ctx, p.Tokens, all)
	}
	if all && !renewed && errors.Is(err, auth.ErrRefused) {
		if p, err = m.renewToRevoke(ctx, p); err == nil {
			err = m.logoutAtService(ctx, p.Tokens, all)
		}
	}
	if err != nil {
		m.event(ctx, slog.LevelWarn, nil, Event{Name: EventRevokeFailed, Err: err})
	}
	return p, err
}

func (m *Manager) logoutAtService(ctx context.Context, t auth.Tokens, all bool) error {
	return m.throughGate(ctx, func(ctx context.Context) error { return m.auth.Logout(ctx, t, all) })
}

// renewToRevoke renews the tokens of a session that has ended.
func (m *Manager) renewToRevoke(ctx context.Context, p Pair) (Pair, error) {
	var grant auth.Grant
	err := m.throughGate(ctx, func(ctx context.Context) (err error) {
		grant, err = m.auth.Refresh(ctx, p.Tokens)
		return err
	})
	tokens := grant.Tokens
	if tokens.RefreshToken != "" {
		p.Tokens.RefreshToken = tokens.RefreshToken
	}
	if err != nil {
		return p, err
	}
	next, err := m.newPair(tokens, p.Tokens)
	if err != nil {
		return p, fmt.Errorf("%w: %w", auth.ErrInvalidAnswer, err)
	}
	return next, nil
}

// throughGate makes a call of the auth service that counts against its rate
// limit as a refresh does.
func (m *Manager) throughGate(ctx context.Context, call func(context.Context) error) error {
	leave, err := m.gate.enter(ctx, logoutPatience, m.now)
	if err != nil {
		return err
	}
	ctx, cancel := m.authContext(ctx)
	defer cancel()
	err = call(ctx)
	leave(err)
	return err
}

// background does work that no request should lose by ending, and that
// Shutdown waits for.
func (m *Manager) background(work func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backgroundLocked(false, work)
}

// backgroundLocked is background for a caller that holds m.mu. Work that other
// such work has begun is waited for even after Shutdown was called.
func (m *Manager) backgroundLocked(nested bool, work func()) {
	waited := nested || !m.closed
	if waited {
		m.running.Add(1)
	}
	go func() {
		if waited {
			defer m.running.Done()
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
