package synmetrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/synmetrix/session/auth"
)

// Registration is a new account, for [Client.RegisterWith]. It prints, logs and
// marshals without its fields, because fields other than the password may be
// secret, too.
type Registration struct {
	Email    string
	Password string

	// Passwordless creates an account that signs in with links in e-mails. Password is then
	// not sent.
	Passwordless bool

	// AllowedRoles are the roles of the account. The service restricts which
	// roles a registration may request. Default: the service's default roles.
	AllowedRoles []string

	// DefaultRole is one of AllowedRoles. Default: the service's default role.
	DefaultRole string

	// Data are further fields of the account, such as "display_name". The
	// service rejects fields that it is not configured for. Default: none.
	Data map[string]any
}

// Format prints a text without the registration for every verb.
func (r Registration) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("synmetrix.Registration[redacted]"))
}

// LogValue returns a value without the registration.
func (r Registration) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON returns a JSON string without the registration.
func (r Registration) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Register creates an account with a password. If the service signs the new user
// in at once, Register returns the tokens.
//
// If the service requires a confirmation of the address, it creates the account
// and sends an e-mail with a link, and the error is [auth.ErrVerificationPending]. If
// the address is taken, the error is [auth.ErrAccountExists] with CodeAccountExists,
// or with CodeAccountNotActivated if the address is not confirmed yet.
//
// A service that fails halfway may have created the account. Such errors wrap
// [auth.ErrOutcomeUnknown], and a second call may find the address taken. If the
// response has a refresh token but no usable access token, Register returns the
// refresh token together with [auth.ErrInvalidResponse].
func (c *Client) Register(ctx context.Context, email, password string) (auth.Grant, error) {
	return c.RegisterWith(ctx, Registration{Email: email, Password: password})
}

// RegisterPasswordless is like [Client.Register] for an account without a password, which
// signs in with links in e-mails; see [Client.SendMagicLink]. A service that activates
// accounts at once signs the user in without sending an e-mail. It is then not proven that
// the address belongs to the user.
//
// If the service has no magic links, the error is [auth.ErrUnavailable] with
// CodeUnsupported.
func (c *Client) RegisterPasswordless(ctx context.Context, email string) (auth.Grant, error) {
	return c.RegisterWith(ctx, Registration{Email: email, Passwordless: true})
}

// RegisterWith is like [Client.Register], with all fields that the service accepts
// in a registration.
func (c *Client) RegisterWith(ctx context.Context, r Registration) (auth.Grant, error) {
	const op = "register"
	if err := checkText(op, "email", r.Email, "password", r.Password); err != nil {
		return auth.Grant{}, err
	}
	body := fields{"email": r.Email, "cookie": false}
	if !r.Passwordless {
		body["password"] = r.Password
	}
	if len(r.Data) != 0 {
		body["user_data"] = r.Data
	}
	options := fields{}
	if len(r.AllowedRoles) != 0 {
		options["allowed_roles"] = r.AllowedRoles
	}
	if r.DefaultRole != "" {
		options["default_role"] = r.DefaultRole
	}
	if len(options) != 0 {
		body["register_options"] = options
	}
	var grant auth.Grant
	err := c.call(ctx, request{
		op:       op,
		method:   http.MethodPost,
		path:     "/auth/register",
		body:     body,
		partial:  true,
		refusals: registerRefusals,
		decode: func(resp response, m members) (err error) {
			if string(m["jwt_token"]) == "null" && m["refresh_token"] == nil && m["user"] != nil {
				return resp.fail(CodeVerificationPending, auth.ErrVerificationPending)
			}
			grant, err = resp.grant(m)
			return err
		},
	})
	return grant, err
}

var registerRefusals = refusals{
	{400, "Account already exists."}:                         refused(CodeAccountExists),
	{400, "Account already exists but is not activated."}:    refused(CodeAccountNotActivated, auth.ErrAccountExists),
	{400, "Default role must be part of allowed roles."}:     refused(CodeRolesRefused),
	{400, "allowed roles must be a subset of ALLOWED_ROLES"}: refused(CodeRolesRefused),
	{400, `"cookie" is not allowed`}:                         unavailable(CodeUnsupported),
	// Only a registration without a password has no such field.
	{400, `"password" is required`}: unavailable(CodeUnsupported),
}

