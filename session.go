package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
)

// Session is one request's view of its user's session. Get it with
// [FromContext]. All methods are safe for concurrent use, and work on the session
// of a visitor who is not signed in, too.
//
// Methods that use the session's user or values may wait for the network. The first of them
// in a request refreshes an access token that is due for refresh. If the token is still
// valid, the method waits at most a second. If the token has expired, the method waits up
// to Config.AuthTimeout until the refresh is sent, and up to Config.AuthTimeout for the
// response. If the session could not be read when the request began, because the store was
// down, the method also reads the store again, for up to Config.StoreTimeout per call.
// After a failed attempt the methods return its error without waiting, until the next
// attempt may be made.
//
// A method that has a context parameter waits until that context ends at most. A method
// without it waits until the request's context ends. If the context ends, only that call
// fails.
//
// A goroutine may use a Session after its request, with a context that outlives
// the request (see [context.WithoutCancel]): AccessToken and a [Transport] refresh
// tokens that are due, and store them. Values can still be read, but [Key.Set]
// fails with [ErrCommitted].
type Session struct {
	m   *Manager        // nil for the shared sessions below
	ctx context.Context // of the request; it leads to the session

	token string   // the bearer token
	actor *Session // the own session of the user who acts as this session's user; nil if no user acts

	bearer    bool // the request has a bearer token, and no session; see bearer.go
	presented bool // the request presented the session, or started it

	// The lock is for all that follows; see the order of locks at Manager. The flags are
	// together, because each request allocates a Session.
	resolved bool // the access token of rec was valid once in this request
	begun    bool // rec is of a visitor, who has no cookie for it yet
	stored   bool // rec was started in this request, and is in the store
	ended    bool // the presented session has ended
	expire   bool // the session has ended, and the response deletes its cookies
	mu       sync.Mutex
	rec      *keeper.Record // of the user, or of a visitor with values; nil: none, or not read yet
	unread   *keeper.Record // the state in the cookies, while the session has not been read
	readAt   time.Time      // when rec was read from the cookies or the store
	err      error          // why the last attempt to read or resolve the session failed
	retryAt  time.Time      // when the next attempt may be made
	changes  map[string]change
	newest   uint64 // the number of the newest change
	saved    uint64 // the number of the newest change that rec contains
	size     int    // of a stored session's values, with the changes; 0 if not computed yet
	closed   error  // why values cannot be changed any more; nil: they can
	done     chan struct{}
}

// All requests without a loaded session share one Session. Without Config.Verifier, all
// requests with a bearer token share another.
var (
	notLoaded  = &Session{err: fmt.Errorf("session: %w", ErrNotLoaded)}
	bearerOnly = &Session{bearer: true, err: fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)}
)

// FromContext returns the session of the request with the context ctx. It never returns
// nil: for a visitor who is not signed in it returns an anonymous session, which can have
// values, too. After a sign-in or a sign-out the request has another session: call
// FromContext again.
//
// A handler that calls FromContext may show data of the session. If it calls FromContext
// before the first byte of the response and the user is signed in, the response therefore
// has "Cache-Control: no-store"; see [Exchange.Commit].
func FromContext(ctx context.Context) *Session {
	if x := exchangeFrom(ctx); x != nil {
		x.accessed.Store(true)
		return x.visible()
	}
	return notLoaded
}

