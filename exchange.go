package session

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// Exchange connects one request and its response with a session: it reads the
// cookies of the request and sets those of the response. Package middleware uses
// it; most programs do not need it. [Manager.Begin] begins it. An Exchange must not be copied
// after that.
type Exchange struct {
	m         *Manager
	ctx       context.Context // of the request; it leads to this Exchange
	value     exchangeContext // ctx; a field, and not a pointer, saves an allocation
	request   http.Request    // with ctx, for the handler
	place     *place          // of the session's cookies
	session   atomic.Pointer[Session]
	first     Session // the session of the presented cookies
	presented cookies.Presented
	room      cookies.Room // of most presented cookies
	peer      string       // the RemoteAddr of the request
	header    http.Header  // of the request
	access    access       // the access to cookies in frames that the response grants to the browser
	reseal    bool         // an older key opened a cookie; set by Begin, as gen is
	accessed  atomic.Bool  // the handler has read the session, and may show its content
	gen       uint64       // the generation that the browser has

	// acting is the Exchange of the acting session, nil if there is none; see acting.go.
	// Handlers see that session in place of this one.
	acting atomic.Pointer[Exchange]

	mu               sync.Mutex      // see the order of locks at Manager
	lastActing       *Exchange       // acting, also after its end, for Commit
	presentedPending [steps]*pending // the pending sign-ins in the presented cookies; nil: not opened yet
	account          string          // the account that signs in, if known before the service responds
	outcome
}

// place has the names of a session's cookies, and the purposes of their seals.
type place struct {
	tokens, state                 []string
	sealTokens, sealState, sealID string
	visitors                      bool // a visitor may have a session, too
}

// visible returns the session that handlers see.
func (x *Exchange) visible() *Session {
	if y := x.acting.Load(); y != nil {
		return y.session.Load()
	}
	return x.session.Load()
}

// outcome is the effect of the request on the browser's session and other cookies.
type outcome struct {
	fate      fate
	committed bool
	passive   bool            // the request does not count as use of the session
	current   *keeper.Record  // the session that was presented or started, even if it is unavailable
	pending   [steps]*pending // the changes to pending sign-ins; nil: none
	device    string          // the account that has signed in; empty: none
}

// fate is the effect of a request on the browser's session.
type fate uint8

const (
	keeps    fate = iota // the session stays as it is
	unusable             // the presented cookies of a user's session cannot be opened
	signsIn              // the browser gets a new session
	signsOut             // the browser loses its session
)

type contextKey struct{}

// exchangeContext is a context with an Exchange.
type exchangeContext struct {
	context.Context
	x *Exchange
}

func (c *exchangeContext) Value(key any) any {
	if key == (contextKey{}) {
		return c.x
	}
	return c.Context.Value(key)
}

// String names the context without the values of the Exchange.
func (c *exchangeContext) String() string { return "session.Exchange" }

// requestContexts has the functions of RegisterContext.
var requestContexts []func(context.Context) context.Context

// RegisterContext adds a function that finds the context of the request in a framework's
// own context, which does not lead to it. Afterwards, [FromContext] and the methods of a
// [Manager] accept the framework's context, and contexts derived from it, in place of the
// request's. request returns nil for all other contexts, and must be safe for concurrent
// use. Adapters call RegisterContext in an init function. Gin needs it, Echo does not.
func RegisterContext(request func(context.Context) context.Context) {
	requestContexts = append(requestContexts, request)
}

// exchangeFrom returns the exchange of the request with the context ctx, nil if
// no session was loaded for the request.
func exchangeFrom(ctx context.Context) *Exchange {
	if x, ok := ctx.Value(contextKey{}).(*Exchange); ok {
		return x
	}
	for _, request := range requestContexts {
		if r := request(ctx); r != nil {
			x, _ := r.Value(contextKey{}).(*Exchange)
			return x
		}
	}
	return nil
}

// Begin loads the session that r presents into x, which must be zero, and returns r with
// the session in its context. ctx is the parent of that context: r's own, or one that is
// derived from it. Begin never fails: [Session.Err] and [Session.Authorize] report why a
// session cannot be loaded. Tokens that are due are refreshed later, when the handler first
// uses the session's user.
//
// The caller must call Commit before the first byte of the response, and End after the
// handler.
func (m *Manager) Begin(ctx context.Context, x *Exchange, r *http.Request) *http.Request {
	x.m, x.place, x.peer, x.header, x.access = m, &m.own, r.RemoteAddr, r.Header, m.accessOf(r)
	// The context is complete before the session is loaded: calls of a store may read it
	// for longer than the load waits for them.
	x.value = exchangeContext{ctx, x}
	x.ctx = &x.value
	x.request = *r.WithContext(x.ctx)
	if hasBearer(r.Header) {
		x.loadBearer(r.Header)
	} else {
		x.presented = m.jar.Read(r.Header, &x.room)
		x.first.m, x.first.ctx = m, x.ctx
		x.session.Store(&x.first)
		if len(x.presented) > 0 {
			x.load(x.ctx)
		}
		if x.presented.HasAny(m.acting.tokens) || x.presented.HasAny(m.acting.state) {
			x.loadActing(x.ctx)
		}
	}
	// Loading may call Config.OnEvent, which may read the session. Only the handler's own
	// use matters for caching.
	x.accessed.Store(false)
	return &x.request
}

