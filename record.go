package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/synmetrix/session/auth"
)

// ID is 256 random bits, new at every login. Only the browser's cookie
// holds it.
type ID [32]byte

func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// Key is the name of the session's record: it reveals nothing of the ID.
func (id ID) Key() string {
	sum := sha256.Sum256(id[:])
	return hex.EncodeToString(sum[:])
}

// Pair is one generation of a session's tokens.
type Pair struct {
	Gen     uint64
	Tokens  auth.Tokens
	Expires time.Time     // of the access token, by our clock: when it was received, and its life
	Life    time.Duration // of the access token
	Forced  bool          // renewed because an API refused the one before
	Claims  *auth.Claims  // of the access token; nil if they are not read yet, or can't be
}

// Record is the state of a session: what a store keeps of it, and for a cookie
// session what its two cookies and the coordinator's Record say together. It
// is shared between requests and never modified; a change is made to a clone.
type Record struct {
	ID      ID
	Key     string // of the record, made of the ID
	UserID  string
	Created time.Time // when the user signed in
	Pair    Pair

	// The state of a refresh; see refresh.go.
	lease    lease
	unknown  attempt   // that may have used up this generation's refresh token
	failures int       // of refreshing this generation, or of revoking it after the end
	retryAt  time.Time // when the next try may be made
	shown    bool      // a browser has shown this generation's cookie

	// A record that has ended is a mark; see end.go. Its tokens are those that
	// the service has not been seen to revoke.
	ended Reason
	all   bool // the service must end every session of the user, too

	// Of a stored session. A cookie session has them in its state cookie.
	Values   map[string][]byte
	LastSeen time.Time

	// version is the stored version this was read from, zero if it is not stored.
	version uint64
}

// lease is the right to refresh. Its holder chose the nonce and renews the lease
// by changing beat. A claim is a lease taken from a holder that is silent, who
// may still take it back.
type lease struct {
	nonce, beat uint64
	claim       bool
}

// attempt names the process whose refresh may have reached the service, by
// Manager.self. Zero means that there is none.
type attempt uint64

// someAttempt stands for the attempts of several processes, or of a process
// that did not say which it is.
const someAttempt attempt = 1

// and adds another attempt whose outcome is unknown.
func (a attempt) and(b attempt) attempt {
	if a == 0 || a == b {
		return b
	}
	return someAttempt
}

func (r *Record) Clone() *Record {
	c := *r
	c.Values = maps.Clone(r.Values)
	return &c
}

// WithTokensOf returns r with the tokens of another of its states, which knows
// nothing else of it.
func (r *Record) WithTokensOf(other *Record) *Record {
	if other == r {
		return r
	}
	c := r.Clone()
	c.Pair, c.version = other.Pair, other.version
	return c
}

// renew replaces the tokens by the next generation and ends the attempt that
// brought them.
func (r *Record) renew(p Pair) {
	r.Pair = p
	r.Pair.Gen++
	r.lease, r.unknown, r.failures, r.retryAt, r.shown = lease{}, 0, 0, time.Time{}, false
}

// busy reports whether the record says more than its tokens do.
func (r *Record) busy() bool { return r.lease.nonce != 0 || r.unknown != 0 || r.failures != 0 }

// The formats of a stored record: of a session, and of the mark that is left of
// an ended one when its tokens are revoked.
const (
	recordFormat = 2
	markFormat   = 3
)

// Bounds of what a decoder accepts, far above what an encoder is given.
const maxValues = 10_000

// encode writes a record without its ID, which must not be in the store, but
// with the key made of it, so that it proves whose it is.
//
// The mark of an ended session is as short as can be: there may be as many as
// there were sign-outs in a session's lifetime. The seal around it names its key.
func (r *Record) encode() []byte {
	if r.ended != "" && r.Pair.Tokens == (auth.Tokens{}) {
		e := encoder{make([]byte, 0, 2)}
		e.uint(markFormat)
		e.uint(uint64(slices.Index(reasons, r.ended)))
		return e.b
	}
	e := encoder{make([]byte, 0, 512)}
	e.uint(recordFormat)
	e.text(r.Key)
	e.token(r.UserID)
	e.time(r.Created)
	e.pair(r.Pair)
	e.uint(r.lease.nonce)
	e.uint(r.lease.beat)
	e.bool(r.lease.claim)
	e.uint(uint64(r.unknown))
	e.uint(uint64(r.failures))
	e.time(r.retryAt)
	e.bool(r.shown)
	e.text(string(r.ended))
	e.bool(r.all)
	e.time(r.LastSeen)
	e.values(r.Values)
	return e.b
}

var errBadEncoding = errors.New("not a session's encoding")

