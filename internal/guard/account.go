package guard

import (
	"context"
	"errors"
	"fmt"

	"github.com/synmetrix/session/auth"
)

// The methods below call the optional interfaces of an auth service. Their error is
// [errors.ErrUnsupported] if the service does not implement the interface.

// unsupported returns the error for a service that lacks an interface.
func unsupported(what string) error {
	return fmt.Errorf("the auth service has no %s: %w", what, errors.ErrUnsupported)
}

// Register calls [auth.Registration].
func (s Auth) Register(ctx context.Context, email, password string) (g auth.Grant, err error) {
	service, ok := s.Service.(auth.Registration)
	if !ok {
		return auth.Grant{}, unsupported("registration")
	}
	ctx, c := s.begin(ctx, "register")
	defer s.returned(c, &err)
	return service.Register(ctx, email, password)
}

// SendMagicLink calls [auth.MagicLink].
func (s Auth) SendMagicLink(ctx context.Context, email string) (err error) {
	service, ok := s.Service.(auth.MagicLink)
	if !ok {
		return unsupported("links in e-mails")
	}
	ctx, c := s.begin(ctx, "send_magic_link")
	defer s.returned(c, &err)
	return service.SendMagicLink(ctx, email)
}

// ChangePassword calls [auth.PasswordChange].
func (s Auth) ChangePassword(ctx context.Context, accessToken, oldPassword, newPassword string) (err error) {
	service, ok := s.Service.(auth.PasswordChange)
	if !ok {
		return unsupported("change of passwords")
	}
	ctx, c := s.begin(ctx, "change_password")
	defer s.returned(c, &err)
	return service.ChangePassword(ctx, accessToken, oldPassword, newPassword)
}

// SendPasswordReset calls [auth.PasswordReset].
func (s Auth) SendPasswordReset(ctx context.Context, email string) (err error) {
	service, ok := s.Service.(auth.PasswordReset)
	if !ok {
		return unsupported("reset of passwords")
	}
	ctx, c := s.begin(ctx, "send_password_reset")
	defer s.returned(c, &err)
	return service.SendPasswordReset(ctx, email)
}

// ResetPassword calls [auth.PasswordReset].
func (s Auth) ResetPassword(ctx context.Context, ticket, newPassword string) (err error) {
	service, ok := s.Service.(auth.PasswordReset)
	if !ok {
		return unsupported("reset of passwords")
	}
	ctx, c := s.begin(ctx, "reset_password")
	defer s.returned(c, &err)
	return service.ResetPassword(ctx, ticket, newPassword)
}

// ChangeEmail calls [auth.EmailChange].
func (s Auth) ChangeEmail(ctx context.Context, accessToken, newEmail string) (err error) {
	service, ok := s.Service.(auth.EmailChange)
	if !ok {
		return unsupported("change of e-mail addresses")
	}
	ctx, c := s.begin(ctx, "change_email")
	defer s.returned(c, &err)
	return service.ChangeEmail(ctx, accessToken, newEmail)
}

// SendEmailChange calls [auth.VerifiedEmailChange].
func (s Auth) SendEmailChange(ctx context.Context, accessToken, newEmail string) (err error) {
	service, ok := s.Service.(auth.VerifiedEmailChange)
	if !ok {
		return unsupported("verified change of e-mail addresses")
	}
	ctx, c := s.begin(ctx, "send_email_change")
	defer s.returned(c, &err)
	return service.SendEmailChange(ctx, accessToken, newEmail)
}

// ConfirmEmailChange calls [auth.VerifiedEmailChange].
func (s Auth) ConfirmEmailChange(ctx context.Context, ticket string) (err error) {
	service, ok := s.Service.(auth.VerifiedEmailChange)
	if !ok {
		return unsupported("verified change of e-mail addresses")
	}
	ctx, c := s.begin(ctx, "confirm_email_change")
	defer s.returned(c, &err)
	return service.ConfirmEmailChange(ctx, ticket)
}

// GenerateMFA calls [auth.SecondFactorSetup].
func (s Auth) GenerateMFA(ctx context.Context, accessToken string) (key auth.TOTPKey, err error) {
	service, ok := s.Service.(auth.SecondFactorSetup)
	if !ok {
		return auth.TOTPKey{}, unsupported("setup of second factors")
	}
	ctx, c := s.begin(ctx, "generate_mfa")
	defer s.returned(c, &err)
	return service.GenerateMFA(ctx, accessToken)
}

// SwitchMFA calls EnableMFA or DisableMFA of [auth.SecondFactorSetup].
func (s Auth) SwitchMFA(ctx context.Context, accessToken, code string, on bool) (err error) {
	service, ok := s.Service.(auth.SecondFactorSetup)
	if !ok {
		return unsupported("setup of second factors")
	}
	op, call := "disable_mfa", service.DisableMFA
	if on {
		op, call = "enable_mfa", service.EnableMFA
	}
	ctx, c := s.begin(ctx, op)
	defer s.returned(c, &err)
	return call(ctx, accessToken, code)
}

// DeleteAccount calls [auth.AccountDeletion].
func (s Auth) DeleteAccount(ctx context.Context, accessToken string) (err error) {
	service, ok := s.Service.(auth.AccountDeletion)
	if !ok {
		return unsupported("deletion of accounts")
	}
	ctx, c := s.begin(ctx, "delete_account")
	defer s.returned(c, &err)
	return service.DeleteAccount(ctx, accessToken)
}

// ProviderURL calls [auth.ProviderLogin]. The call is not reported, because it only returns
// a text.
func (s Auth) ProviderURL(provider string) (address string, err error) {
	defer s.returned(authCall{op: "provider_url"}, &err)
	service, ok := s.Service.(auth.ProviderLogin)
	if !ok {
		return "", unsupported("sign-in with other providers")
	}
	return service.ProviderURL(provider), nil
}
