package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/throttle"
)

// ChangePassword changes the password of the request's user, ends the user's other
// sessions, and signs the user in with the new password: the session continues with its
// values, under a new ID and with new tokens.
//
// The errors of ChangePassword are
//   - [auth.ErrWrongPassword] if the old password is wrong, with the delay that Login
//     describes,
//   - a [*TooManyAttemptsError] if one of Config.Limits is reached,
//   - [auth.ErrPasswordRefused] if the service does not accept the new password,
//   - [auth.ErrSecondFactor] if the password is changed and the new sign-in requires a
//     one-time code: LoginTOTP then completes it, and until then the session lasts no
//     longer than its access token,
//   - [ErrSignInAgain] if the password is changed, but the new sign-in failed: the session
//     has ended,
//   - [ErrUnauthenticated], [ErrEnded] and [ErrSessionUnavailable] as for
//     [Session.AccessToken],
//   - the other errors of the auth service, see [auth.Service],
//   - [errors.ErrUnsupported] if the service has no [auth.PasswordChange].
//
// After any other error the password has not changed, or may have changed if the error is
// [auth.ErrOutcomeUnknown].
//
// The other sessions end as LogoutOthers describes. If the store is down, they end when
// their access tokens expire, because the service has revoked their refresh tokens. The
// Manager calls the service once to revoke them. A failure is reported as
// [EventRevokeFailed] and is not retried, because a later call would also end the new
// session.
func (m *Manager) ChangePassword(ctx context.Context, oldPassword, newPassword string, opts ...SignInOption) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	attempt, err := m.guess(ctx, x, passwordGuess, m.accountOf(s), s.User().Email)
	if err != nil {
		return err
	}
	start := time.Now()
	err = m.asUser(ctx, s, func(ctx context.Context, accessToken string) error {
		return m.auth.ChangePassword(ctx, accessToken, oldPassword, newPassword)
	})
	if err == nil || errors.Is(err, auth.ErrWrongPassword) {
		noteGuess(ctx, attempt, err)
	} else {
		attempt.Done(ctx, throttle.Undone)
	}
	if err != nil {
		err = m.accountFailed(ctx, s, "change password", err)
		m.floor.hold(ctx, x.ctx, start, err)
		return err
	}
	m.event(ctx, slog.LevelInfo, s.anyRecord(), Event{Name: EventPasswordChanged})
	m.endOtherSessions(ctx, s)
	return m.signInAnew(ctx, x, s, newPassword, newSignInOptions(opts))
}

// endOtherSessions ends all sessions of the user except s. Services can only revoke the
// tokens of all sessions, so the tokens of s are revoked, too. A failure is only reported,
// because the password has already changed.
func (m *Manager) endOtherSessions(ctx context.Context, s *Session) {
	_ = m.LogoutOthers(ctx) // LogoutOthers reports a failure of the store
	rec := s.anyRecord()
	if rec == nil {
		return
	}
	callCtx := m.authContext(ctx)
	defer callCtx.End()
	if err := m.auth.Logout(callCtx, rec.Pair.Tokens(), true); err != nil {
		m.keeper.RateLimited(err)
		m.event(ctx, slog.LevelWarn, rec, Event{Name: EventRevokeFailed, Err: err})
	}
}

// signInAnew signs the user of s in with the new password. If the sign-in fails, the
// session ends, because its tokens are revoked.
func (m *Manager) signInAnew(ctx context.Context, x *Exchange, s *Session, password string, o signInOptions) error {
	rec := s.anyRecord()
	if rec == nil {
		return m.signInAgain(ctx, x, ErrEnded)
	}
	email := rec.Pair.Email()
	if email == "" {
		return m.signInAgain(ctx, x, errors.New("the auth service has not reported the e-mail address"))
	}
	callCtx := m.authContext(ctx)
	grant, err := m.auth.Login(callCtx, email, password)
	callCtx.End()
	var factor *auth.SecondFactorError
	switch {
	case err == nil:
		err = m.startSession(ctx, x, grant, email, o)
	case errors.As(err, &factor) && m.features.SecondFactor:
		p := pending{ticket: factor.Ticket, email: email, signInOptions: o}
		if failed := m.await(x, codeStep, p); failed != nil {
			return m.signInAgain(ctx, x, failed)
		}
		return fmt.Errorf("session: change password: %w", err)
	default:
		err = m.loginFailed(ctx, "login", grant.Tokens, err)
	}
	if err != nil {
		return m.signInAgain(ctx, x, err)
	}
	return nil
}

// signInAgain ends the session if the new sign-in after a change of the password failed
// with err.
func (m *Manager) signInAgain(ctx context.Context, x *Exchange, err error) error {
	if errors.Is(m.endSession(ctx, x, keeper.EndedByLogout, false), ErrSessionUnavailable) {
		x.signOut(signsOut) // the tokens are revoked, so the session ends soon in any case
	}
	return fmt.Errorf("session: change password: %w: %w", ErrSignInAgain, err)
}

// accountOf returns the key of the counters for guesses at the account of a signed-in user.
func (m *Manager) accountOf(s *Session) string {
	rec := s.anyRecord()
	switch {
	case rec == nil:
		return ""
	case rec.Pair.Email() != "":
		return m.account(rec.Pair.Email())
	}
	return m.secrets[0].Digest("user", rec.UserID)
}

// SendPasswordReset makes the auth service send a ticket for ResetPassword to an e-mail
// address. It removes spaces around the address. SendPasswordReset also succeeds, after the
// same time, if the address has no account. The service then sends no e-mail. Its errors
// are those of SendMagicLink.
func (m *Manager) SendPasswordReset(ctx context.Context, email string) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	return m.sendMail(ctx, x, "password reset", email, m.auth.SendPasswordReset)
}

// ResetPassword sets a new password with a ticket from an e-mail. The request needs no
// session, and the user is not signed in by it. The user's sessions continue, because the
// service does not report whose ticket it was.
//
// The error is [auth.ErrTicketRefused] if the ticket is used up, expired or unknown, and
// [auth.ErrPasswordRefused] if the service does not accept the password. Other errors
// are those of the auth service, see [auth.Service], and [errors.ErrUnsupported] if
// the service has no [auth.PasswordReset].
func (m *Manager) ResetPassword(ctx context.Context, ticket, newPassword string) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	callCtx := m.authContext(ctx)
	err = m.auth.ResetPassword(callCtx, ticket, newPassword)
	callCtx.End()
	if err != nil {
		err = m.accountFailed(ctx, nil, "reset password", err)
		m.floor.hold(ctx, x.ctx, start, err)
		return err
	}
	m.event(ctx, slog.LevelInfo, nil, Event{Name: EventPasswordChanged})
	return nil
}
