// Package seal encodes, encrypts and authenticates the data that leaves the process
// in cookies or in a store.
//
//   - encode.go: the encoding
//   - secret.go: the keys that are derived from a configured secret
//   - mac.go: keyed hashes
//   - ctr.go: encryption
//   - seal.go: the seal around an encoding, as text for a cookie
//   - bytes.go: the seal around an encoding for a store
//   - reference.go: the same seal, by gorilla/securecookie
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// formatVersion is part of the keys and of every sealed text. Data in the layout of another
// version is rejected like a forgery.
const formatVersion = "1"

// The purposes of sealed texts. The purpose is part of the seal, together with the
// name of the cookie or the key of the record. A text that was sealed for one purpose
// never opens for another, so a visitor cannot pass one cookie off as another.
const (
	Tokens      = "tokens"       // the tokens cookie
	State       = "state"        // the state cookie
	Visitor     = "visitor"      // the cookie of a visitor, with values or an ID
	ID          = "id"           // the cookie of a stored session
	Acting      = "acting"       // like Tokens and ID, for a session in which a user acts as another user
	ActingState = "acting-state" // like State, for such a session
	MFA         = "mfa"          // the cookie of a login that waits for its code
	Link        = "link"         // the cookie of a sign-in that waits for its link
	Token       = "token"        // the token of a link, in a form
	Device      = "device"       // the cookie with the accounts that have signed in in a browser
	Record      = "record"       // a record in a store
	Meta        = "meta"         // what a list of sessions shows of a record
	User        = "user"         // the mark of a user in a store
)

// A sealed text has the format of gorilla/securecookie:
//
//	base64(date "|" base64(iv ciphertext) "|" mac)
//
// The MAC covers "name|date|base64(iv ciphertext)". securecookie defines which texts are
// accepted, with one more rule: the text must be the canonical base64 of its bytes.
// Otherwise a cookie could be altered without being rejected.
//
// securecookie prepares its keys for each text, and allocates several times the length of
// the text. Sealer writes and reads the same format without both. FuzzSealer compares the
// two, and so does sameFormat in each process.

// Sealer seals with AES-256-CTR and HMAC-SHA-256. It is safe for concurrent use. The
// zero Sealer must not be used.
type Sealer struct {
	hash      macKey
	block     cipher.Block // has the key of the cipher
	reference *reference   // does the work if it is not nil
}

func newSealer(hash macKey, block []byte) Sealer {
	s := newFastSealer(hash, block)
	if !sameFormat() {
		s.reference = newReference(hash.key, block)
	}
	return s
}

func newFastSealer(hash macKey, block []byte) Sealer {
	b, err := aes.NewCipher(block)
	if err != nil {
		panic("session: aes: " + err.Error()) // all callers have keys of 32 bytes
	}
	return Sealer{hash: hash, block: b}
}

// IsZero reports whether s is the zero Sealer.
func (s Sealer) IsZero() bool { return s.block == nil }

// Seal seals plain for a purpose and a name.
func (s Sealer) Seal(purpose, name string, plain []byte) (string, error) {
	if s.reference != nil {
		return s.reference.seal(sealName(purpose, name), plain)
	}
	c := scratches.Get().(*scratch)
	defer c.free()
	content := s.content(c, purpose, name, plain)
	c.body = base64.URLEncoding.AppendEncode(c.body[:0], content)
	return string(c.body), nil
}

// AppendSeal appends the result of Seal to b.
func (s Sealer) AppendSeal(b []byte, purpose, name string, plain []byte) ([]byte, error) {
	if s.reference != nil {
		sealed, err := s.reference.seal(sealName(purpose, name), plain)
		return append(b, sealed...), err
	}
	c := scratches.Get().(*scratch)
	defer c.free()
	return base64.URLEncoding.AppendEncode(b, s.content(c, purpose, name, plain)), nil
}