// exchange returns the exchange of the request with the context ctx, for the
// methods of a Manager that start, end or use the request's session. It fails
// with [ErrNotLoaded] if the session belongs to another Manager. For a request with a
// bearer token, which has no session, it fails with [ErrSessionRequired], or with
// [ErrUnauthenticated] and [ErrBearer] if the token is not accepted.
func (m *Manager) exchange(ctx context.Context) (*Exchange, error) {
	x, err := m.loaded(ctx)
	if err != nil {
		return nil, err
	}
	if s := x.session.Load(); s.bearer {
		return nil, s.needsSession(ctx)
	}
	return x, nil
}

// loaded is exchange for methods that need the user and no session.
func (m *Manager) loaded(ctx context.Context) (*Exchange, error) {
	x := exchangeFrom(ctx)
	if x == nil || x.m != m {
		return nil, notLoaded.failure.err
	}
	x.accessed.Store(true)
	return x, nil
}

// MarkPassive marks the request with the context ctx as passive: it does not count as use
// of the session, for the idle timeout. Tokens that are due are refreshed, and changed
// values are saved. It is for requests that a page makes by itself, such as polls and
// streams. Call it before the first byte of the response. Outside the session middleware it
// does nothing.
func MarkPassive(ctx context.Context) {
	if x := exchangeFrom(ctx); x != nil {
		x.mu.Lock()
		x.passive = true
		x.mu.Unlock()
	}
}

// replace gives the request another session. A handler may still hold the
// previous one, which accepts no more values: they would not be saved.
func (x *Exchange) replace(s *Session) {
	if previous := x.session.Swap(s); previous.m != nil {
		previous.close(closedByEnd)
	}
}

// CarriesCookie reports whether the request presented a cookie of the Manager, except the
// device cookie, which stays after a sign-out.
func (x *Exchange) CarriesCookie() bool { return x.presented.HasOther(x.m.jar.Device) }

// load opens the presented cookies and reads the session.
func (x *Exchange) load(ctx context.Context) {
	j, p, s := x.m.jar, x.place, &x.first
	switch {
	case x.presented.HasAny(p.tokens) || x.presented.HasAny(p.state):
		// A visitor cookie next to them is from before the sign-in.
		rec := x.openCookies(nil)
		if rec == nil {
			x.m.event(ctx, slog.LevelInfo, nil, Event{Name: EventCookieRefused, Reason: "unreadable"})
			x.fate = unusable
			return
		}
		x.read(ctx, rec)
		if x.presented.HasSeveral(p.tokens[0]) {
			x.skipEnded(ctx)
		}
	case p.visitors && x.presented.HasAny(j.Visitor):
		rec := x.openVisitor()
		if rec == nil {
			s.expire = true
			return
		}
		x.read(ctx, rec)
	}
}

// read reads the session whose state in the presented cookies is rec.
func (x *Exchange) read(ctx context.Context, rec *keeper.Record) {
	s := &x.first
	x.current, x.gen = rec, rec.Pair.Gen
	s.unread, s.presented = rec, true
	// Reading may call Config.OnEvent with ctx, which finds the session.
	if rec, _ = s.read(ctx, rec); rec != nil {
		x.current = rec
	}
}

// maxSkipped is how many ended sessions are skipped. Each may cost a read of the store.
const maxSkipped = 2

// skipEnded reads the session of another presented cookie if that of the first has ended. A
// browser has several cookies of one name after a change of Config.Cookie, for example.
// Otherwise the older cookie would hide each new sign-in until it expires.
func (x *Exchange) skipEnded(ctx context.Context) {
	s := &x.first
	for skipped := []keeper.ID{}; s.hasEnded() && len(skipped) < maxSkipped; {
		skipped = append(skipped, x.current.ID)
		rec := x.openCookies(skipped)
		if rec == nil {
			return
		}
		s.mu.Lock()
		expire, closed := s.expire, s.closed
		s.ended, s.expire, s.closed = false, false, notClosed
		s.mu.Unlock()
		if x.read(ctx, rec); s.hasEnded() {
			s.mu.Lock()
			s.expire, s.closed = s.expire && expire, cmp.Or(s.closed, closed)
			s.mu.Unlock()
		}
	}
}

// openCookies returns the user's session in the presented cookies, nil if they cannot be
// opened. It skips sessions with the IDs skipped.
func (x *Exchange) openCookies(skipped []keeper.ID) *keeper.Record {
	p := x.place
	if x.m.stored() {
		var accept func(*idCookie) bool
		if skipped != nil {
			accept = func(c *idCookie) bool { return !slices.Contains(skipped, c.record.ID) }
		}
		c := open(x, p.tokens[:1], p.sealID, decodeID, accept)
		if c == nil {
			return nil
		}
		return &c.record
	}
	var accept func(*tokensCookie) bool
	if skipped != nil {
		accept = func(c *tokensCookie) bool { return !slices.Contains(skipped, c.record.ID) }
	}
	c := open(x, p.tokens, p.sealTokens, x.m.decodeTokens, accept)
	if c == nil {
		return nil
	}
	// A browser may have the state cookie of an earlier session.
	sameSession := func(s *stateCookie) bool { return s.session == tagOf(c.record.ID) }
	return c.with(open(x, p.state, p.sealState, decodeState, sameSession))
}

