package session

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// This file starts sessions, and copies the values of the sessions that they continue.

// startSession creates a session from grant and makes it the session of the request. It
// creates the new session before it ends the previous one, so that the previous session
// continues after a failure. email is the address that the user entered, "" if there is
// none.
func (m *Manager) startSession(ctx context.Context, x *Exchange, grant auth.Grant, email string, o signInOptions) error {
	p, err := m.newPair(ctx, grant, email)
	if err != nil {
		return err
	}
	if canceled := cmp.Or(ctx.Err(), x.ctx.Err()); canceled != nil {
		// No browser would get the session's cookies.
		return m.loginFailed(ctx, "login", p.Tokens(), fmt.Errorf("the client has disconnected: %w", canceled))
	}
	authenticated := grant.AuthenticatedAt
	if authenticated.IsZero() {
		authenticated = p.Claims.AuthenticatedAt
	}
	rec := m.newRecord(x, p, authenticated)
	x.mu.Lock()
	current := x.current
	x.mu.Unlock()
	before, err := x.session.Load().newestRecord(ctx)
	if err != nil {
		// The previous session cannot be read, so its values would be lost.
		return m.loginFailed(ctx, "login", p.Tokens(), err)
	}
	before = m.continueSession(x, before, rec, o)
	if err := m.create(ctx, rec, current); err != nil {
		return m.loginFailed(ctx, "login", p.Tokens(), err)
	}
	if p.Claims.Err() != nil {
		m.event(ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: p.Claims.Err()})
	}
	previous, ok := x.signIn(rec)
	if !ok {
		_ = m.keeper.End(ctx, rec, keeper.EndedBeforeDelivery, false)
		return fmt.Errorf("session: login: %w", ErrCommitted)
	}
	m.leaveActing(ctx, x)
	if previous != nil {
		// The sign-in succeeds even if this fails: the response replaces the cookies of the
		// previous session, and the keeper retries to end it.
		m.keeper.EndReplaced(ctx, previous, func(ctx context.Context, last map[string][]byte) error {
			return m.addLateValues(ctx, rec, before, last)
		})
	}
	m.event(ctx, slog.LevelInfo, rec, Event{Name: EventSessionStarted})
	return nil
}

// signIn makes rec the session of the request, unless the response has begun. It returns
// the previous session, nil if there was none.
func (x *Exchange) signIn(rec *keeper.Record) (previous *keeper.Record, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.committed {
		return nil, false
	}
	previous = x.current
	x.current, x.fate = rec, signsIn
	if x.device = x.account; x.device == "" && rec.Pair.Email() != "" {
		x.device = x.m.account(rec.Pair.Email())
	}
	x.endPendingLocked()
	// The session is resolved, because its tokens are new.
	x.replace(&Session{m: x.m, ctx: x.ctx, rec: rec, presented: true, resolved: true})
	return previous, true
}

// newPair returns the tokens of grant. email is the address that the user entered, "" if
// there is none. If newPair fails, it reports the error and revokes the tokens. The error
// is [auth.ErrInvalidResponse] if the tokens are unusable, and [auth.ErrUnavailable] if
// they cannot be verified now.
func (m *Manager) newPair(ctx context.Context, grant auth.Grant, email string) (keeper.Pair, error) {
	if m.cfg.Verifier != nil {
		ctx = context.WithoutCancel(ctx) // the tokens of a client that disconnects are verified, too
	}
	p, err := m.keeper.NewPair(ctx, grant.Tokens, auth.Tokens{})
	if err == nil && p.Tokens().RefreshToken == "" {
		err = errors.New("no refresh token")
	}
	if err != nil && !errors.Is(err, auth.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", auth.ErrInvalidResponse, err)
	}
	if err != nil {
		return p, m.loginFailed(ctx, "login", grant.Tokens, err)
	}
	p.User = keeper.NewUser(grant.User, p.Claims, &auth.User{Email: email})
	return p, nil
}

// newRecord returns a new session with the tokens p. authenticated is when the user entered
// the credentials; zero means now.
func (m *Manager) newRecord(x *Exchange, p keeper.Pair, authenticated time.Time) *keeper.Record {
	now := m.now()
	rec := keeper.NewRecord(p, now)
	if !authenticated.IsZero() {
		rec.Earlier = max(now.Sub(authenticated), 0)
	}
	rec.Device = keeper.NewDevice(m.clientAddr(x.peer, x.header), x.header.Get("User-Agent"))
	return rec
}

// continueSession applies the options to rec, a new session. If before, the browser's
// previous session, is of a visitor or of the same user, rec gets its values; with the same
// user, rec also gets the options of the earlier sign-in. continueSession returns the
// session that rec continues, nil if there is none.
func (m *Manager) continueSession(x *Exchange, before, rec *keeper.Record, o signInOptions) *keeper.Record {
	if before != nil && !before.Visitor && before.UserID != rec.UserID {
		before = nil
	}
	if before != nil {
		rec.Values = m.keptValues(before, x.session.Load().withChanges(before.Values))
	}
	if before != nil && !before.Visitor {
		o.apply(rec, before, m.cfg.Cookie)
	} else {
		o.apply(rec, nil, m.cfg.Cookie) // a visitor's session has no options
	}
	return before
}

// keptValues returns those values of the previous session that a sign-in keeps.
func (m *Manager) keptValues(before *keeper.Record, values map[string][]byte) map[string][]byte {
	if !before.Visitor || m.cfg.KeepValue == nil {
		return values
	}
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(name string, _ []byte) bool {
		var keep bool
		guard.Call(m.cfg.Logger, "Config.KeepValue", func() { keep = m.cfg.KeepValue(name) })
		return !keep
	})
	return values
}

// addLateValues copies late changes to the new session rec: changes that other requests
// stored in the previous session before after its values were copied to rec. last are the
// values of that session at its end. before is nil if rec continues no session. The error
// is the keeper's.
func (m *Manager) addLateValues(ctx context.Context, rec, before *keeper.Record, last map[string][]byte) error {
	if before == nil {
		return nil
	}
	read, late := m.keptValues(before, before.Values), map[string]change{}
	last = m.keptValues(before, last)
	for _, values := range []map[string][]byte{read, last} {
		for name := range values {
			// A change by this request itself has priority.
			if !bytes.Equal(read[name], last[name]) && bytes.Equal(read[name], rec.Values[name]) {
				late[name] = change{raw: last[name]}
			}
		}
	}
	if len(late) == 0 {
		return nil
	}
	_, err := m.keeper.Update(ctx, rec, func(r *keeper.Record) error {
		// This may be a late retry: later changes of the new session have priority.
		changes := maps.Clone(late)
		maps.DeleteFunc(changes, func(name string, _ change) bool { return !bytes.Equal(r.Values[name], rec.Values[name]) })
		r.Values = merge(r.Values, changes)
		return nil
	})
	return err
}

// create stores a new session, or checks that it fits its cookies. A session that
// does not fit must fail the login, not the response.
func (m *Manager) create(ctx context.Context, rec, previous *keeper.Record) error {
	// A session never takes more room in its cookies than in memory, and most sessions are
	// so small that this shows that they fit.
	if !m.stored() && !m.jar.Fits(seal.Size(rec.Memory())) {
		sized := *rec
		sized.Ends, sized.Pair.Roles = math.MaxUint32, math.MaxUint32 // Create sets them
		e := seal.NewEncoder()
		defer e.Free()
		if encodeTokens(e, &sized); !m.jar.Fits(seal.Size(len(e.B))) {
			return errCookiesFull
		}
	}
	return m.publicError(ctx, rec, m.keeper.Create(ctx, rec, previous))
}
