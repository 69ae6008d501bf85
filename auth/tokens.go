package auth

import (
	"fmt"
	"log/slog"
)

// redacted replaces a secret in text output.
const redacted = "[redacted]"

// Tokens are the tokens of one signed-in user: an access token that carries the user's
// roles, and a refresh token, which can be exchanged for new tokens.
//
// Both are secrets. A Tokens prints, logs and marshals without them, with one
// exception: fmt prints the unexported fields of a struct without calling their
// methods. A struct with Tokens in an unexported field therefore needs a Format
// method.
type Tokens struct {
	// AccessToken is a JWT (RFC 7519), sent as a bearer token (RFC 6750).
	AccessToken string

	// RefreshToken is opaque. Most services accept it only once.
	RefreshToken string
}

// Format prints a text without the tokens for every verb.
func (t Tokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("auth.Tokens" + redacted)) }

// LogValue returns a value without the tokens.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the tokens.
func (t Tokens) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
