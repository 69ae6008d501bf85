package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/nostore"
	"github.com/synmetrix/session/internal/seal"
)

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
	if err != nil && o.fate == signsIn {
		x.m.keeper.Undelivered(context.WithoutCancel(x.ctx), o.in)
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

// sessionState is what Commit finds in a Session.
type sessionState struct {
	rec     *keeper.Record    // nil if there is nothing to write
	present bool              // a session was presented or has begun, whatever has become of it
	values  map[string][]byte // of a cookie session, with the changes
	changed bool
	gone    bool
}

// commit returns what has to be committed. From now on a cookie session takes
// no more values.
func (s *Session) commit() sessionState {
	if s.m == nil {
		return sessionState{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := sessionState{present: true, gone: s.gone, changed: len(s.changes) > 0}
	if s.err == nil {
		c.rec = s.rec
	}
	if !s.m.Stored() {
		s.closed = cmp.Or(s.closed, ErrCommitted)
		c.values = s.valuesLocked()
	}
	return c
}

// response is what the response has to do with the session's cookies.
type response struct {
	expire bool // the presented cookies
	change bool // so that browsers drop the pages that they keep for going back

	rec           *keeper.Record // whose cookies are set; nil: none
	tokens, state bool           // of a cookie session
	touch         bool           // note that the session is in use
	changed       bool           // the handler has changed values
}

// judge decides what the response does, before the store or the coordinator is
// read. It has no effects.
func (x *Exchange) judge(o *outcome, c sessionState, now time.Time) response {
	nobody := c.rec == nil && !c.present
	res := response{
		expire: nobody && (o.fate == unusable || o.fate == signsOut) || c.gone,
		change: nobody && o.fate == signsOut && x.navigates,
		rec:    c.rec, changed: c.changed,
	}
	if c.rec == nil {
		return res
	}
	began := o.fate == signsIn
	res.touch = !began && x.m.touchDue(c.rec, now)
	res.tokens = began || x.reseal || c.rec.Pair.Gen > x.gen
	res.state = began || x.reseal || c.changed || res.touch
	return res
}

// newest decides again, knowing the newest tokens of a cookie session that the
// coordinator has, nil if there are none, or why they could not be read. A late
// response must not bring back a session that has ended meanwhile, nor older
// tokens than another response may have delivered. It has no effects.
func (res response) newest(o *outcome, now *keeper.Record, err error, due bool) (response, error) {
	var why *keeper.Error
	began := o.fate == signsIn
	switch {
	case errors.As(err, &why) && why.Ended != "":
		res.tokens, res.state = false, false
	case err != nil && began:
		// The coordinator knows nothing that could stand against a new session.
	case err != nil && res.changed:
		return response{}, err
	case err != nil:
		// A state cookie alone revives nothing, and without it an outage of the
		// coordinator would count as idle time.
		res.tokens, res.state = false, res.touch
	case now != nil && now.Pair.Gen > res.rec.Pair.Gen:
		res.rec = res.rec.Clone()
		res.rec.Pair, res.tokens = now.Pair, true
	case now == nil && res.tokens && !began:
		// The coordinator forgets the newest tokens when a browser has had them
		// for long enough. Ours, if they are due, may have had successors.
		res.tokens = !due
	}
	return res, nil
}

func (x *Exchange) commitSession(h http.Header, s *Session, o *outcome) error {
	m, j := x.m, x.m.jar
	c := s.commit()
	res := x.judge(o, c, m.now())
	if res.expire {
		j.Expire(h, j.Tokens, x.presented)
		j.Expire(h, j.State, x.presented)
	}
	if res.change {
		// Browsers keep a page for going back in the history, whatever its
		// Cache-Control says, and drop it when the cookies have changed. Chromium
		// (as of version 156) takes a sign-out that deletes as many cookies as
		// the sign-in has set for no change: this is one more.
		j.Add(h, j.MFA, "0", time.Second)
		j.Delete(h, j.MFA)
	}
	switch {
	case res.rec == nil:
		return nil
	case m.Stored():
		return x.commitStored(h, s, res, o.fate == signsIn)
	case !res.tokens && !res.state:
		return nil
	}
	return x.commitCookies(h, s, c, res, o)
}

// context returns a context for what is done for the response. It has the
// values of the request's and is not canceled with it: a client that leaves
// loses nothing.
func (x *Exchange) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(x.ctx), 4*x.m.cfg.StoreTimeout)
}

func (x *Exchange) commitCookies(h http.Header, s *Session, c sessionState, res response, o *outcome) error {
	m := x.m
	ctx, cancel := x.context()
	defer cancel()
	now, readErr := m.keeper.Newest(ctx, res.rec)
	due, _ := m.keeper.Due(res.rec, m.now())
	res, err := res.newest(o, now, readErr, due)
	switch {
	case err != nil:
		return m.failure(ctx, c.rec, err)
	case readErr != nil && o.fate == signsIn:
		_ = m.keeper.Report(ctx, res.rec, readErr)
	}
	if !res.tokens && !res.state {
		return nil
	}
	rec := res.rec.Clone()
	rec.Values = c.values
	if res.touch {
		rec.LastSeen = m.now()
	}
	if err := x.setCookies(ctx, h, rec, res.tokens, res.state); err != nil {
		return err
	}
	s.committed(rec)
	return nil
}

// setCookies sets the cookies of a cookie session: that of its tokens, that of
// its state, or both.
func (x *Exchange) setCookies(ctx context.Context, h http.Header, rec *keeper.Record, tokens, state bool) error {
	m, j := x.m, x.m.jar
	age := rec.Created.Add(m.cfg.Lifetime).Sub(m.now())
	if tokens {
		switch err := x.set(h, j.Tokens, seal.Tokens, encodeTokens(rec), age); {
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
		if err := x.set(h, j.State, seal.State, encodeState(rec), age); err != nil {
			return &UnavailableError{Err: err}
		}
	}
	return nil
}

// maxOutgrown bounds the sessions whose outgrown tokens are remembered.
const maxOutgrown = 4096

// outgrown notes that the tokens of r fit no cookie. It reports whether that is
// new in this process, which it is once for a generation.
func (m *Manager) outgrown(r *keeper.Record) bool {
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
func (s *Session) committed(rec *keeper.Record) {
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

func (x *Exchange) commitStored(h http.Header, s *Session, res response, began bool) error {
	m, j := x.m, x.m.jar
	reseal := x.reseal && !began
	if res.changed || res.touch || reseal {
		ctx, cancel := x.context()
		defer cancel()
		// The record is sealed anew together with the cookie: who takes an old
		// key away takes it from both.
		err := m.failure(ctx, res.rec, s.save(ctx, res.touch || reseal))
		switch {
		case errors.Is(err, ErrEnded):
			return nil // the late response of a session that is over
		case err != nil && res.changed:
			return err
		case err != nil:
			reseal = false
		}
	}
	if !began && !reseal {
		return nil
	}
	age := res.rec.Created.Add(m.cfg.Lifetime).Sub(m.now())
	j.Expire(h, j.State, x.presented)
	id := res.rec.ID // a copy: sealing overwrites it
	return x.set(h, j.Tokens, seal.ID, id[:], age)
}

func (x *Exchange) set(h http.Header, names []string, purpose string, plain []byte, age time.Duration) error {
	sealed, err := x.m.secrets[0].Cookies.Seal(purpose, names[0], plain)
	if err != nil {
		return err
	}
	if x.m.jar.Set(h, names, sealed, age, x.presented) != nil {
		return errCookiesFull
	}
	return nil
}

// End saves what was changed in a stored session after Commit. From then on the
// session takes no more values, so that none is lost. It is called once, after
// the handler; its error is for the log.
func (x *Exchange) End() error {
	s := x.session.Load()
	if s.m == nil || !x.m.Stored() {
		return nil
	}
	s.close(ErrCommitted)
	c := s.commit()
	if c.rec == nil || !c.changed {
		return nil
	}
	ctx, cancel := x.context()
	defer cancel()
	return x.m.failure(ctx, c.rec, s.save(ctx, false))
}

// touchDue reports whether it is time to note that the session is in use: at
// most once in a tenth of the idle timeout.
func (m *Manager) touchDue(r *keeper.Record, now time.Time) bool {
	return now.Sub(r.LastSeen) >= m.cfg.IdleTimeout/10
}
