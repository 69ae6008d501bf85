package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/internal/nostore"
)

// Exchange is one request's hold on its session, from the cookies that came in
// to the cookies that go out. It is what a middleware works with: package
// middleware does, and most programs need nothing but that.
type Exchange struct {
	m         *Manager
	ctx       context.Context // of the request; the session is in it
	session   atomic.Pointer[Session]
	presented cookies
	navigates bool        // a browser shows the response as a page
	asked     atomic.Bool // the handler has got the session, and may show it

	// Of the cookies, set by Begin.
	gen    uint64 // the generation that the browser has
	reseal bool   // a cookie was opened by an older key

	mu sync.Mutex // see the order of locks at Manager
	outcome
}

// outcome is what the request has made of its session.
type outcome struct {
	committed bool
	began     bool      // signed in by this request
	out       bool      // signed out by this request
	discard   bool      // the presented cookies are of no use
	in        *Record   // the session that was presented, also where it can't be told
	pending   *pendings // a login that waits for its second factor; one without a ticket clears it
}

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
		x.presented = m.jar.read(r.Header)
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
	if !x.presented.hasAny(m.jar.tokens) && !x.presented.hasAny(m.jar.state) {
		return anonymous
	}
	rec := x.openCookies(ctx)
	if rec == nil {
		x.discard = true
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

// openCookies returns what the presented cookies say, nil if they don't open.
func (x *Exchange) openCookies(ctx context.Context) *Record {
	j := x.m.jar
	if x.m.stored {
		rec := x.open(j.tokens[:1], purposeID, decodeID, nil)
		if rec == nil {
			x.unreadable(ctx)
		}
		return rec
	}
	tokens := x.open(j.tokens, purposeTokens, decodeTokens, nil)
	if tokens == nil {
		x.unreadable(ctx)
		return nil
	}
	rec := *tokens
	// Without a state of this session its user was last seen at login, and has no values.
	rec.LastSeen = rec.Created
	sameSession := func(state *Record) bool { return state.ID == rec.ID }
	if state := x.open(j.state, purposeState, decodeState, sameSession); state != nil {
		rec.LastSeen, rec.Values = state.LastSeen, state.Values
	}
	return &rec
}

func (x *Exchange) unreadable(ctx context.Context) {
	x.m.event(ctx, slog.LevelInfo, nil, Event{Name: EventCookieRefused, Reason: "unreadable"})
}

// sealedCookie is a cookie as it was presented, openedCookie what it holds.
type sealedCookie struct{ purpose, sealed string }

type openedCookie struct {
	rec *Record // shared
	old bool    // it was opened by an older key
}

// open returns what the first cookie under the given names holds that opens
// with one of the keys and that accept takes; nil if there is none. It is
// shared with other requests.
func (x *Exchange) open(names []string, purpose string, decode func([]byte) (*Record, bool), accept func(*Record) bool) *Record {
	for sealed := range x.presented.candidates(x.m.jar, purpose, names) {
		known := sealedCookie{purpose, sealed}
		opened, ok := x.m.cookies.Get(known)
		if !ok {
			if opened, ok = x.m.openCookie(names[0], known, decode); !ok {
				continue
			}
			known.sealed = strings.Clone(sealed) // it may be part of a large header

			// The text is held twice: sealed, and as what it was decoded to.
			bytes := opened.rec.Memory() + 2*len(sealed)
			x.m.cookies.Put(known, opened, bytes)
		}
		if accept == nil || accept(opened.rec) {
			x.reseal = x.reseal || opened.old
			return opened.rec
		}
	}
	return nil
}

// authentic reports whether one of the keys has sealed the parts of a cookie's
// value.
func (m *Manager) authentic(purpose, name string, parts []string) bool {
	return slices.ContainsFunc(m.secrets, func(s secret) bool {
		return s.cookies.authentic(sealName(purpose, name), parts...)
	})
}

func (m *Manager) openCookie(name string, c sealedCookie, decode func([]byte) (*Record, bool)) (openedCookie, bool) {
	for i, s := range m.secrets {
		plain, ok := open(s.cookies, c.purpose, name, c.sealed)
		if !ok {
			continue
		}
		if rec, ok := decode(plain); ok {
			if c.purpose == purposeTokens {
				rec.Pair.Claims = m.readClaims(rec)
			}
			return openedCookie{rec, i > 0}, true
		}
	}
	return openedCookie{}, false
}

// current returns the record of a session as it is now, for one whose cookies
// say r. Its errors are an *endedError, or leave the session's fate open. down
// is the error of a coordinator without which the session can be told; it has
// not been reported yet.
func (m *Manager) current(ctx context.Context, r *Record) (now *Record, down, err error) {
	l := m.ledger(r)
	now, err = l.read(ctx)
	switch {
	case errors.Is(err, ErrEnded):
		return nil, nil, err
	case err != nil && m.stored:
		return nil, nil, err
	case err != nil:
		// The cookies alone tell who it is. What the coordinator would add is
		// whether the session was ended, or its tokens renewed, elsewhere.
		now, down = r, err
	case now == l.base:
		now = r
	case !m.stored:
		if now.version != 0 && now.Pair.Gen == r.Pair.Gen && !now.shown && !now.busy() {
			m.acknowledge(ctx, l, now)
		}
		// The coordinator has no values; those are in the state cookie.
		c := *now
		c.Values, c.LastSeen = r.Values, r.LastSeen
		now = &c
	}
	if why := m.expired(now); why != "" {
		m.expire(ctx, l, why)
		return nil, down, &endedError{why: why}
	}
	return now, down, nil
}

// acknowledge notes that a browser has shown the newest generation: late
// requests with the one before may come for Config.Grace longer.
func (m *Manager) acknowledge(ctx context.Context, l *ledger, r *Record) {
	_, _ = l.update(ctx, func(q *Record) error {
		if q.version == 0 || q.Pair.Gen != r.Pair.Gen || q.shown || q.busy() {
			return errChanged
		}
		q.shown = true
		return nil
	})
}

// endOf is when a session ends unless its user comes back.
func (m *Manager) endOf(r *Record) time.Time {
	return earlier(r.Created.Add(m.cfg.Lifetime), r.LastSeen.Add(m.cfg.IdleTimeout))
}

func (m *Manager) expired(r *Record) Reason {
	now := m.now()
	switch {
	case !now.Before(r.Created.Add(m.cfg.Lifetime)):
		return endedByLifetime
	case !now.Before(r.LastSeen.Add(m.cfg.IdleTimeout)) && !now.Before(r.LastSeen.Add(m.cfg.IdleTimeout+m.uncounted(r))):
		return endedByIdleTimeout
	}
	return ""
}

// uncounted is how much of the time since a session was last seen does not count
// as idle, because its store was down. A cookie session notes its use all the
// same.
func (m *Manager) uncounted(r *Record) time.Duration {
	if !m.stored {
		return 0
	}
	return min(m.outages.since(r.LastSeen), m.outageSlack())
}

// touchDue reports whether it is time to note that the session is in use: at
// most once in a tenth of the idle timeout.
func (m *Manager) touchDue(r *Record) bool {
	return m.now().Sub(r.LastSeen) >= m.cfg.IdleTimeout/10
}

// Commit writes the session's cookies and cache headers into h, the header of
// the response, and saves changed values of a stored session. If the request has
// signed in or out, the header also makes browsers drop the pages that they have
// fetched ahead (Clear-Site-Data). Only the first call does anything.
//
// A response that sets one of our cookies must not be stored, nor must one to a
// user whose session the handler has got by [FromContext]. Its header gets
// "Cache-Control: no-store" and loses every other field that caches obey, such
// as CDN-Cache-Control (RFC 9213). Other responses keep what the handler has
// set.
//
// If it fails, changes have not been saved: the response must become a 503 or,
// if the error is [ErrTooLarge], a 413, and what the handler writes must not be
// sent. Every other error is an [*UnavailableError].
func (x *Exchange) Commit(h http.Header) error {
	x.mu.Lock()
	if x.committed {
		x.mu.Unlock()
		return nil
	}
	x.committed = true
	s, o := x.session.Load(), x.outcome
	x.mu.Unlock()
	before := len(h["Set-Cookie"])
	err := x.commitSession(h, s, &o)
	if err != nil && o.began {
		x.m.undelivered(context.WithoutCancel(x.ctx), o.in)
	}
	x.commitPending(h, o.pending)
	if o.pending != nil {
		// A login or a logout, or a step of one. Pages that the browser has
		// fetched ahead show who was signed in before.
		h.Add("Clear-Site-Data", `"prefetchCache", "prerenderCache"`)
	}
	if s.m != nil && x.asked.Load() || len(h["Set-Cookie"]) > before {
		nostore.Set(h)
	}
	return err
}

// committing is what Commit finds in a Session.
type committing struct {
	rec     *Record           // nil if there is nothing to write
	values  map[string][]byte // of a cookie session, with the changes
	changed bool
	gone    bool
}

// commit returns what has to be committed. From now on a cookie session takes
// no more values.
func (s *Session) commit() committing {
	if s.m == nil {
		return committing{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := committing{gone: s.gone, changed: len(s.changes) > 0}
	if s.err == nil {
		c.rec = s.rec
	}
	if !s.m.stored {
		s.closed = cmp.Or(s.closed, ErrCommitted)
		c.values = s.valuesLocked()
	}
	return c
}

func (x *Exchange) commitSession(h http.Header, s *Session, o *outcome) error {
	m, j := x.m, x.m.jar
	c := s.commit()
	if s == anonymous && o.discard || c.gone {
		j.expire(h, j.tokens, x.presented.has)
		j.expire(h, j.state, x.presented.has)
	}
	if o.out && x.navigates && s == anonymous {
		// Browsers keep a page for going back in the history, whatever its
		// Cache-Control says, and drop it when the cookies have changed. Chromium
		// (as of version 156) takes a sign-out that deletes as many cookies as
		// the sign-in has set for no change: this is one more.
		j.add(h, j.mfa, "0", time.Second)
		h.Add("Set-Cookie", j.mfa+"=; Max-Age=0"+j.attrs)
	}
	if c.rec == nil {
		return nil
	}
	touch := !o.began && m.touchDue(c.rec)
	if m.stored {
		return x.commitStored(h, s, c, touch, o.began)
	}
	return x.commitCookies(h, s, c, touch, o.began)
}

// context returns a context for what is done for the response. It has the
// values of the request's and is not canceled with it: a client that leaves
// loses nothing.
func (x *Exchange) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(x.ctx), 4*x.m.cfg.StoreTimeout)
}

func (x *Exchange) commitCookies(h http.Header, s *Session, c committing, touch, began bool) error {
	m, rec := x.m, c.rec
	tokens := began || x.reseal || rec.Pair.Gen > x.gen
	state := began || x.reseal || c.changed || touch
	if !tokens && !state {
		return nil
	}
	ctx, cancel := x.context()
	defer cancel()
	// A late response must not bring back a session that has ended meanwhile,
	// nor older tokens than another response may have delivered.
	l := m.ledger(rec)
	rec = rec.Clone()
	switch now, err := l.read(ctx); {
	case errors.Is(err, ErrEnded):
		return nil
	case err != nil && began:
		// It knows nothing that could stand against a session that is new.
		_ = m.storeDown(ctx, rec, err)
	case err != nil && c.changed:
		return m.unavailable(ctx, rec, err)
	case err != nil && touch:
		// A state cookie alone revives nothing, and without it an outage of the
		// coordinator would count as idle time.
		tokens = false
	case err != nil:
		return nil
	case now.Pair.Gen > rec.Pair.Gen:
		rec.Pair, tokens = now.Pair, true
	case now == l.base && tokens && !began:
		// The newest tokens are forgotten here when a browser has had them for
		// long enough. Ours, if they are due, may have had successors.
		due, _ := m.Due(rec, m.now())
		tokens = !due
	}
	rec.Values = c.values
	if touch {
		rec.LastSeen = m.now()
	}
	if err := x.setCookies(ctx, h, rec, tokens, state); err != nil {
		return err
	}
	s.committed(rec)
	return nil
}

// setCookies sets the cookies of a cookie session: that of its tokens, that of
// its state, or both.
func (x *Exchange) setCookies(ctx context.Context, h http.Header, rec *Record, tokens, state bool) error {
	m, j := x.m, x.m.jar
	age := rec.Created.Add(m.cfg.Lifetime).Sub(m.now())
	if tokens {
		switch err := x.set(h, j.tokens, purposeTokens, encodeTokens(rec), age); {
		case errors.Is(err, ErrTooLarge):
			// They have grown at a refresh. The coordinator has them, and the
			// browser's own are good enough to find them by.
			if m.outgrown(rec) {
				m.event(ctx, slog.LevelError, rec, Event{Name: EventTokensUnwritten, Err: err})
			}
		case err != nil:
			return &UnavailableError{Err: err}
		}
	}
	if state {
		if err := x.set(h, j.state, purposeState, encodeState(rec), age); err != nil {
			return &UnavailableError{Err: err}
		}
	}
	return nil
}

// maxOutgrown bounds the sessions whose outgrown tokens are remembered.
const maxOutgrown = 4096

// outgrown notes that the tokens of r fit no cookie. It reports whether that is
// new in this process, which it is once for a generation.
func (m *Manager) outgrown(r *Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tooLarge[r.Key] >= r.Pair.Gen {
		return false
	}
	if len(m.tooLarge) >= maxOutgrown {
		clear(m.tooLarge) // to log twice is better than to remember all
	}
	m.tooLarge[r.Key] = r.Pair.Gen
	return true
}

// committed notes what the cookies in the response say.
func (s *Session) committed(rec *Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil {
		return
	}
	if rec.Pair.Gen <= s.rec.Pair.Gen || rec.Pair.Claims == nil {
		rec.Pair = s.rec.Pair
	}
	s.rec, s.changes = rec, nil
}

func (x *Exchange) commitStored(h http.Header, s *Session, c committing, touch, began bool) error {
	m, j := x.m, x.m.jar
	reseal := x.reseal && !began
	if c.changed || touch || reseal {
		ctx, cancel := x.context()
		defer cancel()
		// The record is sealed anew together with the cookie: who takes an old
		// key away takes it from both.
		err := m.unavailable(ctx, c.rec, s.save(ctx, touch || reseal))
		switch {
		case errors.Is(err, ErrEnded):
			return nil // the late response of a session that is over
		case err != nil && c.changed:
			return err
		case err != nil:
			reseal = false
		}
	}
	if !began && !reseal {
		return nil
	}
	age := c.rec.Created.Add(m.cfg.Lifetime).Sub(m.now())
	j.expire(h, j.state, x.presented.has)
	id := c.rec.ID // a copy: sealing overwrites it
	return x.set(h, j.tokens, purposeID, id[:], age)
}

func (x *Exchange) set(h http.Header, names []string, purpose string, plain []byte, age time.Duration) error {
	sealed, err := seal(x.m.secrets[0].cookies, purpose, names[0], plain)
	if err != nil {
		return err
	}
	return x.m.jar.set(h, names, sealed, age, x.presented.has)
}

// End saves what was changed in a stored session after Commit. From then on the
// session takes no more values, so that none is lost. It is called once, after
// the handler; its error is for the log.
func (x *Exchange) End() error {
	s := x.session.Load()
	if s.m == nil || !x.m.stored {
		return nil
	}
	s.close(ErrCommitted)
	c := s.commit()
	if c.rec == nil || !c.changed {
		return nil
	}
	ctx, cancel := x.context()
	defer cancel()
	return x.m.unavailable(ctx, c.rec, s.save(ctx, false))
}
