package authtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf16"
)

// rule checks one value and returns what is wrong with it in the service's
// words, "" if nothing is. The name is that of the value in the message.
type rule func(name string, value any, given bool) string

// field is one name that a body may have.
type field struct {
	name string
	rule rule
}

// Rules that several endpoints share.
var (
	passwordRule = text(atLeast(6), atMost(128)) // a password to be set
	ticketRule   = required(text(guid))
	codeRule     = required(text(exactly(6)))
)

// whole is the name of a body as such.
const whole = "value"

// invalid checks a body, or a query, against all of the names that it may
// have, in their order, and returns the answer to the first fault, nil if
// there is none.
func invalid(body any, fields ...field) *Answer {
	if fault := objectOf(fields...)(whole, body, true); fault != "" {
		return failure(http.StatusBadRequest, fault)
	}
	return nil
}

// objectOf is an object with no other than the given members.
func objectOf(fields ...field) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		o, ok := value.(object)
		if !ok {
			return says(name, "must be of type object")
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
			return says(prefix+m.name, "is not allowed")
		}
		return ""
	}
}

func says(name, fault string) string { return fmt.Sprintf(`"%s" %s`, name, fault) }

// required makes a rule refuse a value that is missing.
func required(r rule) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return says(name, "is required")
		}
		return r(name, value, given)
	}
}

// text is a string that is not empty and passes the given checks.
func text(checks ...func(string) string) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		s, ok := value.(string)
		if !ok {
			return says(name, "must be a string")
		}
		if s == "" {
			return says(name, "is not allowed to be empty")
		}
		for _, check := range checks {
			if fault := check(s); fault != "" {
				return says(name, fault)
			}
		}
		return ""
	}
}

// listOf is an array whose elements pass a rule.
func listOf(r rule) rule {
	return func(name string, value any, given bool) string {
		if !given {
			return ""
		}
		list, ok := value.([]any)
		if !ok {
			return says(name, "must be an array")
		}
		for i, v := range list {
			if fault := r(fmt.Sprintf("%s[%d]", name, i), v, true); fault != "" {
				return fault
			}
		}
		return ""
	}
}

// oneOf is one of a few strings.
func oneOf(values ...string) rule {
	return func(name string, value any, given bool) string {
		s, ok := value.(string)
		if given && (!ok || !slices.Contains(values, s)) {
			return says(name, "must be one of ["+strings.Join(values, ", ")+"]")
		}
		return ""
	}
}

// notNull is anything but null.
func notNull(name string, value any, given bool) string {
	if given && value == nil {
		return says(name, "must be one of [string, number, boolean, object, array]")
	}
	return ""
}

// boolean takes true and false, also as strings.
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
	return says(name, "must be a boolean")
}

// Lengths are counted as JavaScript does, in UTF-16 code units.

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

// parseUUID returns the canonical form of a UUID in any of the forms that
// PostgreSQL takes.
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

// email asks for an address of a public domain. The service knows all
// top-level domains there are; here those that are reserved, or private by
// custom, are refused by name, since they are what tests and intranets use.
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
