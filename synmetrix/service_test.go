package synmetrix_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// fixture is a test with a client, a service, and an account that is signed in.
type fixture struct {
	*testing.T
	*synmetrix.Client
	srv    *authtest.Server
	ctx    context.Context
	tokens auth.Tokens
}

const (
	other       = "other@example.com"
	otpSecret   = "JBSWY3DPEHPK3PXP"
	newPassword = "a new password"
)

func newFixture(t *testing.T, opts authtest.Options) *fixture {
	t.Helper()
	opts.PasswordCost = -1
	srv := authtest.NewServer(t, opts)
	srv.AddAccount(authtest.Account{Email: email, Password: password, Roles: []string{"user", "admin"}})
	srv.AddAccount(authtest.Account{Email: other, Password: password})
	b := &fixture{T: t, Client: newClient(t, srv.URL), srv: srv, ctx: testContext(t)}
	b.tokens.AccessToken, b.tokens.RefreshToken = srv.SignIn(email)
	return b
}

// ok fails the test on an error.
func (b *fixture) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// code returns a one-time code for the service's time: the right one, or a wrong
// one.
func (b *fixture) code(secret string, right bool) string {
	code, err := totp.GenerateCode(secret, b.srv.Now())
	b.ok(err)
	if !right {
		code = string('0'+(code[0]-'0'+1)%10) + code[1:]
	}
	return code
}

// secondFactor turns the account's second factor on, logs in, and returns the
// ticket.
func (b *fixture) secondFactor() string {
	b.Helper()
	b.srv.UpdateAccount(email, func(a *authtest.Account) { a.TOTPSecret = otpSecret })
	_, err := b.Login(b.ctx, email, password)
	var second *auth.SecondFactorError
	if !errors.As(err, &second) {
		b.Fatalf("error = %v, want a second factor", err)
	}
	return second.Ticket
}

// mailed returns the last e-mail.
func (b *fixture) mailed() authtest.Email {
	b.Helper()
	all := b.srv.Emails()
	if len(all) == 0 {
		b.Fatal("no e-mail was sent")
	}
	return all[len(all)-1]
}

// signedIn checks that the tokens belong to the account with the given e-mail
// address and are valid.
func (b *fixture) signedIn(tokens auth.Tokens, email string) {
	b.Helper()
	claims, err := synmetrix.ParseAccessToken(tokens.AccessToken)
	b.ok(err)
	account, _ := b.srv.Account(email)
	if claims.UserID != account.ID || strings.Join(claims.AllowedRoles, " ") != strings.Join(account.Roles, " ") || claims.DefaultRole != account.DefaultRole {
		b.Errorf("tokens of %s with roles %v, want those of %+v", claims.UserID, claims.AllowedRoles, account)
	}
	if info, ok := b.srv.Token(tokens.RefreshToken); !ok || info.UserID != account.ID || info.State != authtest.TokenLive {
		b.Errorf("refresh token is %+v, want a live one of %s", info, account.ID)
	}
}

