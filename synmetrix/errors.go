package synmetrix

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// The values of [auth.Error.Code]. The sentinels of package auth that the error
// wraps are in parentheses.
const (
	// The client sent no request.
	CodeInvalidAddress = "invalid_address" // the base URL is invalid (ErrUnavailable)
	CodeMissingToken   = "missing_token"   // a required token or ticket is empty (ErrRefused; for a ticket also ErrTicketRefused)
	CodeMalformedToken = "malformed_token" // a token or ticket has a form that the service never issues (ErrRefused; for a ticket also ErrTicketRefused)

	// There was no response.
	CodeUnreachable = "unreachable" // no connection; the service has not received the request (ErrUnavailable)
	CodeNoResponse  = "no_response" // no response, or none in time (ErrUnavailable, ErrOutcomeUnknown)

	// The response is not from the service, or is not a response that the call expects.
	// ErrInvalidResponse, and also ErrOutcomeUnknown except for CodeNoAccessToken and
	// CodeUserChanged.
	CodeRedirect           = "redirect"            // a status from 300 to 399, or below 200
	CodeNotJSON            = "not_json"            // a success, a 400 or a 401 that is not JSON in the service's format, or another 4xx in HTML
	CodeBodyTooLarge       = "body_too_large"      // over 1 MiB
	CodeBodyCut            = "body_cut"            // the connection broke before the end of the body
	CodeNoTokens           = "no_tokens"           // a success without tokens
	CodeNoAccessToken      = "no_access_token"     // a refresh token, but no usable access token
	CodeNoRefreshToken     = "no_refresh_token"    // an access token, but no usable refresh token
	CodeNoTicket           = "no_ticket"           // a second factor is required, but the ticket is missing
	CodeMagicLink          = "magic_link"          // the service sent a login link by e-mail instead of returning tokens
	CodeUnexpectedResponse = "unexpected_response" // a success that does not fit the request
	CodeUserChanged        = "user_changed"        // a refresh of a TokenSource returned the tokens of another user

	// The service cannot execute the request, or cannot execute it now.
	CodeRateLimited      = "rate_limited"      // 429 (ErrUnavailable; also ErrRateLimited, unless the request had the address of a user)
	CodeServiceError     = "service_error"     // 500 or more; the service also sends 500 if the feature is switched off (ErrUnavailable; also ErrOutcomeUnknown for a 502 or 504, for a body that is not the service's own JSON, and for every registration)
	CodeUnexpectedStatus = "unexpected_status" // a 4xx that the call does not expect, such as 404 from a service that is switched off, or 407 from a proxy (ErrUnavailable; also ErrOutcomeUnknown for a body that is not the service's own JSON)
	CodeUnsupported      = "unsupported"       // the settings of the service exclude the call (ErrUnavailable). With anonymous users on, the service rejects logins that request a refresh token; with them off, anonymous logins; without magic links, logins and registrations without a password

	// CodeUnclear: a 400 without a known message. The service sends it while its
	// backend is failing, and also for a login with a password to an account that
	// has none. ErrRefused for Login, ErrUnavailable for every other call. For a
	// registration also ErrOutcomeUnknown.
	CodeUnclear = "unclear"

	// The service has rejected the request for good. ErrRefused, and for some codes
	// also a more specific error of package auth.
	CodeInvalidCredentials  = "invalid_credentials"   // wrong password
	CodeAccountNotFound     = "account_not_found"     // no account has that e-mail address. Calls that look an account up also return it while the service's backend is failing
	CodeAccountNotActivated = "account_not_activated" // the account is not activated, or is switched off. At a registration: such an account already exists
	CodeAccountExists       = "account_exists"        // the e-mail address has an account
	CodeEmailRefused        = "email_refused"         // the new e-mail address belongs to another account, or is the user's current address
	CodeRolesRefused        = "roles_refused"         // a registration may not request these roles
	CodeRefreshTokenRefused = "refresh_token_refused" // used, expired, revoked or unknown
	CodeTicketRefused       = "ticket_refused"        // used, expired or unknown (also ErrTicketRefused)
	CodeWrongPassword       = "wrong_password"        // the old password of a password change is wrong
	CodeWrongCode           = "wrong_code"            // the one-time code is wrong
	CodeMFAEnabled          = "mfa_enabled"           // the second factor is already on
	CodeMFANotEnabled       = "mfa_not_enabled"       // the account has no second factor (for LoginTOTP also ErrTicketRefused)
	CodeMFANotGenerated     = "mfa_not_generated"     // EnableMFA was called before GenerateMFA
	CodeNotSignedIn         = "not_signed_in"         // the access token has expired or is not accepted
	CodeInvalidEmail        = "invalid_email"         // the service does not accept this e-mail address
	CodeInvalidPassword     = "invalid_password"      // the service does not accept this password: it is too short or too long
	CodeInvalidInput        = "invalid_input"         // another argument is not accepted, or cannot be encoded as JSON

	// CodeVerificationPending: the error wraps ErrVerificationPending.
	CodeVerificationPending = "verification_pending"
)

// meaning is the Err of an [auth.Error]: its sentinels, and its cause if known.
type meaning []error

func (m meaning) Error() string {
	texts := make([]string, len(m))
	for i, err := range m {
		texts[i] = err.Error()
	}
	return strings.Join(texts, ": ")
}

func (m meaning) Unwrap() []error { return m }

// specific has the more specific sentinels of refusals, by their codes.
var specific = map[string]error{
	CodeAccountExists:   auth.ErrAccountExists,
	CodeInvalidEmail:    auth.ErrEmailRefused,
	CodeEmailRefused:    auth.ErrAccountExists,
	CodeInvalidPassword: auth.ErrPasswordRefused,
	CodeWrongPassword:   auth.ErrWrongPassword,
	CodeMFAEnabled:      auth.ErrSecondFactorState,
	CodeMFANotEnabled:   auth.ErrSecondFactorState,
	CodeMFANotGenerated: auth.ErrSecondFactorState,
	CodeNotSignedIn:     auth.ErrAccessTokenRefused,
}

// newError returns an error for a call without a response.
func newError(op, code string, wraps ...error) *auth.Error {
	if err := specific[code]; err != nil {
		wraps = append(slices.Clone(wraps), err) // callers share the slices of verdicts
	}
	return &auth.Error{Op: op, Code: code, Err: meaning(wraps)}
}

// log logs one request.
func (c *Client) log(ctx context.Context, op string, status int, d time.Duration, err error) {
	code := "ok"
	var failure *auth.Error
	switch {
	case errors.As(err, &failure):
		code = failure.Code
	case errors.Is(err, auth.ErrSecondFactor):
		code = "second_factor"
	}
	c.logger.LogAttrs(ctx, slog.LevelDebug, "auth service called",
		slog.String("op", op),
		slog.Int("status", status),
		slog.String("code", code),
		slog.Duration("duration", d))
}
