package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/synmetrix/session/internal/keeper"
)

// This file has the access token of a session: its use, and its refresh.

// AccessToken returns an access token for calls to an API as the user. A token
// that is due is refreshed first and the new token is stored, also long after
// the request began. AccessToken fails with [ErrUnauthenticated], [ErrEnded] or
// [ErrSessionUnavailable].
func (s *Session) AccessToken(ctx context.Context) (string, error) {
	rec, err := s.resolve(ctx)
	if err != nil {
		return "", err
	}
	if rec == nil {
		return "", fmt.Errorf("session: access token: %w", ErrUnauthenticated)
	}
	if s.bearer {
		return s.bearerToken(rec)
	}
	// resolve checks the token once per request. A long request may have outlived
	// the token since.
	fresh, err := s.m.keeper.Fresh(ctx, rec)
	if err != nil {
		return "", s.refreshFailed(ctx, rec, err)
	}
	s.adoptTokens(fresh)
	return fresh.Pair.Tokens().AccessToken, nil
}

// Refresh refreshes the session's tokens now, for example after the app has changed the
// user's roles at the auth service. Afterwards the session has the new claims and roles.
// Concurrent calls for one session share a refresh. Refresh waits for the auth service for
// up to Config.AuthTimeout. Its errors are those of AccessToken. After
// [ErrSessionUnavailable] the session continues with its tokens. With a bearer token
// Refresh fails with [ErrSessionRequired].
func (s *Session) Refresh(ctx context.Context) error {
	if s.bearer {
		return s.needsSession(ctx)
	}
	rec, err := s.resolve(ctx)
	switch {
	case err != nil:
		return err
	case rec == nil:
		return fmt.Errorf("session: refresh: %w", ErrUnauthenticated)
	}
	refreshed, err := s.m.keeper.Renew(ctx, rec, rec.Pair.Gen)
	if err != nil {
		return s.refreshFailed(ctx, rec, err)
	}
	s.adoptTokens(refreshed)
	return nil
}

// refreshFailed returns the app's error for a failed refresh, and invalidates the
// session if it has ended.
func (s *Session) refreshFailed(ctx context.Context, rec *keeper.Record, err error) error {
	var why *keeper.Error
	if errors.As(err, &why) && why.Ended != "" {
		s.invalidate(rec, err)
	}
	return s.m.publicError(ctx, rec, err)
}

// replaceToken refreshes the access token rejected, which an API has rejected, and returns
// the new token. It returns rejected itself if that token is already the result of such a
// refresh: the API would reject the next token, too.
func (s *Session) replaceToken(ctx context.Context, rejected string) (string, error) {
	s.mu.Lock()
	rec := s.rec
	s.mu.Unlock()
	if rec == nil {
		return "", fmt.Errorf("session: access token: %w", ErrUnauthenticated)
	}
	if rec.Pair.Tokens().AccessToken == rejected && !rec.Pair.Forced {
		refreshed, err := s.m.keeper.Renew(ctx, rec, rec.Pair.Gen)
		if err != nil {
			return "", s.refreshFailed(ctx, rec, err)
		}
		s.adoptTokens(refreshed)
		rec = refreshed
	}
	return rec.Pair.Tokens().AccessToken, nil
}

// adoptTokens replaces the session's tokens by those of r, a later state of the
// same session. It keeps the session's tokens if they are newer, or if the claims of the
// new tokens cannot be read: the methods about the user need claims.
func (s *Session) adoptTokens(r *keeper.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasRecordLocked(r) || r.Pair.Gen <= s.rec.Pair.Gen {
		return
	}
	next := s.rec.WithTokensOf(r)
	if _, err := s.m.keeper.Claims(next); err == nil {
		s.rec = next
	}
}

// AccessTokenExpiresAt returns when the access token expires, by this program's
// clock: the token's life is counted from its receipt. The expiry of a bearer token is its
// exp. AccessTokenExpiresAt returns the zero time if no user is signed in.
func (s *Session) AccessTokenExpiresAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	return rec.Pair.Expires
}
