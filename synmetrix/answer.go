package synmetrix

import (
	"bytes"
	"encoding/json"
	"mime"
	"strings"

	"github.com/synmetrix/session"
)

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

// tokens reads the tokens of a session body.
func (a answer) tokens(m members) (session.Tokens, error) {
	access, refresh := str(m["jwt_token"]), str(m["refresh_token"])
	hasAccess, hasRefresh := isJWT(access), isUUID(refresh)
	switch {
	case hasAccess && hasRefresh:
		return session.Tokens{AccessToken: access, RefreshToken: refresh}, nil
	case hasRefresh:
		// The outcome is known: the session goes on under this token.
		return session.Tokens{RefreshToken: refresh}, a.fail(CodeNoAccessToken, session.ErrInvalidAnswer)
	case hasAccess:
		return session.Tokens{}, a.fail(CodeNoRefreshToken, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
	case isTrue(m["magicLink"]):
		return session.Tokens{}, a.fail(CodeMagicLink, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
	}
	return session.Tokens{}, a.fail(CodeNoTokens, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
}

// secondFactor returns the error that asks for a second factor, where that is
// what the answer does.
func (a answer) secondFactor(m members) error {
	if !isTrue(m["mfa"]) {
		return nil
	}
	ticket := str(m["ticket"])
	if !isUUID(ticket) {
		return a.fail(CodeNoTicket, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
	}
	return &session.SecondFactorError{Ticket: ticket}
}

// noContent accepts the 204 of the calls that return nothing. A 200 is taken
// where its body is empty or JSON, since a page is some proxy's.
func (a answer) noContent() error {
	if body := bytes.TrimSpace(a.body); len(body) != 0 && !json.Valid(body) {
		return a.fail(CodeNotJSON, session.ErrInvalidAnswer, session.ErrOutcomeUnknown)
	}
	return nil
}

func isTrue(raw json.RawMessage) bool { return string(raw) == "true" }

// isJWT reports whether s has the form of a signed JWT (RFC 7515, compact): three
// parts in base64url. Whether it is good is not judged here.
func isJWT(s string) bool {
	parts := strings.Split(s, ".")
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
