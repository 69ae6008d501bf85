package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
)

// This file handles requests with a bearer token (RFC 6750). With Config.Verifier, the user
// of such a request is the user of the token. The request has no session: no values, no
// refresh and no sign-out.

// bearerLeeway is how much the clocks of this program and of the auth service may differ.
const bearerLeeway = 30 * time.Second

// maxBearer bounds the tokens that are passed to a verifier, in bytes.
const maxBearer = 64 << 10

const bearerScheme = "Bearer"

// hasBearer reports whether a request carries a bearer token (RFC 6750). Such a request
// comes from an API client. Its cookies are ignored.
func hasBearer(h http.Header) bool {
	fields := h["Authorization"]
	return len(fields) > maxAuthorizations || slices.ContainsFunc(fields, isBearer)
}

// maxAuthorizations is how many Authorization fields are read. A request with more fields
// is rejected like a request with several bearer tokens.
const maxAuthorizations = 4

// isBearer reports whether an Authorization field has a bearer token.
func isBearer(value string) bool {
	n := len(bearerScheme) // only the start is needed, and the value may be long
	return len(value) >= n && strings.EqualFold(value[:n], bearerScheme) && (len(value) == n || value[n] == ' ')
}

// loadBearer gives x the Session of a request with a bearer token. The token is verified
// when the handler first uses the user, because public pages need no user.
func (x *Exchange) loadBearer(h http.Header) {
	if x.m.cfg.Verifier == nil {
		x.session.Store(bearerOnly)
		return
	}
	s := &x.first
	s.m, s.ctx, s.presented = x.m, x.ctx, true
	// With two fields, the proxy may have checked one and the app would use the other. So
	// neither is used.
	if fields := h["Authorization"]; len(fields) == 1 {
		s.token = strings.TrimLeft(fields[0][len(bearerScheme):], " ")
	}
	s.bearer = true
	x.session.Store(s)
}

// Bearer reports whether the request has a bearer token, accepted or not. The user of such
// a request is the user of the token, and its cookies are ignored. The request has no
// session and no values, and methods that change the session fail with
// [ErrSessionRequired]. AccessToken returns the token itself, and the channel of Done is
// closed when the token expires.
func (s *Session) Bearer() bool { return s.bearer }

// needsSession returns the error of methods that need a session, for a request with a
// bearer token: [ErrSessionRequired], or the reason why the token is not accepted.
func (s *Session) needsSession(ctx context.Context) error {
	if _, err := s.resolve(ctx); err != nil {
		return err
	}
	return fmt.Errorf("session: %w", ErrSessionRequired)
}

// resolveBearer is resolve for a request with a bearer token.
func (s *Session) resolveBearer(ctx context.Context) (*keeper.Record, error) {
	s.mu.Lock()
	rec, known := s.rec, s.failure
	s.mu.Unlock()
	switch {
	case rec != nil:
		return rec, nil
	case known != nil && (errors.Is(known.err, ErrBearer) || s.m.now().Before(known.retryAt)):
		return nil, known.err
	case ctx.Err() != nil:
		return nil, &UnavailableError{Err: ctx.Err()}
	}
	// No lock is held: the verifier may fetch keys.
	rec, cause := s.m.readBearer(ctx, s.token)
	var err error
	name, level := EventBearerRefused, slog.LevelInfo
	switch {
	case errors.Is(cause, auth.ErrInvalidToken):
		err = fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)
	case cause != nil:
		name, level = EventVerifierUnavailable, slog.LevelWarn
		err = &UnavailableError{RetryAfter: time.Second, Err: cause}
	}
	if cause == nil || ctx.Err() == nil { // a call with another context may succeed
		retryAt := s.m.now().Add(time.Second) // no lock is held, because the clock is the app's
		s.mu.Lock()
		if s.rec == nil { // another call may have succeeded in the meantime
			s.rec, s.failure = rec, nil
			if err != nil {
				s.failure = &failure{err, retryAt}
			}
		}
		s.mu.Unlock()
	}
	switch {
	case cause == nil:
		if why := rec.Pair.Claims.Err(); why != nil {
			s.m.event(s.ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: why})
		}
	case name == EventVerifierUnavailable && errors.Is(ctx.Err(), context.Canceled):
		// The client has disconnected; the verifier has not failed.
	default:
		s.m.event(s.ctx, level, nil, Event{Name: name, Err: cause}) // the hook may use s
	}
	return rec, err
}

// readBearer verifies a bearer token and returns its user as a record without a session.
// The error is [auth.ErrInvalidToken] if the token is not accepted.
func (m *Manager) readBearer(ctx context.Context, token string) (*keeper.Record, error) {
	if token == "" || len(token) > maxBearer {
		return nil, fmt.Errorf("%w: it has %d bytes", auth.ErrInvalidToken, len(token))
	}
	if err := m.keeper.Verify(withoutSession{ctx}, token); err != nil {
		return nil, err
	}
	claims, err := auth.ParseClaims(token, m.cfg.Claims)
	if err != nil {
		return nil, err
	}
	now := m.now()
	switch {
	case !now.Before(claims.ExpiresAt.Add(bearerLeeway)):
		return nil, fmt.Errorf("%w: it has expired", auth.ErrInvalidToken)
	case now.Before(claims.NotBefore.Add(-bearerLeeway)):
		return nil, fmt.Errorf("%w: it is not valid yet", auth.ErrInvalidToken)
	}
	r := &keeper.Record{
		// The time of issue is not the time of the sign-in: the client may have refreshed
		// the token.
		SignIn: keeper.SignIn{UserID: claims.UserID, Created: claims.AuthenticatedAt},
		Pair: keeper.Pair{
			Expires: claims.ExpiresAt, Claims: &claims,
			User:   keeper.NewUser(auth.User{}, &claims, nil),
			Forced: true, // an API that rejects it would reject it again
		},
	}
	r.Pair.SetTokens(auth.Tokens{AccessToken: token})
	return r, nil
}

// withoutSession hides the session of a context from the verifier. A verifier that used the
// session's user would call itself endlessly.
type withoutSession struct{ context.Context }

func (c withoutSession) Value(key any) any {
	if key == (contextKey{}) {
		return (*Exchange)(nil) // ends the search, also in the contexts of frameworks
	}
	return c.Context.Value(key)
}

// bearerToken is AccessToken for a request with a bearer token. It checks the expiry again,
// because a long request may outlive its token.
func (s *Session) bearerToken(rec *keeper.Record) (string, error) {
	if !s.m.now().Before(rec.Pair.Expires.Add(bearerLeeway)) {
		return "", fmt.Errorf("session: access token: %w: %w", ErrUnauthenticated, ErrBearer)
	}
	return rec.Pair.Tokens().AccessToken, nil
}

// bearerExpired waits until the token of rec has expired. It reports false if ctx ends
// first.
func (m *Manager) bearerExpired(ctx context.Context, rec *keeper.Record) bool {
	t := time.NewTimer(rec.Pair.Expires.Sub(m.now()))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
