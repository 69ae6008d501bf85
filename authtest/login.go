package authtest

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// login is POST /auth/login.
func login(c *call) *Answer {
	if a := invalid(c.body,
		field{"email", required(text(email))},
		field{"password", required(text())},
		field{"cookie", boolean},
	); a != nil {
		return a
	}
	s := c.server
	password := c.text("password")

	s.mu.Lock()
	a := s.byEmail(c.text("email"))
	if a == nil {
		s.mu.Unlock()
		return failure(http.StatusBadRequest, "Account does not exist.")
	}
	inactive, want := a.Inactive, a.Password
	s.mu.Unlock()

	if inactive {
		return failure(http.StatusBadRequest, "Account is not activated.")
	}
	if want == "" {
		return badRequest()
	}
	if !s.samePassword(password, want) {
		return failure(http.StatusUnauthorized, "Username and password do not match")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[a.ID] != a {
		return badRequest() // deleted in the meantime
	}
	if a.TOTPSecret != "" {
		return ok(object{{"mfa", true}, {"ticket", s.newTicket(a)}})
	}
	return c.signIn(a)
}

// totpLogin is POST /auth/mfa/totp, the second step of a login.
func totpLogin(c *call) *Answer {
	if a := invalid(c.body,
		field{"code", required(text(exactly(6)))},
		field{"ticket", required(text(guid))},
		field{"cookie", boolean},
	); a != nil {
		return a
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byTicket(c.text("ticket"))
	switch {
	case a == nil:
		return failure(http.StatusUnauthorized, "Invalid or expired ticket.")
	case a.TOTPSecret == "":
		return failure(http.StatusBadRequest, "MFA is not enabled.")
	case a.Inactive:
		return failure(http.StatusBadRequest, "Account is not activated.")
	case !s.validCode(c.text("code"), a.TOTPSecret):
		return failure(http.StatusUnauthorized, "Invalid two-factor code.")
	}
	a.ticket = ""
	return c.signIn(a)
}

// validCode takes the code of now and that of the 30 seconds before, any
// number of times.
func (s *Server) validCode(code, secret string) bool {
	now := s.Now()
	for _, at := range []time.Time{now, now.Add(-30 * time.Second)} {
		want, err := totp.GenerateCodeCustom(secret, at, totp.ValidateOpts{
			Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
		})
		if err == nil && subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 {
			return true
		}
	}
	return false
}

// text returns a member of a valid body, "" if it was not given.
func (c *call) text(name string) string {
	o, _ := c.body.(object)
	value, _ := o.get(name)
	s, _ := value.(string)
	return s
}

// cookieMode reports whether tokens are to be answered in cookies. They are
// unless the body says false; the string "false" is true to the service.
func (c *call) cookieMode() bool {
	o, _ := c.body.(object)
	mode, given := o.get("cookie")
	b, isBool := mode.(bool)
	return !given || !isBool || b
}

// signIn begins a session for an account that has proved itself. s.mu is held.
func (c *call) signIn(a *account) *Answer {
	t := c.server.issue(a, nil)
	if c.cookieMode() {
		c.setCookies(a, t.value)
		return ok(c.session(a, ""))
	}
	c.clearCookies()
	return ok(c.session(a, t.value))
}

// session is the body that carries tokens. s.mu is held.
func (c *call) session(a *account, refreshToken string) object {
	body := object{
		{"jwt_token", c.server.sign(a)},
		{"jwt_expires_in", c.server.opts.AccessLife.Milliseconds()},
		{"user", c.userData(a)},
	}
	if refreshToken != "" {
		body = append(body, member{"refresh_token", refreshToken})
	}
	return body
}

func (c *call) userData(a *account) object {
	user := object{{"id", a.ID}, {"display_name", a.DisplayName}, {"email", a.Email}}
	for _, name := range c.server.opts.CustomFields {
		if strings.EqualFold(name, "avatar_url") {
			user = append(user, member{"avatar_url", a.Fields[name]})
		}
	}
	return user
}
