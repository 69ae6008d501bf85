package synmetrix

import "strings"

// isJWT reports whether s has the form of a signed JWT (RFC 7515, compact
// serialization): three parts in base64url. It does not decode the parts.
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

// isUUID reports whether s has the form of a UUID (RFC 9562). The service's
// refresh tokens and tickets are UUIDs.
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