// resolve returns the session's record once its access token has been valid in this
// request, refreshed if it was due. It returns nil without an error if no user is signed
// in. Sessions are resolved at their first use. A handler that does not use the session,
// and a logout, therefore do not wait for the auth service.
//
// A failure is remembered until the next attempt may be made, so that a handler does not
// wait again with each method. A failure because ctx has ended is not remembered, because a
// call with another context may succeed.
func (s *Session) resolve(ctx context.Context) (*keeper.Record, error) {
	if s.m == nil {
		return nil, s.err // a shared session
	}
	if s.bearer {
		return s.resolveBearer(ctx)
	}
	if s.actor != nil {
		// If the service ends the actor's own session, this session ends, too.
		if own, err := s.actor.resolve(ctx); own == nil {
			return nil, err
		}
	}
	s.mu.Lock()
	rec, unread, resolved, err, retryAt := s.rec, s.unread, s.resolved, s.err, s.retryAt
	s.mu.Unlock()
	if rec == nil && unread == nil || rec != nil && rec.Visitor {
		return nil, nil
	}
	if resolved {
		return rec, nil
	}
	if err != nil && s.m.now().Before(retryAt) {
		return nil, err
	}
	if rec == nil {
		if rec, err = s.read(ctx, unread); rec == nil || rec.Visitor {
			return nil, err
		}
	}
	fresh, err := s.m.keeper.Fresh(ctx, rec)
	if err == nil {
		fresh = rec.WithTokensOf(fresh)
		_, err = s.m.keeper.Claims(fresh)
	}
	if err != nil {
		return nil, s.noteFailure(ctx, rec, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasRecordLocked(rec) {
		return nil, nil // another call has found that the session has ended
	}
	// Another call may have stored newer tokens or values in s meanwhile.
	if s.rec.Pair.Gen < fresh.Pair.Gen {
		s.rec = s.rec.WithTokensOf(fresh)
	}
	s.resolved, s.err = true, nil
	return s.rec, nil
}

// hasRecordLocked reports whether r is a state of the session that s has now. After the user's
// session has ended, s may have the session of a visitor.
func (s *Session) hasRecordLocked(r *keeper.Record) bool { return s.rec != nil && s.rec.Key == r.Key }

// read reads the record of the session. unread is the state in its cookies. It returns nil
// without an error if the session has ended.
func (s *Session) read(ctx context.Context, unread *keeper.Record) (*keeper.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, &UnavailableError{Err: err}
	}
	now := s.m.now()
	rec, down, err := s.m.keeper.Load(ctx, unread, now)
	if err != nil {
		err = s.noteFailure(ctx, unread, err)
	} else {
		s.mu.Lock()
		if s.unread != nil {
			s.rec, s.readAt, s.unread, s.err = rec, now, nil, nil
		}
		rec = s.rec
		s.mu.Unlock()
	}
	if down != nil {
		// Report the error only after s has the result: Config.OnEvent may use this
		// session, and would otherwise read it once more.
		_ = s.m.keeper.Report(ctx, unread, down)
	}
	return rec, err
}

// noteFailure records and reports why the session of rec cannot be used. It
// returns an [*UnavailableError], or nil if the session has ended.
func (s *Session) noteFailure(ctx context.Context, rec *keeper.Record, err error) error {
	var why *keeper.Error
	known := errors.As(err, &why)
	// A token that cannot be read ends the request's session. The exception is a new token
	// that the service has sent: that counts as an outage, and the session still has its
	// old token.
	if known && why.Ended != "" || !known && errors.Is(err, auth.ErrInvalidToken) {
		s.invalidate(rec, err)
		return nil
	}
	if !known {
		why = &keeper.Error{RetryAfter: time.Second, Err: err}
	}
	down := s.m.publicError(ctx, rec, why)
	if ctx.Err() == nil {
		retryAt := s.m.now().Add(cmp.Or(why.RetryAfter, time.Second))
		s.mu.Lock()
		if !s.resolved {
			s.err, s.retryAt = down, retryAt
		}
		s.mu.Unlock()
	}
	if !known {
		// Report the error only after s has changed: Config.OnEvent may use this session.
		_ = s.m.keeper.Report(ctx, rec, err)
	}
	return down
}

// invalidate leaves the session without a record, because it has ended or its
// access token cannot be read.
func (s *Session) invalidate(rec *keeper.Record, err error) {
	var why *keeper.Error
	ended := errors.As(err, &why)
	s.mu.Lock()
	first := s.hasRecordLocked(rec) || s.unread != nil
	if first {
		if s.resolved || ended && why.Ended.ByBrowser() {
			// The handler has acted for the user, or the browser has signed out or in since
			// it sent the request. The values of this request must not go into a visitor's
			// session.
			s.closed = cmp.Or(s.closed, ErrEnded)
		}
		s.rec, s.unread, s.changes, s.size, s.err, s.ended, s.resolved = nil, nil, nil, 0, nil, true, false
		// If the browser itself has signed out or in, it may have newer cookies. This
		// response must not delete them.
		s.expire = !ended || !why.Ended.ByBrowser()
	}
	s.mu.Unlock()
	switch {
	case !first, rec.Visitor: // another call has reported it, or no user is concerned
	case ended:
		s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventCookieRefused, Reason: string(why.Ended)})
	default:
		s.m.event(s.ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: err})
	}
}

