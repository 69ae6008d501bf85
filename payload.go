package session

import (
	"encoding/binary"
	"time"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// tokensCookie is the content of the tokens cookie: the session's ID, when it
// began, and one generation of its tokens. It is set when the browser signs in
// and when it gets newer tokens, never else: a late response with a value must
// not bring old tokens back.
type tokensCookie struct {
	id      keeper.ID
	key     string // of the ID; not encoded
	userID  string
	created time.Time
	pair    keeper.Pair
}

func encodeTokens(r *keeper.Record) []byte {
	e := seal.Encoder{B: make([]byte, 0, 512)}
	e.Raw(r.ID[:])
	e.Token(r.UserID)
	e.Time(r.Created)
	r.Pair.Encode(&e)
	return e.B
}

func decodeTokens(b []byte) (*tokensCookie, bool) {
	d := seal.NewDecoder(b)
	c := &tokensCookie{}
	copy(c.id[:], d.Take(uint64(len(c.id))))
	c.key = c.id.Key()
	c.userID = d.Token()
	c.created = d.Time()
	c.pair = keeper.DecodePair(d)
	return c, d.Done()
}

// record returns the session that the cookies say. Without a state cookie of the
// same session its user was last seen at sign-in, and has no values.
func (c *tokensCookie) record(state *stateCookie) *keeper.Record {
	r := &keeper.Record{ID: c.id, Key: c.key, UserID: c.userID, Created: c.created, Pair: c.pair, LastSeen: c.created}
	if state != nil {
		r.LastSeen, r.Values = state.lastSeen, state.values
	}
	return r
}

// stateCookie is the content of the state cookie: what handlers and the idle
// timeout change. The ID binds it to the tokens cookie of the same session.
type stateCookie struct {
	id       keeper.ID
	lastSeen time.Time
	values   map[string][]byte
}

func encodeState(r *keeper.Record) []byte {
	e := seal.Encoder{B: make([]byte, 0, 256)}
	e.Raw(r.ID[:])
	e.Time(r.LastSeen)
	keeper.EncodeValues(&e, r.Values)
	return e.B
}

// stateSize is the most that encodeState writes for these values.
func stateSize(values map[string][]byte) int {
	return len(keeper.ID{}) + binary.MaxVarintLen64 + keeper.ValuesSize(values)
}

func decodeState(b []byte) (*stateCookie, bool) {
	d := seal.NewDecoder(b)
	c := &stateCookie{}
	copy(c.id[:], d.Take(uint64(len(c.id))))
	c.lastSeen = d.Time()
	c.values = keeper.DecodeValues(d)
	return c, d.Done()
}

// idCookie is the content of a stored session's cookie: the session's ID alone,
// by which the record is found.
type idCookie struct{ record keeper.Record }

func decodeID(b []byte) (*idCookie, bool) {
	c := &idCookie{}
	id := &c.record.ID
	ok := len(b) == len(id) && copy(id[:], b) == len(b)
	c.record.Key = id.Key()
	return c, ok
}

// pendingLife is how long a login waits for its second factor.
const pendingLife = 15 * time.Minute

// The cookie of a pending login holds the ticket that the auth service has issued
// for the right password. It has a purpose of its own: it opens as no session.
func encodePending(until time.Time, ticket string) []byte {
	var e seal.Encoder
	e.Time(until)
	e.Text(ticket)
	return e.B
}

func decodePending(b []byte, now time.Time) (ticket string, ok bool) {
	d := seal.NewDecoder(b)
	until := d.Time()
	ticket = d.Text()
	return ticket, d.Done() && now.Before(until)
}
