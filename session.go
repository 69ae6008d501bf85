package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
)

// Session is one request's view of its user's session. Get it with
// [FromContext]. All methods are safe for concurrent use and work on the
// session of a visitor who is not signed in, too.
//
// A method with a context waits as long as that context lives, and one without
// as long as the request does. If the wait is cut short, that call alone fails.
//
// A goroutine may use a Session after its request, too, with a context of its
// own (see [context.WithoutCancel]): AccessToken and a [Transport] renew tokens
// that are due, and save them. Values can be read but not changed any more:
// [Key.Set] fails with [ErrCommitted].
type Session struct {
	m   *Manager
	ctx context.Context // of the request; the session is in it

	mu       sync.Mutex     // see the order of locks at Manager
	rec      *keeper.Record // nil: not signed in, or not read yet
	unread   *keeper.Record // what the cookies say of a session that could not be read
	resolved bool           // rec has had a valid access token
	err      error          // why the last try to read or to resolve it failed,
	retryAt  time.Time      // and when to try again
	gone     bool           // what was presented is over, and its cookies are to be deleted
	changes  map[string]change
	changed  uint64 // counts changes
	saved    uint64 // the newest change in rec
	size     int    // of a stored session's values, with the changes; 0 if it is not counted yet
	closed   error  // why no value can be changed any more
	done     chan struct{}
}

// A visitor without a session costs nothing: all share one Session. So do all
// requests for which no session was loaded, which only guards tell apart.
var (
	anonymous = &Session{}
	notLoaded = &Session{err: fmt.Errorf("session: %w", ErrNotLoaded)}
	bearer    = &Session{err: fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)}
)

type contextKey struct{}

// ContextName is the key under which an adapter stores the request's context, in
// frameworks whose own contexts have string keys. [FromContext] and the methods of
// a [Manager] accept such a context, for example Gin's, in place of the request's.
const ContextName = "github.com/synmetrix/session"

// FromContext returns the session of the request whose context ctx is. It is
// never nil: where nobody is signed in it is an anonymous session, on which
// nothing can be set. Signing in or out gives the request another session.
//
// A handler may show what it gets. So the response to a user whose session it
// has got before the first byte says that it must not be stored
// (Cache-Control: no-store); see [Exchange.Commit].
func FromContext(ctx context.Context) *Session {
	if x := exchangeFrom(ctx); x != nil {
		x.asked.Store(true)
		return x.session.Load()
	}
	return notLoaded
}

// exchangeFrom returns the exchange of the request whose context ctx is, nil if
// no session was loaded for it.
func exchangeFrom(ctx context.Context) *Exchange {
	if x, ok := ctx.Value(contextKey{}).(*Exchange); ok {
		return x
	}
	if request, ok := ctx.Value(ContextName).(context.Context); ok {
		if x, ok := request.Value(contextKey{}).(*Exchange); ok {
			return x
		}
	}
	return nil
}

// resolve returns the session's record once its access token has been valid in
// this request, renewed if it was due. It returns nil without an error if
// nobody is signed in. A handler that does not use the session does not wait
// for the auth service, and neither does a logout.
//
// A failure holds until it is time to try again, so that a handler does not
// wait anew with each method. A failure that ctx has caused does not hold.
func (s *Session) resolve(ctx context.Context) (*keeper.Record, error) {
	if s.m == nil {
		return nil, s.err // one of those that all share
	}
	s.mu.Lock()
	rec, unread, resolved, err, retryAt := s.rec, s.unread, s.resolved, s.err, s.retryAt
	s.mu.Unlock()
	if resolved || rec == nil && unread == nil {
		return rec, nil
	}
	if err != nil && s.m.now().Before(retryAt) {
		return nil, err
	}
	if rec == nil {
		if rec, err = s.read(ctx, unread); rec == nil {
			return nil, err
		}
	}
	now, err := s.m.keeper.Fresh(ctx, rec)
	if err == nil {
		now = rec.WithTokensOf(now)
		_, err = s.m.keeper.Claims(now)
	}
	if err != nil {
		return nil, s.fail(ctx, rec, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil {
		return nil, nil // it has ended meanwhile
	}
	if s.rec.Pair.Gen < now.Pair.Gen {
		s.rec = s.rec.WithTokensOf(now)
	}
	s.resolved, s.err = true, nil
	return s.rec, nil
}

// read reads the record of the session, of which the cookies say unread. It
// returns nil without an error if the session is over.
func (s *Session) read(ctx context.Context, unread *keeper.Record) (*keeper.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, &UnavailableError{Err: err}
	}
	rec, down, err := s.m.keeper.Load(ctx, unread)
	if err != nil {
		err = s.fail(ctx, unread, err)
	} else {
		s.mu.Lock()
		if s.unread != nil {
			s.rec, s.unread, s.err = rec, nil, nil
		}
		rec = s.rec
		s.mu.Unlock()
	}
	if down != nil { // reported late, since a hook may use this session
		_ = s.m.keeper.Report(ctx, unread, down)
	}
	return rec, err
}

// fail notes why the session of rec can't be used, and reports it. It returns
// an [*UnavailableError], or nil if the session is over.
func (s *Session) fail(ctx context.Context, rec *keeper.Record, err error) error {
	var why *keeper.Error
	known := errors.As(err, &why)
	// An outage may have an unreadable token of the service as its cause, which
	// does not end the session.
	if known && why.Ended != "" || !known && errors.Is(err, auth.ErrInvalidToken) {
		s.drop(rec, err)
		return nil
	}
	if !known {
		why = &keeper.Error{RetryAfter: time.Second, Err: err}
	}
	down := s.m.failure(ctx, rec, why)
	if ctx.Err() == nil {
		retryAt := s.m.now().Add(cmp.Or(why.RetryAfter, time.Second))
		s.mu.Lock()
		if !s.resolved {
			s.err, s.retryAt = down, retryAt
		}
		s.mu.Unlock()
	}
	if !known { // late, since a hook may use this session
		_ = s.m.keeper.Report(ctx, rec, err)
	}
	return down
}

// drop leaves the session without a record: it is over, or its access token
// can't be read.
func (s *Session) drop(rec *keeper.Record, err error) {
	var ended *keeper.Error
	over := errors.As(err, &ended)
	s.mu.Lock()
	first := s.rec != nil || s.unread != nil
	s.rec, s.unread, s.changes, s.err = nil, nil, nil, nil
	s.gone = !over || !ended.Ended.ByBrowser()
	s.mu.Unlock()
	switch {
	case !first: // another call has reported it
	case over:
		s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventCookieRefused, Reason: string(ended.Ended)})
	default:
		s.m.event(s.ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: err})
	}
}

