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
// marshals without what is in it, since more of it than the password may be
// secret.
type Registration struct {
	Email    string
	Password string

	// Passwordless makes an account that signs in by links in e-mails. The
	// password is not sent.
	Passwordless bool

	// AllowedRoles are the roles of the account, out of those that the
	// service lets a registration ask for. Default: what the service gives.
	AllowedRoles []string

	// DefaultRole is one of AllowedRoles. Default: what the service gives.
	DefaultRole string

	// Data are further fields of the account, such as "display_name". The
	// service refuses those that it is not set up for. Default: none.
	Data map[string]any
}

// String returns a text without the registration.
func (r Registration) String() string { return "synmetrix.Registration[redacted]" }

// GoString returns a text without the registration.
func (r Registration) GoString() string { return r.String() }

// Format keeps the registration out of every fmt verb.
func (r Registration) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// LogValue returns a value without the registration.
func (r Registration) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON returns a JSON string without the registration.
func (r Registration) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Register makes an account with a password, and returns its tokens where the
// service signs it in at once.
//
// A service that waits for the address to be confirmed makes the account,
// sends an e-mail with a link, and the error is [ErrVerificationPending]. A
// taken address is [auth.ErrRefused] with CodeAccountExists, or
// CodeAccountNotActivated where its first registration is still waiting.
//
// A service that fails halfway may have made the account all the same: such
// errors wrap [auth.ErrOutcomeUnknown], and a second try may find the
// address taken.
func (c *Client) Register(ctx context.Context, email, password string) (auth.Grant, error) {
	return c.RegisterWith(ctx, Registration{Email: email, Password: password})
}

// RegisterPasswordless is [Client.Register] for an account that has no
// password and signs in by links in e-mails, see [Client.SendMagicLink]. A
// service that activates accounts at once signs it in without any e-mail:
// nothing then shows that the address is the user's.
//
// A service without magic links does not support it: the error has
// CodeUnsupported and wraps [auth.ErrUnavailable].
func (c *Client) RegisterPasswordless(ctx context.Context, email string) (auth.Grant, error) {
	return c.RegisterWith(ctx, Registration{Email: email, Passwordless: true})
}

// RegisterWith is [Client.Register] with everything that the service lets a
// registration say.
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
		decode: func(a answer, m members) (err error) {
			if string(m["jwt_token"]) == "null" && m["refresh_token"] == nil && m["user"] != nil {
				return a.fail(CodeVerificationPending, ErrVerificationPending)
			}
			grant, err = a.grant(m)
			return err
		},
	})
	if err != nil {
		return auth.Grant{}, err
	}
	return grant, nil
}

var registerRefusals = refusals{
	{400, "Account already exists."}:                         refused(CodeAccountExists),
	{400, "Account already exists but is not activated."}:    refused(CodeAccountNotActivated),
	{400, "Default role must be part of allowed roles."}:     refused(CodeRolesRefused),
	{400, "allowed roles must be a subset of ALLOWED_ROLES"}: refused(CodeRolesRefused),
	{400, `"cookie" is not allowed`}:                         unavailable(CodeUnsupported),
	// Only a registration without a password sends none.
	{400, `"password" is required`}: unavailable(CodeUnsupported),
}

// Activate confirms the address of an account by the ticket of the link that a
// registration with a password was sent, and returns the account's tokens.
//
// Browsers that follow the link need no Activate: the service activates the
// account and sends them on with a refresh token, for [Client.Refresh].
//
// A ticket that is used, unknown or older than an hour is [auth.ErrRefused]
// and [auth.ErrTicketRefused]. The service answers in the same way while
// its backend is failing.
//
// The tokens come in a second request. Where that fails for any reason but a
// refusal, the account is active, and the refresh token is returned beside the
// error.
func (c *Client) Activate(ctx context.Context, ticket string) (auth.Grant, error) {
	return c.followLink(ctx, "activate", ticket, "/auth/activate", url.Values{"ticket": {ticket}})
}

// ActivatePasswordless is [Client.Activate] with the token of the link that a
// registration without a password was sent.
func (c *Client) ActivatePasswordless(ctx context.Context, token string) (auth.Grant, error) {
	return c.followLink(ctx, "activate_passwordless", token, "/auth/magic-link",
		url.Values{"token": {token}, "action": {"register"}, "cookie": {"false"}})
}

// followLink does what a browser does with a link of an e-mail, up to the
// redirect back to the app, and exchanges the refresh token in that.
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
			{401, whatever}: ticketRefused(CodeTicketRefused),
		},
		redirect: func(a answer) (err error) {
			refreshToken, err = a.redirected()
			return err
		},
		decode: func(a answer, _ members) error {
			return a.invalid(CodeUnexpectedAnswer)
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

// redirected returns the refresh token of the redirect after a link. One
// without a token is the service's refusal: its address for failures may be
// the same as that for successes.
func (a answer) redirected() (string, error) {
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.String() == "" {
		return "", a.invalid(CodeRedirect)
	}
	token := to.Query().Get("refresh_token")
	switch {
	case token == "":
		return "", a.fail(CodeTicketRefused, auth.ErrRefused, auth.ErrTicketRefused)
	case !isUUID(token):
		return "", a.invalid(CodeNoRefreshToken)
	}
	return token, nil
}

// SendMagicLink has a link sent to an account's e-mail address that signs in
// who follows it: the service sends the browser on with a refresh token in the
// query, for [Client.Refresh]. It never makes an account; an address without
// one is [auth.ErrRefused] with CodeAccountNotFound.
//
// The token of the link works as often as it is not refreshed, for 30 days, and
// asks for no second factor.
func (c *Client) SendMagicLink(ctx context.Context, email string) error {
	const op = "send_magic_link"
	if err := checkText(op, "email", email); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/login",
		// Without "cookie": false the answer itself would carry the token
		// of the link.
		body: fields{"email": email, "cookie": false},
		refusals: refusals{
			{400, "Account does not exist."}: refused(CodeAccountNotFound),
			{400, `"password" is required`}:  unavailable(CodeUnsupported),
			{400, `"cookie" is not allowed`}: unavailable(CodeUnsupported),
		},
		decode: func(a answer, m members) error {
			if isTrue(m["magicLink"]) {
				return nil
			}
			return a.invalid(CodeUnexpectedAnswer)
		},
	})
}

// ChangePassword replaces the password of the access token's user. A wrong old
// password is [auth.ErrRefused] with CodeWrongPassword, an access token that
// is not accepted with CodeNotSignedIn: renewing the token helps the second
// only. For an account without a password any old one is right.
//
// All sessions of the user survive it; [Client.Revoke] ends them.
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

// SendPasswordReset has a ticket sent to an account's e-mail address, for
// [Client.ResetPassword]. An address without an account is
// [auth.ErrRefused] with CodeAccountNotFound; an account that is not
// activated is sent nothing, without an error.
//
// A service that does not allow it, which is the default, answers
// CodeServiceError.
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

// ResetPassword sets a new password by a ticket of [Client.SendPasswordReset].
// A ticket that is used, unknown or older than an hour is [auth.ErrRefused]
// and [auth.ErrTicketRefused]. All sessions of the user survive it.
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
			{401, whatever}: ticketRefused(CodeTicketRefused),
		},
	})
}

// ChangeEmail changes the e-mail address of the access token's user, at once.
// An address that is taken, or is the user's own, is [auth.ErrRefused] with
// CodeEmailRefused.
//
// It is for services that do not verify addresses, which is the default; those
// that do answer CodeServiceError to it and take [Client.SendEmailChange].
func (c *Client) ChangeEmail(ctx context.Context, accessToken, newEmail string) error {
	return c.changeEmail(ctx, "change_email", "/auth/change-email", accessToken, newEmail)
}

// SendEmailChange has a ticket sent to the new e-mail address of the access
// token's user, for [Client.ConfirmEmailChange]. It is for services that
// verify addresses; others answer CodeServiceError.
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

// ConfirmEmailChange changes an e-mail address by the ticket that was sent
// there. A ticket that is used or unknown is [auth.ErrRefused] and
// [auth.ErrTicketRefused].
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
			{401, whatever}:                  ticketRefused(CodeTicketRefused),
		},
	})
}

// DeleteAccount deletes the account of the access token's user, for good. A
// service that does not allow it, which is the default, answers
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