// close rejects later changes of values with the error why.
func (s *Session) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = cmp.Or(s.closed, why)
}

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
	if rec := s.user(); rec != nil && rec.Pair.Claims != nil {
		return rec.Pair.Claims
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
func (s *Session) UserID() string { return s.claims().UserID }

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
	return fresh.Pair.Tokens.AccessToken, nil
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
	if rec.Pair.Tokens.AccessToken == rejected && !rec.Pair.Forced {
		refreshed, err := s.m.keeper.Renew(ctx, rec, rec.Pair.Gen)
		if err != nil {
			return "", s.refreshFailed(ctx, rec, err)
		}
		s.adoptTokens(refreshed)
		rec = refreshed
	}
	return rec.Pair.Tokens.AccessToken, nil
}

// adoptTokens replaces the session's tokens by those of r, a later state of the
// same session. It keeps its own if they are newer, or if the claims of the new
// ones cannot be read: the methods about the user need claims.
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

// ExpiresAt returns when the session ends if the user sends no further request: the earlier
// of its idle timeout and the end of its lifetime. For a bearer token it returns the
// token's expiry. It returns the zero time if no user is signed in.
func (s *Session) ExpiresAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	if s.bearer {
		return rec.Pair.Expires
	}
	return s.m.keeper.EndOf(rec)
}

// Done returns a channel that is closed when the session ends, for handlers that
// respond for a long time, such as event streams and WebSockets.
//
// An end in this process, such as a logout or a rejected refresh, closes the
// channel at once. The channel is closed within about two seconds after an end in
// another process that shares the store or the coordinator, and after the end of
// the session's lifetime. If the store is down at that time, the channel is closed
// within about two seconds after the outage.
//
// The idle timeout of a stored session closes the channel in the same way, and an
// open stream does not extend the idle timeout. The idle timeout of a cookie session
// does not close the channel; it takes effect at the browser's next request.
//
// With a bearer token the channel is closed when the token expires.
//
// [Manager.EndStreams] closes the channels of all sessions, and [Manager.Shutdown] does so
// when it starts. The sessions continue: a client that connects again, to another process
// or after the restart, is still signed in.
//
// If no user is signed in, the channel is closed already. The session is watched
// until the request's context ends. After that the channel does not change.
func (s *Session) Done() <-chan struct{} {
	rec := s.user()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return s.done
	}
	done := make(chan struct{})
	if rec == nil {
		// Do not keep this channel in s: a session that is unavailable may be available at
		// the next call.
		close(done)
		return done
	}
	s.done = done
	if s.m.streams.Err() != nil {
		close(done)
		return done
	}
	ended := sync.OnceFunc(func() { close(done) })
	ctx, cancel := context.WithCancel(s.ctx)
	stop := context.AfterFunc(s.m.streams, func() {
		ended()
		cancel()
	})
	if s.actor != nil {
		// A session in which a user acts as another user ends together with the actor's own
		// session.
		own := s.actor.Done()
		go func() {
			select {
			case <-own:
				cancel()
				ended()
			case <-ctx.Done():
			}
		}()
	}
	go func() {
		defer cancel()
		defer stop()
		watch := s.m.keeper.Watch
		if s.bearer {
			watch = s.m.bearerExpired
		}
		if watch(ctx, rec) {
			ended()
		}
	}()
	return done
}

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

// String returns a text without secrets.
func (s *Session) String() string { return "session.Session" + redacted }

// Format keeps secrets out of every fmt verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns whether a user is signed in, and the user's ID, as far as the request
// has determined them. It does not wait: logging must not start a refresh.
func (s *Session) LogValue() slog.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	userID, signedIn := "", s.rec != nil && !s.rec.Visitor && s.err == nil
	if signedIn {
		userID = s.rec.UserID
	}
	return slog.GroupValue(slog.Bool("signed_in", signedIn), slog.String("user_id", userID))
}

// MarshalJSON returns a JSON string without secrets.
func (s *Session) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
