package synmetrix

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// ErrVerificationPending is wrapped by the error of a registration that has
// succeeded and signs nobody in yet: the service has sent an e-mail, and waits
// for its link to be followed.
var ErrVerificationPending = errors.New("verification pending")

// The values of [auth.Error.Code]. In brackets the sentinels of package
// session that the error wraps.
const (
	// Nothing was sent.
	CodeInvalidAddress = "invalid_address" // the base address cannot be used (ErrUnavailable)
	CodeMissingToken   = "missing_token"   // a token or ticket that the call needs is empty (ErrRefused)
	CodeMalformedToken = "malformed_token" // a token or ticket is none that the service can have issued (ErrRefused; for a ticket also ErrTicketRefused)

	// No answer of the service.
	CodeUnreachable = "unreachable" // no connection; the service has not seen the request (ErrUnavailable)
	CodeNoAnswer    = "no_answer"   // no answer, or not in time (ErrUnavailable, ErrOutcomeUnknown)

	// An answer that is none of the service's, or not what was asked for.
	// ErrInvalidAnswer and, but for CodeNoAccessToken and CodeUserChanged,
	// ErrOutcomeUnknown.
	CodeRedirect         = "redirect"          // a status of 300 to 399, or under 200
	CodeNotJSON          = "not_json"          // HTML, or JSON that is not in the service's format
	CodeBodyTooLarge     = "body_too_large"    // over 1 MiB
	CodeBodyCut          = "body_cut"          // the connection broke within the body
	CodeNoTokens         = "no_tokens"         // a success without tokens
	CodeNoAccessToken    = "no_access_token"   // a refresh token, but no usable access token
	CodeNoRefreshToken   = "no_refresh_token"  // an access token, but no usable refresh token
	CodeNoTicket         = "no_ticket"         // a second factor is asked for without a ticket
	CodeMagicLink        = "magic_link"        // a log-in link was mailed where tokens were asked for
	CodeUnexpectedAnswer = "unexpected_answer" // a success of another kind than was asked for
	CodeUserChanged      = "user_changed"      // a TokenSource was given another user's tokens

	// The service says that it cannot do it, or not now.
	CodeRateLimited      = "rate_limited"      // 429 (ErrRateLimited, ErrUnavailable)
	CodeServiceError     = "service_error"     // 500 or more; also the answer of a feature that is switched off (ErrUnavailable; also ErrOutcomeUnknown unless the service itself says so in JSON)
	CodeUnexpectedStatus = "unexpected_status" // a 4xx that this call does not have, such as the 404 of a service that is switched off (ErrUnavailable)
	CodeUnsupported      = "unsupported"       // the service's settings rule the call out: with anonymous users on, it refuses every login that asks for a refresh token; with them off, the anonymous one; without magic links, a login or registration without a password (ErrUnavailable)

	// CodeUnclear: a 400 without a known message. The service answers so when
	// its own backend is failing, and also to a password for an account that
	// has none. ErrRefused at login, ErrUnavailable in every other call.
	CodeUnclear = "unclear"

	// The service has understood and refuses. ErrRefused.
	CodeInvalidCredentials  = "invalid_credentials"   // wrong password
	CodeAccountNotFound     = "account_not_found"     // no account with that e-mail address; calls that begin with one are also answered so while the service's backend is failing
	CodeAccountNotActivated = "account_not_activated" // an account that is not activated, or was switched off; at a registration, one that is there already
	CodeAccountExists       = "account_exists"        // the e-mail address has an account
	CodeEmailRefused        = "email_refused"         // the e-mail address is another account's, or the user's own already
	CodeRolesRefused        = "roles_refused"         // roles that a registration may not ask for
	CodeRefreshTokenRefused = "refresh_token_refused" // used, expired, revoked or unknown
	CodeTicketRefused       = "ticket_refused"        // used, expired or unknown (also ErrTicketRefused)
	CodeWrongPassword       = "wrong_password"        // the old password, at a change of it
	CodeWrongCode           = "wrong_code"            // a wrong one-time code
	CodeMFAEnabled          = "mfa_enabled"           // the second factor is on already
	CodeMFANotEnabled       = "mfa_not_enabled"       // the account has no second factor (at LoginTOTP also ErrTicketRefused)
	CodeMFANotGenerated     = "mfa_not_generated"     // EnableMFA before GenerateMFA
	CodeNotSignedIn         = "not_signed_in"         // the access token is expired or not accepted
	CodeInvalidEmail        = "invalid_email"         // an e-mail address that the service does not take
	CodeInvalidPassword     = "invalid_password"      // a password that the service does not take: too short, too long
	CodeInvalidInput        = "invalid_input"         // another argument that it does not take, or that JSON cannot carry

	// CodeVerificationPending: see ErrVerificationPending, which is all that
	// the error wraps.
	CodeVerificationPending = "verification_pending"
)

// meaning is what an AuthError wraps: sentinels and a cause.
type meaning []error

func (m meaning) Error() string {
	texts := make([]string, len(m))
	for i, err := range m {
		texts[i] = err.Error()
	}
	return strings.Join(texts, ": ")
}

func (m meaning) Unwrap() []error { return m }

// newError returns a failure without an answer.
func newError(op, code string, wraps ...error) *auth.Error {
	return &auth.Error{Op: op, Code: code, Err: meaning(wraps)}
}

// log writes the line of one request.
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
