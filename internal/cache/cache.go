// Package cache remembers what is costly to make, within a number of bytes.
package cache

import "sync"

// Cache remembers what was made of bytes that do not change. It holds at most
// the given number of bytes. Entries have two generations: those used last are
// young, and when the young ones fill half of the Cache, the old ones go.
//
// An entry larger than largest is not kept: a few of them would displace all
// others.
type Cache[K comparable, V any] struct {
	bytes, largest int

	mu         sync.RWMutex
	young, old map[K]cached[V]
	youngBytes int
}

type cached[V any] struct {
	value V
	bytes int
}

// New returns an empty Cache for a number of bytes, which keeps no entry larger
// than largest.
func New[K comparable, V any](bytes, largest int) *Cache[K, V] {
	return &Cache[K, V]{bytes: bytes, largest: largest, young: map[K]cached[V]{}}
}

// Get returns the value under k.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.RLock()
	e, ok := c.young[k]
	var aged bool
	if !ok {
		e, aged = c.old[k]
	}
	c.mu.RUnlock()
	if aged {
		c.keep(k)
	}
	return e.value, ok || aged
}

// keep makes an old entry young, unless it has been replaced meanwhile.
func (c *Cache[K, V]) keep(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.old[k]; ok {
		c.putLocked(k, e)
	}
}

// Put stores v, which holds the given number of bytes, in the place of what is
// stored under k.
func (c *Cache[K, V]) Put(k K, v V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(k, cached[V]{v, bytes + entryBytes})
}

func (c *Cache[K, V]) putLocked(k K, e cached[V]) {
	if was, ok := c.young[k]; ok {
		c.youngBytes -= was.bytes
		delete(c.young, k)
	}
	delete(c.old, k)
	if e.bytes > c.largest {
		return
	}
	if c.youngBytes+e.bytes > c.bytes/2 {
		c.young, c.old, c.youngBytes = map[K]cached[V]{}, c.young, 0
	}
	c.young[k] = e
	c.youngBytes += e.bytes
}

// entryBytes is what an entry takes beside its value, at most: in a hash table
// that may be half empty, and by the allocator's rounding.
const entryBytes = 192