// passwordIs checks the password of an account.
func (b *fixture) passwordIs(email, password string) {
	b.Helper()
	if a, _ := b.srv.Account(email); a.Password != password {
		b.Errorf("password is %q, want %q", a.Password, password)
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opts authtest.Options
		run  func(*fixture)
	}{
		"login, refresh, logout": {run: func(b *fixture) {
			first, err := b.Login(b.ctx, email, password)
			b.ok(err)
			b.signedIn(first.Tokens, email)
			b.srv.Advance(time.Second)
			second, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: first.RefreshToken})
			b.ok(err)
			b.signedIn(second.Tokens, email)
			if first == second {
				b.Error("the refresh returned the same tokens")
			}
			b.ok(b.Logout(b.ctx, second.Tokens, false))
			if info, _ := b.srv.Token(second.RefreshToken); info.State != authtest.TokenEnded {
				b.Errorf("the token is %s after the logout", info.State)
			}
			if n := len(b.srv.LiveTokens(email)); n != 1 {
				b.Errorf("%d other sessions, want 1", n)
			}
		}},
		"logout everywhere": {run: func(b *fixture) {
			b.ok(b.Logout(b.ctx, b.tokens, true))
			if n := len(b.srv.LiveTokens(email)); n != 0 {
				b.Errorf("%d sessions are still valid", n)
			}
			_, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.tokens.RefreshToken})
			wantError(b.T, err, "refresh", synmetrix.CodeRefreshTokenRefused, 401, invalidToken, "refused")
		}},
		// For a logout with the refresh token, the service would report success and
		// end no session.
		"logout everywhere, refresh token expired": {run: func(b *fixture) {
			b.srv.SignIn(email)
			b.srv.Advance(31 * 24 * time.Hour)
			access, _ := b.srv.SignIn(email)
			b.ok(b.Logout(b.ctx, auth.Tokens{AccessToken: access, RefreshToken: b.tokens.RefreshToken}, true))
			if n := len(b.srv.LiveTokens(email)); n != 0 {
				b.Errorf("%d sessions are still valid", n)
			}
		}},
		"logout with an unknown token": {run: func(b *fixture) {
			b.ok(b.Logout(b.ctx, auth.Tokens{RefreshToken: newRefresh}, false))
		}},
		"revoke": {run: func(b *fixture) {
			b.ok(b.Revoke(b.ctx, b.tokens.AccessToken))
			if n := len(b.srv.LiveTokens(email)); n != 0 {
				b.Errorf("%d sessions are still valid", n)
			}
		}},
		"second factor": {run: func(b *fixture) {
			ticket := b.secondFactor()
			_, err := b.LoginTOTP(b.ctx, ticket, b.code(otpSecret, false))
			wantError(b.T, err, "login_totp", synmetrix.CodeWrongCode, 401, wrongCode, "refused")
			_, err = b.LoginTOTP(b.ctx, ticket, "12345")
			wantError(b.T, err, "login_totp", synmetrix.CodeWrongCode, 400, `"code" length must be 6 characters long`, "refused")
			grant, err := b.LoginTOTP(b.ctx, ticket, b.code(otpSecret, true))
			b.ok(err)
			b.signedIn(grant.Tokens, email)
			_, err = b.LoginTOTP(b.ctx, ticket, b.code(otpSecret, true))
			wantError(b.T, err, "login_totp", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket)
		}},
		"second factor, turned off in between": {run: func(b *fixture) {
			ticket := b.secondFactor()
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.TOTPSecret = "" })
			_, err := b.LoginTOTP(b.ctx, ticket, "123456")
			wantError(b.T, err, "login_totp", synmetrix.CodeMFANotEnabled, 400, "MFA is not enabled.", refusedTicket)
		}},
		"anonymous": {opts: authtest.Options{AnonymousUsers: true}, run: func(b *fixture) {
			grant, err := b.LoginAnonymous(b.ctx)
			b.ok(err)
			claims, err := synmetrix.ParseAccessToken(grant.AccessToken)
			b.ok(err)
			if fmt.Sprint(claims.AllowedRoles) != "[anonymous]" {
				b.Errorf("roles %v", claims.AllowedRoles)
			}
			_, err = b.Refresh(b.ctx, auth.Tokens{RefreshToken: grant.RefreshToken})
			b.ok(err)
			_, err = b.Login(b.ctx, email, password)
			wantError(b.T, err, "login", synmetrix.CodeUnsupported, 400, `"cookie" is not allowed`, unavailable)
			wantError(b.T, b.SendMagicLink(b.ctx, email), "send_magic_link", synmetrix.CodeUnsupported, 400, `"cookie" is not allowed`, unavailable)
		}},

		"register": {run: func(b *fixture) {
			grant, err := b.Register(b.ctx, "new@example.com", password)
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
			b.passwordIs("new@example.com", password)
		}},
		"register without a password": {run: func(b *fixture) {
			grant, err := b.RegisterPasswordless(b.ctx, "new@example.com")
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
			b.passwordIs("new@example.com", "")
		}},
		"register with everything": {opts: authtest.Options{RegisterRoles: []string{"user", "editor"}, RegisterFields: []string{"display_name"}}, run: func(b *fixture) {
			grant, err := b.RegisterWith(b.ctx, synmetrix.Registration{
				Email: "new@example.com", Password: password,
				AllowedRoles: []string{"user", "editor"}, DefaultRole: "editor",
				Data: map[string]any{"display_name": "New"},
			})
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
			if a, _ := b.srv.Account("new@example.com"); a.DefaultRole != "editor" || len(a.Roles) != 2 || a.DisplayName != "New" {
				b.Errorf("the account is %+v", a)
			}
		}},
		"register, then activate": {opts: authtest.Options{NoActivation: true, VerifyEmails: true}, run: func(b *fixture) {
			grant, err := b.Register(b.ctx, "new@example.com", password)
			wantError(b.T, err, "register", synmetrix.CodeVerificationPending, 200, "", "")
			if !errors.Is(err, auth.ErrVerificationPending) || grant.Tokens != (auth.Tokens{}) {
				b.Errorf("error = %v", err)
			}
			_, err = b.Login(b.ctx, "new@example.com", password)
			wantError(b.T, err, "login", synmetrix.CodeAccountNotActivated, 400, notActivated, "refused")
			_, err = b.Register(b.ctx, "new@example.com", password)
			wantError(b.T, err, "register", synmetrix.CodeAccountNotActivated, 400, "Account already exists but is not activated.", "refused")
			grant, err = b.Activate(b.ctx, b.mailed().Ticket)
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
			_, err = b.Activate(b.ctx, b.mailed().Ticket)
			wantError(b.T, err, "activate", synmetrix.CodeTicketRefused, 302, "", refusedTicket)
			_, err = b.Login(b.ctx, "new@example.com", password)
			b.ok(err)
		}},
		"register without a password, then activate": {opts: authtest.Options{NoActivation: true, VerifyEmails: true}, run: func(b *fixture) {
			_, err := b.RegisterPasswordless(b.ctx, "new@example.com")
			wantError(b.T, err, "register", synmetrix.CodeVerificationPending, 200, "", "")
			b.srv.SetRedirects("https://app.example/callback?from=mail", "https://app.example/failed")
			grant, err := b.ActivatePasswordless(b.ctx, b.mailed().Token)
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
			_, err = b.ActivatePasswordless(b.ctx, b.mailed().Token)
			wantError(b.T, err, "activate_passwordless", synmetrix.CodeTicketRefused, 302, "", refusedTicket)
		}},
		"activation too late": {opts: authtest.Options{NoActivation: true, VerifyEmails: true}, run: func(b *fixture) {
			_, _ = b.Register(b.ctx, "new@example.com", password)
			b.srv.Advance(2 * time.Hour)
			_, err := b.Activate(b.ctx, b.mailed().Ticket)
			wantError(b.T, err, "activate", synmetrix.CodeTicketRefused, 302, "", refusedTicket)
			b.srv.SetRedirects("https://app.example/", "")
			_, err = b.Activate(b.ctx, b.mailed().Ticket)
			wantError(b.T, err, "activate", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket)
		}},
		"activation without a redirect to an app": {opts: authtest.Options{NoActivation: true, VerifyEmails: true}, run: func(b *fixture) {
			_, _ = b.Register(b.ctx, "new@example.com", password)
			b.srv.SetRedirects("", "")
			_, err := b.Activate(b.ctx, b.mailed().Ticket)
			wantError(b.T, err, "activate", synmetrix.CodeServiceError, 500, serverError, unavailable)
		}},
		// The account is active, and the refresh token is the only way to its session.
		"activation, refresh fails": {opts: authtest.Options{NoActivation: true, VerifyEmails: true}, run: func(b *fixture) {
			_, _ = b.Register(b.ctx, "new@example.com", password)
			b.srv.Inject(authtest.Refresh, authtest.Fault{Status: 503, Times: 1})
			grant, err := b.Activate(b.ctx, b.mailed().Ticket)
			wantError(b.T, err, "refresh", synmetrix.CodeServiceError, 503, "", unavailableUnk)
			grant, err = b.Refresh(b.ctx, auth.Tokens{RefreshToken: grant.RefreshToken})
			b.ok(err)
			b.signedIn(grant.Tokens, "new@example.com")
		}},

		"magic link": {run: func(b *fixture) {
			b.ok(b.SendMagicLink(b.ctx, other))
			if m := b.mailed(); m.To != other {
				b.Errorf("mailed to %s", m.To)
			}
			// A browser would be sent to the app with this token.
			grant, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.mailed().Token})
			b.ok(err)
			b.signedIn(grant.Tokens, other)
		}},
		"magic link never registers": {run: func(b *fixture) {
			wantError(b.T, b.SendMagicLink(b.ctx, "new@example.com"), "send_magic_link", synmetrix.CodeAccountNotFound, 400, noAccount, "refused")
			if _, exists := b.srv.Account("new@example.com"); exists || len(b.srv.Emails()) != 0 {
				b.Error("an account was made, or an e-mail sent")
			}
		}},
		"magic links switched off": {opts: authtest.Options{NoMagicLink: true}, run: func(b *fixture) {
			wantError(b.T, b.SendMagicLink(b.ctx, email), "send_magic_link", synmetrix.CodeUnsupported, 400, `"password" is required`, unavailable)
			_, err := b.RegisterPasswordless(b.ctx, "new@example.com")
			wantError(b.T, err, "register", synmetrix.CodeUnsupported, 400, `"password" is required`, unavailable)
			_, err = b.RegisterWith(b.ctx, synmetrix.Registration{Email: "new@example.com", Password: "not sent", Passwordless: true})
			wantError(b.T, err, "register", synmetrix.CodeUnsupported, 400, `"password" is required`, unavailable)
		}},
		"mail server down": {opts: authtest.Options{NoActivation: true, VerifyEmails: true, OnEmail: func(authtest.Email) error { return errors.New("refused") }}, run: func(b *fixture) {
			wantError(b.T, b.SendMagicLink(b.ctx, email), "send_magic_link", synmetrix.CodeServiceError, 500, serverError, unavailable)
			// The account is created before the e-mail is sent.
			_, err := b.Register(b.ctx, "new@example.com", password)
			wantError(b.T, err, "register", synmetrix.CodeServiceError, 500, serverError, unavailableUnk)
			if _, exists := b.srv.Account("new@example.com"); !exists {
				b.Error("no account was made")
			}
		}},

		"change password": {run: func(b *fixture) {
			b.ok(b.ChangePassword(b.ctx, b.tokens.AccessToken, password, newPassword))
			b.passwordIs(email, newPassword)
			if n := b.srv.Requests(authtest.ChangePassword); n != 1 {
				b.Errorf("%d requests, want 1", n)
			}
			// The sessions continue.
			_, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.tokens.RefreshToken})
			b.ok(err)
		}},
		"change password of an account without a password": {run: func(b *fixture) {
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.Password = "" })
			b.ok(b.ChangePassword(b.ctx, b.tokens.AccessToken, "whatever", newPassword))
			b.passwordIs(email, newPassword)
		}},
		"change password, wrong": {run: func(b *fixture) {
			change := func(access, old, new string) error { return b.ChangePassword(b.ctx, access, old, new) }
			wantError(b.T, change(b.tokens.AccessToken, "not the password", newPassword), "change_password", synmetrix.CodeWrongPassword, 401, "Incorrect current password.", "refused")
			wantError(b.T, change(b.tokens.AccessToken, "short", newPassword), "change_password", synmetrix.CodeWrongPassword, 400, `"old_password" length must be at least 6 characters long`, "refused")
			wantError(b.T, change(b.tokens.AccessToken, "", newPassword), "change_password", synmetrix.CodeWrongPassword, 400, `"old_password" is not allowed to be empty`, "refused")
			wantError(b.T, change(b.tokens.AccessToken, password, "short"), "change_password", synmetrix.CodeInvalidPassword, 400, `"new_password" length must be at least 6 characters long`, "refused")
			wantError(b.T, change(b.tokens.AccessToken, password, ""), "change_password", synmetrix.CodeInvalidPassword, 400, `"new_password" is not allowed to be empty`, "refused")
			wantError(b.T, change(validAccess, password, newPassword), "change_password", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
			b.srv.DeleteAccount(email)
			wantError(b.T, change(b.tokens.AccessToken, password, newPassword), "change_password", synmetrix.CodeAccountNotFound, 400, noAccount, "refused")
		}},
		"lost password": {opts: authtest.Options{LostPassword: true}, run: func(b *fixture) {
			b.ok(b.SendPasswordReset(b.ctx, email))
			ticket := b.mailed().Ticket
			wantError(b.T, b.ResetPassword(b.ctx, ticket, "short"), "reset_password", synmetrix.CodeInvalidPassword, 400, `"new_password" length must be at least 6 characters long`, "refused")
			b.ok(b.ResetPassword(b.ctx, ticket, newPassword))
			b.passwordIs(email, newPassword)
			wantError(b.T, b.ResetPassword(b.ctx, ticket, password), "reset_password", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket)
			wantError(b.T, b.SendPasswordReset(b.ctx, "new@example.com"), "send_password_reset", synmetrix.CodeAccountNotFound, 400, noAccount, "refused")
			wantError(b.T, b.SendPasswordReset(b.ctx, "no address"), "send_password_reset", synmetrix.CodeInvalidEmail, 400, `"email" must be a valid email`, "refused")
		}},
		"lost password of an inactive account": {opts: authtest.Options{LostPassword: true}, run: func(b *fixture) {
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.Inactive = true })
			b.ok(b.SendPasswordReset(b.ctx, email))
			if n := len(b.srv.Emails()); n != 0 {
				b.Errorf("%d e-mails were sent", n)
			}
		}},
		"lost password switched off": {run: func(b *fixture) {
			wantError(b.T, b.SendPasswordReset(b.ctx, email), "send_password_reset", synmetrix.CodeServiceError, 500, serverError, unavailable)
			wantError(b.T, b.ResetPassword(b.ctx, ticket, newPassword), "reset_password", synmetrix.CodeServiceError, 500, serverError, unavailable)
		}},

		"change e-mail": {run: func(b *fixture) {
			change := func(access, to string) error { return b.ChangeEmail(b.ctx, access, to) }
			wantError(b.T, change(b.tokens.AccessToken, other), "change_email", synmetrix.CodeEmailRefused, 400, "Cannot use this email.", "refused")
			wantError(b.T, change(b.tokens.AccessToken, email), "change_email", synmetrix.CodeEmailRefused, 400, "Cannot use this email.", "refused")
			wantError(b.T, change(b.tokens.AccessToken, "no address"), "change_email", synmetrix.CodeInvalidEmail, 400, `"new_email" must be a valid email`, "refused")
			wantError(b.T, change(validAccess, "new@example.com"), "change_email", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
			b.ok(change(b.tokens.AccessToken, "new@example.com"))
			if _, exists := b.srv.Account("new@example.com"); !exists {
				b.Error("the address was not changed")
			}
			wantError(b.T, b.SendEmailChange(b.ctx, b.tokens.AccessToken, email), "send_email_change", synmetrix.CodeServiceError, 500, serverError, unavailable)
			wantError(b.T, b.ConfirmEmailChange(b.ctx, ticket), "confirm_email_change", synmetrix.CodeServiceError, 500, serverError, unavailable)
		}},
		"change e-mail by ticket": {opts: authtest.Options{VerifyEmails: true}, run: func(b *fixture) {
			wantError(b.T, b.ChangeEmail(b.ctx, b.tokens.AccessToken, "new@example.com"), "change_email", synmetrix.CodeServiceError, 500, serverError, unavailable)
			wantError(b.T, b.SendEmailChange(b.ctx, b.tokens.AccessToken, other), "send_email_change", synmetrix.CodeEmailRefused, 400, "Cannot use this email.", "refused")
			wantError(b.T, b.SendEmailChange(b.ctx, validAccess, "new@example.com"), "send_email_change", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
			b.ok(b.SendEmailChange(b.ctx, b.tokens.AccessToken, "new@example.com"))
			if m := b.mailed(); m.To != "new@example.com" {
				b.Errorf("mailed to %s", m.To)
			}
			b.ok(b.ConfirmEmailChange(b.ctx, b.mailed().Ticket))
			if _, exists := b.srv.Account("new@example.com"); !exists {
				b.Error("the address was not changed")
			}
			wantError(b.T, b.ConfirmEmailChange(b.ctx, b.mailed().Ticket), "confirm_email_change", synmetrix.CodeTicketRefused, 400, noAccount, refusedTicket)
		}},
		"delete account": {opts: authtest.Options{SelfDelete: true}, run: func(b *fixture) {
			b.ok(b.DeleteAccount(b.ctx, b.tokens.AccessToken))
			if _, exists := b.srv.Account(email); exists {
				b.Error("the account is still there")
			}
			wantError(b.T, b.DeleteAccount(b.ctx, b.tokens.AccessToken), "delete_account", synmetrix.CodeNotSignedIn, 401, "Unable to delete account", "refused")
		}},
		"delete account switched off": {run: func(b *fixture) {
			wantError(b.T, b.DeleteAccount(b.ctx, b.tokens.AccessToken), "delete_account", synmetrix.CodeServiceError, 500, serverError, unavailable)
		}},

		"set up a second factor": {run: func(b *fixture) {
			access := b.tokens.AccessToken
			wantError(b.T, b.EnableMFA(b.ctx, access, "123456"), "enable_mfa", synmetrix.CodeMFANotGenerated, 400, "OTP secret is not set.", "refused")
			wantError(b.T, b.DisableMFA(b.ctx, access, "123456"), "disable_mfa", synmetrix.CodeMFANotEnabled, 400, "MFA is already disabled.", "refused")
			key, err := b.GenerateMFA(b.ctx, access)
			b.ok(err)
			wantError(b.T, b.EnableMFA(b.ctx, access, b.code(key.Secret, false)), "enable_mfa", synmetrix.CodeWrongCode, 401, wrongCode, "refused")
			wantError(b.T, b.EnableMFA(b.ctx, access, "12345"), "enable_mfa", synmetrix.CodeWrongCode, 400, `"code" length must be 6 characters long`, "refused")
			b.ok(b.EnableMFA(b.ctx, access, b.code(key.Secret, true)))
			wantError(b.T, b.EnableMFA(b.ctx, access, b.code(key.Secret, true)), "enable_mfa", synmetrix.CodeMFAEnabled, 400, "MFA is already enabled.", "refused")
			_, err = b.Login(b.ctx, email, password)
			if !errors.Is(err, auth.ErrSecondFactor) {
				b.Errorf("error = %v, want a second factor", err)
			}
			wantError(b.T, b.DisableMFA(b.ctx, access, b.code(key.Secret, false)), "disable_mfa", synmetrix.CodeWrongCode, 401, wrongCode, "refused")
			b.ok(b.DisableMFA(b.ctx, access, b.code(key.Secret, true)))
			_, err = b.Login(b.ctx, email, password)
			b.ok(err)
			_, err = b.GenerateMFA(b.ctx, validAccess)
			wantError(b.T, err, "generate_mfa", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
			wantError(b.T, b.EnableMFA(b.ctx, validAccess, "123456"), "enable_mfa", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
			wantError(b.T, b.DisableMFA(b.ctx, validAccess, "123456"), "disable_mfa", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused")
		}},
		"second factors switched off": {opts: authtest.Options{NoMFA: true}, run: func(b *fixture) {
			_, err := b.GenerateMFA(b.ctx, b.tokens.AccessToken)
			wantError(b.T, err, "generate_mfa", synmetrix.CodeServiceError, 500, serverError, unavailable)
		}},
		"service switched off": {opts: authtest.Options{NoAuth: true}, run: func(b *fixture) {
			_, err := b.Login(b.ctx, email, password)
			wantError(b.T, err, "login", synmetrix.CodeUnexpectedStatus, 404, "Not Found", unavailable)
			b.ok(b.Ping(b.ctx))
		}},
		"rate limit": {opts: authtest.Options{RateLimit: 1, RateWindow: 10 * time.Minute}, run: func(b *fixture) {
			_, err := b.Login(b.ctx, email, password)
			b.ok(err)
			b.srv.Advance(4 * time.Minute)
			_, err = b.Login(b.ctx, email, password)
			e := wantError(b.T, err, "login", synmetrix.CodeRateLimited, 429, "You are being rate limited.", "rate limited, unavailable")
			if e.RetryAfter < 5*time.Minute || e.RetryAfter > 6*time.Minute+time.Second {
				b.Errorf("RetryAfter = %v, want the rest of the window, 6m", e.RetryAfter)
			}
			b.ok(b.Ping(b.ctx))
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(newFixture(t, test.opts))
		})
	}
}

// everyCall lists every call of the client that sends a request, and its endpoint.
var everyCall = []struct {
	op       string
	endpoint authtest.Endpoint
	call     func(*fixture) error
}{
	{"login", authtest.Login, func(b *fixture) error { _, err := b.Login(b.ctx, email, password); return err }},
	{"login_totp", authtest.TOTP, func(b *fixture) error { _, err := b.LoginTOTP(b.ctx, ticket, "123456"); return err }},
	{"login_anonymous", authtest.Login, func(b *fixture) error { _, err := b.LoginAnonymous(b.ctx); return err }},
	{"refresh", authtest.Refresh, func(b *fixture) error {
		_, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.tokens.RefreshToken})
		return err
	}},
	{"logout", authtest.Logout, func(b *fixture) error { return b.Logout(b.ctx, b.tokens, false) }},
	{"revoke", authtest.Revoke, func(b *fixture) error { return b.Revoke(b.ctx, b.tokens.AccessToken) }},
	{"register", authtest.Register, func(b *fixture) error { _, err := b.Register(b.ctx, "new@example.com", password); return err }},
	{"register", authtest.Register, func(b *fixture) error { _, err := b.RegisterPasswordless(b.ctx, "new@example.com"); return err }},
	{"activate", authtest.Activate, func(b *fixture) error { _, err := b.Activate(b.ctx, ticket); return err }},
	{"activate_passwordless", authtest.MagicLink, func(b *fixture) error { _, err := b.ActivatePasswordless(b.ctx, ticket); return err }},
	{"send_magic_link", authtest.Login, func(b *fixture) error { return b.SendMagicLink(b.ctx, email) }},
	{"change_password", authtest.ChangePassword, func(b *fixture) error { return b.ChangePassword(b.ctx, b.tokens.AccessToken, password, newPassword) }},
	{"send_password_reset", authtest.LostPassword, func(b *fixture) error { return b.SendPasswordReset(b.ctx, email) }},
	{"reset_password", authtest.ResetPassword, func(b *fixture) error { return b.ResetPassword(b.ctx, ticket, newPassword) }},
	{"change_email", authtest.ChangeEmail, func(b *fixture) error { return b.ChangeEmail(b.ctx, b.tokens.AccessToken, "new@example.com") }},
	{"send_email_change", authtest.RequestEmailChange, func(b *fixture) error { return b.SendEmailChange(b.ctx, b.tokens.AccessToken, "new@example.com") }},
	{"confirm_email_change", authtest.ConfirmEmailChange, func(b *fixture) error { return b.ConfirmEmailChange(b.ctx, ticket) }},
	{"delete_account", authtest.DeleteAccount, func(b *fixture) error { return b.DeleteAccount(b.ctx, b.tokens.AccessToken) }},
	{"generate_mfa", authtest.GenerateMFA, func(b *fixture) error { _, err := b.GenerateMFA(b.ctx, b.tokens.AccessToken); return err }},
	{"enable_mfa", authtest.EnableMFA, func(b *fixture) error { return b.EnableMFA(b.ctx, b.tokens.AccessToken, "123456") }},
	{"disable_mfa", authtest.DisableMFA, func(b *fixture) error { return b.DisableMFA(b.ctx, b.tokens.AccessToken, "123456") }},
}

// Every call distinguishes a fault from a refusal.
func TestServiceFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		fault   authtest.Fault
		code    string
		status  int
		message string
		means   string
	}{
		"carried out, lost": {authtest.Fault{Deliver: authtest.Reset, CarryOut: true}, synmetrix.CodeNoResponse, 0, "", unavailableUnk},
		"proxy's 401":       {authtest.Fault{Status: 401, Body: "<h1>Sign in</h1>"}, synmetrix.CodeNotJSON, 401, "", invalidUnk},
	}
	for name, fault := range faults {
		for _, c := range everyCall {
			t.Run(name+"/"+c.op, func(t *testing.T) {
				t.Parallel()
				b := newFixture(t, authtest.Options{})
				b.srv.Inject(c.endpoint, fault.fault)
				wantError(t, c.call(b), c.op, fault.code, fault.status, fault.message, fault.means)
				if n := b.srv.Requests(c.endpoint); n != 1 {
					t.Errorf("%d requests, want 1", n)
				}
			})
		}
	}
}