// close refuses changes of values from now on.
func (s *Session) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = cmp.Or(s.closed, why)
}

// user returns the session's record, nil if nobody is signed in or that can't
// be told.
func (s *Session) user() *keeper.Record {
	rec, _ := s.resolve(s.ctx)
	return rec
}

var noClaims auth.Claims

// claims returns the claims of the signed-in user, which are shared. They are
// zero if nobody is signed in.
func (s *Session) claims() *auth.Claims {
	if rec := s.user(); rec != nil && rec.Pair.Claims != nil {
		return rec.Pair.Claims
	}
	return &noClaims
}

// SignedIn reports whether a user is signed in. It is false, too, where that
// cannot be told at the moment: then Err is set.
//
// The first method that tells about a session's user renews an access token
// that is due, and waits for it if it has expired.
func (s *Session) SignedIn() bool { return s.user() != nil }

// Err returns an error that is [ErrSessionUnavailable] if the request presented
// a session and the store or the auth service is needed to tell whose, and
// does not answer. It is nil for a visitor without a session.
func (s *Session) Err() error {
	if s == notLoaded || s == bearer {
		return nil
	}
	_, err := s.resolve(s.ctx)
	return err
}

// UserID returns the ID of the signed-in user, empty if nobody is.
func (s *Session) UserID() string { return s.claims().UserID }

// Roles returns the user's allowed roles.
func (s *Session) Roles() []string { return slices.Clone(s.claims().AllowedRoles) }

// HasRole reports whether role is one of the user's allowed roles, compared
// byte by byte.
func (s *Session) HasRole(role string) bool { return slices.Contains(s.claims().AllowedRoles, role) }

// DefaultRole returns the user's default role.
func (s *Session) DefaultRole() string { return s.claims().DefaultRole }

// Claims returns what the access token says about the user. Its ExpiresAt is
// by the clock of the auth service; see AccessTokenExpiresAt.
func (s *Session) Claims() auth.Claims {
	c := *s.claims()
	c.AllowedRoles = slices.Clone(c.AllowedRoles)
	return c
}

// AccessToken returns an access token to call an API with as the user. A token
// that is due is renewed first, and the renewed one saved, however long ago
// the request began. It fails with [ErrUnauthenticated], [ErrEnded] or
// [ErrSessionUnavailable].
func (s *Session) AccessToken(ctx context.Context) (string, error) {
	rec, err := s.resolve(ctx)
	if err != nil {
		return "", err
	}
	if rec == nil {
		return "", fmt.Errorf("session: access token: %w", ErrUnauthenticated)
	}
	now, err := s.m.keeper.Fresh(ctx, rec)
	if err != nil {
		return "", s.over(ctx, rec, err)
	}
	s.adopt(now)
	return now.Pair.Tokens.AccessToken, nil
}

// over returns the app's error for one of the keeper, and leaves the session
// without its record if the session has ended meanwhile.
func (s *Session) over(ctx context.Context, rec *keeper.Record, err error) error {
	var why *keeper.Error
	if errors.As(err, &why) && why.Ended != "" {
		s.drop(rec, err)
	}
	return s.m.failure(ctx, rec, err)
}

// replace returns a newer access token than one that an API has refused, or
// the same if a newer one would be refused, too.
func (s *Session) replace(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	rec := s.rec
	s.mu.Unlock()
	if rec == nil {
		return "", fmt.Errorf("session: access token: %w", ErrUnauthenticated)
	}
	if rec.Pair.Tokens.AccessToken == refused && !rec.Pair.Forced {
		now, err := s.m.keeper.Renew(ctx, rec, rec.Pair.Gen)
		if err != nil {
			return "", s.over(ctx, rec, err)
		}
		s.adopt(now)
		rec = now
	}
	return rec.Pair.Tokens.AccessToken, nil
}

