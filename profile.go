package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/throttle"
)

// This file has the flows with which signed-in users change their accounts, except for
// their passwords.

// checkPassword checks the password of the signed-in user, as a login does, so that
// a person who finds an open browser cannot take over the account. Wrong passwords count
// as guesses. hasFactor reports whether the account requires a one-time code.
func (m *Manager) checkPassword(ctx context.Context, x *Exchange, s *Session, password string) (hasFactor bool, err error) {
	email := s.User().Email
	if email == "" {
		return false, fmt.Errorf("session: %w: the auth service has not reported the e-mail address", auth.ErrInvalidResponse)
	}
	attempt, err := m.guess(ctx, x, passwordGuess, m.account(email), email)
	if err != nil {
		return false, err
	}
	start := time.Now()
	callCtx := m.authContext(ctx)
	grant, err := m.auth.Login(callCtx, email, password)
	callCtx.End()
	noteGuess(ctx, attempt, err)
	if grant.RefreshToken != "" {
		m.keeper.RevokeLater(grant.Tokens)
	}
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, auth.ErrSecondFactor):
		return true, nil
	case errors.Is(err, auth.ErrRefused):
		err = fmt.Errorf("%w: %w", auth.ErrWrongPassword, err)
	}
	err = m.accountFailed(ctx, s, "check password", err)
	m.floor.hold(ctx, x.ctx, start, err)
	return false, err
}

// ChangeEmail changes the e-mail address of the request's user, who has to enter the
// password. The session continues with new tokens.
//
// The errors of ChangeEmail are
//   - [auth.ErrWrongPassword] if the password is wrong, with the delay that Login
//     describes,
//   - [auth.ErrAccountExists] if the address has an account, or is the user's current
//     address,
//   - [auth.ErrEmailRefused] if the service does not accept the address,
//   - a [*TooManyAttemptsError] if one of Config.Limits is reached,
//   - [ErrUnauthenticated], [ErrEnded] and [ErrSessionUnavailable] as for
//     [Session.AccessToken],
//   - the other errors of the auth service, see [auth.Service].
func (m *Manager) ChangeEmail(ctx context.Context, password, newEmail string) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	if _, err := m.checkPassword(ctx, x, s, password); err != nil {
		return err
	}
	err = m.asUser(ctx, s, func(ctx context.Context, accessToken string) error {
		return m.auth.ChangeEmail(ctx, accessToken, strings.TrimSpace(newEmail))
	})
	if err != nil {
		return m.accountFailed(ctx, s, "change e-mail", err)
	}
	m.reloadUser(ctx, s)
	return nil
}

// reloadUser refreshes the tokens of s, to get the user's new e-mail address, and makes the
// tokens of the user's other sessions due. If this fails, the next refresh gets the
// address.
func (m *Manager) reloadUser(ctx context.Context, s *Session) {
	if rec := s.anyRecord(); rec != nil {
		_ = m.keeper.RefreshUser(ctx, rec.UserID)
	}
	_ = s.Refresh(ctx)
}

// SendEmailChange makes the auth service send a ticket for ConfirmEmailChange to the new
// e-mail address of the request's user, who has to enter the password. It also succeeds,
// after the same time, if the address has an account. The service then sends no e-mail. Its
// errors are those of ChangeEmail, without [auth.ErrAccountExists].
func (m *Manager) SendEmailChange(ctx context.Context, password, newEmail string) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	if _, err := m.checkPassword(ctx, x, s, password); err != nil {
		return err
	}
	return m.sendMail(ctx, x, "change e-mail", newEmail, func(ctx context.Context, newEmail string) error {
		return m.asUser(ctx, s, func(ctx context.Context, accessToken string) error {
			return m.auth.SendEmailChange(ctx, accessToken, newEmail)
		})
	})
}

// ConfirmEmailChange changes an e-mail address with a ticket of SendEmailChange. The
// request needs no session. If it has a session, the session continues with new tokens,
// because users often confirm the address in the same browser. The error is
// [auth.ErrTicketRefused] if the ticket is used up, expired or unknown. Other errors are
// those of the auth service, see [auth.Service].
func (m *Manager) ConfirmEmailChange(ctx context.Context, ticket string) error {
	if _, err := m.exchange(ctx); err != nil {
		return err
	}
	callCtx := m.authContext(ctx)
	defer callCtx.End()
	if err := m.auth.ConfirmEmailChange(callCtx, ticket); err != nil {
		return m.accountFailed(ctx, nil, "confirm e-mail", err)
	}
	if s := FromContext(ctx); s.SignedIn() {
		m.reloadUser(ctx, s)
	}
	return nil
}

