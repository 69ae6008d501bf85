package throttle_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/internal/throttle"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// failing is a store that fails while down is set, and whose writes conflict with others
// while crowded is set.
type failing struct {
	store.Store
	down, crowded bool
}

func (s *failing) Get(ctx context.Context, key string) (store.Record, error) {
	if s.down {
		return store.Record{}, errors.New("down")
	}
	return s.Store.Get(ctx, key)
}

func (s *failing) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if s.crowded {
		return store.ErrConflict
	}
	return s.Store.Put(ctx, rec, prev)
}

func newCounters(shared store.Store) *throttle.Counters {
	return throttle.New(throttle.Config{
		Shared: shared, MaxLocal: 1000, Window: 15 * time.Minute, Patience: 10 * time.Second, Now: time.Now,
	})
}

// wrong makes n wrong attempts, and returns how many were allowed.
func wrong(t *testing.T, c *throttle.Counters, n int, limits ...throttle.Limit) (allowed int) {
	for range n {
		if a, wait := c.Take(t.Context(), limits...); wait == 0 {
			a.Done(t.Context(), throttle.Counts)
			allowed++
		}
	}
	return allowed
}

func TestWindowMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limit := newCounters(nil), throttle.Limit{Key: "k", Max: 10}
		for i := range 10 {
			if n := wrong(t, c, 1, limit); n != 1 {
				t.Fatalf("attempt %d is not allowed", i+1)
			}
			time.Sleep(time.Minute)
		}
		_, wait := c.Take(t.Context(), limit)
		if wait != 5*time.Minute {
			t.Errorf("another attempt is allowed after %v, want 5m", wait)
		}
		time.Sleep(wait - time.Second)
		if n := wrong(t, c, 1, limit); n != 0 {
			t.Error("an attempt is allowed too early")
		}
		time.Sleep(time.Second)
		if n := wrong(t, c, 2, limit); n != 1 {
			t.Errorf("%d attempts are allowed, want one", n)
		}
		if n := wrong(t, c, 1, throttle.Limit{Key: "other", Max: 1}); n != 1 {
			t.Error("another key is counted with the first")
		}
		if n := wrong(t, c, 2000, throttle.Limit{Key: "k", Max: -1}); n != 2000 {
			t.Error("a limit that is off is reached")
		}
	})
}

// Only limits with Clear are cleared, and an attempt that is not allowed does not count.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounters(nil)
		all, one := throttle.Limit{Key: "all", Max: 10}, throttle.Limit{Key: "one", Max: 3, Clear: true}
		take := func(o throttle.Outcome) {
			t.Helper()
			a, wait := c.Take(t.Context(), all, one)
			if wait > 0 {
				t.Fatalf("not allowed for %v", wait)
			}
			a.Done(t.Context(), o)
		}
		take(throttle.Counts)
		take(throttle.Counts)
		for range 20 {
			take(throttle.Undone)
		}
		take(throttle.Clears)
		if n := wrong(t, c, 10, all, one); n != 3 {
			t.Errorf("after a clear %d attempts are allowed, want 3", n)
		}
		if n := wrong(t, c, 10, all); n != 5 {
			t.Errorf("%d attempts are left for all, want 5", n)
		}
	})
}

// Attempts at the same time do not exceed the limit together, and right ones wait for
// each other.
func TestAttemptsAtOnce(t *testing.T) {
	for _, outcome := range []throttle.Outcome{throttle.Counts, throttle.Clears} {
		synctest.Test(t, func(t *testing.T) {
			shared := memstore.New()
			processes := []*throttle.Counters{newCounters(shared), newCounters(shared), newCounters(shared)}
			limit := throttle.Limit{Key: "k", Max: 10, Clear: true}
			var mu sync.Mutex
			var allowed, active, most int
			var wg sync.WaitGroup
			for i := range 60 {
				wg.Go(func() {
					a, wait := processes[i%3].Take(t.Context(), limit)
					if wait > 0 {
						return
					}
					mu.Lock()
					allowed, active = allowed+1, active+1
					most = max(most, active)
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					mu.Lock()
					active--
					mu.Unlock()
					a.Done(t.Context(), outcome)
				})
			}
			wg.Wait()
			want := map[throttle.Outcome]int{throttle.Counts: 10, throttle.Clears: 60}[outcome]
			if allowed != want || most > 10 {
				t.Errorf("outcome %v: %d attempts were allowed, want %d; %d at a time", outcome, allowed, want, most)
			}
		})
	}
}

// An attempt of a process that has died counts only for as long as an attempt can last.
func TestLostAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, limit := newCounters(nil), throttle.Limit{Key: "k", Max: 1}
		if _, wait := c.Take(t.Context(), limit); wait != 0 {
			t.Fatal("not allowed")
		}
		if _, wait := c.Take(t.Context(), limit); wait != time.Second {
			t.Errorf("wait %v for an attempt that has not ended, want 1s", wait)
		}
		time.Sleep(40 * time.Second)
		if _, wait := c.Take(t.Context(), limit); wait != 0 {
			t.Error("a lost attempt counts")
		}
	})
}

