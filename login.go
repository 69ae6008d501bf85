package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/deadline"
	"github.com/synmetrix/session/internal/keeper"
)

// Login signs a user in with an e-mail address and a password. On success the request has a
// new session with a new ID, and the browser's previous session has ended. If that was the
// session of a visitor or of the same user, the new session has its values; see
// Config.KeepValue. Login removes spaces around the address and passes the password on
// unchanged.
//
// The duration of a refusal ([auth.ErrRefused]) does not show whether the account exists:
// Login returns it 300 ms after the call at the earliest. If the auth service is slow, this
// time doubles until it is a quarter longer than the slowest response to a sign-in in the
// last hour, up to 2.4 s. The wait ends early if ctx or the request ends. Login returns
// other results at once.
//
// Wrong passwords are limited by Config.Limits. When a limit is reached, Login fails with
// a [*TooManyAttemptsError] and does not call the service.
//
// Other errors of Login are
//   - those of the auth service, see [auth.Service],
//   - [auth.ErrSecondFactor] if a one-time code is required: the browser then
//     keeps the pending login in a cookie for 15 minutes, for LoginTOTP,
//   - [ErrTooLarge] if the tokens do not fit the cookies,
//   - [ErrTooManySessions] if Config.RejectOverMax is set and the user has
//     Config.MaxSessions sessions,
//   - [ErrSessionUnavailable] if the store does not store the session,
//   - the context's error if the client has disconnected,
//   - [ErrCommitted] if the response has begun.
//
// If Login fails after the service has issued tokens, it revokes the tokens. The browser's
// previous session then continues.
func (m *Manager) Login(ctx context.Context, email, password string, opts ...SignInOption) (err error) {
	defer m.reportSignIn(ctx, m.calls.Start(), &err)
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	account := m.account(email)
	attempt, err := m.guess(ctx, x, passwordGuess, account, email)
	if err != nil {
		return err
	}
	start := time.Now()
	callCtx := m.authContext(ctx)
	grant, err := m.auth.Login(callCtx, strings.TrimSpace(email), password)
	callCtx.End()
	noteGuess(ctx, attempt, err)
	m.floor.note(start, err)
	if err != nil {
		if factor := (*auth.SecondFactorError)(nil); errors.As(err, &factor) && m.features.SecondFactor {
			p := pending{ticket: factor.Ticket, email: strings.TrimSpace(email), signInOptions: newSignInOptions(opts)}
			if failed := m.await(x, codeStep, p); failed != nil {
				return m.loginFailed(ctx, "login", grant.Tokens, failed)
			}
			return fmt.Errorf("session: login: %w", err)
		}
		err = m.loginFailed(ctx, "login", grant.Tokens, err)
		m.floor.hold(ctx, x.ctx, start, err)
		return err
	}
	x.noteAccount(account)
	return m.startSession(ctx, x, grant, strings.TrimSpace(email), newSignInOptions(opts))
}

// PendingLogin reports whether the browser has a login that waits for its one-time code,
// and returns the address that the first step passed to [WithReturnTo].
func (m *Manager) PendingLogin(ctx context.Context) (returnTo string, ok bool) {
	x, err := m.exchange(ctx)
	if err != nil {
		return "", false
	}
	p := x.pendingAt(codeStep)
	return p.returnTo, p.waits
}

// LoginTOTP completes a login for which Login has returned [auth.ErrSecondFactor]. Its
// errors are those of Login, with the same delay for refusals, and [ErrNoPendingLogin] if
// no login waits for a code. After a wrong code ([auth.ErrRefused]) the user may try again,
// unless the error is also [auth.ErrTicketRefused]: the user must then start again with the
// password.
func (m *Manager) LoginTOTP(ctx context.Context, code string) (err error) {
	defer m.reportSignIn(ctx, m.calls.Start(), &err)
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	p := x.pendingAt(codeStep)
	if !m.features.SecondFactor || !p.waits {
		return fmt.Errorf("session: login: %w", ErrNoPendingLogin)
	}
	account := m.account(p.email)
	attempt, err := m.guess(ctx, x, codeGuess, account, p.email)
	if err != nil {
		return err
	}
	start := time.Now()
	callCtx := m.authContext(ctx)
	grant, err := m.auth.LoginTOTP(callCtx, p.ticket, code)
	callCtx.End()
	noteGuess(ctx, attempt, err)
	m.floor.note(start, err)
	if errors.Is(err, auth.ErrTicketRefused) {
		_ = x.setPending(codeStep, pending{})
	}
	if err != nil {
		err = m.loginFailed(ctx, "second factor", grant.Tokens, err)
		m.floor.hold(ctx, x.ctx, start, err)
		return err
	}
	x.noteAccount(account)
	return m.startSession(ctx, x, grant, p.email, p.signInOptions)
}

