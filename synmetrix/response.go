package synmetrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/synmetrix/session/auth"
)

// maxRetryAfter is the length of the service's own rate-limit window.
const maxRetryAfter = 15 * time.Minute

// result returns the error for the response to r, or nil after it has decoded the
// response.
//
// The order of the cases matters. A status of 429, or of 500 or more, counts
// whatever the body holds. A refusal counts only if the whole body was read and is
// an error in the service's format.
func (resp response) result(r request) error {
	switch {
	case resp.status == http.StatusTooManyRequests && resp.forwarded:
		return resp.fail(CodeRateLimited, auth.ErrUnavailable) // other addresses have other limits
	case resp.status == http.StatusTooManyRequests:
		return resp.fail(CodeRateLimited, auth.ErrRateLimited, auth.ErrUnavailable)

	case resp.status >= 500:
		// A proxy may not know whether the service carried out the request.
		// The service itself never sends 502 or 504.
		if resp.own && !r.partial && resp.status != http.StatusBadGateway && resp.status != http.StatusGatewayTimeout {
			return resp.fail(CodeServiceError, auth.ErrUnavailable)
		}
		return resp.fail(CodeServiceError, auth.ErrUnavailable, auth.ErrOutcomeUnknown)

	case resp.status == http.StatusFound && r.redirect != nil:
		return r.redirect(resp)

	case resp.status < 200 || resp.status >= 300 && resp.status < 400:
		return resp.invalid(CodeRedirect)

	case errors.Is(resp.readErr, errTooLarge):
		return resp.invalid(CodeBodyTooLarge)

	case errors.Is(resp.readErr, context.DeadlineExceeded), errors.Is(resp.readErr, context.Canceled):
		return resp.fail(CodeNoResponse, auth.ErrUnavailable, auth.ErrOutcomeUnknown, resp.readErr)

	case resp.readErr != nil:
		return resp.fail(CodeBodyCut, auth.ErrInvalidResponse, auth.ErrOutcomeUnknown, resp.readErr)

	case resp.status >= 400 && !resp.own:
		if resp.isOutage() {
			return resp.fail(CodeUnexpectedStatus, auth.ErrUnavailable, auth.ErrOutcomeUnknown)
		}
		return resp.invalid(CodeNotJSON)

	case resp.status >= 400:
		v := r.refusals.verdict(resp.status, resp.message)
		if v.code == CodeUnclear && r.partial {
			return resp.fail(v.code, append([]error{auth.ErrOutcomeUnknown}, v.wraps...)...)
		}
		return resp.fail(v.code, v.wraps...)

	case r.decode == nil:
		return resp.noContent()
	}
	m, ok := resp.object()
	if !ok {
		return resp.invalid(CodeNotJSON)
	}
	return r.decode(resp, m)
}

// isOutage reports whether an error that is not in the service's format means, by its
// status, that the service cannot be reached. 400 and 401 are the statuses of refusals,
// so a body is needed to understand them. HTML may be from any other website. Only a
// proxy sends 407.
func (resp response) isOutage() bool {
	switch resp.status {
	case http.StatusBadRequest, http.StatusUnauthorized:
		return false
	case http.StatusProxyAuthRequired:
		return true
	}
	media, _, _ := mime.ParseMediaType(resp.header.Get("Content-Type"))
	return media != "text/html"
}

// fail returns an error with the given code, and with the status, message and
// Retry-After of the response.
func (resp response) fail(code string, wraps ...error) *auth.Error {
	e := newError(resp.op, code, wraps...)
	e.StatusCode = resp.status
	if resp.status >= 400 {
		e.Message = resp.message
		e.RetryAfter = resp.retryAfter()
	}
	return e
}

// invalid is like fail, for a response that does not show whether the service
// carried out the request.
func (resp response) invalid(code string) *auth.Error {
	return resp.fail(code, auth.ErrInvalidResponse, auth.ErrOutcomeUnknown)
}

