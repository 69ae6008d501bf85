// Package cache keeps values that are costly to compute, within a number of bytes.
package cache

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Cache maps strings to values and holds at most a number of bytes. It is safe for
// concurrent use. It is for values that are computed from bytes that do not change: a value
// never becomes wrong, and the Cache may drop it at any time.
//
// Entries are young or old. A new entry is young, and an old entry that is used
// becomes young again. When the young entries fill half of the room, the old ones are
// dropped, and the young ones become old. This needs no list in the order of use,
// so most calls of Get only take a read lock.
//
// Values that have expired are dropped within sweepEvery, even without calls. Until then
// Get may return them.
type Cache[V any] struct {
	now    func() time.Time
	awake  atomic.Bool // the timer of the next sweep is running
	seed   maphash.Seed
	shards []shard[V] // their number is a power of two
}

// shard holds the entries of the keys that hash to it, so that calls with different keys
// rarely wait for the same lock.
type shard[V any] struct {
	bytes, largest int

	mu sync.RWMutex
	// By the hash of the key: keys may be long, and a call computes the hash once. Of two
	// keys with the same hash, one is kept.
	young, old map[uint64]cached[V]
	youngBytes int
	_          [64]byte // keeps the locks of other shards off the cache lines of this shard
}

// cached is an entry.
type cached[V any] struct {
	key   string
	value V
	bytes int
	end   int64 // when the value expires, in seconds since 1970
}

// sweepEvery is the time between two searches for expired values.
const sweepEvery = time.Minute

// maxShards is large compared to the number of cores.
const maxShards = 32

// New returns an empty Cache for a number of bytes. It keeps no entry larger than
// largest: a few of them would displace all others. now returns the current time.
func New[V any](bytes, largest int, now func() time.Time) *Cache[V] {
	// The young entries of a shard have room for the largest one.
	n := 1
	for n < maxShards && largest <= bytes/(4*n) {
		n *= 2
	}
	c := &Cache[V]{now: now, seed: maphash.MakeSeed(), shards: make([]shard[V], n)}
	for i := range c.shards {
		c.shards[i].bytes, c.shards[i].largest = bytes/n, largest
	}
	return c
}

// shard returns the shard of k, and the hash of k.
func (c *Cache[V]) shard(k string) (*shard[V], uint64) {
	hash := maphash.String(c.seed, k)
	return &c.shards[hash&uint64(len(c.shards)-1)], hash
}

// Get returns the value of k.
func (c *Cache[V]) Get(k string) (V, bool) {
	s, hash := c.shard(k)
	s.mu.RLock()
	e, ok := s.young[hash]
	var aged bool
	if !ok {
		e, aged = s.old[hash]
	}
	s.mu.RUnlock()
	if !ok && !aged || e.key != k {
		var none V
		return none, false
	}
	if aged {
		s.keep(k, hash)
	}
	return e.value, true
}

// keep makes an old entry young. Get has released its lock before, so the entry may
// have been replaced or dropped.
func (s *shard[V]) keep(k string, hash uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.old[hash]; ok && e.key == k {
		s.putLocked(hash, e)
	}
}

// Put stores v as the value of k until end. v uses the given number of bytes. The Cache
// keeps k, which must not be part of a larger text.
func (c *Cache[V]) Put(k string, v V, bytes int, end time.Time) {
	s, hash := c.shard(k)
	s.mu.Lock()
	s.putLocked(hash, cached[V]{k, v, bytes + entryBytes, end.Unix()})
	s.mu.Unlock()
	c.wake()
}

// wake starts the timer of the next sweep, unless it is running. There is a goroutine only
// during a sweep, and no timer while the Cache is empty.
func (c *Cache[V]) wake() {
	if c.awake.Load() || !c.awake.CompareAndSwap(false, true) {
		return
	}
	// The weak pointer lets the Cache be collected while the timer runs.
	p := weak.Make(c)
	time.AfterFunc(sweepEvery, func() {
		if c := p.Value(); c != nil {
			c.sweep()
		}
	})
}

// sweep drops the values that have expired. It holds the lock of a shard for some ten
// microseconds.
func (c *Cache[V]) sweep() {
	now := c.now().Unix()
	for i := range c.shards {
		c.shards[i].sweep(now)
	}
	// The order matters for a value that is stored at the same time: either its Put sees
	// awake == false and starts the timer, or the value is found here.
	c.awake.Store(false)
	for i := range c.shards {
		if !c.shards[i].empty() {
			c.wake()
			return
		}
	}
}

// sweep drops the values that have expired.
func (s *shard[V]) sweep(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.young, func(_ uint64, e cached[V]) bool {
		if e.end > now {
			return false
		}
		s.youngBytes -= e.bytes
		return true
	})
	maps.DeleteFunc(s.old, func(_ uint64, e cached[V]) bool { return e.end <= now })
}

func (s *shard[V]) empty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.young)+len(s.old) == 0
}

// Remove removes k and returns its value.
func (c *Cache[V]) Remove(k string) (V, bool) {
	s, hash := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.young[hash]
	if !ok {
		e, ok = s.old[hash]
	}
	if !ok || e.key != k {
		var none V
		return none, false
	}
	s.removeLocked(hash)
	return e.value, true
}

// removeLocked removes the entry of a key with this hash, if there is one.
func (s *shard[V]) removeLocked(hash uint64) {
	if e, ok := s.young[hash]; ok {
		s.youngBytes -= e.bytes
		delete(s.young, hash)
	}
	delete(s.old, hash)
}

func (s *shard[V]) putLocked(hash uint64, e cached[V]) {
	s.removeLocked(hash)
	if e.bytes > s.largest {
		return
	}
	if s.young == nil || s.youngBytes+e.bytes > s.bytes/2 {
		s.young, s.old, s.youngBytes = make(map[uint64]cached[V], len(s.young)), s.young, 0
	}
	s.young[hash] = e
	s.youngBytes += e.bytes
}

// entryBytes is how many bytes an entry uses at most in addition to its value: the
// hash table may be half empty, and the allocator rounds sizes up.
const entryBytes = 192
