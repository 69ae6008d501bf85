package session

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

// What a sealed text is for. It is bound into the seal together with the name
// of the cookie or the key of the record: bytes that were sealed for one
// purpose never open for another.
const (
	purposeTokens = "tokens"
	purposeState  = "state"
	purposeID     = "id"
	purposeMFA    = "mfa"
	purposeRecord = "record"
	purposeMeta   = "meta"
)

// secret is a configured SecretKey with all that is derived from it once.
type secret struct {
	cookies sealer
	meta    sealer
	owner   []byte
	record  []byte
}

func newSecret(k SecretKey) secret {
	key := k.value()
	return secret{
		cookies: newSeal(derive(key, nil, "cookie hash"), derive(key, nil, "cookie block")),
		meta:    newSeal(derive(key, nil, "meta hash"), derive(key, nil, "meta block")),
		owner:   derive(key, nil, "owner"),
		record:  derive(key, nil, "record"),
	}
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

// sealer seals by AES-256-CTR and HMAC-SHA-256.
type sealer struct {
	cookie *securecookie.SecureCookie
	hash   []byte
}

// newSeal leaves the judgement of age and length to the caller, who has rules
// for both.
func newSeal(hash, block []byte) sealer {
	return sealer{
		cookie: securecookie.New(hash, block).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{}),
		hash:   hash,
	}
}

// buffers are for the texts that authentic reads.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// authentic reports whether the MAC of a sealed text, given in one part or more,
// is right. Anybody can send texts whose MAC is wrong: to refuse them must not
// cost memory.
func (s sealer) authentic(name string, sealed ...string) bool {
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

// recordSeal is the seal of one session's record. It needs the session ID,
// which only the browser's cookie holds: neither the store nor the configured
// secret opens a record alone.
func (s secret) recordSeal(id ID) sealer {
	return newSeal(derive(string(s.record), id[:], "record hash"), derive(string(s.record), id[:], "record block"))
}

// ownerOf is the keyed hash under which a user's records are listed.
func (s secret) ownerOf(userID string) string {
	mac := hmac.New(sha256.New, s.owner)
	mac.Write([]byte(userID))
	return hex.EncodeToString(mac.Sum(nil))
}

func sealName(purpose, name string) string { return formatVersion + " " + purpose + " " + name }

// seal seals plain, which is overwritten: it is encrypted in place.
func seal(s sealer, purpose, name string, plain []byte) (string, error) {
	return s.cookie.Encode(sealName(purpose, name), plain)
}

func open(s sealer, purpose, name, sealed string) ([]byte, bool) {
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

// sealedSize is the length of a sealed text for plain bytes of length n:
// the ciphertext after its initialization vector in base64, between a date and
// a MAC, in base64 once more.
func sealedSize(n int) int {
	const iv, date = 16, len("1700000000|")
	inner := base64.URLEncoding.EncodedLen(iv + n)
	return base64.URLEncoding.EncodedLen(date + inner + len("|") + sha256.Size)
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// inBase64URL tells of each byte whether it is in the alphabet: cookies are long, and every one is read.
var inBase64URL = func() (table [256]bool) {
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
		if !inBase64URL[body[i]] {
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
