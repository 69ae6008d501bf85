package seal

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// macKey is a key of HMAC-SHA-256.
type macKey struct {
	key  []byte
	pool *sync.Pool // of hash.Hash with this key; nil for a key of few uses
}

// macKeyForManyUses returns a macKey that prepares its key once for many MACs.
func macKeyForManyUses(key []byte) macKey { return macKey{key, &sync.Pool{}} }

// mac appends the MAC of b to sum.
func (k macKey) mac(sum, b []byte) []byte {
	var h hash.Hash
	if k.pool != nil {
		h, _ = k.pool.Get().(hash.Hash)
	}
	if h == nil {
		h = hmac.New(sha256.New, k.key)
	}
	_, _ = h.Write(b)
	sum = h.Sum(sum)
	if k.pool != nil {
		h.Reset()
		k.pool.Put(h)
	}
	return sum
}

// scratch holds the buffers of one call. After the call, they contain no part of the
// sealed data.
type scratch struct {
	text, body   []byte
	sum          [sha256.Size]byte
	counter, pad [aes.BlockSize]byte // of xorCTR
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxScratch is the size of the largest buffer that is kept. It is enough for a record
// of tokens and a few values.
const maxScratch = 64 << 10

func (c *scratch) free() {
	if cap(c.text) <= maxScratch && cap(c.body) <= maxScratch {
		scratches.Put(c)
	}
}
