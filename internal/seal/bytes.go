package seal

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
)

// A store keeps bytes, so what is sealed for a store has no base64, which would make it
// longer by three quarters, and no date:
//
//	iv ciphertext mac
//
// The MAC covers "name|iv ciphertext". The encryption is that of sealed texts.

// bytesVersion is the version of this layout in the name. It differs from that of sealed
// texts, so neither opens as the other, even with the same keys.
const bytesVersion = "2"

// SealBytes seals plain for a purpose and a name, for a store.
func (s Sealer) SealBytes(purpose, name string, plain []byte) []byte {
	c := scratches.Get().(*scratch)
	defer c.free()
	c.text = append(appendName(c.text[:0], bytesVersion, purpose, name), '|')
	start := len(c.text)
	c.text = append(append(c.text, c.counter[:]...), plain...) // room for the initialization vector
	content := c.text[start:]
	iv := content[:aes.BlockSize]
	_, _ = rand.Read(iv) // never returns an error
	c.xorCTR(s.block, iv, content[aes.BlockSize:])
	sealed := make([]byte, 0, len(content)+sha256.Size)
	return s.hash.mac(append(sealed, content...), c.text)
}

// OpenBytes returns what SealBytes has sealed for the same purpose and name. It returns
// false for any other bytes.
func (s Sealer) OpenBytes(purpose, name string, sealed []byte) (plain string, ok bool) {
	end := len(sealed) - sha256.Size
	if end <= aes.BlockSize {
		return "", false
	}
	c := scratches.Get().(*scratch)
	defer c.free()
	c.text = append(appendName(c.text[:0], bytesVersion, purpose, name), '|')
	start := len(c.text)
	c.text = append(c.text, sealed[:end]...)
	if !hmac.Equal(s.hash.mac(c.sum[:0], c.text), sealed[end:]) {
		return "", false
	}
	iv, text := c.text[start:start+aes.BlockSize], c.text[start+aes.BlockSize:]
	c.xorCTR(s.block, iv, text)
	plain = string(text)
	clear(text)
	return plain, true
}

// BytesSize returns the length of what SealBytes returns for n bytes.
func BytesSize(n int) int { return aes.BlockSize + n + sha256.Size }
