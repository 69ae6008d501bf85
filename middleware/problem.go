package middleware

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// Problem is an error that describes a refusal: an HTTP status, a stable code and
// a text for people. [Refuse] writes it as a page or as problem details in JSON
// (RFC 9457).
//
// Problem details have the members type, title, status, detail and code, and these if
// they apply:
//
//	field        the name of the invalid field
//	login_url    the path of the login page, which may have a query, if the user has to sign in
//	retry_after  the number of seconds in the header field Retry-After
//
// The codes of this package, with their statuses:
//
//	invalid_request            400, 413, 415, 422
//	unauthenticated            401
//	invalid_credentials        401
//	invalid_ticket             401
//	sign_in_again              401
//	reauthentication_required  401
//	forbidden                  403
//	acting                     403
//	wrong_password             403
//	wrong_code                 403
//	cross_site                 403
//	too_many_sessions          403
//	session_required           403
//	not_found                  404
//	method_not_allowed         405
//	account_exists             409
//	second_factor              409
//	session_too_large          413, at login 500
//	too_many_attempts          429
//	internal_error             500
//	session_not_loaded         500
//	auth_invalid_answer        502
//	auth_unavailable           503
//	session_unavailable        503
type Problem struct {
	// Status is the HTTP status. Default: 500.
	Status int

	// Code is the stable, machine-readable name of the problem. Default: the
	// code in the list for Status, or "error" if there is none.
	Code string

	// Detail describes the problem to the user. Default: a text for Code.
	Detail string

	// Field is the name of the invalid field of the request's body, or empty.
	Field string

	// RetryAfter is the time after which the client should retry, for the
	// header field Retry-After. It is rounded up to whole seconds. Default: one
	// second with status 429 or 503, otherwise no header field.
	RetryAfter time.Duration

	// Err is the cause. It is never sent to the client.
	Err error
}

// Error returns a text for logs. It includes the text of p.Err.
func (p *Problem) Error() string {
	s := "middleware: refused: " + strconv.Itoa(p.Status)
	if p.Code != "" {
		s += " " + p.Code
	}
	if p.Field != "" {
		s += " (" + p.Field + ")"
	}
	if p.Err != nil {
		s += ": " + p.Err.Error()
	}
	return s
}

// Unwrap returns p.Err.
func (p *Problem) Unwrap() error { return p.Err }

// The codes, as listed at Problem. Clients depend on them, so they never change.
const (
	codeInvalidRequest     = "invalid_request"
	codeUnauthenticated    = "unauthenticated"
	codeInvalidCredentials = "invalid_credentials"
	codeInvalidTicket      = "invalid_ticket"
	codeSignInAgain        = "sign_in_again"
	codeReauthenticate     = "reauthentication_required"
	codeActing             = "acting"
	codeForbidden          = "forbidden"
	codeWrongPassword      = "wrong_password"
	codeWrongCode          = "wrong_code"
	codeAccountExists      = "account_exists"
	codeSecondFactor       = "second_factor"
	codeCrossSite          = "cross_site"
	codeTooManySessions    = "too_many_sessions"
	codeSessionRequired    = "session_required"
	codeNotFound           = "not_found"
	codeMethodNotAllowed   = "method_not_allowed"
	codeTooLarge           = "session_too_large"
	codeTooMany            = "too_many_attempts"
	codeInternal           = "internal_error"
	codeNotLoaded          = "session_not_loaded"
	codeAuthInvalid        = "auth_invalid_answer"
	codeAuthUnavailable    = "auth_unavailable"
	codeSessionUnavailable = "session_unavailable"
)

// codeOf has the default code of each status.
var codeOf = map[int]string{
	http.StatusBadRequest:            codeInvalidRequest,
	http.StatusUnauthorized:          codeUnauthenticated,
	http.StatusForbidden:             codeForbidden,
	http.StatusNotFound:              codeNotFound,
	http.StatusMethodNotAllowed:      codeMethodNotAllowed,
	http.StatusRequestEntityTooLarge: codeInvalidRequest,
	http.StatusUnsupportedMediaType:  codeInvalidRequest,
	http.StatusUnprocessableEntity:   codeInvalidRequest,
	http.StatusTooManyRequests:       codeTooMany,
	http.StatusInternalServerError:   codeInternal,
	http.StatusServiceUnavailable:    codeSessionUnavailable,
}

