package synmetrix

import (
	"context"
	"net/http"
	"net/url"

	"github.com/synmetrix/session/auth"
)

// Login exchanges an e-mail address and a password for tokens. Both are sent
// exactly as given.
//
// If the service rejects the login, the error is [auth.ErrRefused], and its Code
// is the reason: CodeInvalidCredentials, CodeAccountNotFound,
// CodeAccountNotActivated, CodeInvalidEmail, CodeInvalidPassword or CodeUnclear.
// If the account has a second factor, the error is a [*auth.SecondFactorError];
// continue with [Client.LoginTOTP].
//
// The service compares only the first 72 bytes of a password.
func (c *Client) Login(ctx context.Context, email, password string) (auth.Grant, error) {
	const op = "login"
	if err := checkText(op, "email", email, "password", password); err != nil {
		return auth.Grant{}, err
	}
	var grant auth.Grant
	err := c.call(ctx, request{
		op:       op,
		method:   http.MethodPost,
		path:     "/auth/login",
		body:     fields{"email": email, "password": password, "cookie": false},
		refusals: loginRefusals,
		decode:   decodeLogin(&grant),
	})
	return grant, err
}

// LoginAnonymous creates an account without an e-mail address and returns its
// tokens. The only role of the account is "anonymous". If the service does not
// allow anonymous users, which is the default, the error is
// [auth.ErrUnavailable] with CodeUnsupported.
//
// A service that allows anonymous users rejects [Client.Login] and all other calls
// that request a refresh token in the response.
func (c *Client) LoginAnonymous(ctx context.Context) (auth.Grant, error) {
	var grant auth.Grant
	err := c.call(ctx, request{
		op:     "login_anonymous",
		method: http.MethodPost,
		path:   "/auth/login",
		body:   fields{"anonymous": true},
		refusals: refusals{
			{400, `"email" is required`}: unavailable(CodeUnsupported),
		},
		decode: decodeLogin(&grant),
	})
	return grant, err
}

var loginRefusals = refusals{
	{401, anyMessage}:                  refused(CodeInvalidCredentials),
	{400, otherMessage}:                refused(CodeUnclear),
	{400, "Account does not exist."}:   refused(CodeAccountNotFound),
	{400, "Account is not activated."}: refused(CodeAccountNotActivated),
	{400, `"cookie" is not allowed`}:   unavailable(CodeUnsupported),
}

// decodeLogin decodes the response to a login, which may require a second factor
// instead of holding tokens. A refresh token without an access token is returned
// together with the error, so that the caller can revoke it.
func decodeLogin(into *auth.Grant) func(response, members) error {
	return func(resp response, m members) error {
		if err := resp.secondFactor(m); err != nil {
			return err
		}
		grant, err := resp.grant(m)
		*into = grant
		return err
	}
}

// LoginTOTP completes a login that requires a second factor, with the ticket of
// the [*auth.SecondFactorError] and a one-time code (RFC 6238) of six digits.
//
// For a wrong code the error is [auth.ErrRefused], and the ticket stays valid. If
// the ticket is used, unknown or older than an hour, the error is also
// [auth.ErrTicketRefused]. The service reports the same while its backend is
// failing.
func (c *Client) LoginTOTP(ctx context.Context, ticket, code string) (auth.Grant, error) {
	const op = "login_totp"
	if err := checkTicket(op, ticket); err != nil {
		return auth.Grant{}, err
	}
	if err := checkText(op, "code", code); err != nil {
		return auth.Grant{}, err
	}
	var grant auth.Grant
	err := c.call(ctx, request{
		op:       op,
		method:   http.MethodPost,
		path:     "/auth/mfa/totp",
		body:     fields{"ticket": ticket, "code": code, "cookie": false},
		refusals: totpRefusals,
		decode:   decodeLogin(&grant),
	})
	return grant, err
}

var totpRefusals = refusals{
	{401, "Invalid or expired ticket."}: ticketRefused(CodeTicketRefused),
	{401, anyMessage}:                   refused(CodeWrongCode),
	{400, "MFA is not enabled."}:        ticketRefused(CodeMFANotEnabled),
	{400, "Account is not activated."}:  refused(CodeAccountNotActivated),
}

