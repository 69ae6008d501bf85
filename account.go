package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/synmetrix/session/auth"
)

// This file has the functions that the flows for accounts share. The flows are in
// register.go, magiclink.go, callback.go, password.go and profile.go.

// normalEmail returns the form of an e-mail address by which accounts are compared.
// Auth services ignore the case of addresses.
func normalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// account returns a keyed hash of the e-mail address of an account, for cookies and
// counters. It does not reveal the address.
func (m *Manager) account(email string) string {
	return m.secrets[0].Digest("account", normalEmail(email))
}

// isAccount reports whether account is the hash of the e-mail address, under any of
// the keys.
func (m *Manager) isAccount(account, email string) bool {
	if email = normalEmail(email); account == "" || email == "" {
		return false
	}
	for _, s := range m.secrets {
		if s.Digest("account", email) == account {
			return true
		}
	}
	return false
}

// user returns the exchange and the session of a signed-in user's request. It fails with
// [ErrUnauthenticated] if no user is signed in, and with [ErrActing] if the user acts as
// another user.
func (m *Manager) user(ctx context.Context) (*Exchange, *Session, error) {
	x, err := m.exchange(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := x.session.Load()
	_, err = m.signedIn(ctx)
	return x, s, err
}

// asUser calls the auth service with the access token of the session. If the service
// rejects the token, asUser repeats the call once with a new token.
func (m *Manager) asUser(ctx context.Context, s *Session, call func(ctx context.Context, accessToken string) error) error {
	token, err := s.AccessToken(ctx)
	if err != nil {
		return err
	}
	try := func() error {
		callCtx := m.authContext(ctx)
		defer callCtx.End()
		return call(callCtx, token)
	}
	if err = try(); !errors.Is(err, auth.ErrAccessTokenRefused) {
		return err
	}
	if token, err = s.replaceToken(ctx, token); err != nil {
		return err
	}
	if err = try(); errors.Is(err, auth.ErrAccessTokenRefused) {
		// If the service rejects even a new token, the service has failed. The password or
		// code that the user entered may be right.
		err = fmt.Errorf("%w: the service rejects a new access token", auth.ErrInvalidResponse)
	}
	return err
}

// accountFailed reports a failed call that manages an account, and returns the error
// for the app.
func (m *Manager) accountFailed(ctx context.Context, s *Session, step string, err error) error {
	if errors.Is(err, ErrTooManyAttempts) {
		return err // already reported
	}
	m.keeper.RateLimited(err)
	level, name := slog.LevelInfo, EventAccountRefused
	if !errors.Is(err, auth.ErrRefused) {
		level, name = slog.LevelWarn, EventAccountUnavailable
	}
	m.event(ctx, level, s.anyRecord(), Event{Name: name, Err: err})
	return fmt.Errorf("session: %s: %w", step, err)
}