// ProblemOf returns the Problem that [Refuse] writes for err, with all defaults
// set. It is for apps that write refusals in another form.
func ProblemOf(err error) *Problem {
	p, _ := problemOf(err)
	return &p
}

// problemOf is ProblemOf without an allocation. It also returns the index in kinds, or
// noKind. The defaults depend on each other: the code on the status, and the text on the
// code.
func problemOf(err error) (Problem, int) {
	p, kind := classify(err)
	if kind == noKind {
		p.setDefaults()
	} else {
		p.Detail = details[kind]
	}
	// Without Retry-After, some clients would retry at once, and make an overload worse.
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		p.RetryAfter = max(p.RetryAfter, time.Second)
	}
	return p, kind
}

// kind is the Problem for an error.
type kind struct {
	err    error
	status int
	code   string
	detail string // empty: the default of the code
}

// setDefaults sets the status, the code and the detail.
func (p *Problem) setDefaults() {
	p.Status = cmp.Or(p.Status, http.StatusInternalServerError)
	p.Code = cmp.Or(p.Code, codeOf[p.Status], "error")
	p.Detail = cmp.Or(p.Detail, english["error."+p.Code], http.StatusText(p.Status))
}

// kinds are the Problems for errors. The first entry that matches an error applies, and
// an error may match several, so the order matters: an outage comes before the refusals,
// because a session that could not be loaded proves neither that the user is signed out
// nor that a role is missing.
var kinds = [...]kind{
	{session.ErrNotLoaded, http.StatusInternalServerError, codeNotLoaded, ""},
	{session.ErrCrossOrigin, http.StatusForbidden, codeCrossSite, ""},
	{session.ErrSessionUnavailable, http.StatusServiceUnavailable, codeSessionUnavailable, ""},
	{session.ErrTooManyAttempts, http.StatusTooManyRequests, codeTooMany, ""},
	{session.ErrNoSuchSession, http.StatusNotFound, codeNotFound, english["error.no_such_session"]},
	{session.ErrForbidden, http.StatusForbidden, codeForbidden, ""},
	{session.ErrActing, http.StatusForbidden, codeActing, ""},
	{session.ErrReauthenticationRequired, http.StatusUnauthorized, codeReauthenticate, ""},
	{session.ErrTooManySessions, http.StatusForbidden, codeTooManySessions, ""},
	{session.ErrSessionRequired, http.StatusForbidden, codeSessionRequired, ""},
	{session.ErrUnauthenticated, http.StatusUnauthorized, codeUnauthenticated, ""},
	{session.ErrEnded, http.StatusUnauthorized, codeUnauthenticated, ""},
	{session.ErrTooLarge, http.StatusRequestEntityTooLarge, codeTooLarge, ""},
	{session.ErrNoPendingLogin, http.StatusUnauthorized, codeUnauthenticated, english["error.too_long"]},
	{auth.ErrTicketRefused, http.StatusUnauthorized, codeUnauthenticated, english["error.too_long"]},
	{auth.ErrRefused, http.StatusUnauthorized, codeInvalidCredentials, ""},
	{auth.ErrInvalidResponse, http.StatusBadGateway, codeAuthInvalid, ""},
	{session.ErrLogoutIncomplete, http.StatusServiceUnavailable, codeAuthUnavailable, english["error.signed_out_here"]},
	// A 429 response of the auth service is such an error, too. Its rate limit counts
	// requests of this server and not of the user, so "too many attempts" would be wrong.
	{auth.ErrUnavailable, http.StatusServiceUnavailable, codeAuthUnavailable, ""},
}

// details are the details of kinds, with the defaults.
var details = func() (all [len(kinds)]string) {
	for i, k := range kinds {
		p := Problem{Status: k.status, Code: k.code, Detail: k.detail}
		p.setDefaults()
		all[i] = p.Detail
	}
	return all
}()

// noKind is the index of a Problem that is not in kinds.
const noKind = -1

