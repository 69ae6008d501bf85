package session

import (
	"context"
	"errors"
	"fmt"
)

// EndAll ends all sessions of a user, for example at the request of an operator or of
// another system. They end at once in this process, and within 2 s in others that share the
// store or the coordinator. One write is enough for any number of sessions. Records in a
// store are removed afterwards.
//
// EndAll does not call the auth service, because tokens can be read only with the session's
// own cookie. The tokens of a cookie session are revoked when its browser sends the cookie
// again. docs/sessions.md describes stored sessions.
//
// The error is [ErrSessionUnavailable] if the store or the coordinator is down. EndAll
// works without a request.
func (m *Manager) EndAll(ctx context.Context, userID string) error {
	if userID == "" {
		return errors.New("session: end all sessions: no user ID")
	}
	if err := m.keeper.EndUser(ctx, userID); err != nil {
		return fmt.Errorf("session: end all sessions: %w", m.publicError(ctx, nil, err))
	}
	return nil
}

// RefreshAll makes the tokens of all sessions of a user due for refresh, after the user's
// roles have changed: each session refreshes its tokens at its next request. Other
// processes that share the store or the coordinator do so within 2 s. No user is signed
// out, even if the auth service is down.
//
// The error is [ErrSessionUnavailable] if the store or the coordinator is down. RefreshAll
// works without a request.
func (m *Manager) RefreshAll(ctx context.Context, userID string) error {
	if userID == "" {
		return errors.New("session: refresh all sessions: no user ID")
	}
	if err := m.keeper.RefreshUser(ctx, userID); err != nil {
		return fmt.Errorf("session: refresh all sessions: %w", m.publicError(ctx, nil, err))
	}
	return nil
}