// Refresh exchanges a refresh token for a new pair of tokens. The service accepts
// a refresh token once. It does not remember used tokens, and rejects them like
// unknown ones.
//
// Refresh returns [auth.ErrRefused] in two cases only: with
// CodeRefreshTokenRefused if the service responds with a 401 in its own format,
// and, without sending a request, if the token is empty or not a UUID. After any
// other error the token may still be valid; if the error is also
// [auth.ErrOutcomeUnknown], it may have been used. If the response holds a new
// refresh token but no access token, Refresh returns the refresh token together
// with [auth.ErrInvalidResponse].
//
// If ctx ends before the response arrives, the service may have rotated the
// token, and the new token is lost. Pass a context that is not canceled with the
// caller's request. The timeout of the client bounds the call in any case.
func (c *Client) Refresh(ctx context.Context, tokens auth.Tokens) (auth.Grant, error) {
	const op = "refresh"
	refreshToken := tokens.RefreshToken
	switch {
	case refreshToken == "":
		return auth.Grant{}, newError(op, CodeMissingToken, auth.ErrRefused)
	case !isUUID(refreshToken):
		// The service would respond with 400, as it does while its backend is
		// failing. This check distinguishes a malformed token from an outage.
		return auth.Grant{}, newError(op, CodeMalformedToken, auth.ErrRefused)
	}
	var grant auth.Grant
	err := c.call(ctx, request{
		op:       op,
		method:   http.MethodGet,
		path:     "/auth/token/refresh",
		query:    url.Values{"refresh_token": {refreshToken}},
		refusals: refreshRefusals,
		decode: func(resp response, m members) (err error) {
			grant, err = resp.grant(m)
			return err
		},
	})
	return grant, err
}

var refreshRefusals = refusals{
	{401, anyMessage}: refused(CodeRefreshTokenRefused),
	{400, anyMessage}: unavailable(CodeUnclear),
}

// Logout revokes the refresh token.
//
// With all set, Logout ends every session of the user at the service. It sends
// the access token with [Client.Revoke], because the service confirms a logout of
// all sessions by refresh token even if it has not carried it out. If there is no
// access token, or the service does not accept it, for example because it has
// expired, no session ends and the error is [auth.ErrRefused] with
// CodeNotSignedIn: refresh the tokens and try again. Access tokens stay valid until
// they expire.
//
// Without all, the service confirms nearly every logout, including those of
// unknown tokens and those that it could not carry out.
func (c *Client) Logout(ctx context.Context, tokens auth.Tokens, all bool) error {
	const op = "logout"
	if all {
		return c.logoutAll(ctx, tokens)
	}
	switch {
	case tokens.RefreshToken == "":
		return newError(op, CodeMissingToken, auth.ErrRefused)
	case !isUUID(tokens.RefreshToken):
		return nil // the service cannot have issued this token
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/logout",
		query:  url.Values{"refresh_token": {tokens.RefreshToken}},
		body:   fields{"all": false},
	})
}

func (c *Client) logoutAll(ctx context.Context, tokens auth.Tokens) error {
	switch {
	case tokens == (auth.Tokens{}):
		return newError("logout", CodeMissingToken, auth.ErrRefused)
	case !isJWT(tokens.AccessToken):
		return newError("logout", CodeNotSignedIn, auth.ErrRefused)
	}
	return c.Revoke(ctx, tokens.AccessToken)
}

// Revoke revokes every refresh token of the access token's user. The access token
// itself stays valid until it expires.
func (c *Client) Revoke(ctx context.Context, accessToken string) error {
	const op = "revoke"
	if err := checkAccessToken(op, accessToken); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/token/revoke",
		bearer: accessToken,
	})
}

// Ping requests the service's health page. It returns nil for any status below
// 500. The page does not depend on the service's backend.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, request{
		op:     "ping",
		method: http.MethodGet,
		path:   "/healthz",
		check: func(resp response) error {
			if resp.status < 500 {
				return nil
			}
			return resp.fail(CodeServiceError, auth.ErrUnavailable)
		},
	})
}

// ParseAccessToken returns the claims of an access token. It expects the claim
// names that the service uses by default, and does not check the signature: use
// it only for tokens that the client has received from the service. It calls
// [auth.ParseClaims] with the zero [auth.ClaimNames].
func ParseAccessToken(token string) (auth.Claims, error) {
	return auth.ParseClaims(token, auth.ClaimNames{})
}