// classify returns the Problem for an error, without defaults, and its index in kinds or
// noKind. An unknown error is a failure of the app, and becomes a 500 that reveals nothing
// of it.
func classify(err error) (Problem, int) {
	// A Problem has priority over the cause that it wraps.
	if given := givenProblem(err); given != nil {
		return *given, noKind
	}
	i := kindOf(err)
	if i == noKind {
		return Problem{Err: err}, noKind
	}
	k := &kinds[i]
	return Problem{Status: k.status, Code: k.code, Detail: k.detail, RetryAfter: retryAfterOf(k.code, err), Err: err}, i
}

// kindOf returns the index of the first entry of kinds that err is, or noKind. Most errors
// are chains in which only equal errors match, and a chain is compared in one pass.
func kindOf(err error) int {
	found := len(kinds)
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e.(type) {
		case interface{ Is(error) bool }, interface{ Unwrap() []error }:
			return slices.IndexFunc(kinds[:], func(k kind) bool { return errors.Is(err, k.err) })
		}
		for i := range found {
			if kinds[i].err == e {
				found = i
				break
			}
		}
	}
	if found == len(kinds) {
		return noKind
	}
	return found
}

// givenProblem returns the Problem that errors.As finds in err, or nil. Most errors are
// chains without a Problem, for which errors.As allocates.
func givenProblem(err error) *Problem {
	for err != nil {
		switch e := err.(type) {
		case *Problem:
			return e
		case interface{ As(any) bool }, interface{ Unwrap() []error }:
			var given *Problem
			errors.As(err, &given)
			return given
		}
		err = errors.Unwrap(err)
	}
	return nil
}

// retryAfterOf returns the pause in an error with the code, 0 if there is none. An error of
// the session may wrap an error of the auth service, whose pause does not apply to it.
func retryAfterOf(code string, err error) time.Duration {
	switch code { // each variable escapes to the heap, so only the cases have one
	case codeSessionUnavailable:
		var unavailable *session.UnavailableError
		if errors.As(err, &unavailable) {
			return unavailable.RetryAfter
		}
	case codeTooMany:
		var limited *session.TooManyAttemptsError
		if errors.As(err, &limited) {
			return limited.RetryAfter
		}
	case codeAuthUnavailable:
		var failed *auth.Error
		if errors.As(err, &failed) {
			return failed.RetryAfter
		}
	}
	return 0
}

// Values of header fields that all responses share, to save allocations. They must not be
// modified. Their capacity is their length, so that Add copies them.
//
// A 401 must name an authentication scheme (RFC 9110, section 15.5.2). No scheme is
// registered for cookies. Browsers open a password dialog for "Basic", and ignore schemes
// that they do not know.
var (
	sessionChallenge = []string{`Session realm="login"`}
	bearerChallenge  = []string{`Bearer error="invalid_token"`}
	freshChallenge   = []string{`Bearer error="insufficient_user_authentication"`} // RFC 9470
	nosniff          = []string{"nosniff"}
)

// header sets the header fields of the refusal that do not depend on its form.
func (p *Problem) header(h http.Header) {
	if p.Status == http.StatusUnauthorized {
		challenge := sessionChallenge
		if errors.Is(p.Err, session.ErrBearer) {
			challenge = bearerChallenge
			if p.Code == codeReauthenticate {
				challenge = freshChallenge
			}
		}
		h["Www-Authenticate"] = challenge
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.retryAfter(), 10))
	}
}

// retryAfter returns RetryAfter in seconds. The field of the header has whole seconds (RFC
// 9110, section 10.2.3). It is rounded up: a client that retries too early would fail again.
func (p *Problem) retryAfter() int64 { return seconds(p.RetryAfter + time.Second - 1) }

// encode returns the refusal as problem details. The type "about:blank" means
// that the title is the text of the status (RFC 9457, section 4.2.1). Clients
// distinguish problems by the code. loginURL may be empty.
func (p *Problem) encode(loginURL string) []byte {
	return encodeJSON(struct {
		Type       string `json:"type"`
		Title      string `json:"title"`
		Status     int    `json:"status"`
		Detail     string `json:"detail"`
		Code       string `json:"code"`
		Field      string `json:"field,omitempty"`
		LoginURL   string `json:"login_url,omitempty"`
		RetryAfter int64  `json:"retry_after,omitempty"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Detail, p.Code, p.Field, loginURL, p.retryAfter()})
}
