package synmetrix_test

import (
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// TestServiceRefusals provokes every refusal of the service in every call.
func TestServiceRefusals(t *testing.T) {
	t.Parallel()
	const (
		taken          = "Account already exists."
		notConfirmed   = "Account already exists but is not activated."
		badRole        = "allowed roles must be a subset of ALLOWED_ROLES"
		badDefaultRole = "Default role must be part of allowed roles."
		unused         = "new@example.com"
		uuid1          = "6ec0bd7f-11c0-11da-975e-2a8ad9ebae0b" // tickets are UUIDs of version 4
	)
	login := func(email, password string) func(*fixture) error {
		return func(b *fixture) error { _, err := b.Login(b.ctx, email, password); return err }
	}
	refresh := func(b *fixture) error {
		_, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.tokens.RefreshToken})
		return err
	}
	register := func(email, password string) func(*fixture) error {
		return func(b *fixture) error { _, err := b.Register(b.ctx, email, password); return err }
	}
	registerWith := func(r synmetrix.Registration) func(*fixture) error {
		r.Email, r.Password = unused, password
		return func(b *fixture) error { _, err := b.RegisterWith(b.ctx, r); return err }
	}
	deactivated := func(call func(*fixture) error) func(*fixture) error {
		return func(b *fixture) error {
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.Inactive = true })
			return call(b)
		}
	}
	var (
		none   authtest.Options
		lost   = authtest.Options{LostPassword: true}
		verify = authtest.Options{VerifyEmails: true}
		noMFA  = authtest.Options{NoMFA: true}
	)
	tests := map[string]struct {
		opts     authtest.Options
		call     func(*fixture) error
		op, code string
		status   int
		message  string
		means    string
	}{
		"login, wrong password":                  {none, login(email, "not the password"), "login", synmetrix.CodeInvalidCredentials, 401, wrongLogin, "refused"},
		"login, unknown address":                 {none, login(unused, password), "login", synmetrix.CodeAccountNotFound, 400, noAccount, "refused"},
		"login, invalid address":                 {none, login("someone", password), "login", synmetrix.CodeInvalidEmail, 400, `"email" must be a valid email`, "refused"},
		"login, address without a public domain": {none, login("someone@corp.internal", password), "login", synmetrix.CodeInvalidEmail, 400, `"email" must be a valid email`, "refused"},
		"login, empty address":                   {none, login("", password), "login", synmetrix.CodeInvalidEmail, 400, `"email" is not allowed to be empty`, "refused"},
		"login, empty password":                  {none, login(email, ""), "login", synmetrix.CodeInvalidPassword, 400, `"password" is not allowed to be empty`, "refused"},
		"login, inactive account":                {none, deactivated(login(email, "not the password")), "login", synmetrix.CodeAccountNotActivated, 400, notActivated, "refused"},
		"login, account without a password": {none, func(b *fixture) error {
			b.srv.UpdateAccount(email, func(a *authtest.Account) { a.Password = "" })
			return login(email, password)(b)
		}, "login", synmetrix.CodeUnclear, 400, "", "refused"},
		"login, wrong password before a second factor": {none, func(b *fixture) error {
			b.secondFactor()
			return login(email, "not the password")(b)
		}, "login", synmetrix.CodeInvalidCredentials, 401, wrongLogin, "refused"},
		"anonymous login, switched off": {none, func(b *fixture) error {
			_, err := b.LoginAnonymous(b.ctx)
			return err
		}, "login_anonymous", synmetrix.CodeUnsupported, 400, `"email" is required`, unavailable},

		"second factor, old ticket": {none, func(b *fixture) error {
			ticket := b.secondFactor()
			b.srv.Advance(time.Hour + time.Second)
			_, err := b.LoginTOTP(b.ctx, ticket, b.code(otpSecret, true))
			return err
		}, "login_totp", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket},
		"second factor, malformed ticket": {none, func(b *fixture) error {
			_, err := b.LoginTOTP(b.ctx, uuid1, "123456")
			return err
		}, "login_totp", synmetrix.CodeTicketRefused, 400, `"ticket" must be a valid GUID`, refusedTicket},
		"second factor, inactive account": {none, func(b *fixture) error {
			ticket := b.secondFactor()
			return deactivated(func(b *fixture) error {
				_, err := b.LoginTOTP(b.ctx, ticket, b.code(otpSecret, true))
				return err
			})(b)
		}, "login_totp", synmetrix.CodeAccountNotActivated, 400, notActivated, "refused"},
		"second factor, switched off": {noMFA, func(b *fixture) error {
			_, err := b.LoginTOTP(b.ctx, ticket, "123456")
			return err
		}, "login_totp", synmetrix.CodeServiceError, 500, serverError, unavailable},
		"second factor to turn on, switched off": {noMFA, func(b *fixture) error {
			return b.EnableMFA(b.ctx, b.tokens.AccessToken, "123456")
		}, "enable_mfa", synmetrix.CodeServiceError, 500, serverError, unavailable},
		"second factor to turn off, switched off": {noMFA, func(b *fixture) error {
			return b.DisableMFA(b.ctx, b.tokens.AccessToken, "123456")
		}, "disable_mfa", synmetrix.CodeServiceError, 500, serverError, unavailable},

		"refresh, used token": {none, func(b *fixture) error {
			b.ok(refresh(b))
			return refresh(b)
		}, "refresh", synmetrix.CodeRefreshTokenRefused, 401, invalidToken, "refused"},

		"revoke, another service's token": {none, func(b *fixture) error {
			return b.Revoke(b.ctx, validAccess)
		}, "revoke", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused"},
		"revoke, expired token": {none, func(b *fixture) error {
			b.srv.Advance(time.Hour)
			return b.Revoke(b.ctx, b.tokens.AccessToken)
		}, "revoke", synmetrix.CodeNotSignedIn, 401, notLoggedIn, "refused"},

		"register, taken":                     {none, register(email, password), "register", synmetrix.CodeAccountExists, 400, taken, "refused"},
		"register, taken in upper case":       {none, register(strings.ToUpper(email), password), "register", synmetrix.CodeAccountExists, 400, taken, "refused"},
		"register, taken, inactive":           {none, deactivated(register(email, password)), "register", synmetrix.CodeAccountNotActivated, 400, notConfirmed, "refused"},
		"register, invalid address":           {none, register("someone", password), "register", synmetrix.CodeInvalidEmail, 400, `"email" must be a valid email`, "refused"},
		"register, empty address":             {none, register("", password), "register", synmetrix.CodeInvalidEmail, 400, `"email" is not allowed to be empty`, "refused"},
		"register, address of another domain": {authtest.Options{EmailDomains: []string{"example.org"}}, register(unused, password), "register", synmetrix.CodeInvalidEmail, 400, `"email" is not in an authorised domain`, "refused"},
		"register, address that the database refuses": {none, register("o'brien@example.com", password),
			"register", synmetrix.CodeServiceError, 500, serverError, unavailableUnk},
		"register, short password": {none, register(unused, "short"), "register", synmetrix.CodeInvalidPassword, 400, `"password" length must be at least 6 characters long`, "refused"},
		"register, long password": {none, register(unused, strings.Repeat("x", 129)),
			"register", synmetrix.CodeInvalidPassword, 400, `"password" length must be less than or equal to 128 characters long`, "refused"},
		"register, empty password": {none, register(unused, ""), "register", synmetrix.CodeInvalidPassword, 400, `"password" is not allowed to be empty`, "refused"},
		"register, role not allowed": {none, registerWith(synmetrix.Registration{AllowedRoles: []string{"user", "admin"}}),
			"register", synmetrix.CodeRolesRefused, 400, badRole, "refused"},
		"register, default role that is not allowed": {authtest.Options{RegisterRoles: []string{"user", "editor"}},
			registerWith(synmetrix.Registration{AllowedRoles: []string{"user"}, DefaultRole: "editor"}), "register", synmetrix.CodeRolesRefused, 400, badDefaultRole, "refused"},
		"register, default role alone": {authtest.Options{RegisterRoles: []string{"user", "editor"}},
			registerWith(synmetrix.Registration{DefaultRole: "editor"}), "register", synmetrix.CodeRolesRefused, 400, badDefaultRole, "refused"},
		"register, a role twice": {none, registerWith(synmetrix.Registration{AllowedRoles: []string{"user", "user"}}),
			"register", synmetrix.CodeServiceError, 500, serverError, unavailableUnk},
		"register, data not allowed": {none, registerWith(synmetrix.Registration{Data: map[string]any{"display_name": "New"}}),
			"register", synmetrix.CodeInvalidInput, 400, `"user_data.display_name" is not allowed`, "refused"},

		"magic link, invalid address": {none, func(b *fixture) error {
			return b.SendMagicLink(b.ctx, "someone")
		}, "send_magic_link", synmetrix.CodeInvalidEmail, 400, `"email" must be a valid email`, "refused"},
		"magic link, empty address": {none, func(b *fixture) error {
			return b.SendMagicLink(b.ctx, "")
		}, "send_magic_link", synmetrix.CodeInvalidEmail, 400, `"email" is not allowed to be empty`, "refused"},

		"activation, malformed ticket": {none, func(b *fixture) error {
			_, err := b.Activate(b.ctx, uuid1)
			return err
		}, "activate", synmetrix.CodeTicketRefused, 400, `"ticket" must be a valid GUID`, refusedTicket},
		"activation, unknown ticket": {none, func(b *fixture) error {
			_, err := b.Activate(b.ctx, ticket)
			return err
		}, "activate", synmetrix.CodeTicketRefused, 302, "", refusedTicket},
		"activation without a password, no redirect for failures": {none, func(b *fixture) error {
			b.srv.SetRedirects("https://app.example/", "")
			_, err := b.ActivatePasswordless(b.ctx, ticket)
			return err
		}, "activate_passwordless", synmetrix.CodeTicketRefused, 401, "Invalid or expired token.", refusedTicket},

		"password reset, old ticket": {lost, func(b *fixture) error {
			b.ok(b.SendPasswordReset(b.ctx, email))
			b.srv.Advance(time.Hour + time.Second)
			return b.ResetPassword(b.ctx, b.mailed().Ticket, newPassword)
		}, "reset_password", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket},
		"password reset, malformed ticket": {lost, func(b *fixture) error {
			return b.ResetPassword(b.ctx, uuid1, newPassword)
		}, "reset_password", synmetrix.CodeTicketRefused, 400, `"ticket" must be a valid GUID`, refusedTicket},

		"new address, invalid": {verify, func(b *fixture) error {
			return b.SendEmailChange(b.ctx, b.tokens.AccessToken, "someone")
		}, "send_email_change", synmetrix.CodeInvalidEmail, 400, `"new_email" must be a valid email`, "refused"},
		"new address, empty": {verify, func(b *fixture) error {
			return b.SendEmailChange(b.ctx, b.tokens.AccessToken, "")
		}, "send_email_change", synmetrix.CodeInvalidEmail, 400, `"new_email" is not allowed to be empty`, "refused"},
		"new address, unknown ticket": {verify, func(b *fixture) error {
			return b.ConfirmEmailChange(b.ctx, ticket)
		}, "confirm_email_change", synmetrix.CodeTicketRefused, 400, noAccount, refusedTicket},
		"new address, malformed ticket": {verify, func(b *fixture) error {
			return b.ConfirmEmailChange(b.ctx, uuid1)
		}, "confirm_email_change", synmetrix.CodeTicketRefused, 400, `"ticket" must be a valid GUID`, refusedTicket},
		"new address, old ticket": {verify, func(b *fixture) error {
			b.ok(b.SendEmailChange(b.ctx, b.tokens.AccessToken, unused))
			b.srv.Advance(time.Hour + time.Second)
			return b.ConfirmEmailChange(b.ctx, b.mailed().Ticket)
		}, "confirm_email_change", synmetrix.CodeTicketRefused, 400, noAccount, refusedTicket},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t, test.opts)
			wantError(t, test.call(b), test.op, test.code, test.status, test.message, test.means)
		})
	}
}