// openVisitor returns the visitor's session in the presented cookies, nil if they cannot
// be opened.
func (x *Exchange) openVisitor() *keeper.Record {
	j := x.m.jar
	if x.m.stored() {
		if c := open(x, j.Visitor[:1], seal.Visitor, decodeVisitorID, nil); c != nil {
			return &c.record
		}
		return nil
	}
	if c := open(x, j.Visitor, seal.Visitor, decodeVisitor, nil); c != nil {
		return &c.record
	}
	return nil
}

// openedCookie is a cookie that was opened. Manager.opened has it under its sealed text.
type openedCookie struct {
	purpose string
	content cookieContent // shared, never modified
	old     bool          // an older key opened it
}

// open returns the content of the first cookie under names that one of the keys
// opens and accept accepts, nil if there is none. Requests share the content, so
// it must not be modified.
//
// A browser may present several cookies of one name, for example one that another
// host of the domain has set. A cookie that cannot be opened must not hide one
// that can.
func open[C cookieContent](x *Exchange, names []string, purpose string, decode func(string) (C, bool), accept func(C) bool) (content C) {
	for sealed := range x.m.jar.Candidates(x.presented, purpose, names) {
		opened, ok := x.m.opened.Get(sealed)
		// A client may present a text as another cookie than that for which it was sealed.
		if !ok || opened.purpose != purpose {
			if opened, ok = openSealed(x.m, names[0], purpose, sealed, decode); !ok {
				continue
			}
			sealed = strings.Clone(sealed) // it may be part of a large header
			x.m.opened.Put(sealed, opened, opened.content.memory()+2*len(sealed), x.m.forgetAt(opened.content))
		}
		if c := opened.content.(C); accept == nil || accept(c) {
			x.reseal = x.reseal || opened.old
			return c
		}
	}
	return content
}

// forgetAt returns the time after which content is not needed if the browser sends no
// further request.
func (m *Manager) forgetAt(content cookieContent) time.Time {
	idle := m.now().Add(m.cfg.IdleTimeout)
	if end := content.end(m); !end.IsZero() && end.Before(idle) {
		return end
	}
	return idle
}

// forget drops what is remembered of the session's presented cookies, because the session
// has ended.
func (x *Exchange) forget() {
	p := x.place
	names, purpose := p.tokens, p.sealTokens
	if x.m.stored() {
		names, purpose = p.tokens[:1], p.sealID
	}
	for sealed := range x.m.jar.Candidates(x.presented, purpose, names) {
		x.m.opened.Remove(sealed)
	}
	for sealed := range x.m.jar.Candidates(x.presented, p.sealState, p.state) {
		x.m.opened.Remove(sealed)
	}
}

// openSealed opens and decodes a cookie.
func openSealed[C cookieContent](m *Manager, name, purpose, sealed string, decode func(string) (C, bool)) (openedCookie, bool) {
	plain, old, ok := m.openText(purpose, name, sealed)
	if !ok {
		return openedCookie{}, false
	}
	content, ok := decode(plain)
	return openedCookie{purpose, content, old}, ok
}

// maxUnchecked is the length of the longest text that is opened without a check of its
// MAC first. Opening allocates a multiple of the length. Most cookies are shorter than
// maxUnchecked, and need no second computation of the MAC.
const maxUnchecked = 1024

// openText opens a sealed text with the first key that fits. old reports that this is
// not the newest key.
//
// Any client can send texts that no key opens. Such texts must not allocate memory once per
// key, so only the newest key opens a text unchecked.
func (m *Manager) openText(purpose, name, text string) (plain string, old, ok bool) {
	for i, s := range m.secrets {
		if (i > 0 || len(text) > maxUnchecked) && !s.Cookies.Authentic(purpose, name, text) {
			continue
		}
		if plain, ok := s.Cookies.Open(purpose, name, text); ok {
			return plain, i > 0, true
		}
	}
	return "", false, false
}

// decodeTokens decodes a tokens cookie and reads the claims of its access token, once
// for all requests that present the cookie.
func (m *Manager) decodeTokens(b string) (*tokensCookie, bool) {
	c, ok := decodeTokens(b)
	if !ok {
		return nil, false
	}
	m.keeper.ReadClaims(&c.record)
	return c, true
}

// authentic reports whether one of the keys has sealed the parts of a cookie's
// value.
func (m *Manager) authentic(purpose, name string, parts []string) bool {
	return slices.ContainsFunc(m.secrets, func(s seal.Secret) bool {
		return s.Cookies.Authentic(purpose, name, parts...)
	})
}

// Format keeps the cookies and tokens out of every fmt verb.
func (x *Exchange) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("session.Exchange" + redacted)) }
