// Package migrating has the examples of docs/migrating.md: they move the sessions of other
// libraries into those of a session.Manager.
package migrating

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
)

var theme = session.NewKey[string]("theme")

// mover moves the sessions of another library into those of m, each of them once.
type mover struct {
	m       *session.Manager
	service auth.Service
	claims  store.Store // Config.Store, Config.Coordinator, or memstore.New() for one process without them
	cookie  http.Cookie // the name, domain and path of the old cookie, and whether it is partitioned

	// read returns the values of an old session, or none if the cookie belongs to no
	// session. An error means an outage.
	read func(r *http.Request, cookie string) (map[string]any, error)
}

// wrap belongs inside middleware.Sessions: middleware.Sessions(m)(mv.wrap(mux)).
func (mv *mover) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mv.move(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// move moves the old session of a request that has one. If it returns false, it has
// written the response.
func (mv *mover) move(w http.ResponseWriter, r *http.Request) bool {
	cookie, err := r.Cookie(mv.cookie.Name)
	if err != nil {
		return true
	}
	done, err := mv.moveOnce(r, cookie.Value)
	if done {
		expired := mv.cookie
		expired.MaxAge = -1
		http.SetCookie(w, &expired)
	}
	if err != nil {
		middleware.Refuse(w, r, err)
	}
	return err == nil
}

const (
	moving uint64 = 1 // the versions of a claim
	moved  uint64 = 2
)

// moveOnce moves the session of the old cookie. It reports whether the cookie can be
// deleted.
func (mv *mover) moveOnce(r *http.Request, cookie string) (done bool, err error) {
	if err := mv.m.CheckOrigin(r); err != nil {
		return false, err // the old cookie may be sent with requests of other sites
	}
	s := session.FromContext(r.Context())
	if s.Bearer() {
		return false, nil // the request has no session; a later one moves the old session
	}
	if s.SignedIn() {
		return true, nil
	}
	if err := s.Err(); err != nil {
		return false, err
	}
	values, err := mv.read(r, cookie)
	if err != nil {
		return false, errors.Join(session.ErrSessionUnavailable, err)
	}
	if len(values) == 0 {
		return true, nil
	}
	// A refresh token works once, and browsers send several requests at the same time.
	claim := store.Record{
		Key:       fmt.Sprintf("%x", sha256.Sum256([]byte("moved "+cookie))),
		Version:   moving,
		ExpiresAt: time.Now().Add(time.Minute),
	}
	err = mv.claims.Put(r.Context(), claim, 0)
	if errors.Is(err, store.ErrConflict) {
		other, err := mv.claims.Get(r.Context(), claim.Key)
		return err == nil && other.Version == moved, session.ErrSessionUnavailable
	}
	if err != nil {
		return false, errors.Join(session.ErrSessionUnavailable, err)
	}
	later := context.WithoutCancel(r.Context())
	if err := mv.begin(r, values); err != nil {
		_ = mv.claims.Delete(later, claim.Key) // if this fails, the claim expires
		return false, err
	}
	claim.Version, claim.ExpiresAt = moved, time.Now().Add(30*24*time.Hour) // the life of old cookies
	_ = mv.claims.Put(later, claim, moving)
	return true, nil
}

// begin signs the user in if the old session has a refresh token of the auth service, and
// sets the values.
func (mv *mover) begin(r *http.Request, values map[string]any) error {
	if token, ok := values["refresh_token"].(string); ok {
		// After ErrRefused, the user has to sign in. Other errors are outages.
		err := mv.signIn(r.Context(), token)
		if err != nil && !errors.Is(err, auth.ErrRefused) {
			return err
		}
	}
	if v, ok := values["theme"].(string); ok {
		err := theme.Set(session.FromContext(r.Context()), v)
		if err != nil && !errors.Is(err, session.ErrTooLarge) {
			return err
		}
	}
	return nil
}

func (mv *mover) signIn(ctx context.Context, token string) error {
	// If the client disconnects, the service still uses the token up.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	grant, err := mv.service.Refresh(callCtx, auth.Tokens{RefreshToken: token})
	if err != nil {
		return err
	}
	grant.RefreshToken = cmp.Or(grant.RefreshToken, token) // if the service does not rotate it
	grant.AuthenticatedAt = time.Unix(0, 0)                // long ago, so RequireFresh rejects the request
	return mv.m.Start(ctx, grant)
}