// Start starts a session from a grant that the app received in another way than by Login.
// Its errors are those of Login.
func (m *Manager) Start(ctx context.Context, grant auth.Grant, opts ...SignInOption) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	return m.startSession(ctx, x, grant, "", newSignInOptions(opts))
}

// authContext returns a context for one call of the auth service. The call does not end
// with the request: the service could still issue tokens, and the tokens of a lost response
// cannot be revoked. The caller must end the context.
func (m *Manager) authContext(ctx context.Context) *deadline.Context {
	return deadline.New(context.WithoutCancel(ctx), m.cfg.AuthTimeout)
}

// loginFailed reports a failed login, revokes the tokens if the service issued any, and
// returns the error for the app.
func (m *Manager) loginFailed(ctx context.Context, step string, tokens auth.Tokens, err error) error {
	if tokens.RefreshToken != "" {
		m.keeper.RevokeSoon(tokens)
	}
	m.keeper.RateLimited(err)
	level, name := slog.LevelInfo, EventLoginRefused
	if !errors.Is(err, auth.ErrRefused) && !errors.Is(err, ErrTooManySessions) {
		level, name = slog.LevelWarn, EventLoginUnavailable
	}
	m.event(ctx, level, nil, Event{Name: name, Err: err})
	return fmt.Errorf("session: %s: %w", step, err)
}

// Logout ends the request's session, and revokes its tokens at the auth service. Without a
// session it does nothing. If the user acts as another user, Logout only ends acting, and
// the request has the user's own session again; see ActAs. If the service is down, the
// session has ended here, and the tokens are revoked later. Logout fails with
// [ErrSessionUnavailable] if the store is down: the session may then still exist, and the
// cookie stays.
func (m *Manager) Logout(ctx context.Context) error {
	return m.logout(ctx, keeper.EndedByLogout, false)
}

// LogoutAll ends all sessions of the user. They end at once in this process, and within 2 s
// in others that share the store or the coordinator, even if the auth service is down.
// LogoutAll also makes the service revoke the tokens of all sessions, and retries this call
// until it succeeds.
//
// If the store or the coordinator is down, LogoutAll fails with [ErrSessionUnavailable],
// and no session ends. If the store fails after it has stored the end of the request's
// session, LogoutAll fails with [ErrLogoutIncomplete].
func (m *Manager) LogoutAll(ctx context.Context) error {
	return m.logout(ctx, keeper.EndedByLogoutAll, true)
}

func (m *Manager) logout(ctx context.Context, why keeper.Reason, all bool) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	if x.acting.Load() != nil {
		return m.endActing(ctx, x, why, all)
	}
	if x.endedActing() {
		return nil // the page showed the other user, whose session has already ended
	}
	return m.endSession(ctx, x, why, all)
}

// endSession ends the session of x.
func (m *Manager) endSession(ctx context.Context, x *Exchange, why keeper.Reason, all bool) error {
	x.mu.Lock()
	current := x.current
	x.mu.Unlock()
	var ended *keeper.Error
	var incomplete bool
	if current != nil {
		err := m.keeper.End(ctx, current, why, all && !current.Visitor)
		incomplete = errors.Is(err, keeper.ErrIncomplete)
		hasEnded := errors.As(err, &ended) && ended.Ended != ""
		if err != nil && !incomplete && !hasEnded {
			return m.publicError(ctx, current, err)
		}
	}
	fate := signsOut
	if ended != nil && ended.Ended == keeper.EndedByLogin {
		// Another request has signed the browser in again before this one. Its
		// cookies must not be deleted.
		fate = keeps
	}
	x.signOut(fate)
	if incomplete {
		return fmt.Errorf("session: logout: %w", ErrLogoutIncomplete)
	}
	return nil
}

// signOut leaves the request without a session, and the browser without pending logins.
// fate determines what happens to the session's cookies.
func (x *Exchange) signOut(f fate) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.current, x.fate = nil, f
	x.endPendingLocked()
	x.replace(&Session{m: x.m, ctx: x.ctx})
}
