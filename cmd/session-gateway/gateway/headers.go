package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/synmetrix/session"
)

// The names of the header fields of [Header].
const (
	userField  = "X-Forwarded-User"
	emailField = "X-Forwarded-Email"
	rolesField = "X-Forwarded-Roles"
	tokenField = "Authorization"
)

// removeReserved removes the header fields that only the gateway may set: all fields whose
// name begins with X-Forwarded-, and others from which services read the address of the
// client or of the request.
func removeReserved(h http.Header) {
	for name := range h {
		if isReserved(name) {
			delete(h, name)
		}
	}
}

// reserved are the names without the prefix X-Forwarded-, in lower case.
var reserved = []string{
	"forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "client-ip",
	"x-original-url", "x-original-uri", "x-original-method", "x-original-host", "x-rewrite-url",
}

// isReserved reports whether only the gateway may set a header field. Servers that pass
// fields on as variables treat all characters except letters and digits alike: for them,
// X_Forwarded_User is X-Forwarded-User.
func isReserved(name string) bool {
	const longest = 32
	var spelled [longest]byte
	n := min(len(name), longest)
	for i := range n {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case ('a' > c || c > 'z') && ('0' > c || c > '9'):
			c = '-'
		}
		spelled[i] = c
	}
	if strings.HasPrefix(string(spelled[:n]), "x-forwarded-") || string(spelled[:n]) == "x-forwarded" {
		return true
	}
	return len(name) <= longest && slices.Contains(reserved, string(spelled[:n]))
}

// identify sets the header fields of the signed-in user, except Token.
func identify(h http.Header, headers []Header, s *session.Session) {
	for _, header := range headers {
		switch header {
		case User:
			set(h, userField, url.PathEscape(s.UserID()))
		case Email:
			set(h, emailField, url.PathEscape(s.User().Email))
		case Roles:
			roles := s.Roles()
			for i, role := range roles {
				roles[i] = url.PathEscape(role)
			}
			set(h, rolesField, strings.Join(roles, ","))
		}
	}
}

func set(h http.Header, name, value string) {
	if value != "" {
		h[name] = []string{value}
	}
}

// hasBearer reports whether a request may carry a bearer token.
func hasBearer(h http.Header) bool {
	const scheme = "Bearer"
	return slices.ContainsFunc(h[tokenField], func(value string) bool {
		return len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme)
	})
}