// Activate confirms the address of an account that was registered with a password,
// and returns the account's tokens. The ticket is in the link of the e-mail.
//
// If a browser follows the link, Activate is not needed: the service activates the
// account and redirects the browser to the app with a refresh token, for
// [Client.Refresh].
//
// If the ticket is used, unknown or older than an hour, the error is
// [auth.ErrRefused] and [auth.ErrTicketRefused]. The service reports the same
// while its backend is failing.
//
// Activate fetches the tokens with a second request. If that request fails without a
// refusal, the account is nevertheless active, and Activate returns the refresh token
// together with the error.
func (c *Client) Activate(ctx context.Context, ticket string) (auth.Grant, error) {
	return c.followLink(ctx, "activate", ticket, "/auth/activate", url.Values{"ticket": {ticket}})
}

// ActivatePasswordless is like [Client.Activate] for an account that was registered
// without a password.
func (c *Client) ActivatePasswordless(ctx context.Context, token string) (auth.Grant, error) {
	return c.followLink(ctx, "activate_passwordless", token, "/auth/magic-link",
		url.Values{"token": {token}, "action": {"register"}, "cookie": {"false"}})
}

// followLink requests the link of an e-mail as a browser would. It reads the
// refresh token from the redirect to the app and exchanges it for tokens.
func (c *Client) followLink(ctx context.Context, op, ticket, path string, query url.Values) (auth.Grant, error) {
	if err := checkTicket(op, ticket); err != nil {
		return auth.Grant{}, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()

	var refreshToken string
	err := c.call(ctx, request{
		op:     op,
		method: http.MethodGet,
		path:   path,
		query:  query,
		refusals: refusals{
			{401, anyMessage}: ticketRefused(CodeTicketRefused),
		},
		redirect: func(resp response) (err error) {
			refreshToken, err = resp.redirectToken()
			return err
		},
		decode: func(resp response, _ members) error {
			return resp.invalid(CodeUnexpectedResponse)
		},
	})
	if err != nil {
		return auth.Grant{}, err
	}
	grant, err := c.Refresh(ctx, auth.Tokens{RefreshToken: refreshToken})
	if err != nil && grant.RefreshToken == "" && !errors.Is(err, auth.ErrRefused) {
		grant.RefreshToken = refreshToken
	}
	return grant, err
}

// redirectToken returns the refresh token in the redirect to the app. A redirect without a
// token means that the service has refused the ticket. The path of the redirect does not
// show this, because a service may use the same path for both results.
func (resp response) redirectToken() (string, error) {
	to, err := url.Parse(resp.header.Get("Location"))
	if err != nil || to.String() == "" {
		return "", resp.invalid(CodeRedirect)
	}
	token := to.Query().Get("refresh_token")
	switch {
	case token == "":
		return "", resp.fail(CodeTicketRefused, auth.ErrRefused, auth.ErrTicketRefused)
	case !isUUID(token):
		return "", resp.invalid(CodeNoRefreshToken)
	}
	return token, nil
}

// SendMagicLink makes the service send a login link to an account's e-mail
// address. When a browser follows the link, the service redirects it to the app
// with a refresh token in the query, for [Client.Refresh]. SendMagicLink never
// creates an account: if the address has none, the error is [auth.ErrRefused] with
// CodeAccountNotFound.
//
// The link works until its token is refreshed, for up to 30 days, and requires no
// second factor.
func (c *Client) SendMagicLink(ctx context.Context, email string) error {
	const op = "send_magic_link"
	if err := checkText(op, "email", email); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/login",
		// Without "cookie": false the response would contain the token of the link.
		body: fields{"email": email, "cookie": false},
		refusals: refusals{
			{400, "Account does not exist."}: refused(CodeAccountNotFound),
			{400, `"password" is required`}:  unavailable(CodeUnsupported),
			{400, `"cookie" is not allowed`}: unavailable(CodeUnsupported),
		},
		decode: func(resp response, m members) error {
			if isTrue(m["magicLink"]) {
				return nil
			}
			return resp.invalid(CodeUnexpectedResponse)
		},
	})
}

