package session

import (
	"fmt"
	"log/slog"
	"time"
)

// This file decides whether a user may pass a guard.

// errUnauthenticated is the refusal of most visitors, made once.
var errUnauthenticated = fmt.Errorf("session: %w", ErrUnauthenticated)

// Policy decides whether a signed-in user may pass a guard. Guards call it for
// signed-in users only. It must be safe for concurrent use.
type Policy func(*Session) bool

// Authorize decides whether the session passes p. A nil Policy lets every
// signed-in user pass. Every guard of every framework calls this method, so that
// they cannot differ. Authorize returns nil, or an error that is
// [ErrUnauthenticated], [ErrForbidden], [ErrSessionUnavailable] (an
// [*UnavailableError]) or [ErrNotLoaded].
func (s *Session) Authorize(p Policy) error {
	rec, err := s.resolve(s.ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return errUnauthenticated
	}
	if p == nil || p(s) {
		return nil
	}
	// The policy may have called AccessToken and so found that the session has
	// ended. The visitor must then sign in; 403 would be wrong.
	s.mu.Lock()
	ended := !s.hasRecordLocked(rec)
	s.mu.Unlock()
	if ended {
		return errUnauthenticated
	}
	s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventAccessDenied})
	return fmt.Errorf("session: %w", ErrForbidden)
}

// AuthorizeFresh decides whether the user entered the credentials within maxAge; see
// AuthenticatedAt. The error is [ErrReauthenticationRequired] if that was longer ago. Other
// errors are those of Authorize. If the same user signs in again, the new session has the
// values of this session.
func (s *Session) AuthorizeFresh(maxAge time.Duration) error {
	if err := s.Authorize(nil); err != nil {
		return err
	}
	if at := s.AuthenticatedAt(); at.IsZero() || s.m.now().Sub(at) > maxAge {
		if s.bearer {
			return fmt.Errorf("session: %w: %w", ErrReauthenticationRequired, ErrBearer)
		}
		return fmt.Errorf("session: %w", ErrReauthenticationRequired)
	}
	return nil
}
