package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	closed   closing
	mu       sync.Mutex
	rec      *keeper.Record // of the user, or of a visitor with values; nil: none, or not read yet
	unread   *keeper.Record // the state in the cookies, while the session has not been read
	readAt   time.Time      // when rec was read from the cookies or the store
	failure  *failure       // of the last attempt to read or resolve the session
	edits    *edits         // nil: the request has changed no values
	done     chan struct{}
}

// failure is why a session cannot be used now.
type failure struct {
	err     error
	retryAt time.Time // when the next attempt may be made
}

// All requests without a loaded session share one Session. Without Config.Verifier, all
// requests with a bearer token share another.
var (
	notLoaded  = &Session{failure: &failure{err: fmt.Errorf("session: %w", ErrNotLoaded)}}
	bearerOnly = &Session{bearer: true, failure: &failure{err: fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)}}
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
		return nil, s.sharedError()
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
	rec, unread, resolved, failure := s.rec, s.unread, s.resolved, s.failure
	s.mu.Unlock()
	if rec == nil && unread == nil || rec != nil && rec.Visitor {
		return nil, nil
	}
	if resolved {
		return rec, nil
	}
	if failure != nil && s.m.now().Before(failure.retryAt) {
		return nil, failure.err
	}
	if rec == nil {
		var err error
		if rec, err = s.read(ctx, unread); rec == nil || rec.Visitor {
			return nil, err
		}
	}
	fresh, err := s.m.keeper.Fresh(ctx, rec)
	if err == nil {
		fresh = rec.WithTokensOf(fresh)
		err = s.m.keeper.CheckClaims(fresh)
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
	s.resolved, s.failure = true, nil
	return s.rec, nil
}

// sharedError returns the error of a Session that belongs to no request.
func (s *Session) sharedError() error {
	if s.failure == nil {
		return notLoaded.failure.err // not from FromContext
	}
	return s.failure.err
}

// hasRecordLocked reports whether r is a state of the session that s has now. After the user's
// session has ended, s may have the session of a visitor.
func (s *Session) hasRecordLocked(r *keeper.Record) bool { return s.rec != nil && s.rec.Key == r.Key }

// hasEnded reports whether the presented session has ended.
func (s *Session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

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
			s.rec, s.readAt, s.unread, s.failure = rec, now, nil, nil
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
			s.failure = &failure{down, retryAt}
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
			s.closed = cmp.Or(s.closed, closedByEnd)
		}
		s.rec, s.unread, s.failure, s.ended, s.resolved = nil, nil, nil, true, false
		s.discardLocked()
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

// close rejects later changes of values with the error of why.
func (s *Session) close(why closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = cmp.Or(s.closed, why)
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
	userID, signedIn := "", s.rec != nil && !s.rec.Visitor && s.failure == nil
	if signedIn {
		userID = s.rec.UserID
	}
	return slog.GroupValue(slog.Bool("signed_in", signedIn), slog.String("user_id", userID))
}

// MarshalJSON returns a JSON string without secrets.
func (s *Session) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
