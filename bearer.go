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

// This file is about requests with a bearer token (RFC 6750). With Config.Verifier their
// user is that of the token. They have no session: no values, no refresh and no sign-out.

// bearerLeeway is how much the clocks of this program and of the auth service may differ.
const bearerLeeway = 30 * time.Second

// maxBearer bounds the tokens that are passed to a verifier, in bytes.
const maxBearer = 64 << 10

const bearerScheme = "Bearer"

// hasBearer reports whether a request carries a bearer token (RFC 6750). Such a
// request is an API client's: cookies that it may carry too are ignored.
func hasBearer(h http.Header) bool {
	fields := h["Authorization"]
	return len(fields) > maxAuthorizations || slices.ContainsFunc(fields, isBearer)
}

// maxAuthorizations is how many Authorization fields are looked at. A request with more is
// refused as one with several bearer tokens.
const maxAuthorizations = 4

// isBearer reports whether an Authorization field has a bearer token.
func isBearer(value string) bool {
	n := len(bearerScheme) // the value may be long; the start is enough
	return len(value) >= n && strings.EqualFold(value[:n], bearerScheme) && (len(value) == n || value[n] == ' ')
}

// loadBearer makes the session of x that of a request with a bearer token. The token is
// verified later, when the handler first uses the user: public pages need no user.
func (x *Exchange) loadBearer(h http.Header) {
	if x.m.cfg.Verifier == nil {
		x.session.Store(bearerOnly)
		return
	}
	s := &x.first
	s.m, s.ctx, s.presented = x.m, x.ctx, true
	// Of two fields an outer proxy may have checked the other one.
	if fields := h["Authorization"]; len(fields) == 1 {
		s.token = strings.TrimLeft(fields[0][len(bearerScheme):], " ")
	}
	s.bearer = true
	x.session.Store(s)
}

// Bearer reports whether the request has a bearer token, whether it is accepted or not.
// The user of such a request is that of the token alone, and its cookies are ignored. It
// has no session: it has no values, and methods that change the session fail with
// [ErrSessionRequired]. AccessToken returns the request's own token, and Done is closed when
// the token expires.
func (s *Session) Bearer() bool { return s.bearer }

// needsSession returns the error of a method that needs a session, for a request with a
// bearer token: [ErrSessionRequired], or why the token is not accepted.
func (s *Session) needsSession(ctx context.Context) error {
	if _, err := s.resolve(ctx); err != nil {
		return err
	}
	return fmt.Errorf("session: %w", ErrSessionRequired)
}

// resolveBearer is resolve for a request with a bearer token.
func (s *Session) resolveBearer(ctx context.Context) (*keeper.Record, error) {
	s.mu.Lock()
	rec, err, retryAt := s.rec, s.err, s.retryAt
	s.mu.Unlock()
	switch {
	case rec != nil:
		return rec, nil
	case err != nil && (errors.Is(err, ErrBearer) || s.m.now().Before(retryAt)):
		return nil, err
	case ctx.Err() != nil:
		return nil, &UnavailableError{Err: ctx.Err()}
	}
	// No lock is held: the verifier may fetch keys.
	rec, cause := s.m.readBearer(ctx, s.token)
	name, level := EventBearerRefused, slog.LevelInfo
	switch {
	case errors.Is(cause, auth.ErrInvalidToken):
		err = fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)
	case cause != nil:
		name, level = EventVerifierUnavailable, slog.LevelWarn
		err = &UnavailableError{RetryAfter: time.Second, Err: cause}
	default:
		err = nil
	}
	if cause == nil || ctx.Err() == nil { // a call with another context may succeed
		s.mu.Lock()
		if s.rec == nil { // another call may have succeeded meanwhile
			s.rec, s.err, s.retryAt = rec, err, s.m.now().Add(time.Second)
		}
		s.mu.Unlock()
	}
	switch {
	case cause == nil:
		if why := rec.Pair.Claims.Err(); why != nil {
			s.m.event(s.ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: why})
		}
	case name == EventVerifierUnavailable && errors.Is(ctx.Err(), context.Canceled):
		// A client that has disconnected says nothing about the verifier.
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
	return &keeper.Record{
		// The time of issue says nothing: the client may have refreshed the token.
		SignIn: keeper.SignIn{UserID: claims.UserID, Created: claims.AuthenticatedAt},
		Pair: keeper.Pair{
			Tokens: auth.Tokens{AccessToken: token}, Expires: claims.ExpiresAt, Claims: &claims,
			User:   keeper.NewUser(auth.User{}, &claims, nil),
			Forced: true, // an API that rejects it would reject it again
		},
	}, nil
}

// withoutSession hides the session of a context from the verifier. A verifier that used the
// session's user would call itself without end.
type withoutSession struct{ context.Context }

func (c withoutSession) Value(key any) any {
	if key == (contextKey{}) || key == ContextName {
		return nil
	}
	return c.Context.Value(key)
}

// bearerToken is AccessToken for a request with a bearer token. A long request may have
// outlived the token.
func (s *Session) bearerToken(rec *keeper.Record) (string, error) {
	if !s.m.now().Before(rec.Pair.Expires.Add(bearerLeeway)) {
		return "", fmt.Errorf("session: access token: %w: %w", ErrUnauthenticated, ErrBearer)
	}
	return rec.Pair.Tokens.AccessToken, nil
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
