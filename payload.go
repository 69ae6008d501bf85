package session

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// A cookie session has two cookies. Tokens and state are in separate cookies because
// responses may arrive in another order than they were sent. A late response that sets a
// value must not replace new tokens by old ones.

// cookieContent is the decoded content of a cookie: a *tokensCookie, a *stateCookie or
// an *idCookie.
type cookieContent interface {
	// memory estimates how many bytes the content takes, without the bytes that it
	// was decoded from.
	memory() int

	// end returns a time after which the content belongs to no valid session, zero if it is
	// unknown.
	end(m *Manager) time.Time
}

// tokensCookie is the content of the tokens cookie: the session's ID, its start and
// one generation of its tokens. The cookie is set only when the browser signs in and
// when it receives newer tokens.
type tokensCookie struct {
	record keeper.Record // as if the browser had no state cookie

	// joined is the session with the state cookie that the last request has presented
	// beside this cookie. Most requests present the same two.
	joined atomic.Pointer[joinedCookies]
}

// joinedCookies is the session in a tokens cookie and a state cookie.
type joinedCookies struct {
	state  *stateCookie
	record keeper.Record
}

// maxJoined is how many bytes a state cookie may use in joinedCookies, which keeps it
// after the cache has dropped it.
const maxJoined = 512

func encodeTokens(e *seal.Encoder, r *keeper.Record) {
	e.Raw(r.ID[:])
	r.SignIn.Encode(e)
	r.Pair.Encode(e)
}

func decodeTokens(b string) (*tokensCookie, bool) {
	d := seal.NewDecoder(b)
	c := &tokensCookie{}
	r := &c.record
	copy(r.ID[:], d.Take(uint64(len(r.ID))))
	r.Key = r.ID.Key()
	r.SignIn = keeper.DecodeSignIn(d)
	r.Pair = keeper.DecodePair(d)
	r.LastSeen = r.Created
	return c, d.Done()
}

// with returns the session in the two cookies. state is nil if the browser does not have
// the state cookie, because it can expire or be dropped separately. The session then has
// no values, and its last use is its start.
func (c *tokensCookie) with(state *stateCookie) *keeper.Record {
	if state == nil {
		return &c.record
	}
	if j := c.joined.Load(); j != nil && j.state == state {
		return &j.record
	}
	j := &joinedCookies{state, c.record}
	j.record.LastSeen, j.record.Values = state.lastSeen, state.values
	if state.size <= maxJoined {
		c.joined.Store(j)
	}
	return &j.record
}

func (c *tokensCookie) memory() int {
	return c.record.Memory() + keeper.RecordBytes + maxJoined
}

func (c *tokensCookie) end(m *Manager) time.Time { return m.keeper.LifetimeEnd(&c.record) }

// stateCookie is the content of the state cookie: the values and the time of the
// last use. The tag binds the cookie to the tokens cookie of the same session.
type stateCookie struct {
	session  sessionTag
	lastSeen time.Time
	values   map[string][]byte
	size     int // of the cookie, decoded
}

// sessionTag is the first half of a session's ID. Two sessions never share it, and it
// makes the state cookie shorter than the whole ID would.
type sessionTag [len(keeper.ID{}) / 2]byte

func tagOf(id keeper.ID) sessionTag { return sessionTag(id[:len(sessionTag{})]) }

// stateBytes is the memory of a stateCookie without its values.
const stateBytes = 64

func (c *stateCookie) memory() int { return stateBytes + keeper.ValuesMemory(c.values) }

func (c *stateCookie) end(m *Manager) time.Time { return c.lastSeen.Add(m.cfg.IdleTimeout) }

func encodeState(e *seal.Encoder, r *keeper.Record) {
	tag := tagOf(r.ID)
	e.Raw(tag[:])
	e.Time(r.LastSeen)
	keeper.EncodeValues(e, r.Values)
}

// stateSize returns the greatest length of the results of encodeState and encodeVisitor
// for values. The values of a visitor who signs in must fit the state cookie, too.
func stateSize(values map[string][]byte) int {
	return len(keeper.ID{}) + 2*binary.MaxVarintLen64 + 1 + keeper.ValuesSize(values)
}

func decodeState(b string) (*stateCookie, bool) {
	d := seal.NewDecoder(b)
	c := &stateCookie{}
	copy(c.session[:], d.Take(uint64(len(c.session))))
	c.lastSeen = d.Time()
	c.values = keeper.DecodeValues(d)
	c.size = len(b) + c.memory()
	return c, d.Done()
}

// visitorCookie is the content of the visitor cookie: the values of a visitor who is not
// signed in, if sessions are in cookies. With a store, the cookie of that name holds the ID
// of the visitor's record.
type visitorCookie struct{ record keeper.Record }

func (c *visitorCookie) memory() int { return c.record.Memory() }

func (c *visitorCookie) end(m *Manager) time.Time { return m.keeper.EndOf(&c.record) }

func encodeVisitor(r *keeper.Record) []byte {
	e := seal.Encoder{B: make([]byte, 0, 256)}
	e.Raw(r.ID[:])
	e.Time(r.Created)
	e.Bool(r.Transient)
	e.Time(r.LastSeen)
	keeper.EncodeValues(&e, r.Values)
	return e.B
}

func decodeVisitor(b string) (*visitorCookie, bool) {
	d := seal.NewDecoder(b)
	c := &visitorCookie{keeper.Record{Visitor: true}}
	r := &c.record
	copy(r.ID[:], d.Take(uint64(len(r.ID))))
	r.Key = r.ID.Key()
	r.Created, r.Transient, r.LastSeen = d.Time(), d.Bool(), d.Time()
	r.Values = keeper.DecodeValues(d)
	return c, d.Done()
}

// idCookie is the content of a stored session's cookie. The cookie holds only the
// session's ID, which leads to the record in the store.
type idCookie struct{ record keeper.Record }

func (c *idCookie) memory() int { return c.record.Memory() }

func (c *idCookie) end(*Manager) time.Time { return time.Time{} }

func decodeID(b string) (*idCookie, bool) {
	c := &idCookie{}
	id := &c.record.ID
	ok := len(b) == len(id) && copy(id[:], b) == len(b)
	c.record.Key = id.Key()
	return c, ok
}

// decodeVisitorID is decodeID for a visitor who is not signed in.
func decodeVisitorID(b string) (*idCookie, bool) {
	c, ok := decodeID(b)
	c.record.Visitor = true
	return c, ok
}

// pendingLife is how long a sign-in waits for its second step.
const pendingLife = 15 * time.Minute

// encodePending returns the content of the cookie of a pending sign-in. The cookie is
// sealed for another purpose than sessions are, so it cannot be presented as one.
func encodePending(until time.Time, p pending) []byte {
	var e seal.Encoder
	e.Time(until)
	e.Text(p.ticket)
	e.Text(p.email)
	p.encode(&e)
	return e.B
}

// decodePending returns the pending sign-in unless it has expired at now.
func decodePending(b string, now time.Time) (p pending, ok bool) {
	d := seal.NewDecoder(b)
	until := d.Time()
	p = pending{waits: true, ticket: d.Text(), email: d.Text(), signInOptions: decodeSignInOptions(d)}
	return p, d.Done() && now.Before(until)
}
