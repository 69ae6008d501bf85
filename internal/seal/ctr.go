package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// maxBlockwise is the length of the longest text that xorCTR encrypts block by block.
const maxBlockwise = 8 * aes.BlockSize

// xorCTR encrypts or decrypts b, in place, as cipher.NewCTR does. The stream that NewCTR
// returns has a copy of the prepared key, half a kilobyte, and most cookies are shorter.
func (c *scratch) xorCTR(block cipher.Block, iv, b []byte) {
	if len(b) > maxBlockwise {
		cipher.NewCTR(block, iv).XORKeyStream(b, b)
		return
	}
	copy(c.counter[:], iv)
	for len(b) > 0 {
		block.Encrypt(c.pad[:], c.counter[:])
		b = b[subtle.XORBytes(b, b, c.pad[:]):]
		for i := len(c.counter) - 1; i >= 0; i-- { // the counter is one number, in big-endian order
			if c.counter[i]++; c.counter[i] != 0 {
				break
			}
		}
	}
	clear(c.pad[:])
}
