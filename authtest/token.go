package authtest

import "time"

// TokenState says what has become of a refresh token.
type TokenState string

// The states of a refresh token.
const (
	TokenLive    TokenState = "live"    // can be used
	TokenUsed    TokenState = "used"    // was exchanged for another
	TokenEnded   TokenState = "ended"   // logged out, revoked, or ended for a reuse
	TokenExpired TokenState = "expired" // was never used in its time
)

// TokenInfo is what the service knows of a refresh token.
type TokenInfo struct {
	UserID    string
	State     TokenState
	Uses      int // refreshes that presented it, refused ones and HEAD requests too
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// refreshToken is a token as it is kept, whatever its state.
type refreshToken struct {
	TokenInfo // State is never TokenExpired here
	value     string
	login     *struct{ _ byte } // the same for all tokens that descend from one login
}

// Token returns what the service knows of a refresh token, false if it has not
// issued it.
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

// LiveTokens returns the refresh tokens with which a user, given by ID or
// e-mail address, could refresh now, in no order.
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

// Refreshes returns how many refreshes were carried out, whether or not their
// answer arrived.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshes
}

// Reuses returns how many refreshes presented a token that had been used
// before. A client that does its work has none.
func (s *Server) Reuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reuses
}

// SignIn issues tokens to a user, given by ID or e-mail address, as a login
// would, but without a request, a password or a second factor. It panics if
// there is no such account.
func (s *Server) SignIn(user string) (accessToken, refreshToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(user)
	if a == nil {
		panic("authtest: SignIn: no account " + user)
	}
	return s.sign(a), s.issue(a, nil).value
}

// issue makes a refresh token, as the successor of another unless that is nil.
// s.mu is held.
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

// newToken issues a token to an account that a request signs in, nil if its
// fault has the database refuse that. s.mu is held.
func (c *call) newToken(a *account) *refreshToken {
	if c.noToken {
		return nil
	}
	return c.server.issue(a, nil)
}

// usable reports whether a token is live and in its time. s.mu is held.
func (s *Server) usable(t *refreshToken) bool {
	return t != nil && t.State == TokenLive && !s.Now().After(t.ExpiresAt)
}

// present counts a use of a token at a refresh and returns its account if it
// may go on. A reuse ends, in strict mode, all tokens of its login. s.mu is
// held.
func (s *Server) present(value string) (*refreshToken, *account) {
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

// rotate replaces a token that was found usable by a new one. In lax mode it
// may have been used since. s.mu is held.
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

// endLogin ends the live tokens that descend from the login of t.
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
