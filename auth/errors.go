package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// The kinds of failures. Errors of a [Service] wrap one of these, or two if both apply.
// Test for them with errors.Is.
var (
	// ErrRefused: the service understood the request and rejected it, and would reject it
	// again. The credentials are wrong, or the refresh token is no longer valid.
	ErrRefused = errors.New("refused by the auth service")

	// ErrTicketRefused: a one-time ticket (of the second step of a login, an
	// activation or a password reset) is used up, expired or unknown. The step that
	// issued the ticket must be repeated. An error that wraps ErrTicketRefused also
	// wraps ErrRefused.
	ErrTicketRefused = errors.New("ticket refused by the auth service")

	// ErrUnavailable: the request failed and can be retried later. The service
	// could not be reached, did not respond in time, or reported that it is failing
	// or overloaded.
	ErrUnavailable = errors.New("auth service unavailable")

	// ErrRateLimited: the service rejects requests of this client for a while
	// (HTTP 429). An error that wraps ErrRateLimited also wraps ErrUnavailable. A limit that
	// concerns only one user or one user's address is ErrUnavailable alone: after
	// ErrRateLimited, a session.Manager pauses the refreshes of all sessions.
	ErrRateLimited = errors.New("rate limited by the auth service")

	// ErrInvalidResponse: the response of the service cannot be used. It is a
	// redirect, HTML, incomplete or too large, or a success without usable tokens.
	ErrInvalidResponse = errors.New("invalid response from the auth service")

	// ErrOutcomeUnknown: the service may have executed the request, and may have used up
	// the refresh token in it. An error that wraps ErrOutcomeUnknown also wraps
	// ErrUnavailable or ErrInvalidResponse.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	// ErrSecondFactor: the password is right and a one-time code is required.
	ErrSecondFactor = errors.New("second factor needed")
)

// The kinds of failures of calls that manage accounts. Except for ErrVerificationPending,
// an error that wraps one of these also wraps [ErrRefused].
var (
	// ErrVerificationPending: the request has succeeded, but the service has sent an
	// e-mail, and the change takes effect when the user follows its link or enters its
	// ticket.
	ErrVerificationPending = errors.New("verification pending")

	// ErrAccountExists: the e-mail address has an account.
	ErrAccountExists = errors.New("account exists")

	// ErrEmailRefused: the service does not accept this e-mail address.
	ErrEmailRefused = errors.New("e-mail address refused")

	// ErrPasswordRefused: the service does not accept this new password. Usually it
	// is too short or too long.
	ErrPasswordRefused = errors.New("password refused")

	// ErrWrongPassword: the current password is wrong.
	ErrWrongPassword = errors.New("wrong password")

	// ErrSecondFactorState: the second factor is already on or already off, or no key was
	// generated.
	ErrSecondFactorState = errors.New("second factor in another state")

	// ErrAccessTokenRefused: the service does not accept the access token. It has
	// usually expired.
	ErrAccessTokenRefused = errors.New("access token refused")
)

// ErrInvalidToken: the claims of an access token cannot be read, or a [Verifier] rejects
// the token. The errors of [ParseClaims] wrap it.
var ErrInvalidToken = errors.New("invalid access token")

// Error is the failure of a call of an auth service.
//
// Its text names the call, the code and the status. It also contains the text of Err,
// but not Message.
type Error struct {
	// Op is the call that failed, such as "login" or "refresh".
	Op string

	// Code is a stable, machine-readable name of the failure. The implementation
	// of the Service documents its codes.
	Code string

	// Message is the text in the service's response. It may contain internals of
	// the service, and must not be shown to users or logged.
	Message string

	// StatusCode is the status of the HTTP response, 0 if there was none.
	StatusCode int

	// RetryAfter is how long callers must wait before the next request, 0 if the
	// service does not specify it.
	RetryAfter time.Duration

	// Err wraps one or more of this package's sentinels, and the cause if there is
	// one.
	Err error
}

// Error returns a text that can be logged. It consists of Op, Code, StatusCode and the
// text of Err, and omits Message.
func (e *Error) Error() string {
	s := "auth service"
	if e.Op != "" {
		s += ": " + e.Op
	}
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.StatusCode != 0 {
		s += " (status " + strconv.Itoa(e.StatusCode) + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Format prints the text of Error for every verb, without Message.
func (e Error) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// LogValue returns the text of Error, without Message.
func (e Error) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// MarshalJSON returns the text of Error, without Message.
func (e Error) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

// SecondFactorError is the error of [PasswordLogin] for the right password of an
// account that also requires a one-time code. errors.Is reports it as
// [ErrSecondFactor].
type SecondFactorError struct {
	// Ticket replaces the password in the call of [SecondFactor]. It is a secret.
	Ticket string
}

// Error returns a text without the ticket.
func (e *SecondFactorError) Error() string { return ErrSecondFactor.Error() }

// Is reports whether target is ErrSecondFactor.
func (e *SecondFactorError) Is(target error) bool { return target == ErrSecondFactor }

// Format prints the text of Error for every verb, without the ticket.
func (e SecondFactorError) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// LogValue returns the text of Error, without the ticket.
func (e SecondFactorError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// MarshalJSON returns the text of Error, without the ticket.
func (e SecondFactorError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }
