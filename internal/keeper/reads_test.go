package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// slowReads is a store whose reads last a second and return the state at their start.
type slowReads struct {
	store.Store
	gets  atomic.Int64 // of the record that was written last
	fails atomic.Int64 // how many of the next reads time out
	key   atomic.Pointer[string]
}

func (s *slowReads) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.key.Store(&rec.Key)
	return s.Store.Put(ctx, rec, prev)
}

func (s *slowReads) Get(ctx context.Context, key string) (store.Record, error) {
	if last := s.key.Load(); last != nil && key == *last {
		s.gets.Add(1)
	}
	if s.fails.Add(-1) >= 0 {
		<-ctx.Done()
		return store.Record{}, ctx.Err()
	}
	rec, err := s.Store.Get(ctx, key)
	time.Sleep(time.Second)
	return rec, err
}

// withSlowReads runs a test with a signed-in browser whose session is in a slow store.
func withSlowReads(t *testing.T, test func(t *testing.T, st *slowReads, c *testkit.Visitor)) {
	synctest.Test(t, func(t *testing.T) {
		st := &slowReads{Store: memstore.New()}
		m, err := session.New(session.Config{
			Auth: &testkit.Service{Life: time.Hour}, Keys: []session.SecretKey{session.GenerateKey()}, Store: st,
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		st.gets.Store(0)
		test(t, st, c)
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Parallel requests of one session cause two reads: the read that is under way when they
// arrive, and one that begins after all of them.
func TestParallelRequestsShareReads(t *testing.T) {
	withSlowReads(t, func(t *testing.T, st *slowReads, c *testkit.Visitor) {
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if v := c.Copy().Get(); !v.SignedIn() {
					t.Errorf("not signed in: %v", v.Err())
				}
			})
		}
		wg.Wait()
		if n := st.gets.Load(); n != 2 {
			t.Errorf("%d reads for 60 requests, want 2", n)
		}
	})
}

// A request is never served with a state that is older than the request.
func TestSharedReadsAreNotOld(t *testing.T) {
	withSlowReads(t, func(t *testing.T, st *slowReads, c *testkit.Visitor) {
		var wg sync.WaitGroup
		wg.Go(func() { c.Copy().Get() })
		time.Sleep(500 * time.Millisecond) // the read has the state before the end
		late := c.Copy()
		if err := st.Delete(t.Context(), *st.key.Load()); err != nil { // by another process
			t.Fatal(err)
		}
		if v := late.Get(); v.SignedIn() {
			t.Error("signed in after the end of the session")
		}
		wg.Wait()
	})
}

// A request that waits for a shared read ends when its client disconnects, and the read
// continues for the others.
func TestSharedReadOutlivesItsRequest(t *testing.T) {
	withSlowReads(t, func(t *testing.T, st *slowReads, c *testkit.Visitor) {
		var wg sync.WaitGroup
		wg.Go(func() { c.Copy().Get() })
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if v := c.Copy().Do(ctx, nil); !errors.Is(v.Err(), context.Canceled) {
				t.Errorf("the canceled request: %v", v.Err())
			}
		})
		wg.Go(func() {
			if v := c.Copy().Get(); !v.SignedIn() {
				t.Errorf("not signed in: %v", v.Err())
			}
		})
		time.Sleep(1100 * time.Millisecond) // the shared read has begun
		cancel()
		wg.Wait()
		if n := st.gets.Load(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}
	})
}

// A burst of calls that time out together does not stop the calls that come after them.
func TestSlowStoreIsNotAnOutage(t *testing.T) {
	withSlowReads(t, func(t *testing.T, st *slowReads, c *testkit.Visitor) {
		var browsers []*testkit.Visitor
		for range 20 {
			one := c.Copy()
			one.Jar = map[string]string{}
			one.Login("ada")
			browsers = append(browsers, one)
		}
		st.fails.Store(19)
		var wg sync.WaitGroup
		for _, one := range browsers {
			wg.Go(func() { one.Copy().Get() })
		}
		wg.Wait()
		for _, one := range browsers {
			if v := one.Get(); !v.SignedIn() {
				t.Fatalf("after the slow calls: %v", v.Err())
			}
		}
	})
}
