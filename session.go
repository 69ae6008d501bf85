package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Session is one request's view of its user's session. Get it with
// [FromContext]. All methods are safe for concurrent use and work on the
// session of a visitor who is not signed in, too.
type Session struct {
	m   *Manager
	ctx context.Context // of the request; the session is in it
	ask sync.Once       // guards resolve

	mu      sync.Mutex
	rec     *record // nil: not signed in
	claims  *Claims // of rec, once it is resolved
	err     error   // why there is no record although one was presented
	gone    bool    // what was presented is over, and its cookies are to be deleted
	changes map[string][]byte
	size    int  // of a stored session's values, with the changes; 0 if it is not counted yet
	sealed  bool // a cookie session's cookies have been written
	done    chan struct{}
}

// A visitor without a session costs nothing: all share one Session. So do all
// requests for which no session was loaded, which only guards tell apart.
var (
	anonymous = &Session{}
	notLoaded = &Session{err: fmt.Errorf("session: %w", ErrNotLoaded)}
	bearer    = &Session{err: fmt.Errorf("session: %w: %w", ErrUnauthenticated, ErrBearer)}
)

type contextKey struct{}

// ContextName is under what an adapter keeps the request's context in that of
// a framework whose values have strings for names. A context that has nothing
// but this, such as Gin's, is as good as the request's to [FromContext] and to
// the methods of a [Manager].
const ContextName = "github.com/synmetrix/session"

// FromContext returns the session of the request whose context ctx is. It is
// never nil: where nobody is signed in it is an anonymous session, on which
// nothing can be set.
func FromContext(ctx context.Context) *Session {
	if x := exchangeFrom(ctx); x != nil {
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

// resolve makes sure that the session's access token is good before anything
// is told about its user. A handler that asks nothing does not wait for the
// auth service, and neither does a logout.
func (s *Session) resolve() {
	if s.ctx == nil {
		return // one of those that all share
	}
	var tell func()
	s.ask.Do(func() {
		s.mu.Lock()
		rec := s.rec
		s.mu.Unlock()
		if rec == nil {
			return
		}
		now, err := s.m.fresh(s.ctx, rec)
		var claims *Claims
		if err == nil {
			rec = rec.withTokensOf(now)
			claims, err = s.m.claimsOf(rec)
		}
		if err != nil {
			tell = s.drop(rec, err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.rec.pair.gen < rec.pair.gen {
			s.rec = s.rec.withTokensOf(rec)
		}
		s.claims = claims
	})
	if tell != nil {
		tell() // who is told may ask this session
	}
}

// drop leaves the session without a record, because it is over or because
// that can't be told. The caller must tell why.
func (s *Session) drop(rec *record, err error) (tell func()) {
	gone, tell := false, func() {}
	switch ended := (*endedError)(nil); {
	case errors.As(err, &ended):
		gone = !ended.why.byBrowser()
		tell = func() {
			s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventCookieRefused, Reason: string(ended.why)})
		}
		if ended.unrevoked(s.m.now()) {
			s.m.revokeEnded(s.m.ledger(rec), ended.mark, false, false)
		}
		err = nil
	case errors.Is(err, ErrInvalidToken):
		unreadable := err
		tell = func() { s.m.event(s.ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: unreadable}) }
		gone, err = true, nil
	default:
		err = s.m.unavailable(s.ctx, rec, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec, s.claims, s.changes, s.err, s.gone = nil, nil, nil, err, gone
	return tell
}

// SignedIn reports whether a user is signed in. It is false, too, where that
// cannot be told at the moment: then Err is set.
//
// The first question about a session's user renews an access token that is
// due, and waits for it if it has expired.
func (s *Session) SignedIn() bool {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec != nil
}

// Err returns an error that is [ErrSessionUnavailable] if the request presented
// a session and the store or the auth service is needed to tell whose, and
// does not answer. It is nil for a visitor without a session.
func (s *Session) Err() error {
	if s == notLoaded || s == bearer {
		return nil
	}
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// UserID returns the ID of the signed-in user, empty if nobody is.
func (s *Session) UserID() string {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		return ""
	}
	return s.claims.UserID
}

// Roles returns the user's allowed roles.
func (s *Session) Roles() []string {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		return nil
	}
	return slices.Clone(s.claims.AllowedRoles)
}

// HasRole reports whether role is one of the user's allowed roles, compared
// byte by byte.
func (s *Session) HasRole(role string) bool {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims != nil && slices.Contains(s.claims.AllowedRoles, role)
}

// DefaultRole returns the user's default role.
func (s *Session) DefaultRole() string {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		return ""
	}
	return s.claims.DefaultRole
}

// Claims returns what the access token says about the user. Its ExpiresAt is
// by the clock of the auth service; see AccessTokenExpiresAt.
func (s *Session) Claims() Claims {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		return Claims{}
	}
	c := *s.claims
	c.AllowedRoles = slices.Clone(c.AllowedRoles)
	return c
}

