package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/synmetrix/session/internal/keeper"
)

// SessionInfo describes one of a user's sessions, for a list in which the user
// recognizes them. It contains no secret, but it is the user's own business: show it
// to no other user.
type SessionInfo struct {
	// Handle names the session in a list of its user's sessions. It does not change
	// until the session ends. It is 22 characters that need no escaping in a URL. It
	// is not the session ID and gives no access: [Manager.EndSession] accepts it from
	// the session's user only.
	Handle string

	// CreatedAt is when the user signed in.
	CreatedAt time.Time

	// LastSeenAt is when the session was last used. Use is recorded about once per
	// tenth of Config.IdleTimeout, so the time may be that much too early. For the
	// session of the request it is the present.
	LastSeenAt time.Time

	// Addr is the address from which the user signed in, see [Manager.ClientAddr]. It
	// is the zero Addr if it is unknown.
	Addr netip.Addr

	// UserAgent is the User-Agent field of the request with which the user signed in.
	// It is cut after 256 bytes and contains no control characters. Any client can
	// send any text in it.
	UserAgent string

	// Current reports whether this is the session of the request.
	Current bool
}

// Sessions returns the sessions of the request's user, the one of the request first,
// and then the others in the order of their last use. A list has at most 1,000
// sessions.
//
// Sessions fails with [ErrUnauthenticated] if no user is signed in, with
// [ErrSessionUnavailable] if the store or the auth service is down, and with
// [errors.ErrUnsupported] without Config.Store: nothing has a list of the sessions in
// cookies.
func (m *Manager) Sessions(ctx context.Context) ([]SessionInfo, error) {
	rec, err := m.signedInStored(ctx)
	if err != nil {
		return nil, err
	}
	list, err := m.keeper.List(ctx, rec)
	if err != nil {
		return nil, m.publicError(ctx, rec, err)
	}
	infos := make([]SessionInfo, len(list))
	for i, s := range list {
		infos[i] = SessionInfo{s.Handle, s.Created, s.LastSeen, s.Device.Addr, s.Device.UserAgent, s.Current}
	}
	return infos, nil
}

// EndSession ends the session of the request's user that has this handle. It fails
// with [ErrNoSuchSession] if the user has no such session. Its other errors are those
// of Sessions. To end the session of the request is the same as to call Logout.
//
// The session ends at once. Its tokens are revoked at the auth service if this process
// has used the session lately, or if the store is in the memory of the process. Other
// processes do so at the next request of the session's browser. Until then, only a copy
// of the tokens could be used, and only the app has had them. LogoutAll makes the auth
// service end all sessions.
func (m *Manager) EndSession(ctx context.Context, handle string) error {
	rec, err := m.signedInStored(ctx)
	if err != nil {
		return err
	}
	if handle == keeper.Handle(rec.Key) {
		return m.endSession(ctx, exchangeFrom(ctx), keeper.EndedByLogout, false)
	}
	err = m.keeper.EndListed(ctx, rec, handle)
	if errors.Is(err, keeper.ErrNotListed) {
		return fmt.Errorf("session: %w", ErrNoSuchSession)
	}
	return m.publicError(ctx, rec, err)
}

// LogoutOthers ends all sessions of the request's user except the one of the request,
// for example after a change of the password. It fails with [ErrUnauthenticated] if no
// user is signed in, and with [ErrSessionUnavailable] if the store, the coordinator or
// the auth service is down.
//
// The sessions end at once in this process, and within 2 s in others that share the
// store or the coordinator. EndSession describes what happens to their tokens.
func (m *Manager) LogoutOthers(ctx context.Context) error {
	rec, err := m.signedIn(ctx)
	if err != nil {
		return err
	}
	return m.publicError(ctx, rec, m.keeper.EndOthers(ctx, rec))
}

// signedInStored is signedIn for a session that must be stored.
func (m *Manager) signedInStored(ctx context.Context) (*keeper.Record, error) {
	if !m.Stored() {
		return nil, fmt.Errorf("session: a list of sessions needs Config.Store: %w", errors.ErrUnsupported)
	}
	return m.signedIn(ctx)
}

// signedIn returns the request's session, which must be signed in. A user who acts as
// another one does not manage that user's account and sessions.
func (m *Manager) signedIn(ctx context.Context) (*keeper.Record, error) {
	x, err := m.exchange(ctx)
	if err != nil {
		return nil, err
	}
	if x.acting.Load() != nil {
		return nil, fmt.Errorf("session: %w", ErrActing)
	}
	rec, err := x.session.Load().resolve(ctx)
	if err == nil && rec == nil {
		err = fmt.Errorf("session: %w", ErrUnauthenticated)
	}
	return rec, err
}
