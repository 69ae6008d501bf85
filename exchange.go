package session

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// Exchange is one request's hold on its session, from the cookies that the
// request presents to the cookies that the response sets. Package middleware uses
// it; most programs do not need it.
type Exchange struct {
	m         *Manager
	ctx       context.Context // of the request; the session is in it
	session   atomic.Pointer[Session]
	presented cookies.Presented
	navigates bool        // a browser shows the response as a page
	asked     atomic.Bool // the handler has got the session, and may show it

	// Of the cookies, set by Begin.
	gen    uint64 // the generation that the browser has
	reseal bool   // a cookie was opened by an older key

	mu sync.Mutex // see the order of locks at Manager
	outcome
}

// outcome is what has become of the request's session.
type outcome struct {
	fate      fate
	committed bool
	in        *keeper.Record // the session that was presented or began, also if it is unavailable
	pending   *pendingLogin  // what to do about a pending login; nil: nothing
}

// fate is what a request does to the browser's session.
type fate int

const (
	keeps    fate = iota // it stays as it is
	unusable             // the presented cookies are of no use
	signsIn
	signsOut
)

// Begin loads the session that r presents and returns r with the session in
// its context. It never fails: what stands in the way of the session is told
// by [Session.Err] and [Session.Authorize]. Tokens that are due are renewed
// when the session is first asked about its user.
//
// The caller must call Commit before the first byte of the response, and End
// after the handler.
func (m *Manager) Begin(r *http.Request) (*http.Request, *Exchange) {
	x := &Exchange{m: m, navigates: r.Header.Get("Sec-Fetch-Mode") == "navigate"}
	x.session.Store(anonymous)
	x.ctx = context.WithValue(r.Context(), contextKey{}, x)
	if hasBearer(r.Header) {
		x.session.Store(bearer)
	} else {
		x.presented = m.jar.Read(r.Header)
		x.session.Store(x.load(x.ctx))
	}
	x.asked.Store(false) // a hook is no handler
	return r.WithContext(x.ctx), x
}

// exchange returns the exchange of the request whose context ctx is, for the
// methods of a Manager that begin, end or use its session. It fails with
// [ErrNotLoaded] if that session is another Manager's, and with
// [ErrUnauthenticated] and [ErrBearer] in a bearer request, which has none.
func (m *Manager) exchange(ctx context.Context) (*Exchange, error) {
	x := exchangeFrom(ctx)
	switch {
	case x == nil || x.m != m:
		return nil, notLoaded.err
	case x.session.Load() == bearer:
		return nil, bearer.err
	}
	x.asked.Store(true)
	return x, nil
}

// replace gives the request another session. The one before, which a handler
// may still hold, takes no more values: they would not be saved.
func (x *Exchange) replace(s *Session) {
	if before := x.session.Swap(s); before.m != nil {
		before.close(ErrEnded)
	}
}

// hasBearer reports whether a request carries a bearer token (RFC 6750), which
// then decides alone.
func hasBearer(h http.Header) bool {
	const scheme = "Bearer"
	value := h.Get("Authorization") // perhaps a long one, of which the start is enough
	return len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) && (len(value) == len(scheme) || value[len(scheme)] == ' ')
}

// CarriesCookie reports whether the request presented a cookie of ours.
func (x *Exchange) CarriesCookie() bool { return len(x.presented) > 0 }

// load makes the Session of the presented cookies.
func (x *Exchange) load(ctx context.Context) *Session {
	m := x.m
	if !x.presented.HasAny(m.jar.Tokens) && !x.presented.HasAny(m.jar.State) {
		return anonymous
	}
	rec := x.openCookies()
	if rec == nil {
		m.event(ctx, slog.LevelInfo, nil, Event{Name: EventCookieRefused, Reason: "unreadable"})
		x.fate = unusable
		return anonymous
	}
	x.in, x.gen = rec, rec.Pair.Gen
	s := &Session{m: m, ctx: ctx, unread: rec}
	x.session.Store(s)
	if rec, _ = s.read(ctx, rec); rec != nil {
		x.in = rec
	}
	return s
}

// openCookies returns the session that the presented cookies say, nil if they
// don't open.
func (x *Exchange) openCookies() *keeper.Record {
	j := x.m.jar
	if x.m.Stored() {
		c := open(x, j.Tokens[:1], seal.ID, decodeID, nil)
		if c == nil {
			return nil
		}
		return &c.record
	}
	c := open(x, j.Tokens, seal.Tokens, decodeTokens, nil)
	if c == nil {
		return nil
	}
	sameSession := func(s *stateCookie) bool { return s.id == c.id }
	return c.record(open(x, j.State, seal.State, decodeState, sameSession))
}

// sealedCookie is a cookie as it was presented, openedCookie its content.
type sealedCookie struct{ purpose, sealed string }

type openedCookie struct {
	content any  // *tokensCookie, *stateCookie or *idCookie; shared
	old     bool // it was opened by an older key
}

// open returns the content of the first cookie under the given names that one of
// the keys opens and accept accepts, nil if there is none. It is shared with other
// requests.
func open[T any](x *Exchange, names []string, purpose string, decode func([]byte) (*T, bool), accept func(*T) bool) *T {
	for sealed := range x.m.jar.Candidates(x.presented, purpose, names) {
		known := sealedCookie{purpose, sealed}
		opened, ok := x.m.opened.Get(known)
		if !ok {
			if opened, ok = openSealed(x.m, names[0], known, decode); !ok {
				continue
			}
			known.sealed = strings.Clone(sealed) // it may be part of a large header
			x.m.opened.Put(known, opened, memory(opened.content)+2*len(sealed))
		}
		if content := opened.content.(*T); accept == nil || accept(content) {
			x.reseal = x.reseal || opened.old
			return content
		}
	}
	return nil
}

func openSealed[T any](m *Manager, name string, c sealedCookie, decode func([]byte) (*T, bool)) (openedCookie, bool) {
	for i, s := range m.secrets {
		plain, ok := s.Cookies.Open(c.purpose, name, c.sealed)
		if !ok {
			continue
		}
		if content, ok := decode(plain); ok {
			if t, ok := any(content).(*tokensCookie); ok {
				m.readClaims(t)
			}
			return openedCookie{content, i > 0}, true
		}
	}
	return openedCookie{}, false
}

// readClaims reads the claims of a cookie's access token once for all requests.
func (m *Manager) readClaims(c *tokensCookie) {
	r := c.record(nil)
	m.keeper.ReadClaims(r)
	c.pair = r.Pair
}

// memory is about how many bytes the content of a cookie takes beside the bytes
// that it was decoded from.
func memory(content any) int {
	switch c := content.(type) {
	case *tokensCookie:
		return c.record(nil).Memory()
	case *stateCookie:
		return (&keeper.Record{Values: c.values}).Memory()
	}
	return (&keeper.Record{}).Memory()
}

// authentic reports whether one of the keys has sealed the parts of a cookie's
// value.
func (m *Manager) authentic(purpose, name string, parts []string) bool {
	return slices.ContainsFunc(m.secrets, func(s seal.Secret) bool {
		return s.Cookies.Authentic(purpose, name, parts...)
	})
}
