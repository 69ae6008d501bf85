package authtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf16"
)

// rule checks one value. It returns the service's message about an invalid value,
// and "" for a valid one. The message contains the name. The argument given is false
// if the value is missing.
type rule func(name string, value any, given bool) string

// field is one allowed member of a body, and its rule.
type field struct {
	name string
	rule rule
}

// Rules that several endpoints share.
var (
	passwordRule = text(atLeast(6), atMost(128)) // a new password
	ticketRule   = required(text(guid))
	codeRule     = required(text(exactly(6)))
)

// whole is the name of the whole body.
const whole = "value"

// invalid checks a body or a query, which may have only the given fields. It returns
// the error response for the first fault in the order of the fields, or nil.
func invalid(body any, fields ...field) *Response {
	if fault := objectOf(fields...)(whole, body, true); fault != "" {
		return failure(http.StatusBadRequest, fault)
	}
	return nil
}

// objectOf accepts an object that has no members other than the given fields.
func objectOf(fields ...field) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		o, ok := value.(object)
		if !ok {
			return message(name, "must be of type object")
		}
		prefix := name + "."
		if name == whole {
			prefix = ""
		}
		for _, f := range fields {
			value, given := o.get(f.name)
			if fault := f.rule(prefix+f.name, value, given); fault != "" {
				return fault
			}
		}
	next:
		for _, m := range o {
			for _, f := range fields {
				if f.name == m.name {
					continue next
				}
			}
			return message(prefix+m.name, "is not allowed")
		}
		return ""
	}
}

func message(name, fault string) string { return fmt.Sprintf(`"%s" %s`, name, fault) }

// required returns a rule that also rejects a missing value.
func required(r rule) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return message(name, "is required")
		}
		return r(name, value, given)
	}
}

// text accepts a string that is not empty and passes the given checks.
func text(checks ...func(string) string) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		s, ok := value.(string)
		if !ok {
			return message(name, "must be a string")
		}
		if s == "" {
			return message(name, "is not allowed to be empty")
		}
		for _, check := range checks {
			if fault := check(s); fault != "" {
				return message(name, fault)
			}
		}
		return ""
	}
}

// listOf accepts an array whose elements pass a rule.
func listOf(r rule) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		list, ok := value.([]any)
		if !ok {
			return message(name, "must be an array")
		}
		for i, v := range list {
			if fault := r(fmt.Sprintf("%s[%d]", name, i), v, true); fault != "" {
				return fault
			}
		}
		return ""
	}
}

// oneOf accepts the given strings.
func oneOf(values ...string) rule {
	return func(name string, value any, given bool) string {
		s, ok := value.(string)
		if given && (!ok || !slices.Contains(values, s)) {
			return message(name, "must be one of ["+strings.Join(values, ", ")+"]")
		}
		return ""
	}
}

// notNull accepts every value except null.
func notNull(name string, value any, given bool) string {
	if given && value == nil {
		return message(name, "must be one of [string, number, boolean, object, array]")
	}
	return ""
}

// boolean accepts true and false, also as strings.
func boolean(name string, value any, given bool) string {
	if !given {
		return ""
	}
	if _, ok := value.(bool); ok {
		return ""
	}
	if s, ok := value.(string); ok && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false")) {
		return ""
	}
	return message(name, "must be a boolean")
}

// Lengths are in UTF-16 code units, as in JavaScript.

func exactly(n int) func(string) string {
	return func(s string) string {
		if length(s) != n {
			return fmt.Sprintf("length must be %d characters long", n)
		}
		return ""
	}
}

func atLeast(n int) func(string) string {
	return func(s string) string {
		if length(s) < n {
			return fmt.Sprintf("length must be at least %d characters long", n)
		}
		return ""
	}
}

func atMost(n int) func(string) string {
	return func(s string) string {
		if length(s) > n {
			return fmt.Sprintf("length must be less than or equal to %d characters long", n)
		}
		return ""
	}
}

func length(s string) int { return len(utf16.Encode([]rune(s))) }

func guid(s string) string {
	id, ok := parseUUID(s)
	if !ok || id[14] != '4' || strings.IndexByte("89ab", id[19]) < 0 {
		return "must be a valid GUID"
	}
	return ""
}

// parseUUID returns the canonical form of a UUID. It accepts all forms that
// PostgreSQL accepts.
func parseUUID(s string) (string, bool) {
	if n := len(s); n > 2 && s[0] == '{' && s[n-1] == '}' {
		s = s[1 : n-1]
	}
	var hex []byte
	for i := range len(s) {
		switch ch := s[i]; {
		case ch >= '0' && ch <= '9', ch >= 'a' && ch <= 'f':
			hex = append(hex, ch)
		case ch >= 'A' && ch <= 'F':
			hex = append(hex, ch+'a'-'A')
		case ch == '-' && len(hex)%4 == 0 && len(hex) > 0 && i < len(s)-1 && s[i-1] != '-':
		default:
			return "", false
		}
	}
	if len(hex) != 32 {
		return "", false
	}
	h := string(hex)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], true
}

// email accepts an address with a public domain. The service has a list of all
// top-level domains. This rule instead rejects the top-level domains that are
// reserved or commonly used in private networks, because tests use them.
func email(s string) string {
	const fault = "must be a valid email"
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || len(s) > 254 || strings.ContainsAny(s, " \t\r\n\"(),:;<>[\\]") ||
		strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return fault
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return fault
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") ||
			strings.ContainsAny(label, "@_!#$%&'*+/=?^`{|}~") {
			return fault
		}
	}
	top := strings.ToLower(labels[len(labels)-1])
	if len(top) < 2 || strings.ContainsAny(top, "0123456789") && !strings.HasPrefix(top, "xn--") {
		return fault
	}
	// RFC 6761, RFC 6762 (appendix G), RFC 7686, RFC 9476 and ICANN's "internal".
	switch top {
	case "test", "example", "invalid", "localhost", "local", "internal", "intranet", "private",
		"corp", "home", "lan", "localdomain", "onion", "alt":
		return fault
	}
	return ""
}