// SetUpSecondFactor creates a key for the one-time codes of the request's user, who has to
// enter the password. EnableSecondFactor then turns the second factor on. The key is a
// secret that only its user may see. The error is [auth.ErrSecondFactorState] if the second
// factor is already on. Other errors are those of ChangeEmail.
func (m *Manager) SetUpSecondFactor(ctx context.Context, password string) (auth.TOTPKey, error) {
	x, s, err := m.user(ctx)
	if err != nil {
		return auth.TOTPKey{}, err
	}
	on, err := m.checkPassword(ctx, x, s, password)
	if err != nil {
		return auth.TOTPKey{}, err
	}
	if on {
		// A new key would replace the current key at once.
		return auth.TOTPKey{}, m.accountFailed(ctx, s, "second factor", fmt.Errorf("%w: %w", auth.ErrRefused, auth.ErrSecondFactorState))
	}
	var key auth.TOTPKey
	err = m.asUser(ctx, s, func(ctx context.Context, accessToken string) (err error) {
		key, err = m.auth.GenerateMFA(ctx, accessToken)
		return err
	})
	if err != nil {
		return auth.TOTPKey{}, m.accountFailed(ctx, s, "second factor", err)
	}
	return key, nil
}

// EnableSecondFactor turns the second factor of the request's user on. A one-time code
// proves that the user's app has the key of SetUpSecondFactor. The error is
// [auth.ErrRefused] if the code is wrong, with the delay that Login describes, and also
// [auth.ErrSecondFactorState] if the second factor is already on or no key was created.
// Other errors are those of ChangeEmail.
func (m *Manager) EnableSecondFactor(ctx context.Context, code string) error {
	return m.switchSecondFactor(ctx, code, true)
}

// DisableSecondFactor turns the second factor of the request's user off. Its errors are
// those of EnableSecondFactor.
func (m *Manager) DisableSecondFactor(ctx context.Context, code string) error {
	return m.switchSecondFactor(ctx, code, false)
}

func (m *Manager) switchSecondFactor(ctx context.Context, code string, on bool) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	attempt, err := m.guess(ctx, x, codeGuess, m.accountOf(s), s.User().Email)
	if err != nil {
		return err
	}
	start := time.Now()
	err = m.asUser(ctx, s, func(ctx context.Context, accessToken string) error {
		return m.auth.SwitchMFA(ctx, accessToken, code, on)
	})
	if errors.Is(err, auth.ErrSecondFactorState) {
		attempt.Done(ctx, throttle.Undone)
	} else {
		noteGuess(ctx, attempt, err)
	}
	if err != nil {
		err = m.accountFailed(ctx, s, "second factor", err)
		m.floor.hold(ctx, x.ctx, start, err)
	}
	return err
}

// DeleteAccount permanently deletes the account of the request's user, who has to enter the
// password, and ends all sessions of the user. If the store is down, this browser is signed
// out, and the user's other sessions end at their next refresh: the service has removed
// their tokens with the account. The errors of DeleteAccount are those of ChangeEmail.
func (m *Manager) DeleteAccount(ctx context.Context, password string) error {
	x, s, err := m.user(ctx)
	if err != nil {
		return err
	}
	if _, err := m.checkPassword(ctx, x, s, password); err != nil {
		return err
	}
	if err := m.asUser(ctx, s, m.auth.DeleteAccount); err != nil {
		return m.accountFailed(ctx, s, "delete account", err)
	}
	if errors.Is(m.endSession(ctx, x, keeper.EndedByLogoutAll, true), ErrSessionUnavailable) {
		x.signOut(signsOut) // the browser must not keep cookies of a deleted user
	}
	return nil
}

// StartProvider starts a sign-in with an account at another provider. It returns the
// address of the auth service to which the app must redirect the browser. After the sign-in
// the browser returns with a refresh token, for SealLink and ConfirmLink.
//
// FollowLink does not sign such a browser in. The account is not known in advance, so an
// attacker could send the browser a link for another account.
//
// StartProvider fails with [errors.ErrUnsupported] if there is no such provider, and with
// [ErrCommitted] if the response has begun.
func (m *Manager) StartProvider(ctx context.Context, provider string, opts ...SignInOption) (address string, err error) {
	x, err := m.exchange(ctx)
	if err != nil {
		return "", err
	}
	if address, err = m.auth.ProviderURL(provider); err != nil {
		return "", fmt.Errorf("session: provider: %w", err)
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("session: provider: %w", errors.ErrUnsupported)
	}
	return address, m.await(x, linkStep, pending{signInOptions: newSignInOptions(opts)})
}
