package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/storetest"
)

// deaf makes the server send no messages about this package's keys to a client, which
// caches nevertheless.
func deaf(o *rueidis.ClientOption) { o.ClientTrackingOptions = []string{"BCAST", "PREFIX", "other:"} }

// In its own process, a store is never stale, even if no message about changes arrives.
func TestStoreWithoutMessages(t *testing.T) {
	t.Parallel()
	client := shared(t).client(t, deaf)
	storetest.Run(t, func(t testing.TB) store.Store { return newStore(t, client, redisstore.Config{}) })
}

func TestStoreWithoutClientCache(t *testing.T) {
	t.Parallel()
	client := shared(t).client(t, func(o *rueidis.ClientOption) { o.DisableCache = true })
	storetest.Run(t, func(t testing.TB) store.Store { return newStore(t, client, redisstore.Config{}) })
}

// A repeated read sends no command to the server until the record changes, whether there
// is a record or not.
func TestReadsOfUnchangedRecords(t *testing.T) {
	ctx := context.Background()
	server := own(t)
	s := newStore(t, server.client(t), redisstore.Config{})
	other := newStore(t, server.client(t), redisstore.Config{Prefix: "other:"})
	admin := server.client(t)
	rec := record("key")
	if err := s.Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		if got, err := s.Get(ctx, "key"); err != nil || got.Version != rec.Version {
			t.Fatalf("%v, error %v", got, err)
		}
		if _, err := s.Get(ctx, "none"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	// A message about the own write may arrive after the first reads.
	eventually(t, "the records are cached", func() bool {
		before := calls(t, admin)
		read()
		return calls(t, admin)["get"] == before["get"]
	})
	before := calls(t, admin)
	for range 1000 {
		read()
	}
	// Changes of other records have no effect.
	for i := range 20 {
		if err := other.Put(ctx, record(fmt.Sprintf("key%d", i)), 0); err != nil {
			t.Fatal(err)
		}
		read()
	}
	after := calls(t, admin)
	for _, name := range []string{"get", "pttl", "multi", "exec", "client|caching"} {
		if after[name] != before[name] {
			t.Errorf("%d calls of %s for 2040 reads", after[name]-before[name], name)
		}
	}
}

// A change by another process is seen within 100 ms.
func TestConcurrentChangesOfOtherRequests(t *testing.T) {
	ctx := context.Background()
	server := shared(t)
	prefix := newPrefix()
	here := newStore(t, server.client(t), redisstore.Config{Prefix: prefix})
	there := newStore(t, server.client(t), redisstore.Config{Prefix: prefix})
	rounds := scale.Of(200, 1000, 1000)
	var times []time.Duration
	for i := range rounds {
		rec := record(fmt.Sprintf("key%d", i))
		next := rec
		next.Version++
		change := func() error { return there.Put(ctx, next, rec.Version) }
		switch i % 3 {
		case 0:
			next.Version = 0 // absent
			change = func() error { return there.Delete(ctx, rec.Key) }
		case 1:
			rec.Version = 0
		}
		if rec.Version != 0 {
			if err := there.Put(ctx, rec, 0); err != nil {
				t.Fatal(err)
			}
		}
		read := func() uint64 {
			got, err := here.Get(ctx, rec.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			return got.Version
		}
		for range 3 { // cached, whether there is a record or not
			if v := read(); v != rec.Version {
				t.Fatalf("version %x, want %x", v, rec.Version)
			}
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for read() != next.Version {
			if time.Since(start) > time.Minute {
				t.Fatal("the change is not seen")
			}
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	t.Logf("%d changes: median %v, 99 of 100 within %v, the slowest after %v", rounds, times[rounds/2], times[rounds*99/100], times[rounds-1])
	if times[rounds*99/100] > 100*time.Millisecond {
		t.Error("want 100 ms at most")
	}
}

// If the messages about changes do not arrive, a change is seen after CacheTTL.
func TestBoundWithoutMessages(t *testing.T) {
	ctx := context.Background()
	const ttl = 700 * time.Millisecond
	server := shared(t)
	prefix := newPrefix()
	here := newStore(t, server.client(t, deaf), redisstore.Config{Prefix: prefix, CacheTTL: ttl})
	there := newStore(t, server.client(t), redisstore.Config{Prefix: prefix})
	rec := record("key")
	if err := there.Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	stale := 0
	for range 3 {
		if _, err := here.Get(ctx, rec.Key); err != nil {
			t.Fatal(err)
		}
		next := rec
		next.Version++
		if err := there.Put(ctx, next, rec.Version); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for {
			before := time.Since(start)
			got, err := here.Get(ctx, rec.Key)
			if err != nil {
				t.Fatal(err)
			}
			if got.Version == next.Version {
				break
			}
			stale++
			if before > ttl {
				t.Fatalf("a read %v after the change returns the state before", before)
			}
			time.Sleep(time.Millisecond)
		}
		rec = next
	}
	if stale == 0 {
		t.Error("no read was stale: the test shows nothing")
	}
}

// Get returns what this process has written, while another process writes, too, and the
// cache is always behind.
func TestOwnWrites(t *testing.T) {
	for name, change := range map[string]func(*rueidis.ClientOption){"with messages": func(*rueidis.ClientOption) {}, "without messages": deaf} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			server := shared(t)
			prefix := newPrefix()
			here := newStore(t, server.client(t, change), redisstore.Config{Prefix: prefix})
			there := newStore(t, server.client(t), redisstore.Config{Prefix: prefix})
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					key := fmt.Sprintf("key%d", w/2) // two writers for each key
					for i := range scale.Of(200, 1000, 5000) {
						ownWrite(t, ctx, here, there, key, uint64(w+1)<<32+uint64(i)+1)
					}
				})
			}
			wg.Wait()
		})
	}
}

