package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proxy"

	"github.com/redis/rueidis"
)

// TestRedis runs the tests of the SQL stores with the Redis store, and those for its
// cache. The tests of package redisstore run the suite of all stores.
func TestRedis(t *testing.T) {
	t.Parallel()
	server := dbtest.Redis(t)
	o := outages{server, func(t testing.TB, name string, timeout time.Duration) store.Store {
		return openRedis(t, server.Client(t), name, timeout)
	}}
	t.Run("SwapsOfManyStores", o.testManyRedisStores)
	t.Run("StartsBeforeServer", o.testRedisStartsBefore)
	t.Run("Restart", o.testRestart)
	t.Run("Network", o.testNetwork)
	t.Run("Stale", o.testStale)
}

// openRedis returns a store with its own keys, and with a timeout for slow machines.
func openRedis(t testing.TB, client rueidis.Client, name string, timeout time.Duration) store.Store {
	t.Helper()
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	s, err := redisstore.New(client, redisstore.Config{Prefix: name + ":", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testManyRedisStores counts by swaps of stores that share only the server.
func (o outages) testManyRedisStores(t *testing.T) {
	ctx := context.Background()
	const stores, each = 4, 25
	name := dbtest.Table()
	if err := o.open(t, name, 0).Put(ctx, counted("counter", 0), 0); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range stores {
		s := o.open(t, name, 0)
		wg.Go(func() {
			for range each {
				if err := increment(ctx, s, "counter"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rec, err := o.open(t, name, 0).Get(ctx, "counter")
	if err != nil || count(rec) != stores*each {
		t.Errorf("counted to %d, error %v, want %d", count(rec), err, stores*each)
	}
}

// The app may start before its server: calls fail until it is up, and then succeed.
func (o outages) testRedisStartsBefore(t *testing.T) {
	ctx := context.Background()
	o.server.Stop()
	s := o.open(t, dbtest.Table(), 0)
	if _, err := s.Get(ctx, "key"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get without a server: %v", err)
	}
	o.server.Start()
	o.recovered(t, s)
	if err := s.Put(ctx, record("key"), 0); err != nil {
		t.Error(err)
	}
}

// stated is how long a record may be stale if the connection hangs, as package redisstore
// states for a client with the settings of dbtest.
const stated = 2 * time.Second

// testStale breaks the connection for the messages about changes, changes a record by
// another process, and measures how long reads return the previous state.
func (o outages) testStale(t *testing.T) {
	between := func(f proxy.Fault) func(*proxy.Proxy) { return func(p *proxy.Proxy) { p.Set(f) } }
	for i, fault := range []struct {
		name    string
		disturb func(*proxy.Proxy)
	}{
		{"cut", (*proxy.Proxy).Cut},
		{"down", between(proxy.Fault{Down: true})},
		{"half-open", (*proxy.Proxy).Freeze},
		{"hanging", between(proxy.Fault{Hang: true})},
		{"without responses", between(proxy.Fault{HangResponses: true})},
		{"without requests", between(proxy.Fault{HangRequests: true})},
		{"slower than a PING", between(proxy.Fault{Delay: 900 * time.Millisecond})},
	} {
		for j, how := range []string{"changed", "deleted"} {
			if !scale.CI() && !scale.Turn(i+j, 2) {
				continue
			}
			t.Run(fault.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				o.stale(t, fault.disturb, how == "deleted")
			})
		}
	}
}

func (o outages) stale(t *testing.T, disturb func(*proxy.Proxy), deleted bool) {
	ctx := context.Background()
	p := proxy.New(t, "tcp", o.server.Proxy.Addr())
	name := dbtest.Table()
	here := openRedis(t, o.server.Client(t, func(c *rueidis.ClientOption) { c.InitAddress = []string{p.Addr()} }), name, 500*time.Millisecond)
	there := o.open(t, name, 0)
	var recs []store.Record // whose connections differ
	for i := range 8 {
		rec := counted(fmt.Sprintf("key%d", i), 0)
		if err := there.Put(ctx, rec, 0); err != nil {
			t.Fatal(err)
		}
		for cached := false; !cached; {
			start := time.Now()
			_, err := here.Get(ctx, rec.Key)
			cached = err == nil && time.Since(start) < time.Second
		}
		recs = append(recs, rec)
	}
	disturb(p)
	var wg sync.WaitGroup
	for _, rec := range recs {
		change := func() error { return there.Put(ctx, counted(rec.Key, 1), rec.Version) }
		if deleted {
			change = func() error { return there.Delete(ctx, rec.Key) }
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		changed := time.Now()
		wg.Go(func() {
			var began, last time.Duration // of the newest read, and of the last stale one
			for began <= stated+busy {
				began = time.Since(changed)
				got, err := here.Get(ctx, rec.Key)
				if err == nil && got.Version == rec.Version {
					last = began
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Logf("stale for %v", last)
			if last > stated+busy {
				t.Errorf("the state before the change is read %v after it, want %v at most", last, stated)
			}
		})
	}
	wg.Wait()
	p.Set(proxy.Fault{})
	o.recovered(t, here)
	for _, rec := range recs {
		got, err := here.Get(ctx, rec.Key)
		for start := time.Now(); errors.Is(err, context.DeadlineExceeded) && time.Since(start) < time.Minute; {
			got, err = here.Get(ctx, rec.Key) // the store's timeout is short for a busy machine
		}
		if deleted && !errors.Is(err, store.ErrNotFound) || !deleted && (err != nil || count(got) != 1) {
			t.Errorf("after the outage: %v, error %v", got, err)
		}
	}
}