// While its backend is failing, the service often reports another error.
func TestServiceBackendDown(t *testing.T) {
	t.Parallel()
	type outcome struct {
		code    string
		status  int
		message string
		means   string
	}
	const internals = "request to http://hasura:8080/v1/graphql failed, reason: connect ECONNREFUSED"
	bare := outcome{synmetrix.CodeUnclear, 400, "", unavailable}
	leaks := outcome{synmetrix.CodeUnclear, 400, internals, unavailable}
	failed := outcome{synmetrix.CodeServiceError, 500, serverError, unavailable}
	want := map[string]outcome{
		"login":                 {synmetrix.CodeAccountNotFound, 400, noAccount, "refused"},
		"login_totp":            {synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket},
		"login_anonymous":       failed,
		"refresh":               bare,
		"logout":                {},
		"revoke":                bare,
		"register":              {synmetrix.CodeServiceError, 500, serverError, unavailableUnk},
		"activate":              {synmetrix.CodeTicketRefused, 302, "", refusedTicket},
		"activate_passwordless": {synmetrix.CodeTicketRefused, 302, "", refusedTicket},
		"send_magic_link":       {synmetrix.CodeAccountNotFound, 400, noAccount, "refused"},
		"change_password":       leaks,
		"send_password_reset":   leaks,
		"reset_password":        bare,
		"change_email":          bare,
		"send_email_change":     failed,
		"confirm_email_change":  leaks,
		"delete_account":        bare,
		"generate_mfa":          bare,
		"enable_mfa":            leaks,
		"disable_mfa":           leaks,
	}
	options := map[string]authtest.Options{
		"login_anonymous":      {AnonymousUsers: true},
		"send_password_reset":  {LostPassword: true},
		"reset_password":       {LostPassword: true},
		"send_email_change":    {VerifyEmails: true},
		"confirm_email_change": {VerifyEmails: true},
		"delete_account":       {SelfDelete: true},
	}
	for _, c := range everyCall {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t, options[c.op])
			b.srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
			want, known := want[c.op]
			if !known {
				t.Fatal("the table has no outcome for this call")
			}
			err := c.call(b)
			if want.code == "" {
				b.ok(err)
				return
			}
			wantError(t, err, c.op, want.code, want.status, want.message, want.means)
		})
	}
}

