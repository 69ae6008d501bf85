package synmetrix_test

import (
	"errors"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
)

// Refusals that a user can correct wrap a sentinel that says what to correct. A
// wrong sign-in wraps none of them.
func TestErrorsOfRefusals(t *testing.T) {
	t.Parallel()
	all := []error{
		auth.ErrAccountExists, auth.ErrEmailRefused, auth.ErrPasswordRefused, auth.ErrWrongPassword,
		auth.ErrSecondFactorState, auth.ErrAccessTokenRefused, auth.ErrTicketRefused, auth.ErrVerificationPending,
	}
	tests := map[string]struct {
		want error // nil: none of all
		call func(b *fixture) error
	}{
		"login":              {nil, func(b *fixture) error { _, err := b.Login(b.ctx, email, "wrong"); return err }},
		"register, taken":    {auth.ErrAccountExists, func(b *fixture) error { _, err := b.Register(b.ctx, email, password); return err }},
		"register, address":  {auth.ErrEmailRefused, func(b *fixture) error { _, err := b.Register(b.ctx, "x", password); return err }},
		"register, password": {auth.ErrPasswordRefused, func(b *fixture) error { _, err := b.Register(b.ctx, "new@example.com", "x"); return err }},
		"register, inactive": {auth.ErrAccountExists, func(b *fixture) error {
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.Inactive = true })
			_, err := b.Register(b.ctx, email, password)
			return err
		}},
		"magic link":           {nil, func(b *fixture) error { return b.SendMagicLink(b.ctx, "unknown@example.com") }},
		"old password":         {auth.ErrWrongPassword, func(b *fixture) error { return b.ChangePassword(b.ctx, b.tokens.AccessToken, "wrong1", newPassword) }},
		"new password":         {auth.ErrPasswordRefused, func(b *fixture) error { return b.ChangePassword(b.ctx, b.tokens.AccessToken, password, "x") }},
		"access token":         {auth.ErrAccessTokenRefused, func(b *fixture) error { return b.ChangePassword(b.ctx, validAccess, password, newPassword) }},
		"no access token":      {auth.ErrAccessTokenRefused, func(b *fixture) error { return b.ChangePassword(b.ctx, "", password, newPassword) }},
		"reset, ticket":        {auth.ErrTicketRefused, func(b *fixture) error { return b.ResetPassword(b.ctx, ticket, newPassword) }},
		"taken address":        {auth.ErrAccountExists, func(b *fixture) error { return b.ChangeEmail(b.ctx, b.tokens.AccessToken, other) }},
		"no key":               {auth.ErrSecondFactorState, func(b *fixture) error { return b.EnableMFA(b.ctx, b.tokens.AccessToken, "123456") }},
		"second factor is off": {auth.ErrSecondFactorState, func(b *fixture) error { return b.DisableMFA(b.ctx, b.tokens.AccessToken, "123456") }},
		"wrong code": {nil, func(b *fixture) error {
			_, err := b.GenerateMFA(b.ctx, b.tokens.AccessToken)
			b.ok(err)
			return b.EnableMFA(b.ctx, b.tokens.AccessToken, "12345")
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.call(newFixture(t, authtest.Options{LostPassword: true}))
			if !errors.Is(err, auth.ErrRefused) {
				t.Fatalf("%v, want a refusal", err)
			}
			for _, meaning := range all {
				if errors.Is(err, meaning) != (meaning == tt.want) {
					t.Errorf("%v; is %v: %v", err, meaning, errors.Is(err, meaning))
				}
			}
		})
	}
	b := newFixture(t, authtest.Options{NoActivation: true, VerifyEmails: true})
	if _, err := b.Register(b.ctx, "new@example.com", password); !errors.Is(err, auth.ErrVerificationPending) || errors.Is(err, auth.ErrRefused) {
		t.Errorf("a registration that waits for its e-mail: %v", err)
	}
}
