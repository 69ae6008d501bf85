package authtest

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// login handles POST /auth/login.
func login(c *call) *Response {
	s := c.server
	if s.opts.AnonymousUsers {
		if resp := invalid(c.body,
			field{"anonymous", boolean},
			field{"email", text()},
			field{"password", text()},
		); resp != nil {
			// This also rejects the field "cookie", as the service does.
			return resp
		}
		if c.isTrue("anonymous") {
			return c.anonymousLogin()
		}
	}
	password := required(text())
	if !s.opts.NoMagicLink {
		password = text()
	}
	if resp := invalid(c.body,
		field{"email", s.emailRule()},
		field{"password", password},
		field{"cookie", boolean},
	); resp != nil {
		return resp
	}
	if c.text("password") == "" {
		return c.mailLoginLink()
	}
	return c.passwordLogin()
}

func (c *call) passwordLogin() *Response {
	s := c.server
	c.lock()
	a := s.byEmail(c.text("email"))
	if a == nil {
		s.mu.Unlock()
		return noAccount()
	}
	inactive, want := a.Inactive, a.Password
	s.mu.Unlock()

	if inactive {
		return failure(http.StatusBadRequest, "Account is not activated.")
	}
	admin := false
	if secret := c.req.Header.Get("X-Admin-Secret"); secret != "" && s.opts.AdminSecret != "" {
		if admin = secret == s.opts.AdminSecret; !admin {
			return failure(http.StatusUnauthorized, "Invalid x-admin-secret")
		}
	}
	if want == "" {
		return badRequest()
	}
	if !s.samePassword(c.text("password"), want) && !admin {
		return failure(http.StatusUnauthorized, "Username and password do not match")
	}
	if !c.between() {
		return nil
	}

	c.lock()
	defer s.mu.Unlock()
	if s.accounts[a.ID] != a {
		return badRequest() // the account was deleted meanwhile
	}
	if a.TOTPSecret != "" {
		return ok(object{{"mfa", true}, {"ticket", s.newTicket(a)}})
	}
	return c.signIn(a)
}

// mailLoginLink sends an e-mail with a link that holds a refresh token. The token is
// valid at once, even if the account is not active. In cookie mode the response
// holds the token, too.
func (c *call) mailLoginLink() *Response {
	s := c.server
	c.lock()
	a := s.byEmail(c.text("email"))
	if a == nil {
		s.mu.Unlock()
		return noAccount()
	}
	t := c.newToken(a)
	if t == nil {
		s.mu.Unlock()
		return badRequest()
	}
	c.deliverCookies(a, t)
	to := a.Email
	s.mu.Unlock()

	if !s.send(Email{
		To:      to,
		Subject: "Secure log in link",
		Token:   t.value,
		Link:    s.link(MagicLink, "token="+t.value+"&action=log-in"),
	}) {
		return serverError()
	}
	return ok(object{{"magicLink", true}})
}

// anonymousLogin creates an account without an address and signs it in. The refresh
// token is in a cookie and in the body.
func (c *call) anonymousLogin() *Response {
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	a := &account{anonymous: true, Account: Account{
		ID:          newUUID(),
		DisplayName: "Anonymous user",
		DefaultRole: "anonymous",
		Roles:       []string{"anonymous"},
	}}
	s.accounts[a.ID] = a
	t := c.newToken(a)
	if t == nil {
		return badRequest()
	}
	c.deliverCookies(a, t)
	body := c.session(a, t.value)
	user, _ := body.get("user")
	body.set("user", user.(object).without("email"))
	return ok(body)
}

func ticketRefused() *Response {
	return failure(http.StatusUnauthorized, "Invalid or expired ticket.")
}

func noAccount() *Response {
	return failure(http.StatusBadRequest, "Account does not exist.")
}

// totpLogin handles POST /auth/mfa/totp, the second step of a login.
func totpLogin(c *call) *Response {
	if resp := invalid(c.body,
		field{"code", codeRule},
		field{"ticket", ticketRule},
		field{"cookie", boolean},
	); resp != nil {
		return resp
	}
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	a := s.byTicket(c.text("ticket"))
	switch {
	case a == nil:
		return ticketRefused()
	case a.TOTPSecret == "":
		return failure(http.StatusBadRequest, "MFA is not enabled.")
	case a.Inactive:
		return failure(http.StatusBadRequest, "Account is not activated.")
	case !s.validCode(c.text("code"), a.TOTPSecret):
		return wrongCode()
	}
	if !c.noToken {
		a.ticket = ""
	}
	return c.signIn(a)
}

// validCode accepts the current code and the previous one, any number of times.
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

// text returns a member of a valid body, or "" if it is missing.
func (c *call) text(name string) string {
	o, _ := c.body.(object)
	return o.text(name)
}

// isTrue returns a boolean member of a valid body, or false if it is missing.
func (c *call) isTrue(name string) bool {
	o, _ := c.body.(object)
	value, _ := o.get(name)
	if b, ok := value.(bool); ok {
		return b
	}
	return strings.EqualFold(o.text(name), "true")
}

// cookieMode reports whether the response sets tokens in cookies. It does unless
// the member "cookie" is false. The string "false" counts as true, as in the
// service.
func (c *call) cookieMode() bool {
	o, _ := c.body.(object)
	mode, _ := o.get("cookie")
	b, isBool := mode.(bool)
	return !isBool || b
}

// signIn starts a session for an account whose user is authenticated. s.mu is held.
func (c *call) signIn(a *account) *Response {
	t := c.newToken(a)
	if t == nil {
		return badRequest()
	}
	if c.deliverCookies(a, t) {
		return ok(c.session(a, ""))
	}
	return ok(c.session(a, t.value))
}

// deliverCookies sets both cookies in cookie mode and clears them otherwise.
// s.mu is held.
func (c *call) deliverCookies(a *account, t *refreshToken) (inCookie bool) {
	if inCookie = c.cookieMode(); inCookie {
		c.setCookies(a, t.value)
	} else {
		c.clearCookies()
	}
	return inCookie
}

// session returns the body with the tokens. s.mu is held.
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
	if a.anonymous {
		user.set("email", nil)
	}
	for _, name := range c.server.opts.CustomFields {
		if strings.EqualFold(name, "avatar_url") {
			user = append(user, member{"avatar_url", a.Fields[name]})
		}
	}
	return user
}
