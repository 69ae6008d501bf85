package synmetrix

import (
	"context"
	"net/http"
	"strings"

	"github.com/synmetrix/session/auth"
)

// GenerateMFA creates a new key for the second factor of the access token's user. The key
// takes effect with [Client.EnableMFA], which proves that the user's app has the key. If
// the second factor is already on, the new key replaces the old one at once.
func (c *Client) GenerateMFA(ctx context.Context, accessToken string) (auth.TOTPKey, error) {
	const op = "generate_mfa"
	if err := checkAccessToken(op, accessToken); err != nil {
		return auth.TOTPKey{}, err
	}
	var key auth.TOTPKey
	err := c.call(ctx, request{
		op:     op,
		method: http.MethodPost,
		path:   "/auth/mfa/generate",
		bearer: accessToken,
		decode: func(resp response, m members) error {
			k := auth.TOTPKey{Secret: str(m["otp_secret"]), ImageURL: str(m["image_url"])}
			if k.Secret == "" || !strings.HasPrefix(k.ImageURL, "data:image/png;base64,") {
				return resp.invalid(CodeUnexpectedResponse)
			}
			key = k
			return nil
		},
	})
	return key, err
}

// EnableMFA turns the second factor on: from then on [Client.Login] requires it.
// The code is a one-time code generated with the key of [Client.GenerateMFA].
//
// EnableMFA returns [auth.ErrRefused] with CodeWrongCode for a wrong code, and
// with CodeNotSignedIn if the service does not accept the access token.
func (c *Client) EnableMFA(ctx context.Context, accessToken, code string) error {
	return c.switchMFA(ctx, "enable_mfa", "/auth/mfa/enable", accessToken, code)
}

// DisableMFA turns the second factor off. It requires a one-time code, and
// returns the same errors as [Client.EnableMFA].
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
