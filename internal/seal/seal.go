// Package seal encrypts and authenticates what leaves the process, in cookies or
// in a store, and encodes it before.
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

// formatVersion is bound into every seal, so that bytes of another layout are
// refused as a forgery would be.
const formatVersion = "1"

// What a sealed text is for. The purpose is bound into the seal together with
// the name of the cookie or the key of the record: bytes that were sealed for one
// purpose never open for another.
const (
	Tokens = "tokens"
	State  = "state"
	ID     = "id"
	MFA    = "mfa"
	Record = "record"
)

// Secret is a configured secret with all that is derived from it once.
type Secret struct {
	// Cookies seals cookies.
	Cookies Sealer

	owner  []byte
	record []byte
}

// NewSecret derives the keys of a secret, which has 32 bytes or more.
func NewSecret(key string) Secret {
	return Secret{
		Cookies: newSealer(derive(key, nil, "cookie hash"), derive(key, nil, "cookie block")),
		owner:   derive(key, nil, "owner"),
		record:  derive(key, nil, "record"),
	}
}

// Records returns the sealer of one session's record. It needs the session ID,
// which only the browser's cookie holds: neither the store nor the configured
// secret opens a record alone.
func (s Secret) Records(id []byte) Sealer {
	return newSealer(derive(string(s.record), id, "record hash"), derive(string(s.record), id, "record block"))
}

// Owner returns the keyed hash under which a user's records are listed.
func (s Secret) Owner(userID string) string {
	mac := hmac.New(sha256.New, s.owner)
	mac.Write([]byte(userID))
	return hex.EncodeToString(mac.Sum(nil))
}

// derive is HKDF with SHA-256 (RFC 5869).
func derive(secret string, salt []byte, info string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), salt, "synmetrix/session "+formatVersion+" "+info, sha256.Size)
	if err != nil {
		// Only a length over 255 hashes, or a FIPS mode that refuses short
		// secrets, can fail; keys are validated before.
		panic("session: hkdf: " + err.Error())
	}
	return key
}

// Sealer seals by AES-256-CTR and HMAC-SHA-256. It is safe for concurrent use.
type Sealer struct {
	cookie *securecookie.SecureCookie
	hash   []byte
}

// newSealer leaves the judgement of age and length to the caller, who has rules
// for both.
func newSealer(hash, block []byte) Sealer {
	return Sealer{
		cookie: securecookie.New(hash, block).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{}),
		hash:   hash,
	}
}

// IsZero reports whether s is the zero Sealer, which seals nothing.
func (s Sealer) IsZero() bool { return s.cookie == nil }

// buffers are for the texts that Authentic reads.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Authentic reports whether the MAC of a sealed text, given in one part or more,
// is right. Anybody can send texts whose MAC is wrong: refusing them must not cost
// memory.
func (s Sealer) Authentic(purpose, name string, sealed ...string) bool {
	return s.authentic(sealName(purpose, name), sealed...)
}

func (s Sealer) authentic(name string, sealed ...string) bool {
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
	_, _ = io.WriteString(mac, name)
	_, _ = mac.Write([]byte{'|'})
	_, _ = mac.Write(b[:end])
	var sum [sha256.Size]byte
	return hmac.Equal(mac.Sum(sum[:0]), b[end+1:])
}

func sealName(purpose, name string) string { return formatVersion + " " + purpose + " " + name }

// Seal seals plain, which is overwritten: it is encrypted in place.
func (s Sealer) Seal(purpose, name string, plain []byte) (string, error) {
	return s.cookie.Encode(sealName(purpose, name), plain)
}

// Open returns what Seal has sealed for the same purpose and name. It reports
// false for any other text.
func (s Sealer) Open(purpose, name, sealed string) ([]byte, bool) {
	name = sealName(purpose, name)
	if !canonical(sealed) || !s.authentic(name, sealed) {
		return nil, false
	}
	var plain []byte
	if err := s.cookie.Decode(name, sealed, &plain); err != nil {
		return nil, false
	}
	return plain, true
}

// Size is the length of a sealed text for plain bytes of length n:
// the ciphertext after its initialization vector in base64, between a date and
// a MAC, in base64 once more.
func Size(n int) int {
	const iv, date = 16, len("1700000000|")
	inner := base64.URLEncoding.EncodedLen(iv + n)
	return base64.URLEncoding.EncodedLen(date + inner + len("|") + sha256.Size)
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// InBase64URL tells for each byte whether it is in the alphabet. A table, since
// cookies are long and every one is read.
var InBase64URL = func() (table [256]bool) {
	for i := range len(base64URL) {
		table[base64URL[i]] = true
	}
	return table
}()

// canonical reports whether s is the one base64 text of its bytes. The
// decoder behind a seal also takes line breaks and stray bits in the last
// character: texts that differ from what was sealed.
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