// retryAfter returns how long callers have to wait, as the service reports. For a 429,
// X-RateLimit-Reset (in Unix seconds) takes precedence. The service always sets
// Retry-After to the length of the whole window.
// Dates are compared with the Date header, because the service's clock may
// differ from the local one.
func (resp response) retryAfter() time.Duration {
	now := time.Now()
	if date, err := http.ParseTime(resp.header.Get("Date")); err == nil {
		now = date
	}
	if resp.status == http.StatusTooManyRequests {
		if reset, err := strconv.ParseInt(resp.header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return clampWait(time.Unix(reset, 0).Sub(now))
		}
	}
	value := resp.header.Get("Retry-After")
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

// members are the members of a JSON object. They are not decoded yet, so that a
// member of the wrong type does not make the others unreadable.
type members map[string]json.RawMessage

// object decodes the body if it is one JSON object.
func (resp response) object() (members, bool) {
	var m members
	if err := json.Unmarshal(resp.body, &m); err != nil || m == nil {
		return nil, false
	}
	return m, true
}

// str returns a member that is a string, or "".
func str(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// serviceError reports whether the body is an error in the service's format,
//
//	{"statusCode":401,"error":"Unauthorized","message":"..."}
//
// and returns its message, which may be missing. The format is checked closely,
// and statusCode must equal the status of the response: the 401 of a proxy must
// not count as a refusal, which would end a session.
func (resp response) serviceError() (own bool, message string) {
	if resp.status < 400 || resp.readErr != nil {
		return false, ""
	}
	media, _, err := mime.ParseMediaType(resp.header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return false, ""
	}
	m, ok := resp.object()
	if !ok {
		return false, ""
	}
	var status int
	if json.Unmarshal(m["statusCode"], &status) != nil || status != resp.status || str(m["error"]) == "" {
		return false, ""
	}
	return true, str(m["message"])
}

// grant returns the tokens and the user of a session body.
func (resp response) grant(m members) (auth.Grant, error) {
	access, refresh := str(m["jwt_token"]), str(m["refresh_token"])
	hasAccess, hasRefresh := isJWT(access), isUUID(refresh)
	switch {
	case hasAccess && hasRefresh:
		return auth.Grant{Tokens: auth.Tokens{AccessToken: access, RefreshToken: refresh}, User: user(m)}, nil
	case hasRefresh:
		// The outcome is known: the old token is used up, and this one replaces it.
		return auth.Grant{Tokens: auth.Tokens{RefreshToken: refresh}}, resp.fail(CodeNoAccessToken, auth.ErrInvalidResponse)
	case hasAccess:
		return auth.Grant{}, resp.invalid(CodeNoRefreshToken)
	case isTrue(m["magicLink"]):
		return auth.Grant{}, resp.invalid(CodeMagicLink)
	}
	return auth.Grant{}, resp.invalid(CodeNoTokens)
}

// user returns the user of a session body.
func user(m members) auth.User {
	var u members
	if json.Unmarshal(m["user"], &u) != nil {
		return auth.User{}
	}
	return auth.User{ID: str(u["id"]), Email: str(u["email"]), Name: str(u["display_name"]), Picture: str(u["avatar_url"])}
}

// secondFactor returns a *auth.SecondFactorError if the response requires a
// second factor.
func (resp response) secondFactor(m members) error {
	if !isTrue(m["mfa"]) {
		return nil
	}
	ticket := str(m["ticket"])
	if !isUUID(ticket) {
		return resp.invalid(CodeNoTicket)
	}
	return &auth.SecondFactorError{Ticket: ticket}
}

// noContent accepts an empty body, as calls without a result return, or a JSON body.
// Anything else, such as a page, comes from a proxy.
func (resp response) noContent() error {
	if body := bytes.TrimSpace(resp.body); len(body) != 0 && !json.Valid(body) {
		return resp.invalid(CodeNotJSON)
	}
	return nil
}

func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }
