package authtest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

// POST /auth/mfa/generate, enable and disable.
func TestSwitchMFA(t *testing.T) {
	c := serve(t)
	access, _ := c.login("ada@example.com")
	as := bearer(access)
	const generate, enable, disable = "/auth/mfa/generate", "/auth/mfa/enable", "/auth/mfa/disable"
	code := func(secret string) string {
		code, err := totp.GenerateCode(secret, c.srv.Now())
		if err != nil {
			t.Fatal(err)
		}
		return `{"code":"` + code + `"}`
	}
	wrong := func(secret string) string {
		if strings.Contains(code(secret), "000000") {
			return `{"code":"111111"}`
		}
		return `{"code":"000000"}`
	}
	generated := func() string {
		var body struct {
			Image  string `json:"image_url"`
			Secret string `json:"otp_secret"`
		}
		resp := c.post(generate, "", as)
		if err := json.Unmarshal([]byte(resp.body), &body); err != nil || resp.status != 200 {
			t.Fatalf("response is %d %s", resp.status, resp.body)
		}
		if !regexp.MustCompile(`^[A-Z2-7]{16}$`).MatchString(body.Secret) {
			t.Errorf("otp_secret is %q", body.Secret)
		}
		image, ok := strings.CutPrefix(body.Image, "data:image/png;base64,")
		raw, err := base64.StdEncoding.DecodeString(image)
		if _, pngErr := png.Decode(bytes.NewReader(raw)); !ok || err != nil || pngErr != nil {
			t.Errorf("image_url is %.40s… (%v, %v)", body.Image, err, pngErr)
		}
		return body.Secret
	}

	for _, path := range []string{generate, enable, disable} {
		c.post(path, `{"code":"123456"}`).wantError(401, "Not logged in")
	}
	for _, path := range []string{enable, disable} {
		c.rows(path, []row{
			{"no code", `{}`, 400, `"code" is required`},
			{"extra key", `{"code":"123456","extra":1}`, 400, `"extra" is not allowed`},
			{"long code", `{"code":"1234567"}`, 400, `"code" length must be 6 characters long`},
			{"short code", `{"code":"12345"}`, 400, `"code" length must be 6 characters long`},
			{"number", `{"code":123456}`, 400, `"code" must be a string`},
		}, as)
	}
	c.post(enable, `{"code":"123456"}`, as).wantError(400, "OTP secret is not set.")
	c.post(disable, `{"code":"123456"}`, as).wantError(400, "MFA is already disabled.")

	secret := generated()
	c.login("ada@example.com") // the second factor is not on yet
	c.post(enable, wrong(secret), as).wantError(401, "Invalid two-factor code.")
	c.post(enable, code(secret), as).wantEmpty(204)
	c.post(enable, code(secret), as).wantError(400, "MFA is already enabled.")
	if resp := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`); !strings.HasPrefix(resp.body, `{"mfa":true,`) {
		t.Errorf("login is %d %s, want a ticket", resp.status, resp.body)
	}
	if ada, _ := c.srv.Account("ada@example.com"); ada.TOTPSecret != secret {
		t.Errorf("the account's secret is %q, want %q", ada.TOTPSecret, secret)
	}

	secret = generated() // replaces the secret in use
	c.post(disable, wrong(secret), as).wantError(401, "Invalid two-factor code.")
	c.post(disable, code(secret), as).wantEmpty(204)
	c.post(disable, code(secret), as).wantError(400, "MFA is already disabled.")
	c.login("ada@example.com")

	c.srv.DeleteAccount("ada@example.com")
	c.post(enable, code(secret), as).wantError(400, "Account does not exist.")
}

// MFA_ENABLED=false.
func TestNoMFA(t *testing.T) {
	c := serve(t, authtest.Options{NoMFA: true})
	for _, path := range []string{"generate", "enable", "disable", "totp"} {
		c.post("/auth/mfa/"+path, `{}`).serverError()
	}
	c.login("ada@example.com") // other endpoints are on
}
