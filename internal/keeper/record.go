package keeper

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
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

// NewRecord returns a new session of a user who has just signed in.
func NewRecord(p Pair, now time.Time) *Record {
	id := NewID()
	p.Gen = 1
	return &Record{ID: id, Key: id.Key(), UserID: p.Claims.UserID, Created: now, LastSeen: now, Pair: p}
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

// Seen notes that the session is in use.
func (r *Record) Seen(now time.Time) { r.LastSeen = later(r.LastSeen, now) }

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

// MaxValues bounds the number of a session's values.
const MaxValues = 10_000

// encode writes a record without its ID, which must not be in the store, but
// with the key made of it, so that it proves whose it is.
//
// The mark of an ended session is as short as can be: there may be as many as
// there were sign-outs in a session's lifetime. The seal around it names its key.
func (r *Record) encode() []byte {
	if r.ended != "" && r.Pair.Tokens == (auth.Tokens{}) {
		e := seal.Encoder{B: make([]byte, 0, 2)}
		e.Uint(markFormat)
		e.Uint(uint64(slices.Index(reasons, r.ended)))
		return e.B
	}
	e := seal.Encoder{B: make([]byte, 0, 512)}
	e.Uint(recordFormat)
	e.Text(r.Key)
	e.Token(r.UserID)
	e.Time(r.Created)
	r.Pair.Encode(&e)
	e.Uint(r.lease.nonce)
	e.Uint(r.lease.beat)
	e.Bool(r.lease.claim)
	e.Uint(uint64(r.unknown))
	e.Uint(uint64(r.failures))
	e.Time(r.retryAt)
	e.Bool(r.shown)
	e.Text(string(r.ended))
	e.Bool(r.all)
	e.Time(r.LastSeen)
	EncodeValues(&e, r.Values)
	return e.B
}

var errBadEncoding = errors.New("not a session's encoding")

func decodeRecord(b []byte, id ID, key string) (*Record, error) {
	d := seal.NewDecoder(b)
	r := &Record{ID: id, Key: key}
	switch d.Uint() {
	case recordFormat:
	case markFormat:
		why := d.Count(uint64(len(reasons) - 1))
		if !d.Done() {
			return nil, errBadEncoding
		}
		r.ended = reasons[why]
		return r, nil
	default:
		return nil, errBadEncoding
	}
	if d.Text() != key {
		return nil, errors.New("the record of another session")
	}
	r.UserID = d.Token()
	r.Created = d.Time()
	r.Pair = DecodePair(d)
	r.lease = lease{nonce: d.Uint(), beat: d.Uint(), claim: d.Bool()}
	r.unknown = attempt(d.Uint())
	r.failures = d.Count(1 << 30)
	r.retryAt = d.Time()
	r.shown = d.Bool()
	r.ended = Reason(d.Text())
	r.all = d.Bool()
	r.LastSeen = d.Time()
	r.Values = DecodeValues(d)
	if !d.Done() || r.ended != "" && (!slices.Contains(reasons, r.ended) || r.Pair.Tokens == (auth.Tokens{})) {
		return nil, errBadEncoding // a mark without tokens has a shorter form
	}
	return r, nil
}

// Encode writes p without its claims, which are in the access token.
func (p Pair) Encode(e *seal.Encoder) {
	e.Uint(p.Gen)
	e.Time(p.Expires)
	e.Duration(p.Life)
	e.Bool(p.Forced)
	e.Token(p.Tokens.AccessToken)
	e.Token(p.Tokens.RefreshToken)
}

// DecodePair reads what [Pair.Encode] writes.
func DecodePair(d *seal.Decoder) Pair {
	var p Pair
	p.Gen = d.Uint()
	p.Expires = d.Time()
	p.Life = d.Duration()
	p.Forced = d.Bool()
	p.Tokens.AccessToken = d.Token()
	p.Tokens.RefreshToken = d.Token()
	return p
}

// EncodeValues writes values in the order of their names, so that equal values have
// equal encodings.
func EncodeValues(e *seal.Encoder, values map[string][]byte) {
	e.Uint(uint64(len(values)))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		e.Text(name)
		e.Bytes(values[name])
	}
}

// DecodeValues reads what EncodeValues writes.
func DecodeValues(d *seal.Decoder) map[string][]byte {
	n := d.Count(MaxValues)
	if n == 0 || d.Bad() {
		return nil
	}
	// The count is not trusted with an allocation.
	values := map[string][]byte{}
	last := ""
	for i := 0; i < n && !d.Bad(); i++ {
		name := d.Text()
		if i > 0 && name <= last {
			d.Fail()
		}
		last = name
		values[name] = d.Bytes()
	}
	return values
}

// ValuesSize is the length of what EncodeValues writes.
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

// What the parts of a record take beside the bytes of their texts, at most.
const (
	recordBytes = 640 // with its claims
	valueBytes  = 160
)

// Memory is how many bytes r takes, without the bytes of its values: those are
// part of what r was decoded from.
func (r *Record) Memory() int {
	n := recordBytes + len(r.Key) + len(r.UserID) + len(r.Pair.Tokens.AccessToken) + len(r.Pair.Tokens.RefreshToken)
	for name := range r.Values {
		n += valueBytes + len(name)
	}
	if c := r.Pair.Claims; c != nil {
		n += c.Size()
	}
	return n
}
