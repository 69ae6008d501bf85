package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"
)

// xorCTR encrypts as package cipher does, with every length and when the counter overflows.
func TestXORCTR(t *testing.T) {
	block, err := aes.NewCipher([]byte("a key of the cipher, of 32 bytes"))
	if err != nil {
		t.Fatal(err)
	}
	c := new(scratch)
	for zeros := range aes.BlockSize + 1 {
		iv := append(make([]byte, zeros), bytes.Repeat([]byte{0xff}, aes.BlockSize-zeros)...)
		for n := range 2 * maxBlockwise {
			want, got := make([]byte, n), bytes.Repeat([]byte{'a'}, n)
			cipher.NewCTR(block, iv).XORKeyStream(want, got)
			if c.xorCTR(block, iv, got); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes with the IV %x: %x, want %x", n, iv, got, want)
			}
		}
	}
}
