package authtest

import (
	"net/http"
	"time"
)

// refused is what the service says of every refresh token that it does not
// like, whatever the reason.
func refused() *Answer {
	return failure(http.StatusUnauthorized, "Invalid or expired refresh token.")
}

// laxGap is how long a refresh takes between lookup and rotation in lax mode:
// long enough for requests that start together to overlap.
const laxGap = 10 * time.Millisecond

// refresh is GET /auth/token/refresh.
func refresh(c *call) *Answer {
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
	t, a := s.present(value)
	if t == nil {
		return refused()
	}
	return c.rotated(t, a)
}

// refreshLax does it as the real service does: what happens to the token
// between the two steps goes unseen.
func (c *call) refreshLax(value string) *Answer {
	s := c.server
	c.lock()
	t, a := s.present(value)
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

// rotated puts a new token in the place of t and answers in the way in which
// that came. s.mu is held.
func (c *call) rotated(t *refreshToken, a *account) *Answer {
	s := c.server
	if c.noToken || s.accounts[a.ID] != a { // it would belong to nobody
		return serverError()
	}
	next := s.rotate(t, a)
	if c.refresh.fromCookie {
		c.setCookies(a, next.value)
		return ok(c.session(a, ""))
	}
	return ok(c.session(a, next.value))
}

// revoke is POST /auth/token/revoke: it ends all refresh tokens of the user
// who sends an access token.
func revoke(c *call) *Answer {
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

// logout is POST /auth/logout. It looks at the refresh token only, and says
// 204 to nearly anything.
func logout(c *call) *Answer {
	if c.refresh.value == "" && !c.refresh.malformed {
		return refused()
	}
	if c.refresh.fromCookie {
		c.clearCookies()
	}
	if a := invalid(c.body, field{"all", boolean}); a != nil {
		return a
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

// logoutAll ends all tokens of the user whose token it is, if that is good.
func (c *call) logoutAll(value string) *Answer {
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

// owner is the account that a usable refresh token stands for. s.mu is held.
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
