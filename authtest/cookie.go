package authtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// setCookies sets the cookies with the refresh token and the identity, as the service
// does in cookie mode.
func (c *call) setCookies(a *account, refreshToken string) {
	c.setCookie("refresh_token", refreshToken)
	c.setCookie("permission_variables", string(marshal(c.server.variables(a, ""))))
}

func (c *call) setCookie(name, value string) {
	o := &c.server.opts
	if o.CookieSecret != "" {
		value = "s:" + value + "." + signature(value, o.CookieSecret)
	}
	secure, sameSite := "", "Lax"
	if o.CookieSecure {
		secure = " Secure;"
	}
	switch o.CookieSameSite {
	case http.SameSiteStrictMode:
		sameSite = "Strict"
	case http.SameSiteNoneMode:
		sameSite = "None"
	}
	c.header.Add("Set-Cookie", fmt.Sprintf("%s=%s; Max-Age=%d; Path=/; Expires=%s; HttpOnly;%s SameSite=%s",
		name, encodeURIComponent(value), o.RefreshLife/time.Second,
		c.server.Now().Add(o.RefreshLife).UTC().Format(http.TimeFormat), secure, sameSite))
}

func (c *call) clearCookies() {
	for _, name := range []string{"refresh_token", "permission_variables"} {
		c.header.Add("Set-Cookie", name+"=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
	}
}

func signature(value, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(value))
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// unsign returns the values of the cookies that have the form of signed ones. A
// cookie with a wrong signature gets an empty value.
func unsign(cookies map[string]string, secret string) map[string]string {
	signed := make(map[string]string)
	for name, value := range cookies {
		value, ok := strings.CutPrefix(value, "s:")
		if !ok {
			continue
		}
		dot := strings.LastIndexByte(value, '.')
		if dot < 0 || !hmac.Equal([]byte(value[dot+1:]), []byte(signature(value[:dot], secret))) {
			signed[name] = ""
			continue
		}
		signed[name] = value[:dot]
	}
	return signed
}
