package load

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/auth"
)

// service is an auth service in the process of the app. Unlike package authtest, it forgets
// tokens that are used or expired, so that it takes the same memory all day.
type service struct {
	now       func() time.Time
	refreshes atomic.Int64
	refused   atomic.Int64 // refresh tokens that were used before, or have expired

	mu   sync.Mutex
	live map[string]time.Time // refresh tokens and when they expire
}

// accessLife is how long its access tokens live.
const accessLife = 15 * time.Minute

func (s *service) Login(_ context.Context, email, pass string) (auth.Grant, error) {
	if pass != password {
		return auth.Grant{}, auth.ErrRefused
	}
	return s.issue(email), nil
}

// issue returns new tokens of a user.
func (s *service) issue(userID string) auth.Grant {
	now := s.now()
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"hasura":{"x-hasura-user-id":%q,"x-hasura-default-role":"user","x-hasura-allowed-roles":["user","admin"]}}`,
		now.Unix(), now.Add(accessLife).Unix(), userID)
	encode := base64.RawURLEncoding.EncodeToString
	refresh := userID + " " + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[refresh] = now.Add(dayLifetime)
	return auth.Grant{Tokens: auth.Tokens{
		AccessToken: encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims)) + "." + encode(make([]byte, 32)), RefreshToken: refresh,
	}}
}

func (s *service) Refresh(_ context.Context, t auth.Tokens) (auth.Grant, error) {
	if !s.use(t.RefreshToken) {
		s.refused.Add(1)
		return auth.Grant{}, auth.ErrRefused
	}
	s.refreshes.Add(1)
	userID, _, _ := strings.Cut(t.RefreshToken, " ")
	return s.issue(userID), nil
}

func (s *service) Logout(_ context.Context, t auth.Tokens, _ bool) error {
	if !s.use(t.RefreshToken) {
		s.refused.Add(1)
	}
	return nil
}

// use reports whether a refresh token is valid, and makes it invalid.
func (s *service) use(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	expires, found := s.live[token]
	delete(s.live, token)
	return found && s.now().Before(expires)
}

// expire forgets tokens that have expired.
func (s *service) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for token, expires := range s.live {
		if !now.Before(expires) {
			delete(s.live, token)
		}
	}
}
