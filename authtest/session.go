package authtest

import (
	"net/http"
	"time"
)

// refused returns the response to a refresh token that the service rejects, for any
// reason.
func refused() *Response {
	return failure(http.StatusUnauthorized, "Invalid or expired refresh token.")
}

// laxGap is the time between lookup and rotation in lax mode. It is long enough for
// concurrent requests to overlap.
const laxGap = 10 * time.Millisecond

// refresh handles GET /auth/token/refresh.
func refresh(c *call) *Response {
	if c.refresh.malformed {
		return badRequest()
	}
	if c.refresh.value == "" {
		return refused()
	}
	value, ok := parseUUID(c.refresh.value)
	if !ok {
		return badRequest()
	}
	s := c.server
	if s.opts.Lax {
		return c.refreshLax(value)
	}
	c.lock()
	defer s.mu.Unlock()
	t, a := s.useToken(value)
	if t == nil {
		return refused()
	}
	return c.rotated(t, a)
}

// refreshLax refreshes like the real service, in two steps. It does not notice that
// the token is used or revoked between them.
func (c *call) refreshLax(value string) *Response {
	s := c.server
	c.lock()
	t, a := s.useToken(value)
	s.mu.Unlock()
	if t == nil {
		return refused()
	}
	if !s.sleep(laxGap) || !c.between() {
		return nil
	}
	c.lock()
	defer s.mu.Unlock()
	return c.rotated(t, a)
}

// rotated replaces t with a new token. The response holds it in the body or in a
// cookie, depending on where the request had the old one. s.mu is held.
func (c *call) rotated(t *refreshToken, a *account) *Response {
	s := c.server
	if c.noToken || s.accounts[a.ID] != a { // the account was deleted meanwhile
		return serverError()
	}
	next := s.rotate(t, a)
	if c.refresh.fromCookie {
		c.setCookies(a, next.value)
		return ok(c.session(a, ""))
	}
	return ok(c.session(a, next.value))
}

// revoke handles POST /auth/token/revoke. It revokes all refresh tokens of the
// access token's user.
func revoke(c *call) *Response {
	if !c.user.known {
		return failure(http.StatusUnauthorized, "Not logged in")
	}
	id, ok := parseUUID(c.user.userID)
	if !ok {
		return badRequest()
	}
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	s.endTokens(id)
	return noContent()
}

// logout handles POST /auth/logout. It considers only the refresh token, and
// responds with 204 in nearly all cases.
func logout(c *call) *Response {
	if c.refresh.value == "" && !c.refresh.malformed {
		return refused()
	}
	if c.refresh.fromCookie {
		c.clearCookies()
	}
	if resp := invalid(c.body, field{"all", boolean}); resp != nil {
		return resp
	}
	value, ok := parseUUID(c.refresh.value)
	if !ok || c.refresh.malformed {
		return noContent()
	}
	if c.isTrue("all") {
		return c.logoutAll(value)
	}
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	if t := s.tokens[value]; t != nil && t.State == TokenLive {
		t.State = TokenEnded
	}
	return noContent()
}

// logoutAll revokes all tokens of the user who owns the given token, if that token
// is valid.
func (c *call) logoutAll(value string) *Response {
	s := c.server
	c.lock()
	a := s.owner(s.tokens[value])
	s.mu.Unlock()
	if a == nil {
		return noContent()
	}
	if !c.between() {
		return nil
	}
	c.lock()
	defer s.mu.Unlock()
	s.endTokens(a.ID)
	return noContent()
}

// owner returns the account of a usable refresh token, or nil. s.mu is held.
func (s *Server) owner(t *refreshToken) *account {
	if !s.usable(t) {
		return nil
	}
	a := s.accounts[t.UserID]
	if a == nil || a.Inactive {
		return nil
	}
	return a
}