// AccessToken returns an access token to call an API with as the user. A token
// that is due is renewed first, and the renewed one saved, however long ago
// the request began. It fails with [ErrUnauthenticated], [ErrEnded] or
// [ErrSessionUnavailable].
func (s *Session) AccessToken(ctx context.Context) (string, error) {
	s.resolve()
	s.mu.Lock()
	rec, err := s.rec, s.err
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	if rec == nil {
		return "", fmt.Errorf("session: access token: %w", ErrUnauthenticated)
	}
	now, err := s.m.fresh(ctx, rec)
	if err != nil {
		return "", s.over(rec, err)
	}
	s.adopt(now)
	return now.pair.tokens.AccessToken, nil
}

// over returns err, and leaves the session without its record if that says that
// it has ended meanwhile.
func (s *Session) over(rec *record, err error) error {
	s.mu.Lock()
	here := s.rec != nil
	s.mu.Unlock()
	if here && errors.Is(err, ErrEnded) {
		s.drop(rec, err)()
	}
	return err
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
	if rec.pair.tokens.AccessToken == refused && !rec.pair.forced {
		now, err := s.m.renew(ctx, rec, rec.pair.gen)
		if err != nil {
			return "", s.over(rec, err)
		}
		s.adopt(now)
		rec = now
	}
	return rec.pair.tokens.AccessToken, nil
}

// adopt takes over the tokens of a later state of the session.
func (s *Session) adopt(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil || r.pair.gen <= s.rec.pair.gen {
		return
	}
	next := s.rec.withTokensOf(r)
	if claims, err := s.m.claimsOf(next); err == nil {
		s.rec, s.claims = next, claims
	}
}

// AccessTokenExpiresAt returns when the access token expires, by this
// program's clock: its life is counted from when it was received. It is zero
// if nobody is signed in.
func (s *Session) AccessTokenExpiresAt() time.Time {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil {
		return time.Time{}
	}
	return s.rec.pair.expires
}

// ExpiresAt returns when the session ends unless the user comes back before:
// the earlier of its idle timeout and the end of its lifetime. It is zero if
// nobody is signed in.
func (s *Session) ExpiresAt() time.Time {
	s.resolve()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil {
		return time.Time{}
	}
	return s.m.endOf(s.rec)
}

// Policy decides whether a signed-in user may pass a guard. It is only asked
// about sessions that are signed in, and must be safe for concurrent use.
type Policy func(*Session) bool

// Authorize decides whether the session passes p; a nil Policy lets every
// signed-in user pass. Every guard asks this method. It returns nil, or an
// error that is [ErrUnauthenticated], [ErrForbidden], [ErrSessionUnavailable]
// (an [*UnavailableError]) or [ErrNotLoaded].
func (s *Session) Authorize(p Policy) error {
	signedIn := s.SignedIn()
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if !signedIn {
		return fmt.Errorf("session: %w", ErrUnauthenticated)
	}
	if p == nil || p(s) {
		return nil
	}
	s.mu.Lock()
	rec := s.rec
	s.mu.Unlock()
	if rec == nil { // the policy has asked for the access token, and learned that it is over
		return fmt.Errorf("session: %w", ErrUnauthenticated)
	}
	s.m.event(s.ctx, slog.LevelInfo, rec, Event{Name: EventAccessDenied})
	return fmt.Errorf("session: %w", ErrForbidden)
}

// Save writes the session's changed values now instead of with the answer, so
// that an error can be answered. In a cookie session they travel with the
// answer and nothing is written before it; Save only tells whether the session
// has ended. It fails with [ErrEnded] or [ErrSessionUnavailable], or with
// [ErrTooLarge] if other requests have filled the session meanwhile; then the
// changes are discarded.
func (s *Session) Save(ctx context.Context) error {
	s.resolve()
	s.mu.Lock()
	rec := s.rec
	err := s.saveLocked(ctx, false)
	s.mu.Unlock()
	if rec == nil {
		return err
	}
	return s.m.unavailable(ctx, rec, err)
}

// saveLocked writes changed values of a stored session, and with touch that it
// has been used. Its error is the ledger's: nobody has been told yet.
func (s *Session) saveLocked(ctx context.Context, touch bool) error {
	if s.rec == nil || len(s.changes) == 0 && !touch {
		return s.err
	}
	l := s.m.ledger(s.rec)
	if !s.m.stored {
		_, err := l.read(ctx)
		return err
	}
	now := s.m.now()
	rec, err := l.update(ctx, func(r *record) error {
		merged := merge(r.values, s.changes)
		if err := s.m.takes(r.values, merged); err != nil {
			return err
		}
		r.values = merged
		if touch {
			r.lastSeen = later(r.lastSeen, now)
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
	s.changes, s.size = nil, 0
	if rec.pair.gen == s.rec.pair.gen {
		s.rec = rec
	} else {
		next := rec.clone()
		next.pair = s.rec.pair // of which the claims are
		s.rec = next
	}
	return err
}

// String returns a text without anything secret.
func (s *Session) String() string { return "session.Session" + redacted }

// GoString returns a text without anything secret.
func (s *Session) GoString() string { return s.String() }

// Format keeps everything secret out of every fmt verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns the user's ID and whether one is signed in, as far as that
// is known: it asks nobody.
func (s *Session) LogValue() slog.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	userID := ""
	if s.rec != nil {
		userID = s.rec.userID
	}
	return slog.GroupValue(slog.Bool("signed_in", s.rec != nil), slog.String("user_id", userID))
}

// MarshalJSON returns a JSON string without anything secret.
func (s *Session) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
