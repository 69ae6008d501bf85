package synmetrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// maxRetryAfter is the length of the service's own rate-limit window.
const maxRetryAfter = 15 * time.Minute

// judge says what an answer to r means.
func (a answer) judge(r request) error {
	own, message := a.serviceError()
	switch {
	case a.status == http.StatusTooManyRequests:
		return a.fail(CodeRateLimited, auth.ErrRateLimited, auth.ErrUnavailable)

	case a.status >= 500:
		// A proxy in between may not know what became of the request, and
		// 502 and 504 are never the service's own.
		if own && !r.partial && a.status != http.StatusBadGateway && a.status != http.StatusGatewayTimeout {
			return a.fail(CodeServiceError, auth.ErrUnavailable)
		}
		return a.fail(CodeServiceError, auth.ErrUnavailable, auth.ErrOutcomeUnknown)

	case a.status == http.StatusFound && r.redirect != nil:
		return r.redirect(a)

	case a.status < 200 || a.status >= 300 && a.status < 400:
		return a.invalid(CodeRedirect)

	case errors.Is(a.broken, errTooLarge):
		return a.invalid(CodeBodyTooLarge)

	case errors.Is(a.broken, context.DeadlineExceeded), errors.Is(a.broken, context.Canceled):
		return a.fail(CodeNoAnswer, auth.ErrUnavailable, auth.ErrOutcomeUnknown, a.broken)

	case a.broken != nil:
		return a.fail(CodeBodyCut, auth.ErrInvalidAnswer, auth.ErrOutcomeUnknown, a.broken)

	case a.status >= 400 && !own:
		return a.invalid(CodeNotJSON)

	case a.status >= 400:
		v := r.refusals.verdict(a.status, message)
		if v.code == CodeUnclear && r.partial {
			return a.fail(v.code, append([]error{auth.ErrOutcomeUnknown}, v.wraps...)...)
		}
		return a.fail(v.code, v.wraps...)

	case r.decode == nil:
		return a.noContent()
	}
	m, ok := a.object()
	if !ok {
		return a.invalid(CodeNotJSON)
	}
	return r.decode(a, m)
}

// fail returns a failure with the answer that tells of it.
func (a answer) fail(code string, wraps ...error) *auth.Error {
	e := newError(a.op, code, wraps...)
	e.StatusCode = a.status
	if a.status >= 400 {
		_, e.Message = a.serviceError()
		e.RetryAfter = a.retryAfter()
	}
	return e
}

// invalid is fail for an answer that leaves open what the service has done.
func (a answer) invalid(code string) *auth.Error {
	return a.fail(code, auth.ErrInvalidAnswer, auth.ErrOutcomeUnknown)
}

// retryAfter returns how long the service asks to wait. X-RateLimit-Reset, in
// Unix seconds, goes first at a 429: the Retry-After beside it always names
// the whole window, however little of it is left. Dates are taken by the
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

// members are those of a JSON object. They stay raw, so that one of a strange
// type spoils none of the others.
type members map[string]json.RawMessage

// object reads a body that is one JSON object.
func (a answer) object() (members, bool) {
	var m members
	if err := json.Unmarshal(a.body, &m); err != nil || m == nil {
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

// serviceError reads an error body of the service's own making:
//
//	{"statusCode":401,"error":"Unauthorized","message":"..."}
//
// with the status of the answer in it. The message may be missing. It is told
// from the errors of proxies by all of that, as much depends on it.
func (a answer) serviceError() (own bool, message string) {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || media != "application/json" || a.broken != nil || a.status < 400 {
		return false, ""
	}
	m, ok := a.object()
	if !ok {
		return false, ""
	}
	var status int
	if json.Unmarshal(m["statusCode"], &status) != nil || status != a.status || str(m["error"]) == "" {
		return false, ""
	}
	return true, str(m["message"])
}

// grant reads the tokens and the user of a session body.
func (a answer) grant(m members) (auth.Grant, error) {
	access, refresh := str(m["jwt_token"]), str(m["refresh_token"])
	hasAccess, hasRefresh := isJWT(access), isUUID(refresh)
	switch {
	case hasAccess && hasRefresh:
		return auth.Grant{Tokens: auth.Tokens{AccessToken: access, RefreshToken: refresh}, User: user(m)}, nil
	case hasRefresh:
		// The outcome is known: the session goes on under this token.
		return auth.Grant{Tokens: auth.Tokens{RefreshToken: refresh}}, a.fail(CodeNoAccessToken, auth.ErrInvalidAnswer)
	case hasAccess:
		return auth.Grant{}, a.invalid(CodeNoRefreshToken)
	case isTrue(m["magicLink"]):
		return auth.Grant{}, a.invalid(CodeMagicLink)
	}
	return auth.Grant{}, a.invalid(CodeNoTokens)
}

// user reads what a session body says about its user.
func user(m members) auth.User {
	var u members
	if json.Unmarshal(m["user"], &u) != nil {
		return auth.User{}
	}
	return auth.User{ID: str(u["id"]), Email: str(u["email"]), Name: str(u["display_name"]), Picture: str(u["avatar_url"])}
}

// secondFactor returns the error that asks for a second factor, where that is
// what the answer does.
func (a answer) secondFactor(m members) error {
	if !isTrue(m["mfa"]) {
		return nil
	}
	ticket := str(m["ticket"])
	if !isUUID(ticket) {
		return a.invalid(CodeNoTicket)
	}
	return &auth.SecondFactorError{Ticket: ticket}
}

// noContent accepts the 204 of the calls that return nothing. A 200 is taken
// where its body is empty or JSON, since a page is some proxy's.
func (a answer) noContent() error {
	if body := bytes.TrimSpace(a.body); len(body) != 0 && !json.Valid(body) {
		return a.invalid(CodeNotJSON)
	}
	return nil
}

func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }

// isJWT reports whether s has the form of a signed JWT (RFC 7515, compact):
// three parts in base64url. Whether it is good is not judged here.
func isJWT(s string) bool {
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 3 {
		return false
	}
	for _, part := range parts {
		if part == "" || strings.ContainsFunc(part, notBase64URL) {
			return false
		}
	}
	return true
}

func notBase64URL(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// isUUID reports whether s has the form of a UUID (RFC 9562), which refresh
// tokens and tickets of the service have.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F'):
			return false
		}
	}
	return true
}
