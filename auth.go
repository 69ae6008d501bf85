package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// AuthService is what a [Manager] needs of the service that knows the users
// and issues the tokens. synmetrix.Client is one.
//
// All methods are safe for concurrent use and honor ctx. They report a failure
// by an error that wraps one of this package's sentinels: [ErrRefused],
// [ErrUnavailable], [ErrInvalidAnswer], [ErrOutcomeUnknown] or
// [ErrSecondFactor], usually inside an [*AuthError]. An error that wraps none
// of them is read as ErrUnavailable with an unknown outcome. The Manager logs
// the texts of errors: they must hold nothing that was sent or received, no URL,
// no token, no password.
type AuthService interface {
	// Login exchanges an e-mail address and a password for tokens. Wrong
	// credentials are ErrRefused, whichever part of them was wrong. Where the
	// account has a second factor the error is a [*SecondFactorError]. Where
	// the answer carried a refresh token but no usable access token, Login
	// returns the former beside ErrInvalidAnswer, so that it can be given back.
	Login(ctx context.Context, email, password string) (Tokens, error)

	// Refresh exchanges a refresh token for new tokens. A service that does
	// not rotate refresh tokens leaves RefreshToken empty. It is sent at most
	// once, and never repeated by the implementation.
	//
	// ErrRefused means that the service itself has declared the token dead:
	// it ends the session. Where the answer carried a new refresh token but
	// no usable access token, Refresh returns the former in Tokens beside
	// ErrInvalidAnswer, so that it can be kept.
	Refresh(ctx context.Context, refreshToken string) (Tokens, error)

	// Logout gives tokens back, so that the refresh token can never be used
	// again; with all set it does so for every session of the user. Tokens
	// that are dead already are not an error.
	Logout(ctx context.Context, tokens Tokens, all bool) error
}

// SecondFactor is what an [AuthService] also implements if accounts may ask
// for a one-time code after the password.
type SecondFactor interface {
	// LoginTOTP exchanges the ticket of a [*SecondFactorError] and a code for
	// tokens, as Login does. A wrong code is ErrRefused; the ticket stays good for another
	// try. A ticket that is no good any more is [ErrTicketRefused].
	LoginTOTP(ctx context.Context, ticket, code string) (Tokens, error)
}

// Pinger is what an [AuthService] also implements if it can say whether it is
// up without touching an account.
type Pinger interface {
	// Ping returns nil if the service answers at all.
	Ping(ctx context.Context) error
}

// What an auth service's failure means. Errors of an [AuthService] wrap one of
// them, or two where both are true; test with errors.Is.
var (
	// ErrRefused: the service has understood and says no, for good. The
	// credentials are wrong, or the refresh token is dead.
	ErrRefused = errors.New("refused by the auth service")

	// ErrTicketRefused: a one-time ticket (of a login's second step, of an
	// activation, of a password reset) is used, too old or unknown; what
	// issued it has to be repeated. An error that wraps it wraps ErrRefused,
	// too.
	ErrTicketRefused = errors.New("ticket refused by the auth service")

	// ErrUnavailable: the service did not do what was asked, and may do it
	// later. It could not be reached, did not answer in time, or said that
	// it is failing or overloaded.
	ErrUnavailable = errors.New("auth service unavailable")

	// ErrRateLimited: the service refuses requests of this client for a while
	// (HTTP 429). An error that wraps it wraps ErrUnavailable, too.
	ErrRateLimited = errors.New("rate limited by the auth service")

	// ErrInvalidAnswer: the service answered with something that cannot be
	// used: a redirect, HTML, a body that is cut or too large, a success
	// without usable tokens.
	ErrInvalidAnswer = errors.New("invalid answer from the auth service")

	// ErrOutcomeUnknown: the request may have reached the service, and it
	// cannot be told whether it was carried out. It comes beside
	// ErrUnavailable or ErrInvalidAnswer.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	// ErrSecondFactor: the password was right and a one-time code is needed.
	ErrSecondFactor = errors.New("second factor needed")
)

// AuthError is a failed call of an auth service.
//
// Its text names the call, the code and the status, and nothing that came
// from the service or was sent to it; Message does.
type AuthError struct {
	// Op is the call that failed, such as "login" or "refresh".
	Op string

	// Code is a stable, machine-readable name of what went wrong. The
	// implementation documents its set.
	Code string

	// Message is the service's own text, made for people, in its own
	// language. It may quote internals of the service and must not be shown
	// to users or logged.
	Message string

	// StatusCode is the status of the HTTP answer, 0 if there was none.
	StatusCode int

	// RetryAfter is how long the service asks callers to wait, 0 if it does
	// not say.
	RetryAfter time.Duration

	// Err is what the failure means: it wraps one or more of this package's
	// sentinels, and the cause where there is one.
	Err error
}

// Error returns a text that is fit for a log. It never holds a URL, a token or
// the service's message.
func (e *AuthError) Error() string {
	s := "session: auth service"
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
func (e *AuthError) Unwrap() error { return e.Err }

// Format prints what Error returns for every fmt verb: Message stays out.
func (e AuthError) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// LogValue returns what Error does.
func (e AuthError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// MarshalJSON returns what Error does.
func (e AuthError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

// SecondFactorError is returned by [AuthService.Login] for a right password of
// an account that has a second factor. It is [ErrSecondFactor] to errors.Is.
type SecondFactorError struct {
	// Ticket stands for the password at [SecondFactor.LoginTOTP]. It is a
	// secret.
	Ticket string
}

// Error returns a text without the ticket.
func (e *SecondFactorError) Error() string { return "session: " + ErrSecondFactor.Error() }

// Is reports whether target is ErrSecondFactor.
func (e *SecondFactorError) Is(target error) bool { return target == ErrSecondFactor }

// Format keeps the ticket out of every fmt verb.
func (e SecondFactorError) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// LogValue returns what Error does.
func (e SecondFactorError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// MarshalJSON returns what Error does.
func (e SecondFactorError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }
