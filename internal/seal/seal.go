// Package seal encodes, encrypts and authenticates the data that leaves the process
// in cookies or in a store.
//
//   - encode.go: the encoding
//   - seal.go: keys, and the seal around an encoding
package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/securecookie"
)

// formatVersion is part of every seal. Data in the layout of another version is
// rejected like a forgery.
const formatVersion = "1"

// The purposes of sealed texts. The purpose is part of the seal, together with the
// name of the cookie or the key of the record. A text that was sealed for one purpose
// never opens for another, so a visitor cannot pass one cookie off as another.
const (
	Tokens      = "tokens"       // the tokens cookie
	State       = "state"        // the state cookie
	Visitor     = "visitor"      // the cookie of a visitor, with values or an ID
	ID          = "id"           // the cookie of a stored session
	Acting      = "acting"       // like Tokens and ID, for a session in which a user acts as another one
	ActingState = "acting-state" // like State, for such a session
	MFA         = "mfa"          // the cookie of a login that waits for its code
	Link        = "link"         // the cookie of a sign-in that waits for its link
	Token       = "token"        // the token of a link, in a form
	Device      = "device"       // the cookie with the accounts that have signed in in a browser
	Record      = "record"       // a record in a store
	Meta        = "meta"         // what a list of sessions shows of a record
	User        = "user"         // the mark of a user in a store
)

// Secret holds the keys that are derived from one configured secret. Each use has
// its own key.
type Secret struct {
	// Cookies seals cookies.
	Cookies Sealer

	// Meta seals what a list of a user's sessions shows of a record. The record itself
	// opens only with its session ID, which the list does not have.
	Meta Sealer
	// Users seals the marks of users.
	Users Sealer

	owner  []byte // for Owner
	digest []byte // for Digest
	user   []byte // for User
	record []byte // for Records
}

// NewSecret derives the keys of a secret of at least 32 bytes.
func NewSecret(key string) Secret {
	return Secret{
		Cookies: newSealer(derive(key, nil, "cookie hash"), derive(key, nil, "cookie block")),
		Meta:    newSealer(derive(key, nil, "meta hash"), derive(key, nil, "meta block")),
		Users:   newSealer(derive(key, nil, "user hash"), derive(key, nil, "user block")),
		owner:   derive(key, nil, "owner"),
		digest:  derive(key, nil, "digest"),
		user:    derive(key, nil, "user"),
		record:  derive(key, nil, "record"),
	}
}

// Records returns the sealer for the record of one session. The sealer depends on the
// session ID, which only the browser's cookie has. So a dump of the store cannot be
// opened with the configured secret alone.
func (s Secret) Records(id []byte) Sealer {
	return newSealer(derive(string(s.record), id, "record hash"), derive(string(s.record), id, "record block"))
}

// Owner returns the name under which a store lists the records of a user. It is a
// keyed hash, so the store does not reveal who its sessions belong to.
func (s Secret) Owner(userID string) string { return keyedHash(s.owner, userID) }

// User returns the key of the record with the mark of a user. It is another hash than
// Owner.
func (s Secret) User(userID string) string { return keyedHash(s.user, userID) }

func keyedHash(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// Digest returns a keyed hash of a text, of 16 bytes. The purpose is part of the hash.
// Without the secret the text cannot be guessed.
func (s Secret) Digest(purpose, text string) string {
	mac := hmac.New(sha256.New, s.digest)
	_, _ = io.WriteString(mac, purpose+"\x00"+text)
	return string(mac.Sum(nil)[:16])
}

// derive derives a key for one use from a secret, with HKDF and SHA-256 (RFC 5869).
func derive(secret string, salt []byte, info string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), salt, "synmetrix/session "+formatVersion+" "+info, sha256.Size)
	if err != nil {
		// HKDF only fails for a length over 255 hashes, or for a short secret in
		// FIPS mode. The configured secrets were checked before.
		panic("session: hkdf: " + err.Error())
	}
	return key
}

