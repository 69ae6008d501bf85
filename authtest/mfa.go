package authtest

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"image/png"
	"net/http"
	"net/url"

	"github.com/pquerna/otp"
)

// generateMFA handles POST /auth/mfa/generate. If the second factor is on already,
// the new secret replaces the old one at once.
func generateMFA(c *call) *Response {
	if !c.user.known {
		return notLoggedIn()
	}
	id, valid := parseUUID(c.user.userID)
	if !valid {
		return badRequest()
	}
	raw := make([]byte, 10)
	_, _ = rand.Read(raw) // never fails
	secret := base32.StdEncoding.EncodeToString(raw)
	image, err := qrCode(id, secret)
	if err != nil {
		return serverError()
	}
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	if a := s.accounts[id]; a != nil {
		if a.TOTPSecret != "" {
			a.TOTPSecret = secret
		} else {
			a.newSecret = secret
		}
	}
	return ok(object{{"image_url", image}, {"otp_secret", secret}})
}

// qrCode returns the QR code for an authenticator app, as a data URL.
func qrCode(userID, secret string) (string, error) {
	key, err := otp.NewKeyFromURL((&url.URL{
		Scheme: "otpauth",
		Host:   "totp",
		Path:   "/HBP:" + userID,
		RawQuery: url.Values{
			"secret": {secret}, "period": {"30"}, "digits": {"6"}, "algorithm": {"SHA1"}, "issuer": {"HBP"},
		}.Encode(),
	}).String())
	if err != nil {
		return "", err
	}
	img, err := key.Image(200, 200)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// enableMFA handles POST /auth/mfa/enable.
func enableMFA(c *call) *Response {
	return c.switchMFA(func(a *account) *Response {
		switch {
		case a.TOTPSecret != "":
			return failure(http.StatusBadRequest, "MFA is already enabled.")
		case a.newSecret == "":
			return failure(http.StatusBadRequest, "OTP secret is not set.")
		case !c.server.validCode(c.text("code"), a.newSecret):
			return wrongCode()
		}
		a.TOTPSecret, a.newSecret = a.newSecret, ""
		return noContent()
	})
}

// disableMFA handles POST /auth/mfa/disable.
func disableMFA(c *call) *Response {
	return c.switchMFA(func(a *account) *Response {
		switch {
		case a.TOTPSecret == "":
			return failure(http.StatusBadRequest, "MFA is already disabled.")
		case !c.server.validCode(c.text("code"), a.TOTPSecret):
			return wrongCode()
		}
		a.TOTPSecret, a.newSecret = "", ""
		return noContent()
	})
}

// switchMFA checks the request of enableMFA and disableMFA, and calls f with the
// user's account while s.mu is held.
func (c *call) switchMFA(f func(*account) *Response) *Response {
	if !c.user.known {
		return notLoggedIn()
	}
	if resp := invalid(c.body, field{"code", codeRule}); resp != nil {
		return resp
	}
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	a, refusal := c.self()
	if a == nil {
		return refusal
	}
	return f(a)
}

func wrongCode() *Response {
	return failure(http.StatusUnauthorized, "Invalid two-factor code.")
}
