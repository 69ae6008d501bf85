package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
)

// A user who acts as another one has two sessions at the same time: the own one, which
// stays as it is, and one of the other user, in cookies of other names and with an Exchange
// of its own. Handlers see the second while it lasts. It notes the key of the own session,
// and is accepted only beside it.

// ActAs begins a session in which the request's user acts as the user of grant, for example
// for support. Handlers then see that session; [Session.Actor] returns who the user really
// is. The app must decide who may act as whom before it calls ActAs, and gets the tokens of
// the other user from the auth service.
//
// The own session stays beneath. [Manager.Logout] ends the session of the other user and
// leads back to the own one. LogoutAll ends all sessions of the other user, and none of the
// own. The session of the other user ends with the own session at the latest, and does not
// count for Config.MaxSessions. Set a short [WithLifetime]. A sign-in ends both sessions.
//
// Meanwhile the methods that manage the account and the sessions of the user fail with
// [ErrActing]. So does ActAs. Its other errors are those of Start, and [ErrUnauthenticated]
// if no user is signed in.
func (m *Manager) ActAs(ctx context.Context, grant auth.Grant, opts ...SignInOption) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	own := s.known()
	if own == nil {
		return fmt.Errorf("session: act as: %w", ErrUnauthenticated)
	}
	p, err := m.newPair(ctx, grant, "")
	if err != nil {
		return err
	}
	rec := m.newRecord(x, p, own.Created.Add(-own.Earlier))
	rec.Actor = &keeper.Actor{UserID: own.UserID, Key: own.Key}
	newSignInOptions(opts).apply(rec, nil, m.cfg.Cookie)
	left := m.keeper.LifetimeEnd(own).Sub(m.now())
	rec.Lifetime, rec.Transient = min(left, cmp.Or(rec.Lifetime, left)), own.Transient
	if err := m.create(ctx, rec, nil); err != nil {
		return m.loginFailed(ctx, "act as", p.Tokens, err)
	}
	y := m.newActing(x)
	y.current, y.fate = rec, signsIn
	y.session.Store(&Session{m: m, ctx: x.ctx, rec: rec, presented: true, resolved: true, actor: s})
	x.mu.Lock()
	late := x.committed
	if !late {
		x.beside = y
	}
	x.mu.Unlock()
	if late {
		_ = m.keeper.End(ctx, rec, keeper.EndedBeforeDelivery, false)
		return fmt.Errorf("session: act as: %w", ErrCommitted)
	}
	x.acting.Store(y)
	m.event(ctx, slog.LevelInfo, rec, Event{Name: EventSessionStarted})
	return nil
}

// Actor returns the user who acts as the session's user; see [Manager.ActAs]. It returns
// the zero User if the session's user has signed in. It does not wait.
func (s *Session) Actor() auth.User {
	rec, own := s.known(), s.actor.known()
	if rec == nil || rec.Actor == nil || own == nil {
		return auth.User{}
	}
	return userOf(own)
}

// newActing returns an Exchange for the session in which the user of x acts as another one.
func (m *Manager) newActing(x *Exchange) *Exchange {
	y := &Exchange{m: m, ctx: x.ctx, place: &m.acting, peer: x.peer, header: x.header, presented: x.presented}
	y.first.m, y.first.ctx = m, x.ctx
	y.session.Store(&y.first)
	return y
}

// loadActing opens the cookies of the session in which the user acts as another one.
// Handlers see it if it belongs to the own session, or cannot be determined: during an
// outage they must not see the own session in its place.
func (x *Exchange) loadActing(ctx context.Context) {
	m, own := x.m, x.first.known()
	y := m.newActing(x)
	x.beside = y
	y.load(ctx)
	rec := y.first.known()
	switch {
	case x.first.unavailable(), rec == nil && y.first.unavailable():
		// Without both sessions it is not known whether this one belongs to the own one.
		// Neither is used, and a logout is meant for this one.
		y.session.Store(&Session{err: &UnavailableError{RetryAfter: time.Second, Err: errActingUnread}})
		x.acting.Store(y)
	case own == nil || own.Visitor:
		if y.current != nil {
			_ = m.keeper.End(ctx, y.current, keeper.EndedByActor, false)
		}
		fate := signsOut
		if x.first.ended && !x.first.expire {
			fate = keeps // a late request: the browser may have newer cookies
		}
		y.signOut(fate)
	case rec == nil: // it has ended, or does not open
	case rec.Actor == nil || *rec.Actor != keeper.Actor{UserID: own.UserID, Key: own.Key}:
		// The user has signed in anew since.
		_ = m.keeper.End(ctx, rec, keeper.EndedByActor, false)
		y.signOut(signsOut)
	default:
		y.first.actor = &x.first
		x.acting.Store(y)
	}
}

var errActingUnread = errors.New("the session in which the user acts as another one, or the own one, cannot be read")

// endActing ends the session in which the user acts as another one, if there is one.
// Handlers see the own session afterwards. The error is as that of logout.
func (m *Manager) endActing(ctx context.Context, x *Exchange, why keeper.Reason, all bool) error {
	y := x.acting.Load()
	if y == nil {
		return nil
	}
	err := m.endSession(ctx, y, why, all)
	if !errors.Is(err, ErrSessionUnavailable) {
		x.acting.Store(nil)
	}
	return err
}

// endedActing reports whether the request has presented a session in which the user acts as
// another one, and that had ended before. Its cookies are deleted.
func (x *Exchange) endedActing() bool {
	x.mu.Lock()
	y := x.beside
	x.mu.Unlock()
	if y == nil || y.session.Load() != &y.first {
		return false
	}
	y.signOut(signsOut)
	return true
}

// unavailable reports whether the presented session could not be read.
func (s *Session) unavailable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread != nil
}

// commitBeside is Commit for the session in which the user acts as another one. own and
// failed are the outcome and the error of the own session. changed reports whether acting has
// begun or ended.
func (y *Exchange) commitBeside(h http.Header, own *outcome, failed error) (changed bool, err error) {
	s := y.session.Load()
	y.mu.Lock()
	o := y.outcome
	y.mu.Unlock()
	o.passive = own.passive
	if failed != nil && o.fate == signsIn {
		// The client repeats the request, and acts then.
		y.m.keeper.Undelivered(context.WithoutCancel(y.ctx), o.current)
		return false, nil
	}
	err = y.commitSession(h, s, &o)
	if err == nil {
		return o.fate != keeps, nil
	}
	s.discardChanges()
	if o.fate == signsIn {
		y.m.keeper.Undelivered(context.WithoutCancel(y.ctx), o.current)
	}
	return false, err
}
