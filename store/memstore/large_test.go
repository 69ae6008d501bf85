package memstore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// sizes returns the number of records for the tests below, and whether they run with the
// full figures of the documentation.
func sizes() (n int, long bool) {
	return scale.Of(20_000, 50_000, 1_000_000), scale.Long()
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second call completes the sweep of the first
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// session returns a record of realistic size, and its size.
func session(i int, expiresAt time.Time) (store.Record, int) {
	name := func(kind uint64) string {
		b := make([]byte, 0, 32)
		for j := range 4 {
			b = fmt.Appendf(b, "%08x", uint32(uint64(i)*0x9e3779b97f4a7c15>>(8*j)^kind))
		}
		return hex.EncodeToString(b)
	}
	rec := store.Record{
		Key:       fmt.Sprintf("%s%09d", name(1)[:55], i), // the length of a hash in hex
		Owner:     fmt.Sprintf("%s%09d", name(2)[:55], i),
		Version:   rand.Uint64() | 1,
		Data:      make([]byte, 1024),
		Meta:      make([]byte, 128),
		ExpiresAt: expiresAt,
	}
	return rec, len(rec.Key) + len(rec.Owner) + len(rec.Data) + len(rec.Meta)
}

// A record takes at most 300 bytes more than its payload, even if every record has
// another owner, and after an update.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector uses memory itself")
		return
	}
	n, _ := sizes()
	ctx := context.Background()
	s := memstore.New()
	payload := 0
	expires := time.Now().Add(time.Hour)
	before := heap()
	for i := range n {
		rec, size := session(i, expires)
		payload += size
		if err := s.Put(ctx, rec, 0); err != nil {
			t.Fatal(err)
		}
	}
	each := func() float64 { return (float64(heap()-before) - float64(payload)) / float64(n) }
	created := each()
	for i := range n {
		rec, _ := session(i, expires.Add(time.Duration(i)*time.Millisecond))
		old, err := s.Get(ctx, rec.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, rec, old.Version); err != nil {
			t.Fatal(err)
		}
	}
	updated := each()
	t.Logf("%d records of %d bytes: %.0f bytes of overhead each, %.0f after an update", n, payload/n, created, updated)
	if created > 300 || updated > 300 {
		t.Errorf("%.0f bytes of overhead, %.0f after an update; want at most 300", created, updated)
	}
	// An empty store releases its memory.
	for i := range n {
		rec, _ := session(i, expires)
		if err := s.Delete(ctx, rec.Key); err != nil {
			t.Fatal(err)
		}
	}
	if left := float64(heap()) - float64(before); left > 1<<20 {
		t.Errorf("%.0f bytes left in an empty store", left)
	}
	runtime.KeepAlive(s)
}

// A small record takes at most 150 bytes, including its key, expiry and index.
func TestMemoryOfSmallRecords(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector uses memory itself")
		return
	}
	n, _ := sizes()
	ctx := context.Background()
	s := memstore.New()
	expires := time.Now().Add(time.Hour)
	before := heap()
	each := func() float64 { return float64(heap()-before) / float64(n) }
	for i := range n {
		put(t, s, smallRecord(i, expires.Add(time.Duration(i*7919%n)*time.Millisecond)), 0)
	}
	created := each()
	for i := range n {
		rec := smallRecord(i, expires)
		old, err := s.Get(ctx, rec.Key)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, rec, old.Version)
	}
	worst := max(created, each())
	t.Logf("%d small records: %.0f bytes each, at most %.0f", n, created, worst)
	if worst > 150 {
		t.Errorf("%.0f bytes for a small record, want at most 150", worst)
	}
	for i := range n {
		if err := s.Delete(ctx, smallRecord(i, expires).Key); err != nil {
			t.Fatal(err)
		}
	}
	if left := float64(heap()) - float64(before); left > 1<<20 {
		t.Errorf("%.0f bytes left in an empty store", left)
	}
	runtime.KeepAlive(s)
}

// Readers are not stalled while expired records are removed, even if all expire at once.
func TestSweepDoesNotStallReaders(t *testing.T) {
	n, long := sizes()
	target := 50 * time.Millisecond
	if long && !raceEnabled {
		target = time.Millisecond
	}
	// A busy machine stalls the reader, too. So measure the machine as well, and accept
	// one good try of several: a stall by the store would be in all of them.
	const tries = 5
	for range tries {
		machine, store := longestPause(), longestStall(t, n)
		t.Logf("%d records: longest stall of a reader while all expired: %v, of the machine: %v", n, store, machine)
		if store <= max(target, 4*machine) {
			return
		}
	}
	t.Errorf("a reader stalled for longer than %v in each of %d tries", target, tries)
}

// longestPause returns the longest duration of a short sleep, which depends on how busy
// the machine is.
func longestPause() time.Duration {
	var longest time.Duration
	for range 1000 {
		start := time.Now()
		time.Sleep(200 * time.Microsecond)
		longest = max(longest, time.Since(start))
	}
	return longest
}

// longestStall fills a store, lets all records except one expire at once, and reads that
// one until the others are removed. It returns the longest duration of a read.
func longestStall(t *testing.T, n int) time.Duration {
	ctx := context.Background()
	var offset atomic.Int64
	s := &memstore.Store{Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }}
	lasting, _ := session(n, time.Now().Add(100*time.Hour))
	put(t, s, lasting, 0)
	expires := time.Now().Add(time.Hour)
	var last string
	for i := range n {
		rec, _ := session(i, expires)
		rec.Data, rec.Meta = nil, nil
		put(t, s, rec, 0)
		put(t, s, smallRecord(i, expires), 0)
		last = rec.Key
	}
	runtime.GC()
	offset.Store(int64(2 * time.Hour))
	go s.Sweep()

	var longest time.Duration
	deadline := time.Now().Add(time.Minute)
	for s.Len() > 1 {
		start := time.Now()
		_, err := s.Get(ctx, lasting.Key)
		_, missing := s.Get(ctx, last)
		took := time.Since(start)
		if err != nil || !errors.Is(missing, store.ErrNotFound) {
			t.Fatalf("live record: error %v; expired record: error %v", err, missing)
		}
		longest = max(longest, took)
		// Without a pause, the operating system would suspend this goroutine, which
		// would be measured as a stall. A stall of the store lasts longer than this
		// pause.
		time.Sleep(200 * time.Microsecond)
		if start.After(deadline) {
			t.Fatalf("%d records left after a minute", s.Len())
		}
	}
	return longest
}
