package synmetrix

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// Login exchanges an e-mail address and a password for tokens. Both are sent
// exactly as given.
//
// A refusal is [auth.ErrRefused], whatever the reason; Code tells which:
// CodeInvalidCredentials, CodeAccountNotFound, CodeAccountNotActivated,
// CodeInvalidEmail, CodeInvalidPassword or CodeUnclear. Where the account has a
// second factor the error is a [*auth.SecondFactorError], for
// [Client.LoginTOTP].
//
// The service counts passwords by their first 72 bytes only.
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

// LoginAnonymous makes an account without an e-mail address and returns its
// tokens. Their roles are "anonymous". A service that does not allow it, which
// is the default, answers with [auth.ErrUnavailable] and CodeUnsupported.
//
// A service that does allow it refuses [Client.Login] and the other calls that
// ask for a refresh token in the answer.
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
	{401, whatever}:                    refused(CodeInvalidCredentials),
	{400, otherwise}:                   refused(CodeUnclear),
	{400, "Account does not exist."}:   refused(CodeAccountNotFound),
	{400, "Account is not activated."}: refused(CodeAccountNotActivated),
	{400, `"cookie" is not allowed`}:   unavailable(CodeUnsupported),
}

// decodeLogin reads the answer to a login, which may ask for a second factor
// in place of tokens. A refresh token that comes without an access token is
// passed on beside the error, so that it can be given back.
func decodeLogin(into *auth.Grant) func(answer, members) error {
	return func(a answer, m members) error {
		if err := a.secondFactor(m); err != nil {
			return err
		}
		grant, err := a.grant(m)
		*into = grant
		return err
	}
}

// LoginTOTP finishes a login that asked for a second factor, with the ticket
// of the [*auth.SecondFactorError] and a one-time code (RFC 6238) of six
// digits.
//
// A wrong code is [auth.ErrRefused] and leaves the ticket as it was. A
// ticket that is used, unknown or older than an hour is also
// [auth.ErrTicketRefused]; the service answers so while its backend is
// failing, too.
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
	{401, whatever}:                     refused(CodeWrongCode),
	{400, "MFA is not enabled."}:        ticketRefused(CodeMFANotEnabled),
	{400, "Account is not activated."}:  refused(CodeAccountNotActivated),
}

// Refresh exchanges a refresh token for a new pair. The token is used up by
// it; the service keeps no memory of used ones, and a second use is refused
// like any unknown token.
//
// Only a 401 in the service's own format is [auth.ErrRefused], with
// CodeRefreshTokenRefused; so is, without a request, a token that is not a
// UUID. Everything else leaves the token possibly good: see
// [auth.ErrOutcomeUnknown] for whether it may have been used. Where the
// answer held a new refresh token but no access token, the former is returned
// beside [auth.ErrInvalidAnswer].
//
// The rotation takes place at the service even if ctx ends before the answer
// is here, which then is lost. Callers that can be interrupted should pass a
// context that is not; the client's timeout bounds the call in any case.
func (c *Client) Refresh(ctx context.Context, tokens auth.Tokens) (auth.Grant, error) {
	const op = "refresh"
	refreshToken := tokens.RefreshToken
	switch {
	case refreshToken == "":
		return auth.Grant{}, newError(op, CodeMissingToken, auth.ErrRefused)
	case !isUUID(refreshToken):
		// The service answers 400 to it, as it does while its backend is
		// failing: asked here, the two can be told apart.
		return auth.Grant{}, newError(op, CodeMalformedToken, auth.ErrRefused)
	}
	var grant auth.Grant
	err := c.call(ctx, request{
		op:       op,
		method:   http.MethodGet,
		path:     "/auth/token/refresh",
		query:    url.Values{"refresh_token": {refreshToken}},
		refusals: refreshRefusals,
		decode: func(a answer, m members) (err error) {
			grant, err = a.grant(m)
			return err
		},
	})
	return grant, err
}

var refreshRefusals = refusals{
	{401, whatever}: refused(CodeRefreshTokenRefused),
	{400, whatever}: unavailable(CodeUnclear),
}

// Logout revokes the refresh token.
//
// With all set it ends every session of the user at the service, by the access
// token and [Client.Revoke]: the service confirms a logout of all sessions by a
// refresh token whether it has carried it out or not. If the access token has
// expired, or the service does not accept it, no session is ended and the error
// is [auth.ErrRefused] with CodeNotSignedIn: refresh the tokens and try
// again. Access tokens stay valid until they expire.
//
// Without all the service confirms nearly every logout, that of unknown tokens
// and those that it could not carry out included.
func (c *Client) Logout(ctx context.Context, tokens auth.Tokens, all bool) error {
	const op = "logout"
	if all {
		return c.logoutAll(ctx, tokens)
	}
	switch {
	case tokens.RefreshToken == "":
		return newError(op, CodeMissingToken, auth.ErrRefused)
	case !isUUID(tokens.RefreshToken):
		return nil // nothing that the service could know
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
	case !isLive(tokens.AccessToken, time.Now()):
		return newError("logout", CodeNotSignedIn, auth.ErrRefused)
	}
	return c.Revoke(ctx, tokens.AccessToken)
}

// Revoke makes every refresh token of the access token's user worthless. The
// access token itself stays good until it expires.
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

// isLive reports whether an access token has not expired at the time now.
func isLive(token string, now time.Time) bool {
	if !isJWT(token) {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	return claims.Exp > float64(now.Unix())
}

// Ping reports whether the service is up: it asks for its health page, and
// takes every answer under 500 for a yes. The page does not depend on the
// service's backend.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, request{
		op:     "ping",
		method: http.MethodGet,
		path:   "/healthz",
		judge: func(a answer) error {
			if a.status < 500 {
				return nil
			}
			return a.fail(CodeServiceError, auth.ErrUnavailable)
		},
	})
}

// ParseAccessToken reads the claims of an access token as the service issues
// them by default, without checking the signature: it is for tokens that have
// come from the service over the client's own connection. It is
// [auth.ParseClaims] for the zero [auth.ClaimNames].
func ParseAccessToken(token string) (auth.Claims, error) {
	return auth.ParseClaims(token, auth.ClaimNames{})
}
