package synmetrix

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session"
)

// The values of [session.AuthError.Code]. In brackets the sentinels of package
// session that the error wraps.
const (
	// Nothing was sent.
	CodeInvalidAddress = "invalid_address" // the base address cannot be used (ErrUnavailable)
	CodeMissingToken   = "missing_token"   // a token or ticket that the call needs is empty (ErrRefused)
	CodeMalformedToken = "malformed_token" // it is none that the service can have issued (ErrRefused; ErrTicketRefused for a ticket)
	CodeInvalidInput   = "invalid_input"   // an argument was refused, here or by the service: no e-mail address, too short a password (ErrRefused)

	// No answer of the service.
	CodeUnreachable = "unreachable" // no connection; the service has not seen the request (ErrUnavailable)
	CodeNoAnswer    = "no_answer"   // no answer, or not in time (ErrUnavailable, ErrOutcomeUnknown)

	// An answer that is none of the service's, or not what was asked for.
	// ErrInvalidAnswer and, but for CodeNoAccessToken, ErrOutcomeUnknown.
	CodeRedirect       = "redirect"         // a status of 300 to 399, or under 200
	CodeNotJSON        = "not_json"         // HTML, or JSON that is not in the service's format
	CodeBodyTooLarge   = "body_too_large"   // over 1 MiB
	CodeBodyCut        = "body_cut"         // the connection broke within the body
	CodeNoTokens       = "no_tokens"        // a success without tokens
	CodeNoAccessToken  = "no_access_token"  // a refresh token, but no usable access token
	CodeNoRefreshToken = "no_refresh_token" // an access token, but no usable refresh token
	CodeNoTicket       = "no_ticket"        // a second factor is asked for without a ticket
	CodeMagicLink      = "magic_link"       // a log-in link was mailed where tokens were asked for

	// The service says that it cannot do it now.
	CodeRateLimited      = "rate_limited"      // 429 (ErrRateLimited, ErrUnavailable)
	CodeServiceError     = "service_error"     // 500 or more (ErrUnavailable; also ErrOutcomeUnknown unless the service itself says so in JSON)
	CodeUnexpectedStatus = "unexpected_status" // a 4xx that this call does not have, such as the 404 of a service that is switched off (ErrUnavailable)
	CodeUnsupported      = "unsupported"       // the service's settings rule the call out: with anonymous users on, it refuses every login that asks for a refresh token (ErrUnavailable)

	// CodeUnclear: a 400 without a known message. The service answers so when
	// its own backend is failing, and also to a password for an account that
	// has none. ErrRefused at login, ErrUnavailable in every other call.
	CodeUnclear = "unclear"

	// The service has understood and refuses. ErrRefused.
	CodeInvalidCredentials  = "invalid_credentials"   // wrong password
	CodeAccountNotFound     = "account_not_found"     // no account with that e-mail address; a login is also answered so while the service's backend is failing
	CodeAccountNotActivated = "account_not_activated" // an account that is not activated, or was switched off
	CodeRefreshTokenRefused = "refresh_token_refused" // used, expired, revoked or unknown
	CodeTicketRefused       = "ticket_refused"        // used, expired or unknown (also ErrTicketRefused)
	CodeWrongCode           = "wrong_code"            // a wrong one-time code
	CodeMFANotEnabled       = "mfa_not_enabled"       // the account has no second factor any more (also ErrTicketRefused)
	CodeNotSignedIn         = "not_signed_in"         // the access token is missing, expired or not accepted
)

// maxRetryAfter is the length of the service's own rate-limit window.
const maxRetryAfter = 15 * time.Minute

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
func newError(op, code string, wraps ...error) *session.AuthError {
	return &session.AuthError{Op: op, Code: code, Err: meaning(wraps)}
}

// fail returns a failure with the answer that tells of it.
func (a answer) fail(code string, wraps ...error) *session.AuthError {
	e := newError(a.op, code, wraps...)
	e.StatusCode = a.status
	return e
}

// verdict is a code and the sentinels that go with it.
type verdict struct {
	code  string
	wraps []error
}

func refused(code string) verdict {
	return verdict{code, []error{session.ErrRefused}}
}