// While the shared store is down, each process counts by itself.
func TestStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &failing{Store: memstore.New()}
		a, b, limit := newCounters(shared), newCounters(shared), throttle.Limit{Key: "k", Max: 10}
		if n := wrong(t, a, 6, limit) + wrong(t, b, 6, limit); n != 10 {
			t.Errorf("two processes allow %d attempts together, want 10", n)
		}
		shared.down = true
		if n := wrong(t, a, 20, limit); n != 10 {
			t.Errorf("a process allows %d attempts by itself, want 10", n)
		}
		shared.down = false
		time.Sleep(5 * time.Second)
		if n := wrong(t, a, 1, limit); n != 0 {
			t.Error("the store has forgotten the attempts")
		}
	})
}

// Conflicts of many attempts under one key do not count as an outage of the store: the
// store still counts the other keys.
func TestConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &failing{Store: memstore.New(), crowded: true}
		c := newCounters(shared)
		if n := wrong(t, c, 20, throttle.Limit{Key: "k", Max: 10}); n > 10 {
			t.Errorf("%d attempts are allowed, want at most 10", n)
		}
		shared.crowded = false
		if n := wrong(t, c, 20, throttle.Limit{Key: "other", Max: 10}); n != 10 {
			t.Errorf("%d attempts are allowed, want 10", n)
		}
		if n := wrong(t, newCounters(shared), 1, throttle.Limit{Key: "other", Max: 10}); n != 0 {
			t.Error("the attempts are not in the shared store")
		}
	})
}

// The attempts of clients that have disconnected count.
func TestAttemptsOfDisconnectedClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, shared := range []store.Store{nil, memstore.New()} {
			c, limit, allowed := newCounters(shared), throttle.Limit{Key: "k", Max: 10}, 0
			for range 20 {
				if a, wait := c.Take(ctx, limit); wait == 0 {
					allowed++
					a.Done(ctx, throttle.Counts)
				}
			}
			if allowed != 10 || wrong(t, c, 1, limit) != 0 {
				t.Errorf("%d attempts are allowed, want 10", allowed)
			}
		}
	})
}

// A damaged record has no attempts.
func TestDamagedRecord(t *testing.T) {
	shared := memstore.New()
	c, limit := newCounters(shared), throttle.Limit{Key: "k", Max: 3}
	for _, data := range []string{"", "\xff\xff\xff\xff\xff", "\x02a", "\x01\x05\x00"} {
		if err := shared.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if err := shared.Put(t.Context(), store.Record{Key: "k", Version: 1, Data: []byte(data), ExpiresAt: time.Now().Add(time.Hour)}, 0); err != nil {
			t.Fatal(err)
		}
		if n := wrong(t, c, 5, limit); n != 3 {
			t.Errorf("%q: %d attempts are allowed, want 3", data, n)
		}
	}
}

// counting is a store that counts its calls.
type counting struct {
	store.Store
	gets, puts int
}

func (s *counting) Get(ctx context.Context, key string) (store.Record, error) {
	s.gets++
	return s.Store.Get(ctx, key)
}

func (s *counting) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.puts++
	return s.Store.Put(ctx, rec, prev)
}

// Each call of a shared store may be a round trip, and each sign-in has several counters.
func TestCallsOfSharedStore(t *testing.T) {
	s := &counting{Store: memstore.New()}
	c, limit := newCounters(s), throttle.Limit{Key: "k", Max: 10, Clear: true}
	for _, tt := range []struct {
		what       string
		outcome    throttle.Outcome
		gets, puts int
	}{
		{"the first attempt, wrong", throttle.Counts, 0, 2},
		{"another one, right", throttle.Clears, 1, 3}, // there is a counter, which take has to read
	} {
		*s = counting{Store: s.Store}
		a, wait := c.Take(t.Context(), limit)
		if wait > 0 {
			t.Fatalf("%s: not allowed", tt.what)
		}
		a.Done(t.Context(), tt.outcome)
		if s.gets != tt.gets || s.puts != tt.puts {
			t.Errorf("%s: %d reads and %d writes, want %d and %d", tt.what, s.gets, s.puts, tt.gets, tt.puts)
		}
	}
	if n := wrong(t, c, 20, limit); n != 10 {
		t.Errorf("%d wrong attempts are allowed after a right one, want 10", n)
	}
}

// An attempt that another one has overtaken reads the counter again.
func TestAttemptsInAnotherOrder(t *testing.T) {
	for _, shared := range []store.Store{nil, memstore.New()} {
		c, limit := newCounters(shared), throttle.Limit{Key: "k", Max: 3}
		first, _ := c.Take(t.Context(), limit)
		second, _ := c.Take(t.Context(), limit)
		first.Done(t.Context(), throttle.Counts)
		second.Done(t.Context(), throttle.Counts)
		if n := wrong(t, c, 3, limit); n != 1 {
			t.Errorf("%d further attempts are allowed, want 1", n)
		}
	}
}

// A process has a bounded number of counters. New ones take the place of those that have
// left the window.
func TestManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		c := newCounters(nil)
		limit := func(i int) throttle.Limit { return throttle.Limit{Key: strconv.Itoa(i), Max: 1} }
		for i := range most {
			if wrong(t, c, 2, limit(i)) != 1 {
				t.Fatalf("key %d is not counted", i)
			}
		}
		if n := wrong(t, c, 10, limit(-1)); n != 10 {
			t.Errorf("another key is counted: %d of 10 attempts are allowed", n)
		}
		time.Sleep(15 * time.Minute)
		for i := range most / 2 { // with fewer old ones, a new one may not find them
			if n := wrong(t, c, 2, limit(most+i)); n != 1 {
				t.Fatalf("after the window %d attempts with key %d are allowed, want 1", n, i)
			}
		}
	})
}
