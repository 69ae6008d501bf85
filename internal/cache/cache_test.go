package cache_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/internal/cache"
)

// Values are dropped after their time, while others stay, and without a call of the cache.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache.New[int](1<<20, 1<<15, time.Now)
		const n = 100
		for i := range n {
			c.Put(fmt.Sprint("brief ", i), i, 10, time.Now().Add(time.Minute))
			c.Put(fmt.Sprint("long ", i), i, 10, time.Now().Add(time.Hour))
		}
		found := func(kind string) (found int) {
			for i := range n {
				if v, ok := c.Get(fmt.Sprint(kind, " ", i)); ok && v == i {
					found++
				}
			}
			return found
		}
		if b, l := found("brief"), found("long"); b != n || l != n {
			t.Errorf("%d and %d of %d values before the time", b, l, n)
		}
		time.Sleep(2 * time.Minute)
		if b, l := found("brief"), found("long"); b != 0 || l != n {
			t.Errorf("%d values after their time, %d of %d others", b, l, n)
		}
		time.Sleep(time.Hour)
		if l := found("long"); l != 0 {
			t.Errorf("%d values after their time", l)
		}
		// The timer starts again.
		c.Put("key", 1, 10, time.Now().Add(time.Second))
		time.Sleep(2 * time.Minute)
		if _, ok := c.Get("key"); ok {
			t.Error("a value is there after its time")
		}
	})
}

// A full cache drops values that were not used recently, and no more than necessary.
func TestRoom(t *testing.T) {
	const room, size = 1 << 20, 1000
	c := cache.New[int](room, room/32, time.Now)
	end := time.Now().Add(time.Hour)
	for i := range 10_000 {
		c.Put(fmt.Sprint("key ", i), i, size, end)
		if _, ok := c.Get("key 0"); !ok {
			t.Fatalf("the value that is used was dropped after %d others", i)
		}
	}
	kept := 0
	for i := range 10_000 {
		if _, ok := c.Get(fmt.Sprint("key ", i)); ok {
			kept++
		}
	}
	if kept*size > room || kept*size < room/4 {
		t.Errorf("%d values of %d bytes are kept in %d bytes", kept, size, room)
	}
	c.Put("large", 1, room/32+1, end)
	if _, ok := c.Get("large"); ok {
		t.Error("a value is kept that is too large")
	}
	if v, ok := c.Remove("key 0"); !ok || v != 0 {
		t.Errorf("removed %d, %v", v, ok)
	}
	if _, ok := c.Get("key 0"); ok {
		t.Error("a removed value is there")
	}
}

// Keys that end alike, such as e-mail addresses, share the whole room.
func TestKeysThatEndAlike(t *testing.T) {
	const room, size, n = 1 << 20, 1000, 1000
	c := cache.New[int](room, room/32, time.Now)
	kept := 0
	for i := range n {
		c.Put(fmt.Sprintf("user%d@department.example.org", i), i, size, time.Now().Add(time.Hour))
	}
	for i := range n {
		if _, ok := c.Get(fmt.Sprintf("user%d@department.example.org", i)); ok {
			kept++
		}
	}
	if kept*size < room/4 {
		t.Errorf("%d values of %d bytes are kept in %d bytes", kept, size, room)
	}
}

// heap returns the memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The key in a call of Get may be part of a large header, which does not stay in memory.
func TestKeysInLargeTexts(t *testing.T) {
	const room, size, keys, text = 1 << 20, 400 << 10, 32, 1 << 20
	c := cache.New[int](room, room, time.Now)
	end := time.Now().Add(time.Hour)
	for i := range keys {
		c.Put(fmt.Sprint("key ", i), i, 10, end)
	}
	c.Put("large", 0, size, end)
	c.Put("another large", 0, size, end) // all others are old now
	before := heap()
	for i := range keys {
		key := fmt.Sprint("key ", i)
		if v, ok := c.Get((strings.Repeat("x", text) + key)[text:]); !ok || v != i {
			t.Fatalf("%s has the value %d, %v", key, v, ok)
		}
	}
	if after := heap(); after > before+keys*text/4 {
		t.Errorf("%d keys take %d bytes", keys, after-before)
	}
	runtime.KeepAlive(c)
}