func decodeRecord(b []byte, id ID, key string) (*Record, error) {
	d := decoder{b: b}
	r := &Record{ID: id, Key: key}
	switch d.uint() {
	case recordFormat:
	case markFormat:
		why := d.count(uint64(len(reasons) - 1))
		if !d.done() {
			return nil, errBadEncoding
		}
		r.ended = reasons[why]
		return r, nil
	default:
		return nil, errBadEncoding
	}
	if d.text() != key {
		return nil, errors.New("the record of another session")
	}
	r.UserID = d.token()
	r.Created = d.time()
	r.Pair = d.pair()
	r.lease = lease{nonce: d.uint(), beat: d.uint(), claim: d.bool()}
	r.unknown = attempt(d.uint())
	r.failures = d.count(1 << 30)
	r.retryAt = d.time()
	r.shown = d.bool()
	r.ended = Reason(d.text())
	r.all = d.bool()
	r.LastSeen = d.time()
	r.Values = d.values()
	if !d.done() || r.ended != "" && (!slices.Contains(reasons, r.ended) || r.Pair.Tokens == (auth.Tokens{})) {
		return nil, errBadEncoding // a mark without tokens has a shorter form
	}
	return r, nil
}

func (e *encoder) duration(v time.Duration) { e.uint(uint64(v / time.Millisecond)) }

func (d *decoder) duration() time.Duration {
	v := d.uint()
	if v > math.MaxInt64/uint64(time.Millisecond) {
		d.fail()
		return 0
	}
	return time.Duration(v) * time.Millisecond
}

func (e *encoder) pair(p Pair) {
	e.uint(p.Gen)
	e.time(p.Expires)
	e.duration(p.Life)
	e.bool(p.Forced)
	e.token(p.Tokens.AccessToken)
	e.token(p.Tokens.RefreshToken)
}

func (d *decoder) pair() Pair {
	var p Pair
	p.Gen = d.uint()
	p.Expires = d.time()
	p.Life = d.duration()
	p.Forced = d.bool()
	p.Tokens.AccessToken = d.token()
	p.Tokens.RefreshToken = d.token()
	return p
}

func (d *decoder) count(limit uint64) int {
	v := d.uint()
	if v > limit {
		d.fail()
		return 0
	}
	return int(v)
}

// values are written in the order of their names, so that equal values have
// equal encodings.
func (e *encoder) values(values map[string][]byte) {
	e.uint(uint64(len(values)))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		e.text(name)
		e.bytes(values[name])
	}
}

func (d *decoder) values() map[string][]byte {
	n := d.count(maxValues)
	if n == 0 || d.bad {
		return nil
	}
	// The count is not trusted with an allocation.
	values := map[string][]byte{}
	last := ""
	for i := 0; i < n && !d.bad; i++ {
		name := d.text()
		if i > 0 && name <= last {
			d.fail()
		}
		last = name
		values[name] = d.bytes()
	}
	return values
}

// ValuesSize is the length of what encoder.values writes.
func ValuesSize(values map[string][]byte) int {
	n := uintSize(len(values))
	for name, v := range values {
		n += uintSize(len(name)) + len(name) + uintSize(len(v)) + len(v)
	}
	return n
}

func uintSize(v int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(v))
}

// tokensPayload is the content of the tokens cookie: the session's ID, when it
// began, and one generation of its tokens.
func encodeTokens(r *Record) []byte {
	e := encoder{make([]byte, 0, 512)}
	e.raw(r.ID[:])
	e.token(r.UserID)
	e.time(r.Created)
	e.pair(r.Pair)
	return e.b
}

func decodeTokens(b []byte) (*Record, bool) {
	d := decoder{b: b}
	r := &Record{}
	copy(r.ID[:], d.take(uint64(len(r.ID))))
	r.UserID = d.token()
	r.Created = d.time()
	r.Pair = d.pair()
	r.Key = r.ID.Key()
	return r, d.done()
}

// The state cookie holds what the handler and the idle timeout change. The ID
// binds it to the tokens cookie of the same session.
func encodeState(r *Record) []byte {
	e := encoder{make([]byte, 0, 256)}
	e.raw(r.ID[:])
	e.time(r.LastSeen)
	e.values(r.Values)
	return e.b
}

// stateSize is the most that encodeState writes for these values.
func stateSize(values map[string][]byte) int {
	return len(ID{}) + binary.MaxVarintLen64 + ValuesSize(values)
}

func decodeState(b []byte) (*Record, bool) {
	d := decoder{b: b}
	r := &Record{}
	copy(r.ID[:], d.take(uint64(len(r.ID))))
	r.LastSeen = d.time()
	r.Values = d.values()
	return r, d.done()
}

// The cookie of a stored session holds its ID.
func decodeID(b []byte) (*Record, bool) {
	r := &Record{}
	ok := len(b) == len(r.ID) && copy(r.ID[:], b) == len(b)
	r.Key = r.ID.Key()
	return r, ok
}