// ChangePassword replaces the password of the access token's user. It returns
// [auth.ErrRefused] with CodeWrongPassword if the old password is wrong, and with
// CodeNotSignedIn if the service does not accept the access token. Refresh the
// tokens only in the second case. If the account has no password, the service
// accepts any old password.
//
// The user's sessions continue. To end them, call [Client.Revoke].
func (c *Client) ChangePassword(ctx context.Context, accessToken, oldPassword, newPassword string) error {
	const op = "change_password"
	if err := checkAccessToken(op, accessToken); err != nil {
		return err
	}
	if err := checkText(op, "old_password", oldPassword, "new_password", newPassword); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/change-password",
		bearer: accessToken,
		body:   fields{"old_password": oldPassword, "new_password": newPassword},
		refusals: refusals{
			{401, "Incorrect current password."}: refused(CodeWrongPassword),
			{400, "Account does not exist."}:     refused(CodeAccountNotFound),
		},
	})
}

// SendPasswordReset makes the service send a ticket for [Client.ResetPassword] to
// an account's e-mail address. If the address has no account, the error is
// [auth.ErrRefused] with CodeAccountNotFound. If the account is not activated, the
// service sends no e-mail and reports no error.
//
// If the service does not allow password resets, which is the default, the error
// has CodeServiceError.
func (c *Client) SendPasswordReset(ctx context.Context, email string) error {
	const op = "send_password_reset"
	if err := checkText(op, "email", email); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/change-password/request",
		body:   fields{"email": email},
		refusals: refusals{
			{400, "Account does not exist."}: refused(CodeAccountNotFound),
		},
	})
}

// ResetPassword sets a new password with a ticket of [Client.SendPasswordReset].
// If the ticket is used, unknown or older than an hour, the error is
// [auth.ErrRefused] and [auth.ErrTicketRefused]. The user's sessions continue.
func (c *Client) ResetPassword(ctx context.Context, ticket, newPassword string) error {
	const op = "reset_password"
	if err := checkTicket(op, ticket); err != nil {
		return err
	}
	if err := checkText(op, "new_password", newPassword); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/change-password/change",
		body:   fields{"ticket": ticket, "new_password": newPassword},
		refusals: refusals{
			{401, anyMessage}: ticketRefused(CodeTicketRefused),
		},
	})
}

// ChangeEmail changes the e-mail address of the access token's user at once. If the new
// address belongs to another account or is the user's current address, the error is
// [auth.ErrAccountExists] with CodeEmailRefused.
//
// It works only if the service does not verify addresses, which is the default.
// Otherwise the error has CodeServiceError; use [Client.SendEmailChange].
func (c *Client) ChangeEmail(ctx context.Context, accessToken, newEmail string) error {
	return c.changeEmail(ctx, "change_email", "/auth/change-email", accessToken, newEmail)
}

// SendEmailChange makes the service send a ticket for [Client.ConfirmEmailChange]
// to the new e-mail address of the access token's user. It works only if the
// service verifies addresses. Otherwise the error has CodeServiceError.
func (c *Client) SendEmailChange(ctx context.Context, accessToken, newEmail string) error {
	return c.changeEmail(ctx, "send_email_change", "/auth/change-email/request", accessToken, newEmail)
}

func (c *Client) changeEmail(ctx context.Context, op, path, accessToken, newEmail string) error {
	if err := checkAccessToken(op, accessToken); err != nil {
		return err
	}
	if err := checkText(op, "new_email", newEmail); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   path,
		bearer: accessToken,
		body:   fields{"new_email": newEmail},
		refusals: refusals{
			{400, "Cannot use this email."}: refused(CodeEmailRefused),
		},
	})
}

// ConfirmEmailChange changes an e-mail address with the ticket that
// [Client.SendEmailChange] sent to the new address. If the ticket is used, expired
// or unknown, the error is [auth.ErrRefused] and [auth.ErrTicketRefused].
func (c *Client) ConfirmEmailChange(ctx context.Context, ticket string) error {
	const op = "confirm_email_change"
	if err := checkTicket(op, ticket); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/change-email/change",
		body:   fields{"ticket": ticket},
		refusals: refusals{
			{400, "Account does not exist."}: ticketRefused(CodeTicketRefused),
			{401, anyMessage}:                ticketRefused(CodeTicketRefused),
		},
	})
}

// DeleteAccount deletes the account of the access token's user permanently. If the
// service does not allow this, which is the default, the error has
// CodeServiceError.
func (c *Client) DeleteAccount(ctx context.Context, accessToken string) error {
	const op = "delete_account"
	if err := checkAccessToken(op, accessToken); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/delete",
		bearer: accessToken,
	})
}
