package middleware

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// Problem is a refusal with a status and a stable code: an error that [Refuse]
// answers as it says, as a page or as problem details in JSON (RFC 9457).
//
// The codes of this package, with their statuses:
//
//	invalid_request      400, 413, 415, 422
//	unauthenticated      401
//	invalid_credentials  401
//	forbidden            403
//	cross_site           403
//	not_found            404
//	method_not_allowed   405
//	session_too_large    413, at login 500
//	too_many_attempts    429
//	internal_error       500
//	session_not_loaded   500
//	auth_invalid_answer  502
//	auth_unavailable     503
//	session_unavailable  503
type Problem struct {
	// Status is the HTTP status. Default: 500.
	Status int

	// Code is the stable, machine-readable name of what is wrong. Default:
	// the one in the list that goes with Status, else "error".
	Code string

	// Detail says to a person what is wrong. Default: a text that goes with
	// Code.
	Detail string

	// Field is the field of the request's body that is wrong, if it is one.
	Field string

	// RetryAfter is when it is worth to ask again; it is rounded up to whole
	// seconds. Default: none; with status 429 or 503 a second.
	RetryAfter time.Duration

	// Err is the cause. It is never shown to anybody.
	Err error
}

// Error returns a text that is fit for a log.
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

// The codes, as in the doc of Problem.
const (
	codeInvalidRequest     = "invalid_request"
	codeUnauthenticated    = "unauthenticated"
	codeInvalidCredentials = "invalid_credentials"
	codeForbidden          = "forbidden"
	codeCrossSite          = "cross_site"
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

// codeOf is the code that goes with a status if nothing else is said.
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

// texts are what a person reads: the heading of the page, and the detail.
var texts = map[string]struct{ title, detail string }{
	codeInvalidRequest:     {"That did not work", "The request cannot be read."},
	codeUnauthenticated:    {"Please sign in", "You have to be signed in for this."},
	codeInvalidCredentials: {"Sign in", "The e-mail address or the password is wrong, or the account is not active."},
	codeForbidden:          {"No access", "Your account is not allowed to do this."},
	codeCrossSite:          {"Not carried out", "The request came from another site."},
	codeNotFound:           {"Nothing here", "There is no page at this address."},
	codeMethodNotAllowed:   {"Not possible", "This address does not take requests of this kind."},
	codeTooLarge:           {"Too much", "That does not fit into your session."},
	codeTooMany:            {"Too many tries", "Please wait a little before you try again."},
	codeInternal:           {"Something went wrong", "The fault is on our side."},
	codeNotLoaded:          {"Not set up", "No session was loaded for this request: its handler is not inside middleware.Sessions."},
	codeAuthInvalid:        {"Back in a moment", "Signing in does not work at the moment. Please try again shortly."},
	codeAuthUnavailable:    {"Back in a moment", "Signing in does not work at the moment. Please try again shortly."},
	codeSessionUnavailable: {"Back in a moment", "Your session cannot be reached at the moment. This does not sign you out; please try again shortly."},
}

// ProblemOf returns what [Refuse] answers err with, every field set that has a
// default. It is for apps that answer in another form.
func ProblemOf(err error) *Problem {
	p := problemOf(err)
	return &p
}

// problemOf says what an error means to a client. What is not known here is
// the app's own failure and nobody else's business.
func problemOf(err error) Problem {
	p := Problem{Err: err}
	set := func(status int, code string) { p.Status, p.Code = status, code }
	var given *Problem
	var unavailable *session.UnavailableError
	var failed *auth.Error
	switch {
	case errors.As(err, &given):
		p = *given
	case errors.Is(err, session.ErrNotLoaded):
		set(http.StatusInternalServerError, codeNotLoaded)
	case errors.Is(err, session.ErrCrossOrigin):
		set(http.StatusForbidden, codeCrossSite)
	case errors.Is(err, session.ErrSessionUnavailable):
		set(http.StatusServiceUnavailable, codeSessionUnavailable)
		if errors.As(err, &unavailable) {
			p.RetryAfter = unavailable.RetryAfter
		}
	case errors.Is(err, session.ErrForbidden):
		set(http.StatusForbidden, codeForbidden)
	case errors.Is(err, session.ErrUnauthenticated), errors.Is(err, session.ErrEnded), errors.Is(err, session.ErrNoSession):
		set(http.StatusUnauthorized, codeUnauthenticated)
	case errors.Is(err, session.ErrTooLarge):
		set(http.StatusRequestEntityTooLarge, codeTooLarge)
	case errors.Is(err, session.ErrNoPendingLogin), errors.Is(err, auth.ErrTicketRefused):
		set(http.StatusUnauthorized, codeUnauthenticated)
		p.Detail = "The sign-in took too long. Please sign in again."
	case errors.Is(err, auth.ErrRefused):
		set(http.StatusUnauthorized, codeInvalidCredentials)
	case errors.Is(err, auth.ErrInvalidAnswer):
		set(http.StatusBadGateway, codeAuthInvalid)
	case errors.Is(err, auth.ErrUnavailable):
		// The auth service's rate limit counts this server and not the user,
		// to whom it is an outage like any other.
		set(http.StatusServiceUnavailable, codeAuthUnavailable)
		if errors.As(err, &failed) {
			p.RetryAfter = failed.RetryAfter
		}
		if errors.Is(err, session.ErrLogoutIncomplete) {
			p.Detail = "You are signed out here. You may still be signed in on other devices: signing out there does not work at the moment, and is tried again."
		}
	}
	p.Status = cmp.Or(p.Status, http.StatusInternalServerError)
	p.Code = cmp.Or(p.Code, codeOf[p.Status], "error")
	p.Detail = cmp.Or(p.Detail, texts[p.Code].detail, http.StatusText(p.Status))
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		p.RetryAfter = max(p.RetryAfter, time.Second)
	}
	return p
}

// header sets the fields that go with the refusal in whatever form it comes.
func (p *Problem) header(h http.Header) {
	if p.Status == http.StatusUnauthorized {
		// A 401 must name a scheme (RFC 9110, section 15.5.2). No scheme is
		// registered for cookies. Browsers ignore one that they do not know, so
		// they do not open a password dialog.
		challenge := `Session realm="login"`
		if errors.Is(p.Err, session.ErrBearer) {
			challenge = `Bearer error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	if p.RetryAfter > 0 {
		seconds := (p.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
}

// writeJSON answers with problem details. Their type is "about:blank", which
// says that the title is that of the status; the code tells the rest.
func (p *Problem) writeJSON(w http.ResponseWriter) {
	writeJSON(w, p.Status, "application/problem+json", struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Field  string `json:"field,omitempty"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Detail, p.Code, p.Field})
}
