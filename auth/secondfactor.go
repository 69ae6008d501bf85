package auth

import (
	"context"
	"fmt"
	"log/slog"
)

// SecondFactorSetup is implemented by services in which signed-in users can turn
// their second factor on and off.
//
// The error of all methods is [ErrAccessTokenRefused] if the service does not accept
// the access token. The error of EnableMFA and DisableMFA is [ErrSecondFactorState]
// if the second factor is already on, or already off.
type SecondFactorSetup interface {
	// GenerateMFA creates a new key for the one-time codes of the access token's user. The
	// key takes effect with EnableMFA. If the second factor is on, some services replace
	// the current key at once.
	GenerateMFA(ctx context.Context, accessToken string) (TOTPKey, error)

	// EnableMFA turns the second factor on. A code from the new key proves that the
	// user's app has it. The error is [ErrRefused] if the code is wrong.
	EnableMFA(ctx context.Context, accessToken, code string) error

	// DisableMFA turns the second factor off. The error is [ErrRefused] if the code
	// is wrong.
	DisableMFA(ctx context.Context, accessToken, code string) error
}

// TOTPKey is the key from which an authenticator app generates one-time codes, in two
// forms. Both are secrets. A TOTPKey prints, logs and marshals without them.
type TOTPKey struct {
	// Secret is the key in base32. The user can type it in.
	Secret string

	// ImageURL is a data URL of a PNG with a QR code. The user can scan it. It may be
	// empty.
	ImageURL string
}

// Format prints a text without the key for every verb.
func (k TOTPKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("auth.TOTPKey" + redacted)) }

// LogValue returns a value without the key.
func (k TOTPKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the key.
func (k TOTPKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