// content encrypts plain and returns the bytes of the sealed text. They are in c.text.
func (s Sealer) content(c *scratch, purpose, name string, plain []byte) []byte {
	c.body = append(append(c.body[:0], c.counter[:]...), plain...) // room for the initialization vector
	iv := c.body[:aes.BlockSize]
	_, _ = rand.Read(iv) // never returns an error
	c.xorCTR(s.block, iv, c.body[aes.BlockSize:])

	c.text = append(appendSealName(c.text[:0], purpose, name), '|')
	start := len(c.text)
	c.text = append(strconv.AppendInt(c.text, time.Now().Unix(), 10), '|')
	c.text = base64.URLEncoding.AppendEncode(c.text, c.body)
	sum := s.hash.mac(c.sum[:0], c.text)
	c.text = append(append(c.text, '|'), sum...)
	return c.text[start:]
}

// Open returns what Seal has sealed for the same purpose and name. It
// returns false for any other text. Any client can send such texts, so rejecting them
// must cost little: Open allocates nothing for a text whose MAC is invalid.
func (s Sealer) Open(purpose, name, sealed string) (plain string, ok bool) {
	if s.reference != nil {
		return s.reference.open(sealName(purpose, name), sealed)
	}
	c := scratches.Get().(*scratch)
	defer c.free()
	c.body = append(c.body[:0], sealed...)
	content, ok := s.authentic(c, purpose, name)
	if !ok {
		return "", false
	}
	// The MAC is valid, so the rest is what Seal has written.
	date, body, _ := bytes.Cut(content, []byte{'|'})
	if _, err := strconv.ParseInt(string(date), 10, 64); err != nil {
		return "", false
	}
	var err error
	c.body, err = base64.URLEncoding.AppendDecode(c.body[:0], body)
	if err != nil || len(c.body) <= aes.BlockSize {
		return "", false
	}
	iv, text := c.body[:aes.BlockSize], c.body[aes.BlockSize:]
	c.xorCTR(s.block, iv, text)
	plain = string(text)
	clear(text)
	return plain, true
}

// Authentic reports whether the MAC of a sealed text is valid. The text may be given
// in several parts.
func (s Sealer) Authentic(purpose, name string, sealed ...string) bool {
	if s.reference != nil {
		_, ok := s.reference.open(sealName(purpose, name), strings.Join(sealed, ""))
		return ok
	}
	c := scratches.Get().(*scratch)
	defer c.free()
	c.body = c.body[:0]
	for _, part := range sealed {
		c.body = append(c.body, part...)
	}
	_, ok := s.authentic(c, purpose, name)
	return ok
}

// appendSealName appends the name that is part of the seal. It is not in the sealed text.
func appendSealName(b []byte, purpose, name string) []byte {
	return appendName(b, formatVersion, purpose, name)
}

func appendName(b []byte, version, purpose, name string) []byte {
	return append(append(append(append(append(b, version...), ' '), purpose...), ' '), name...)
}

func sealName(purpose, name string) string { return string(appendSealName(nil, purpose, name)) }

// canonicalBase64 rejects unused bits in the last character that are not zero. It
// ignores line breaks.
var canonicalBase64 = base64.URLEncoding.Strict()

// authentic returns the part of the sealed text in c.body that the MAC covers, without the
// name. The result is in c. ok is false if the MAC is invalid.
func (s Sealer) authentic(c *scratch, purpose, name string) (content []byte, ok bool) {
	if bytes.IndexByte(c.body, '\n') >= 0 || bytes.IndexByte(c.body, '\r') >= 0 {
		return nil, false
	}
	c.text = append(appendSealName(c.text[:0], purpose, name), '|')
	start := len(c.text)
	var err error
	c.text, err = canonicalBase64.AppendDecode(c.text, c.body)
	end := len(c.text) - sha256.Size - len("|")
	if err != nil || end < start || c.text[end] != '|' {
		return nil, false
	}
	if !hmac.Equal(s.hash.mac(c.sum[:0], c.text[:end]), c.text[end+1:]) {
		return nil, false
	}
	return c.text[start:end], true
}

// Size returns the length of the sealed text for n bytes. The text is the base64 of a
// date, the body and a MAC. The body is the base64 of the initialization vector and
// the ciphertext.
func Size(n int) int {
	const iv, date = 16, len("1700000000|")
	inner := base64.URLEncoding.EncodedLen(iv + n)
	return base64.URLEncoding.EncodedLen(date + inner + len("|") + sha256.Size)
}

// InBase64URL reports for each byte whether it is in the URL alphabet of base64.
var InBase64URL = func() (table [256]bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(alphabet) {
		table[alphabet[i]] = true
	}
	return table
}()
