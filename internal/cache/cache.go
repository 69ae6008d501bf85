// Package cache keeps values that are costly to make, within a number of bytes.
package cache

import "sync"

// Cache maps keys to values and holds at most a number of bytes. It is safe for
// concurrent use. It suits values that are made of bytes that do not change: a value
// never becomes wrong, and the Cache may drop it at any time.
//
// Entries are young or old. A new entry is young, and an old entry that is used
// becomes young again. When the young entries fill half of the Cache, it drops the
// old ones, and the young ones become old. This needs no list in the order of use,
// so most calls of Get only take a read lock.
type Cache[K comparable, V any] struct {
	bytes, largest int

	mu         sync.RWMutex
	young, old map[K]cached[V]
	youngBytes int
}

// cached is an entry.
type cached[V any] struct {
	value V
	bytes int
}

// New returns an empty Cache for a number of bytes. It keeps no entry larger than
// largest: a few of them would displace all others.
func New[K comparable, V any](bytes, largest int) *Cache[K, V] {
	return &Cache[K, V]{bytes: bytes, largest: largest, young: map[K]cached[V]{}}
}

// Get returns the value of k.
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

// keep makes an old entry young. Get has released its lock before, so the entry may
// have been replaced or dropped.
func (c *Cache[K, V]) keep(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.old[k]; ok {
		c.putLocked(k, e)
	}
}

// Put stores v as the value of k. v uses the given number of bytes.
func (c *Cache[K, V]) Put(k K, v V, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(k, cached[V]{v, bytes + entryBytes})
}

// Remove removes k and returns its value.
func (c *Cache[K, V]) Remove(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[k]
	if ok {
		c.youngBytes -= e.bytes
	} else {
		e, ok = c.old[k]
	}
	delete(c.young, k)
	delete(c.old, k)
	return e.value, ok
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

// entryBytes is how many bytes an entry uses at most in addition to its value: the
// hash table may be half empty, and the allocator rounds sizes up.
const entryBytes = 192