// Sealer seals with AES-256-CTR and HMAC-SHA-256. It is safe for concurrent use. The
// zero Sealer must not be used.
type Sealer struct {
	cookie *securecookie.SecureCookie
	hash   []byte // the key of the MAC, for Authentic
}

// newSealer returns a Sealer that accepts texts of any age and length. The callers
// have rules for both.
func newSealer(hash, block []byte) Sealer {
	return Sealer{
		cookie: securecookie.New(hash, block).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{}),
		hash:   hash,
	}
}

// IsZero reports whether s is the zero Sealer.
func (s Sealer) IsZero() bool { return s.cookie == nil }

// buffers holds buffers for Authentic.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Authentic reports whether the MAC of a sealed text is valid. The text may be given
// in several parts. Any client can send texts with an invalid MAC, so rejecting them
// must cost little: Authentic uses pooled buffers. Open allocates a multiple of the
// length.
func (s Sealer) Authentic(purpose, name string, sealed ...string) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = (*buf)[:0]
	for _, part := range sealed {
		*buf = append(*buf, part...)
	}
	n := len(*buf)
	*buf = slices.Grow(*buf, base64.URLEncoding.DecodedLen(n))
	b, err := base64.URLEncoding.AppendDecode((*buf)[n:], (*buf)[:n])
	end := len(b) - sha256.Size - len("|")
	if err != nil || end < 0 || b[end] != '|' {
		return false
	}
	mac := hmac.New(sha256.New, s.hash)
	_, _ = io.WriteString(mac, sealName(purpose, name))
	_, _ = mac.Write([]byte{'|'})
	_, _ = mac.Write(b[:end])
	var sum [sha256.Size]byte
	return hmac.Equal(mac.Sum(sum[:0]), b[end+1:])
}

// sealName returns the name that is part of the seal.
func sealName(purpose, name string) string { return formatVersion + " " + purpose + " " + name }

// Seal seals plain for a purpose and a name. It encrypts plain in place.
func (s Sealer) Seal(purpose, name string, plain []byte) (string, error) {
	return s.cookie.Encode(sealName(purpose, name), plain)
}

// Open returns the bytes that Seal has sealed for the same purpose and name. It
// returns false for any other text.
func (s Sealer) Open(purpose, name, sealed string) ([]byte, bool) {
	if !canonical(sealed) {
		return nil, false
	}
	var plain []byte
	if err := s.cookie.Decode(sealName(purpose, name), sealed, &plain); err != nil {
		return nil, false
	}
	return plain, true
}

// Size returns the length of the sealed text for n bytes. The text is the base64 of a
// date, the body and a MAC. The body is the base64 of the initialization vector and
// the ciphertext.
func Size(n int) int {
	const iv, date = 16, len("1700000000|")
	inner := base64.URLEncoding.EncodedLen(iv + n)
	return base64.URLEncoding.EncodedLen(date + inner + len("|") + sha256.Size)
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// InBase64URL reports for each byte whether it is in the URL alphabet of base64. It is
// a table because every byte of every cookie is looked up.
var InBase64URL = func() (table [256]bool) {
	for i := range len(base64URL) {
		table[base64URL[i]] = true
	}
	return table
}()

// canonical reports whether s is exactly the base64 text that an encoder writes. The
// decoder also accepts line breaks and stray bits in the last character. Without this
// check several texts would open to the same bytes, and a cookie could be altered
// without being rejected.
func canonical(s string) bool {
	if s == "" || len(s)%4 != 0 {
		return false
	}
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		if !InBase64URL[body[i]] {
			return false
		}
	}
	// The unused bits of the last character must be zero.
	last := strings.IndexByte(base64URL, body[len(body)-1])
	switch len(s) - len(body) {
	case 0:
		return true
	case 1:
		return last&0b11 == 0
	case 2:
		return last&0b1111 == 0
	}
	return false
}
