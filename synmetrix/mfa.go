package synmetrix

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// TOTPKey is what an authenticator app needs to make a user's one-time codes.
// Both parts are secrets. A TOTPKey prints, logs and marshals without them.
type TOTPKey struct {
	// Secret is the key in base32, for typing in.
	Secret string

	// ImageURL is a data URL of a PNG with a QR code, for scanning.
	ImageURL string
}

// String returns a text without the key.
func (k TOTPKey) String() string { return "synmetrix.TOTPKey[redacted]" }

// GoString returns a text without the key.
func (k TOTPKey) GoString() string { return k.String() }

// Format keeps the key out of every fmt verb.
func (k TOTPKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue returns a value without the key.
func (k TOTPKey) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON returns a JSON string without the key.
func (k TOTPKey) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// GenerateMFA makes a new key for the second factor of the access token's
// user. It counts from [Client.EnableMFA] on, which proves that the user's app
// has it; where the second factor is on already it replaces the old key at
// once.
func (c *Client) GenerateMFA(ctx context.Context, accessToken string) (TOTPKey, error) {
	const op = "generate_mfa"
	if err := checkAccessToken(op, accessToken); err != nil {
		return TOTPKey{}, err
	}
	var key TOTPKey
	err := c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/mfa/generate",
		bearer: accessToken,
		decode: func(a answer, m members) error {
			k := TOTPKey{Secret: str(m["otp_secret"]), ImageURL: str(m["image_url"])}
			if k.Secret == "" || !strings.HasPrefix(k.ImageURL, "data:image/png;base64,") {
				return a.invalid(CodeUnexpectedAnswer)
			}
			key = k
			return nil
		},
	})
	return key, err
}

// EnableMFA turns the second factor on: from now on [Client.Login] asks for
// it. The code is one made with the key of [Client.GenerateMFA]. A wrong one is
// [auth.ErrRefused] with CodeWrongCode, an access token that is not accepted
// with CodeNotSignedIn.
func (c *Client) EnableMFA(ctx context.Context, accessToken, code string) error {
	return c.switchMFA(ctx, "enable_mfa", "/auth/mfa/enable", accessToken, code)
}

// DisableMFA turns the second factor off. It takes a code, and refuses, as
// [Client.EnableMFA] does.
func (c *Client) DisableMFA(ctx context.Context, accessToken, code string) error {
	return c.switchMFA(ctx, "disable_mfa", "/auth/mfa/disable", accessToken, code)
}

func (c *Client) switchMFA(ctx context.Context, op, path, accessToken, code string) error {
	if err := checkAccessToken(op, accessToken); err != nil {
		return err
	}
	if err := checkText(op, "code", code); err != nil {
		return err
	}
	return c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   path,
		bearer: accessToken,
		body:   fields{"code": code},
		refusals: refusals{
			{401, "Invalid two-factor code."}: refused(CodeWrongCode),
			{400, "MFA is already enabled."}:  refused(CodeMFAEnabled),
			{400, "MFA is already disabled."}: refused(CodeMFANotEnabled),
			{400, "OTP secret is not set."}:   refused(CodeMFANotGenerated),
		},
	})
}
