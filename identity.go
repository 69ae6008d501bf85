package session

import (
	"errors"
	"slices"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
)

// This file has the methods that return the user of a session.

// user returns the session's record, nil if no user is signed in or the session
// is unavailable.
func (s *Session) user() *keeper.Record {
	rec, _ := s.resolve(s.ctx)
	return rec
}

var noClaims auth.Claims

// claims returns the claims of the signed-in user, zero claims if no user is
// signed in. The claims are shared and must not be modified.
func (s *Session) claims() *auth.Claims {
	if rec := s.user(); rec != nil {
		if c, err := s.m.keeper.Claims(rec); err == nil {
			return c
		}
	}
	return &noClaims
}

// SignedIn reports whether a user is signed in. It also returns false if the
// session is unavailable; Err then returns the reason.
func (s *Session) SignedIn() bool { return s.user() != nil }

// Err returns an error that is [ErrSessionUnavailable] if the request presented a
// session that cannot be determined, because the store or the auth service is
// down. It returns nil for a visitor without a session, and outside the session
// middleware; Authorize reports that as [ErrNotLoaded].
func (s *Session) Err() error {
	if s == notLoaded || s == bearerOnly {
		return nil
	}
	_, err := s.resolve(s.ctx)
	if errors.Is(err, ErrBearer) {
		return nil
	}
	return err
}

// UserID returns the ID of the signed-in user, "" if no user is signed in.
func (s *Session) UserID() string {
	if rec := s.user(); rec != nil {
		return rec.UserID
	}
	return ""
}

// User returns the signed-in user, the zero User if no user is signed in. The ID is that of
// the access token. The auth service may report the other fields together with the tokens.
// If it reports no e-mail address, Email is the claim "email" of the access token, or the
// address with which the user signed in. The data may have changed at the service since the
// last refresh. A name of more than 256 bytes and a picture's URL of more than 512 bytes
// are left out.
func (s *Session) User() auth.User {
	rec := s.user()
	if rec == nil {
		return auth.User{}
	}
	return userOf(rec)
}

// userOf returns the user of a session.
func userOf(rec *keeper.Record) auth.User {
	var u auth.User
	if rec.Pair.User != nil {
		u = *rec.Pair.User
	}
	u.ID = rec.UserID
	return u
}

// AuthenticatedAt returns when the user last entered the credentials. This is the time of
// the sign-in, or an earlier time that the auth service reported, for example by the claim
// auth_time of the access token. It returns the zero time if no user is signed in, or if
// the time is unknown, as for a bearer token without auth_time.
func (s *Session) AuthenticatedAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	return rec.Created.Add(-rec.Earlier)
}

// Roles returns the user's allowed roles, nil if no user is signed in.
func (s *Session) Roles() []string { return slices.Clone(s.claims().AllowedRoles) }

// HasRole reports whether at least one of roles is an allowed role of the user. Roles are
// compared byte by byte.
func (s *Session) HasRole(roles ...string) bool {
	rec := s.user()
	return rec != nil && slices.ContainsFunc(roles, rec.Pair.HasRole)
}

// DefaultRole returns the user's default role, "" if there is none.
func (s *Session) DefaultRole() string { return s.claims().DefaultRole }

// Claims returns the claims of the access token, zero claims if no user is signed
// in. Claims.ExpiresAt is by the clock of the auth service; AccessTokenExpiresAt
// is by this program's.
func (s *Session) Claims() auth.Claims {
	c := *s.claims()
	c.AllowedRoles = slices.Clone(c.AllowedRoles)
	return c
}