func ticketRefused(code string) verdict {
	return verdict{code, []error{session.ErrRefused, session.ErrTicketRefused}}
}

func unavailable(code string) verdict {
	return verdict{code, []error{session.ErrUnavailable}}
}

// judge says what an answer to r means.
func (a answer) judge(r request) error {
	own, message := a.serviceError()
	switch {
	case a.status == http.StatusTooManyRequests:
		e := a.fail(CodeRateLimited, session.ErrRateLimited, session.ErrUnavailable)
		e.Message, e.RetryAfter = message, a.retryAfter()
		return e

	case a.status >= 500:
		e := a.fail(CodeServiceError, session.ErrUnavailable)
		// A proxy in between may not know what became of the request, and
		// 502 and 504 are never the service's own.
		if !own || a.status == http.StatusBadGateway || a.status == http.StatusGatewayTimeout {
			e.Err = meaning{session.ErrUnavailable, session.ErrOutcomeUnknown}
		}
		e.Message, e.RetryAfter = message, a.retryAfter()
		return e

	case a.status < 200 || a.status >= 300 && a.status < 400:
		return a.fail(CodeRedirect, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)

	case a.broken != nil:
		return a.brokenBody()

	case a.status >= 400 && !own:
		e := a.fail(CodeNotJSON, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
		e.RetryAfter = a.retryAfter()
		return e

	case a.status >= 400:
		refusal := r.refusal
		if refusal == nil {
			refusal = commonRefusal
		}
		v := refusal(a.status, message)
		e := a.fail(v.code, v.wraps...)
		e.Message, e.RetryAfter = message, a.retryAfter()
		return e

	case r.decode != nil:
		return r.decode(a)
	}
	return a.noContent()
}

func (a answer) brokenBody() error {
	switch {
	case errors.Is(a.broken, errTooLarge):
		return a.fail(CodeBodyTooLarge, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
	case errors.Is(a.broken, context.DeadlineExceeded), errors.Is(a.broken, context.Canceled):
		return a.fail(CodeNoAnswer, session.ErrUnavailable, session.ErrOutcomeUnknown, a.broken)
	}
	return a.fail(CodeBodyCut, session.ErrInvalidAnswer, session.ErrOutcomeUnknown, a.broken)
}

// commonRefusal is what the service's errors mean where a call has no rules of
// its own.
func commonRefusal(status int, message string) verdict {
	switch {
	case status == http.StatusUnauthorized:
		return refused(CodeNotSignedIn)
	case status == http.StatusBadRequest && isValidation(message):
		return refused(CodeInvalidInput)
	case status == http.StatusBadRequest:
		return unavailable(CodeUnclear)
	}
	return unavailable(CodeUnexpectedStatus)
}

// isValidation reports whether a message is about an argument: those begin
// with its name in quotation marks. The other texts of a 400 tell of a state,
// or quote what the service's backend said.
func isValidation(message string) bool {
	return strings.HasPrefix(message, `"`)
}

// retryAfter returns how long the service asks to wait. X-RateLimit-Reset, in
// Unix seconds, goes first at a 429: the Retry-After beside it always names
// the whole window, however little of it is left. Both are taken by the
// service's own clock, as its Date tells it.
func (a answer) retryAfter() time.Duration {
	now := time.Now()
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = date
	}
	if a.status == http.StatusTooManyRequests {
		if reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return clampWait(time.Unix(reset, 0).Sub(now))
		}
	}
	value := a.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return clampWait(time.Duration(seconds) * time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return clampWait(at.Sub(now))
	}
	return 0
}

func clampWait(d time.Duration) time.Duration {
	return min(max(d, time.Second), maxRetryAfter)
}

// log writes the line of one request.
func (c *Client) log(ctx context.Context, op string, status int, d time.Duration, err error) {
	code := "ok"
	var failure *session.AuthError
	switch {
	case errors.As(err, &failure):
		code = failure.Code
	case errors.Is(err, session.ErrSecondFactor):
		code = "second_factor"
	}
	c.logger.LogAttrs(ctx, slog.LevelDebug, "auth service called",
		slog.String("op", op),
		slog.Int("status", status),
		slog.String("code", code),
		slog.Duration("duration", d))
}