// ownWrite writes a version, reads it, and has another process replace it now and then.
func ownWrite(t *testing.T, ctx context.Context, here, there store.Store, key string, version uint64) {
	rec, err := here.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		rec, err = record(key), nil
		rec.Version = 0
	}
	prev := rec.Version
	rec.Version = version
	rec.Owner = fmt.Sprintf("%d", version) // the order of this writer's states
	if err == nil {
		err = here.Put(ctx, rec, prev)
	}
	if errors.Is(err, store.ErrConflict) {
		// The state that has caused the conflict is not prev, and Get must return that
		// state now.
		if got, err := here.Get(ctx, key); err == nil && got.Version == prev {
			t.Errorf("Get returns the state before the conflict")
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	got, err := here.Get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) || err == nil && got.Version == prev {
		t.Errorf("%x after Put of %x in place of %x, error %v", got.Version, version, prev, err)
	}
	err = nil
	switch version % 5 {
	case 0:
		err = there.Delete(ctx, key)
	case 1:
		next := rec
		next.Version += 1 << 48
		err = there.Put(ctx, next, rec.Version)
	case 2:
		if err := here.Delete(ctx, key); err != nil {
			t.Error(err)
		}
		if got, err := here.Get(ctx, key); err == nil && got.Version == version {
			t.Errorf("Get returns a deleted state")
		}
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// A read from the client's cache allocates the key of the server, and no timer if the caller
// has a time limit.
func TestAllocsOfCachedReads(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector allocates memory")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	server := own(t)
	s, admin := newStore(t, server.client(t), redisstore.Config{}), server.client(t)
	if err := s.Put(ctx, record("key"), 0); err != nil {
		t.Fatal(err)
	}
	get := func() {
		if _, err := s.Get(ctx, "key"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the record is cached", func() bool {
		before := calls(t, admin)
		get()
		return calls(t, admin)["get"] == before["get"]
	})
	if got := testing.AllocsPerRun(1000, get); got != 1 {
		t.Errorf("%v allocations, want 1", got)
	}
}
