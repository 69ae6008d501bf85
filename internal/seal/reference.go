package seal

import (
	"strings"
	"sync"

	"github.com/gorilla/securecookie"
)

// reference seals and opens with securecookie alone.
type reference struct{ cookie *securecookie.SecureCookie }

// newReference returns a reference that accepts texts of any age and length. The callers
// of Open have rules for both.
func newReference(hash, block []byte) *reference {
	return &reference{securecookie.New(hash, block).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{})}
}

func (r *reference) seal(name string, plain []byte) (string, error) {
	return r.cookie.Encode(name, append([]byte(nil), plain...)) // Encode modifies its input
}

func (r *reference) open(name, sealed string) (string, bool) {
	var plain []byte
	if !isCanonical(sealed) || r.cookie.Decode(name, sealed, &plain) != nil {
		return "", false
	}
	return string(plain), true
}

// isCanonical reports whether s is the canonical base64 of its bytes.
func isCanonical(s string) bool {
	_, err := canonicalBase64.DecodeString(s)
	return err == nil && !strings.ContainsAny(s, "\r\n")
}

// sameFormat reports whether Sealer and securecookie open what the other has sealed. An
// app may be built with a later version of securecookie than this module was tested with.
// If that version has another format, all Sealers leave the work to it.
var sameFormat = sync.OnceValue(func() bool {
	const name, text = "name", "sealed once in each process"
	hash, block := []byte("a key of the MAC, of 32 bytes..."), []byte("a key of the cipher, of 32 bytes")
	r, s := newReference(hash, block), newFastSealer(macKey{key: hash}, block)
	ours, _ := s.Seal(Tokens, name, []byte(text))
	theirs, _ := r.seal(sealName(Tokens, name), []byte(text))
	opensOurs, _ := r.open(sealName(Tokens, name), ours)
	opensTheirs, _ := s.Open(Tokens, name, theirs)
	return opensOurs == text && opensTheirs == text
})
