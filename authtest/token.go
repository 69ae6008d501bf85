package authtest

import "time"

// TokenState is the state of a refresh token.
type TokenState string

// The states of a refresh token.
const (
	TokenLive    TokenState = "live"    // can be used
	TokenUsed    TokenState = "used"    // was exchanged for a new one
	TokenEnded   TokenState = "ended"   // was logged out, or revoked, also because of a reuse
	TokenExpired TokenState = "expired" // was not used before it expired
)

// TokenInfo describes a refresh token.
type TokenInfo struct {
	UserID    string
	State     TokenState
	Uses      int // refreshes with this token, including rejected ones and HEAD requests
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// refreshToken is a refresh token of any state.
type refreshToken struct {
	TokenInfo // State is never TokenExpired here
	value     string
	login     *struct{ _ byte } // the same for all tokens that descend from one login
}

// Token describes a refresh token. It returns false if the service has not issued
// the token.
func (s *Server) Token(token string) (TokenInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[token]
	if t == nil {
		return TokenInfo{}, false
	}
	info := t.TokenInfo
	if info.State == TokenLive && s.Now().After(info.ExpiresAt) {
		info.State = TokenExpired
	}
	return info, true
}

// LiveTokens returns the refresh tokens that a user, given by ID or e-mail address,
// could use now, in no particular order.
func (s *Server) LiveTokens(user string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(user)
	if a == nil || a.Inactive {
		return nil
	}
	var live []string
	for _, t := range s.tokens {
		if t.UserID == a.ID && s.usable(t) {
			live = append(live, t.value)
		}
	}
	return live
}

// Refreshes returns the number of refreshes that were carried out, including those
// whose response did not arrive.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshes
}

// Reuses returns the number of refreshes with a token that had been used before. A
// correct client causes none.
func (s *Server) Reuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reuses
}

// SignIn issues tokens to a user, given by ID or e-mail address, like a login, but
// without a request, a password or a second factor. It panics if there is no such
// account.
func (s *Server) SignIn(user string) (accessToken, refreshToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(user)
	if a == nil {
		panic("authtest: SignIn: no account " + user)
	}
	return s.sign(a), s.issue(a, nil).value
}

// issue creates a refresh token. If of is not nil, the new token belongs to the same
// login as of. s.mu is held.
func (s *Server) issue(a *account, of *refreshToken) *refreshToken {
	now := s.Now()
	t := &refreshToken{
		value: newUUID(),
		login: new(struct{ _ byte }),
		TokenInfo: TokenInfo{
			UserID:    a.ID,
			State:     TokenLive,
			IssuedAt:  now,
			ExpiresAt: now.Add(s.opts.RefreshLife),
		},
	}
	if of != nil {
		t.login = of.login
	}
	s.tokens[t.value] = t
	return t
}

// newToken issues a token for a request that signs a user in. It returns nil if the
// fault of the request is NoToken. s.mu is held.
func (c *call) newToken(a *account) *refreshToken {
	if c.noToken {
		return nil
	}
	return c.server.issue(a, nil)
}

// usable reports whether a token is live and has not expired. s.mu is held.
func (s *Server) usable(t *refreshToken) bool {
	return t != nil && t.State == TokenLive && !s.Now().After(t.ExpiresAt)
}

// useToken counts a use of a token in a refresh. It returns the token and its account
// if the refresh may continue. In strict mode a reuse revokes all tokens of the
// login. s.mu is held.
func (s *Server) useToken(value string) (*refreshToken, *account) {
	t := s.tokens[value]
	if t == nil {
		return nil, nil
	}
	t.Uses++
	if t.State == TokenUsed {
		s.reuses++
		if !s.opts.Lax {
			s.endLogin(t)
		}
	}
	a := s.accounts[t.UserID]
	if !s.usable(t) || a == nil || a.Inactive {
		return nil, nil
	}
	return t, a
}

// rotate replaces a token with a new one. The caller has checked that t is usable. In
// lax mode another request may have used t since. s.mu is held.
func (s *Server) rotate(t *refreshToken, a *account) *refreshToken {
	if t.State == TokenUsed {
		s.reuses++
	}
	if t.State == TokenLive {
		t.State = TokenUsed
	}
	s.refreshes++
	return s.issue(a, t)
}

// endLogin ends the live tokens that descend from the same login as t.
func (s *Server) endLogin(t *refreshToken) {
	for _, other := range s.tokens {
		if other.login == t.login && other.State == TokenLive {
			other.State = TokenEnded
		}
	}
}

// endTokens ends all live tokens of a user.
func (s *Server) endTokens(userID string) {
	for _, t := range s.tokens {
		if t.UserID == userID && t.State == TokenLive {
			t.State = TokenEnded
		}
	}
}
