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

// A user who acts as another user (the actor) has two sessions at the same time. The own
// session is the actor's, and does not change. The acting session is that of the other
// user. It has its own cookies and its own Exchange, and handlers see it while it lasts.
// Its record has the key of the own session, and it is accepted only together with that
// session.

// ActAs starts a session in which the request's user acts as the user of grant, for example
// for support. Handlers then see that session, and [Session.Actor] returns the user who
// acts. Before the app calls ActAs, it must decide who may act as whom. It gets the grant
// of the other user from the auth service.
//
// The user's own session continues in the background. [Manager.Logout] ends the session of
// the other user, and the request has the own session again. LogoutAll ends all sessions of
// the other user and none of the user's own. The session of the other user ends with the
// own session at the latest, and does not count for Config.MaxSessions. Set a short
// [WithLifetime]. A sign-in ends both sessions.
//
// While a user acts as another user, ActAs and the methods that manage the user's account
// and sessions fail with [ErrActing]. The other errors of ActAs are those of Start, and
// [ErrUnauthenticated] if no user is signed in.
func (m *Manager) ActAs(ctx context.Context, grant auth.Grant, opts ...SignInOption) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	own := s.anyRecord()
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
		return m.loginFailed(ctx, "act as", p.Tokens(), err)
	}
	y := m.newActing(x)
	y.current, y.fate = rec, signsIn
	y.session.Store(&Session{m: m, ctx: x.ctx, rec: rec, presented: true, resolved: true, actor: s})
	x.mu.Lock()
	late := x.committed
	if !late {
		x.lastActing = y
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
// the zero User if the session's user has signed in themselves. It does not wait.
func (s *Session) Actor() auth.User {
	rec, own := s.anyRecord(), s.actor.anyRecord()
	if rec == nil || rec.Actor == nil || own == nil {
		return auth.User{}
	}
	return userOf(own)
}

// newActing returns an Exchange for the acting session of the user of x.
func (m *Manager) newActing(x *Exchange) *Exchange {
	y := &Exchange{m: m, ctx: x.ctx, place: &m.acting, peer: x.peer, header: x.header, presented: x.presented}
	y.first.m, y.first.ctx = m, x.ctx
	y.session.Store(&y.first)
	return y
}

// loadActing opens the cookies of the acting session. Handlers see the acting session if it
// belongs to the own session. They also see it if it cannot be determined: during an outage
// they must not see the own session in its place.
func (x *Exchange) loadActing(ctx context.Context) {
	m, own := x.m, x.first.anyRecord()
	y := m.newActing(x)
	x.lastActing = y
	y.load(ctx)
	rec := y.first.anyRecord()
	switch {
	case x.first.unavailable(), rec == nil && y.first.unavailable():
		// Without both sessions it is unknown whether the acting session belongs to the own
		// session. Handlers then can use neither, and a logout ends the acting session.
		y.session.Store(&Session{failure: &failure{err: &UnavailableError{RetryAfter: time.Second, Err: errActingUnread}}})
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
		// The actor has signed in again since acting began.
		_ = m.keeper.End(ctx, rec, keeper.EndedByActor, false)
		y.signOut(signsOut)
	default:
		y.first.actor = &x.first
		x.acting.Store(y)
	}
}

var errActingUnread = errors.New("the session in which the user acts as another user, or the user's own session, cannot be read")

// endActing ends the acting session, if there is one. Handlers see the own session
// afterwards. Its errors are those of logout.
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

// leaveActing ends the acting session because the user has signed in. The handler sees the
// new session, even if the end of the acting session cannot be stored. The browser then keeps
// its cookies, and the next request ends it: it does not belong to the new session.
func (m *Manager) leaveActing(ctx context.Context, x *Exchange) {
	y := x.acting.Load()
	if errors.Is(m.endActing(ctx, x, keeper.EndedByLogin, false), ErrSessionUnavailable) {
		y.signOut(keeps)
		x.acting.Store(nil)
	}
}

// endedActing reports whether the request presented an acting session that had already
// ended. The response then deletes its cookies.
func (x *Exchange) endedActing() bool {
	x.mu.Lock()
	y := x.lastActing
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

// commitActing is Commit for the acting session. own and failed are the outcome and the
// error of the own session. changed reports whether acting has begun or ended.
func (y *Exchange) commitActing(h http.Header, own *outcome, failed error) (changed bool, err error) {
	s := y.session.Load()
	y.mu.Lock()
	o := y.outcome
	y.mu.Unlock()
	o.passive = own.passive
	if failed != nil && o.fate == signsIn {
		// The client repeats the request, which starts acting again.
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
