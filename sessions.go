package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/synmetrix/session/internal/keeper"
)

// SessionInfo describes one of a user's sessions, for a list by which the user recognizes
// them. It contains no secret, but private data of the user: show it to no other user.
type SessionInfo struct {
	// Handle identifies the session in a list of its user's sessions. It does not change
	// until the session ends. It has 22 characters that need no escaping in a URL. It is
	// not the session ID and gives no access: [Manager.EndSession] accepts it only from the
	// session's user.
	Handle string

	// CreatedAt is when the user signed in.
	CreatedAt time.Time

	// LastSeenAt is when the session was last used. Use is recorded about once per tenth of
	// Config.IdleTimeout, so the time may be too early by that much. For the session of the
	// request it is the current time.
	LastSeenAt time.Time

	// Addr is the address from which the user signed in, see [Manager.ClientAddr]. It
	// is the zero Addr if it is unknown.
	Addr netip.Addr

	// UserAgent is the User-Agent field of the request with which the user signed in. It is
	// cut after 256 bytes and contains no control characters. Clients can send any text in
	// it.
	UserAgent string

	// Current reports whether this is the session of the request.
	Current bool
}

// Sessions returns the sessions of the request's user: first the session of the request,
// and then the others, the most recently used first. A list has at most 1,000 sessions.
//
// Sessions fails with [ErrUnauthenticated] if no user is signed in, with
// [ErrSessionUnavailable] if the store or the auth service is down, and with
// [errors.ErrUnsupported] without Config.Store, because there is no list of cookie
// sessions.
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

// EndSession ends the session of the request's user that has this handle. It fails with
// [ErrNoSuchSession] if the user has no such session. Its other errors are those of
// Sessions. For the session of the request, EndSession is the same as Logout.
//
// The session ends at once. If this process has used the session recently, or if the store
// is in the memory of the process, the tokens are also revoked at the auth service. Another
// process that has used the session recently revokes them at the next request of the
// session's browser. Otherwise they stay valid until they expire, but only the app has had
// them. LogoutAll makes the auth service revoke the tokens of all sessions.
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

// LogoutOthers ends all sessions of the request's user except the session of the request,
// for example after a change of the password. It fails with [ErrUnauthenticated] if no user
// is signed in, and with [ErrSessionUnavailable] if the store, the coordinator or the auth
// service is down.
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
	if !m.stored() {
		return nil, fmt.Errorf("session: a list of sessions needs Config.Store: %w", errors.ErrUnsupported)
	}
	return m.signedIn(ctx)
}

// signedIn returns the request's session, which must be signed in. It fails with
// [ErrActing] if the user acts as another user, whose account and sessions the user must
// not manage.
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
