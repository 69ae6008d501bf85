package keeper

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/synmetrix/session/auth"
)

// ID identifies a session. It has 256 random bits and is new at every login. Only
// the browser's cookie has it. A client that knows the ID of a stored session can use
// the session, so logs and stores have only its hash.
type ID [32]byte

// NewID returns a new random ID.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// Format implements [fmt.Formatter]. It never shows the ID.
func (id ID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[session ID]") }

// MarshalText implements [encoding.TextMarshaler]. Logs in JSON do not show the ID either.
func (id ID) MarshalText() ([]byte, error) { return []byte("[session ID]"), nil }

// Key returns the key of the session's record. It reveals nothing about the ID.
func (id ID) Key() string {
	sum := sha256.Sum256(id[:])
	var text [2 * len(sum)]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// NewRecord returns a new session of the user of p, who has just signed in. Its
// generations begin at 1, because 0 stands for no generation.
func NewRecord(p Pair, now time.Time) *Record {
	id := NewID()
	p.Gen = 1
	return &Record{ID: id, Key: id.Key(), SignIn: SignIn{UserID: p.Claims.UserID, Created: now}, LastSeen: now, Pair: p}
}

// NewVisitor returns a new session of a visitor who is not signed in.
func NewVisitor(now time.Time) *Record {
	id := NewID()
	return &Record{ID: id, Key: id.Key(), SignIn: SignIn{Created: now}, LastSeen: now, Visitor: true}
}

// SignIn has the data that is fixed when the user signs in.
type SignIn struct {
	UserID  string
	Created time.Time // the start of the session
	Ends    uint64    // the user's mark at that time; see users.go

	// Earlier is how long before the start of the session the user entered the credentials,
	// for example at a service that many apps share.
	Earlier time.Duration

	// Lifetime ends the session this long after its start, if that is earlier than
	// Config.Lifetime. The zero value sets no other end.
	Lifetime time.Duration

	// Transient is true if the browser deletes the session's cookies when it is closed.
	Transient bool

	// Actor is the user who acts as the session's user, nil if there is none.
	Actor *Actor
}

// Actor is a user who acts as another user, and who has a separate session at the same
// time.
type Actor struct {
	UserID string
	Key    string // of the record of the actor's own session
}

// Pair is one generation of a session's tokens. The generation orders the pairs: of
// two copies of a cookie, the one with the higher generation is newer.
type Pair struct {
	Gen     uint64
	Expires time.Time     // of the access token, by this program's clock: its receipt plus Life
	Life    time.Duration // of the access token
	Forced  bool          // the tokens were refreshed because an API had rejected the previous ones
	Roles   uint64        // the user's mark before the refresh; see users.go
	Claims  *auth.Claims  // of the access token; nil if they are packed, not read yet, or cannot be read
	User    *auth.User    // data of the user that is not in the claims, without the ID; nil: none

	tokens  auth.Tokens     // zero if they are packed
	packed  *packed         // the tokens and claims, not decoded; nil if they are decoded
	roles   map[string]bool // the allowed roles of Claims, if they are many
	payload string          // of the access token, decoded, until ReadClaims; may be empty
}

// Format implements [fmt.Formatter]. It never shows the tokens. fmt would print them,
// because it does not call the methods of fields that are not exported.
func (p Pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[tokens]") }

// manyRoles is the number of roles above which a lookup in a map is faster than a search.
const manyRoles = 16

// SetClaims sets the claims of the access token for requests that share p.
func (p *Pair) SetClaims(c *auth.Claims) {
	p.Claims, p.roles = c, nil
	if len(c.AllowedRoles) < manyRoles {
		return
	}
	p.roles = make(map[string]bool, len(c.AllowedRoles))
	for _, role := range c.AllowedRoles {
		p.roles[role] = true
	}
}

// Tokens returns the tokens of p.
func (p *Pair) Tokens() auth.Tokens {
	if p.packed != nil {
		return p.packed.decodeTokens()
	}
	return p.tokens
}

// SetTokens replaces the tokens of p. The caller sets the claims.
func (p *Pair) SetTokens(t auth.Tokens) { p.tokens, p.packed = t, nil }

// setRefreshToken replaces the refresh token of p.
func (p *Pair) setRefreshToken(token string) {
	t := p.Tokens()
	t.RefreshToken = token
	if p.packed != nil {
		p.packed = p.packed.withTokens(t)
		return
	}
	p.tokens = t
}

// HasRole reports whether the claims allow role.
func (p *Pair) HasRole(role string) bool {
	if p.packed != nil {
		return p.packed.hasRole(role)
	}
	if p.roles != nil {
		return p.roles[role]
	}
	return p.Claims != nil && slices.Contains(p.Claims.AllowedRoles, role)
}

// Email returns the e-mail address of the user, "" if it is not known.
func (p *Pair) Email() string {
	if p.User == nil {
		return ""
	}
	return p.User.Email
}

// Record is the state of a session. For a stored session the store keeps it. For a
// cookie session, its two cookies and the coordinator's record together hold it.
//
// Requests share a Record, so it is never modified. A change is made to a clone.
type Record struct {
	ID  ID
	Key string // of the record; see ID.Key
	SignIn
	Pair Pair

	// The state of a refresh; see refresh.go.
	lease    lease
	unknown  sender    // of this generation's refresh token, if the outcome is unknown; see sender
	failures int       // failed attempts to refresh this generation, or to revoke it after the end
	retryAt  time.Time // when the next attempt may be made
	shown    bool      // a browser has sent this generation's cookie

	// A record with a reason is a mark; see end.go. It has the tokens that the service has
	// not yet confirmed as revoked.
	ended Reason
	all   bool // the service must end all sessions of the user

	// These are in the record of a stored session, and in the state cookie of a cookie
	// session.
	Values   map[string][]byte
	LastSeen time.Time

	// Visitor is true for the session of a visitor who is not signed in. Such a session has
	// values and no tokens. The field is not encoded, because such a record is recognized
	// by its empty user.
	Visitor bool

	// Device is the device of a stored session. It is also in the record's Meta; see list.go.
	Device Device

	// version is the version in the store, 0 if the record is not stored. A swap
	// succeeds only if the stored version is still this one.
	version uint64
}

// lease is the right to refresh; see lease.go. Its holder has chosen the nonce, and renews
// the lease by changing beat: the clocks of processes are not compared. A claim is a lease
// that another process has taken from a silent holder, and that the holder may still take
// back.
type lease struct {
	nonce, beat uint64
	claim       bool
}

// sender names a process that may have sent the refresh token, by Keeper.self. The outcome
// of its call is unknown, so a later rejection may be due to that call. Zero means no
// process.
type sender uint64

// someSender means several processes, or an unknown one.
const someSender sender = 1

// and returns s with another sender added.
func (s sender) and(other sender) sender {
	// A rejection takes effect at once only if this process was the one sender (rule 6).
	if s == 0 || s == other {
		return other
	}
	return someSender
}

// Clone returns a copy of r that can be modified. The copies share their claims and
// the bytes of their values.
func (r *Record) Clone() *Record {
	c := *r
	c.Values = maps.Clone(r.Values)
	return &c
}

// WithTokensOf returns r with the tokens of another state of the session. A refresh
// of a cookie session returns a state that has no values.
func (r *Record) WithTokensOf(other *Record) *Record {
	if other == r {
		return r
	}
	c := r.Clone()
	c.Pair, c.version = other.Pair, other.version
	return c
}

// Seen records that the session was used. The clocks of machines differ, so it never moves
// the time backwards.
func (r *Record) Seen(now time.Time) { r.LastSeen = later(r.LastSeen, now) }

// renew replaces the tokens by the next generation. It clears the state of the
// refresh: lease, failures and senders are about one generation, and no browser has
// sent the new cookie yet.
func (r *Record) renew(p Pair) {
	r.Pair = p
	r.Pair.Gen++
	// shown becomes false again: until a browser has sent the new cookie, the record has
	// the only other copy of the tokens (rule 5).
	r.lease, r.unknown, r.failures, r.retryAt, r.shown = lease{}, 0, 0, time.Time{}, false
}

// busy reports whether the record has the state of a refresh that is under way or
// has failed. Other processes need that state.
func (r *Record) busy() bool { return r.lease.nonce != 0 || r.unknown != 0 || r.failures != 0 }

// RecordBytes is the memory of a Record without its claims, values and texts.
const RecordBytes = 448

// The memory that claims, a value and a role use at most, without their texts.
const (
	claimsBytes = 224
	valueBytes  = 160
	roleBytes   = 64 // an entry of Pair.roles
)

// Memory returns how many bytes r uses, without the texts in the bytes that r was decoded
// from: the cache counts those bytes separately.
func (r *Record) Memory() int {
	n := RecordBytes + len(r.Key) + len(r.UserID) + len(r.Device.UserAgent) + len(r.Pair.tokens.AccessToken) + len(r.Pair.tokens.RefreshToken)
	if a := r.Actor; a != nil {
		n += len(a.UserID) + len(a.Key)
	}
	if u := r.Pair.User; u != nil {
		n += len(u.Email) + len(u.Name) + len(u.Picture)
	}
	if p := r.Pair.packed; p != nil {
		n += packedBytes + len(p.roles) + claimsBytes + p.claimsSize
	}
	if c := r.Pair.Claims; c != nil {
		n += claimsBytes + c.Size() + roleBytes*len(r.Pair.roles)
	}
	return n + ValuesMemory(r.Values)
}

// ValuesMemory returns how many bytes values use.
func ValuesMemory(values map[string][]byte) int {
	n := 0
	for name, v := range values {
		n += valueBytes + len(name) + len(v)
	}
	return n
}