// Calls without a required token or ticket, or with text that is not UTF-8, return
// an error and send no request.
func TestServiceWithoutTokens(t *testing.T) {
	t.Parallel()
	b := newFixture(t, authtest.Options{})
	for op, test := range map[string]struct {
		call  func(token string) error
		means string
	}{
		"change_password":       {func(s string) error { return b.ChangePassword(b.ctx, s, password, newPassword) }, "refused"},
		"change_email":          {func(s string) error { return b.ChangeEmail(b.ctx, s, email) }, "refused"},
		"send_email_change":     {func(s string) error { return b.SendEmailChange(b.ctx, s, email) }, "refused"},
		"delete_account":        {func(s string) error { return b.DeleteAccount(b.ctx, s) }, "refused"},
		"generate_mfa":          {func(s string) error { _, err := b.GenerateMFA(b.ctx, s); return err }, "refused"},
		"enable_mfa":            {func(s string) error { return b.EnableMFA(b.ctx, s, "123456") }, "refused"},
		"disable_mfa":           {func(s string) error { return b.DisableMFA(b.ctx, s, "123456") }, "refused"},
		"activate":              {func(s string) error { _, err := b.Activate(b.ctx, s); return err }, refusedTicket},
		"activate_passwordless": {func(s string) error { _, err := b.ActivatePasswordless(b.ctx, s); return err }, refusedTicket},
		"reset_password":        {func(s string) error { return b.ResetPassword(b.ctx, s, newPassword) }, refusedTicket},
		"confirm_email_change":  {func(s string) error { return b.ConfirmEmailChange(b.ctx, s) }, refusedTicket},
	} {
		wantError(t, test.call(""), op, synmetrix.CodeMissingToken, 0, "", test.means)
		wantError(t, test.call("garbage"), op, synmetrix.CodeMalformedToken, 0, "", test.means)
	}
	for op, test := range map[string]struct {
		call func() error
		code string
	}{
		"register":            {func() error { _, err := b.Register(b.ctx, "\xff", password); return err }, synmetrix.CodeInvalidEmail},
		"register ":           {func() error { _, err := b.Register(b.ctx, email, "\xff"); return err }, synmetrix.CodeInvalidPassword},
		"send_magic_link":     {func() error { return b.SendMagicLink(b.ctx, "\xff") }, synmetrix.CodeInvalidEmail},
		"change_password":     {func() error { return b.ChangePassword(b.ctx, validAccess, "\xff", newPassword) }, synmetrix.CodeWrongPassword},
		"change_password ":    {func() error { return b.ChangePassword(b.ctx, validAccess, password, "\xff") }, synmetrix.CodeInvalidPassword},
		"send_password_reset": {func() error { return b.SendPasswordReset(b.ctx, "\xff") }, synmetrix.CodeInvalidEmail},
		"reset_password":      {func() error { return b.ResetPassword(b.ctx, ticket, "\xff") }, synmetrix.CodeInvalidPassword},
		"change_email":        {func() error { return b.ChangeEmail(b.ctx, validAccess, "\xff") }, synmetrix.CodeInvalidEmail},
		"enable_mfa":          {func() error { return b.EnableMFA(b.ctx, validAccess, "\xff") }, synmetrix.CodeWrongCode},
	} {
		wantError(t, test.call(), strings.TrimSpace(op), test.code, 0, "", "refused")
	}
	if n := b.srv.Requests(authtest.Any); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
