package session

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/keeper"
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

// Format keeps the cookies and tokens out of every fmt verb.
func (x *Exchange) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("session.Exchange" + redacted)) }