// adopt takes over the tokens of a later state of the session.
func (s *Session) adopt(r *keeper.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil || r.Pair.Gen <= s.rec.Pair.Gen {
		return
	}
	next := s.rec.WithTokensOf(r)
	if _, err := s.m.keeper.Claims(next); err == nil {
		s.rec = next
	}
}

// AccessTokenExpiresAt returns when the access token expires, by this
// program's clock: its life is counted from when it was received. It is zero
// if nobody is signed in.
func (s *Session) AccessTokenExpiresAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	return rec.Pair.Expires
}

// ExpiresAt returns when the session ends unless the user comes back before:
// the earlier of its idle timeout and the end of its lifetime. It is zero if
// nobody is signed in.
func (s *Session) ExpiresAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	return s.m.keeper.EndOf(rec)
}

// Policy decides whether a signed-in user may pass a guard. It is only asked
// about sessions that are signed in, and must be safe for concurrent use.
type Policy func(*Session) bool

// Authorize decides whether the session passes p; a nil Policy lets every
// signed-in user pass. Every guard asks this method. It returns nil, or an
// error that is [ErrUnauthenticated], [ErrForbidden], [ErrSessionUnavailable]
// (an [*UnavailableError]) or [ErrNotLoaded].
func (s *Session) Authorize(p Policy) error {
	rec, err := s.resolve(s.ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return fmt.Errorf("session: %w", ErrUnauthenticated)
	}
	if p == nil || p(s) {
		return nil
	}
	s.mu.Lock()
	rec = s.rec
	s.mu.Unlock()
	if rec == nil { // the policy has asked for the access token, and learned that it is over
		return fmt.Errorf("session: %w", ErrUnauthenticated)
	}
	s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventAccessDenied})
	return fmt.Errorf("session: %w", ErrForbidden)
}

// Save writes the session's changed values now instead of with the response, so
// that the handler can deal with an error. In a cookie session they travel with
// the response and nothing is written before it; Save only reports whether the
// session has ended. It fails with [ErrEnded] or [ErrSessionUnavailable], or with
// [ErrTooLarge] if other requests have filled the session meanwhile; then the
// changes are discarded.
func (s *Session) Save(ctx context.Context) error {
	rec, err := s.resolve(ctx)
	switch {
	case err == nil && rec == nil && s.m != nil:
		return fmt.Errorf("session: save: %w", ErrEnded)
	case rec == nil:
		return err
	}
	return s.m.failure(ctx, rec, s.save(ctx, false))
}

// save writes changed values of a stored session, and with touch that it is in
// use. Its error is the ledger's, which has not been reported yet.
//
// The session is not locked meanwhile, so several may save it at once. Each
// writes what is newest when it writes, and the store decides on the order.
func (s *Session) save(ctx context.Context, touch bool) error {
	s.mu.Lock()
	rec, pending := s.rec, len(s.changes) > 0
	s.mu.Unlock()
	if rec == nil || !pending && !touch {
		return nil
	}
	if !s.m.Stored() {
		_, err := s.m.keeper.Newest(ctx, rec)
		return err
	}
	now := s.m.now()
	var upTo uint64 // the newest change that is written
	stored, err := s.m.keeper.Update(ctx, rec, func(r *keeper.Record) error {
		s.mu.Lock()
		upTo = s.changed
		merged := merge(r.Values, s.changes)
		s.mu.Unlock()
		if err := s.m.takes(r.Values, merged); err != nil {
			return err
		}
		r.Values = merged
		if touch {
			r.Seen(now)
		}
		return nil
	})
	tooLarge := errors.Is(err, ErrTooLarge)
	if err != nil && !tooLarge {
		return err
	}
	if tooLarge {
		err = fmt.Errorf("session: save values: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.changes, func(_ string, c change) bool { return c.n <= upTo })
	s.size = 0
	if s.rec == nil || upTo < s.saved {
		return err
	}
	s.saved = upTo
	if stored.Pair.Gen != s.rec.Pair.Gen {
		stored = stored.Clone()
		stored.Pair = s.rec.Pair // of which the claims are
	}
	s.rec = stored
	return err
}

// String returns a text without anything secret.
func (s *Session) String() string { return "session.Session" + redacted }

// GoString returns a text without anything secret.
func (s *Session) GoString() string { return s.String() }

// Format keeps everything secret out of every fmt verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns the user's ID and whether one is signed in, as far as that
// is known: it waits for nothing.
func (s *Session) LogValue() slog.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	userID, signedIn := "", s.rec != nil && s.err == nil
	if signedIn {
		userID = s.rec.UserID
	}
	return slog.GroupValue(slog.Bool("signed_in", signedIn), slog.String("user_id", userID))
}

// MarshalJSON returns a JSON string without anything secret.
func (s *Session) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
