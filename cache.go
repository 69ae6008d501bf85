package session

import "sync"

// cache remembers what was made of bytes that do not change. It keeps the
// entries used last, at least size and at most twice as many, and forgets
// without ever looking at one: when the young are size, the old go.
type cache[K comparable, V any] struct {
	size int

	mu         sync.RWMutex
	young, old map[K]V
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	return &cache[K, V]{size: size, young: map[K]V{}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	v, ok := c.young[k]
	var aged bool
	if !ok {
		v, aged = c.old[k]
	}
	c.mu.RUnlock()
	if aged {
		c.put(k, v)
	}
	return v, ok || aged
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.size {
		c.young, c.old = make(map[K]V, c.size), c.young
	}
	c.young[k] = v
}
