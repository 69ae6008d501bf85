package session

import (
	"fmt"
	"log/slog"
)

// Tokens is what an auth service hands out for a user: an access token, a JWT
// that carries the user's roles, and the refresh token that renews it.
//
// Both are secrets. A Tokens prints, logs and marshals without them, but for
// one thing that no type can prevent: fmt prints the unexported fields of a
// struct without asking their methods. Give a struct that keeps a Tokens in one
// a Format method of its own.
type Tokens struct {
	// AccessToken is a JWT (RFC 7519), sent as a bearer token (RFC 6750).
	AccessToken string

	// RefreshToken is opaque and, with most services, good for one use.
	RefreshToken string
}

// String returns a text without the tokens.
func (t Tokens) String() string { return "session.Tokens" + redacted }

// GoString returns a text without the tokens.
func (t Tokens) GoString() string { return t.String() }

// Format keeps the tokens out of every fmt verb.
func (t Tokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue returns a value without the tokens.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the tokens.
func (t Tokens) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
