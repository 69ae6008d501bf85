package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

var favorite = session.NewKey[string]("favorite")

// atOnce is how many refreshes a process sends at one time.
const atOnce = 64

// While refreshes of one process wait for a slot, another process does not send the same
// refresh tokens.
func TestWaitingRefreshesAreSentOnce(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(8 * time.Second)
			return s.Issue("ada"), nil
		}
		clients := testkit.SignedIn(t, a, atOnce+20)
		var wg sync.WaitGroup
		for _, m := range []*session.Manager{a, b} {
			for _, c := range clients {
				wg.Go(func() {
					if v := c.At(m).Get(); !v.SignedIn() {
						t.Errorf("not signed in: %v", v.Err())
					}
				})
			}
			time.Sleep(time.Second) // the first process starts first
		}
		wg.Wait()
		if n := s.Refreshed(); n != len(clients) {
			t.Errorf("%d refreshes, want %d", n, len(clients))
		}
	})
}

// Requests that wait for a refresh are served soon after the service has responded: at once in
// the process that has sent the refresh, and within 60 ms in another one.
func TestWaitForAnotherProcess(t *testing.T) {
	for _, service := range []time.Duration{30 * time.Millisecond, 300 * time.Millisecond, 4 * time.Second} {
		testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
			var responded atomic.Pointer[time.Time]
			s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
				time.Sleep(service)
				now := time.Now()
				responded.Store(&now)
				return s.Issue("ada"), nil
			}
			clients := testkit.SignedIn(t, a, 1)
			var wg sync.WaitGroup
			for _, m := range []*session.Manager{a, b} {
				for range 2 {
					wg.Go(func() {
						if v := clients[0].At(m).Get(); !v.SignedIn() {
							t.Errorf("not signed in: %v", v.Err())
						}
						limit := time.Millisecond
						if m == b {
							limit = 60 * time.Millisecond
						}
						if late := time.Since(*responded.Load()); late > limit {
							t.Errorf("a service that takes %v: served %v after its response, want %v at most", service, late, limit)
						}
					})
				}
				synctest.Wait() // the first process sends the refresh
			}
			wg.Wait()
			if n := s.Refreshed(); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
		})
	}
}

// If other writes keep the lease from being renewed, the writes of values by the same
// process renew it.
func TestLeaseIsKeptByOtherWrites(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, st *testkit.StallingStore) {
		if a.Config().Store == nil {
			return // a cookie session's values are not written
		}
		type ours struct{}
		var calling atomic.Bool
		st.Late = func(ctx context.Context) bool { return calling.Load() && ctx.Value(ours{}) == nil }
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			calling.Store(true)
			defer calling.Store(false)
			time.Sleep(8 * time.Second)
			return s.Issue("ada"), nil
		}
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		time.Sleep(testkit.Life - 4*time.Second) // the token is due and still valid
		var wg sync.WaitGroup
		wg.Go(func() {
			c.At(a).Do(t.Context(), func(ctx context.Context, s *session.Session) {
				for range 8 {
					if err := favorite.Set(s, "dark"); err != nil {
						t.Error(err)
					}
					if err := s.Save(context.WithValue(ctx, ours{}, true)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
			})
		})
		time.Sleep(100 * time.Millisecond)
		if v := c.At(b).Get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if n := s.Refreshed(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// A process that has lost its lease while its store stalled does not send the token.
func TestLostLeaseIsNotUsed(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, stall *testkit.StallingStore) {
		used, release := map[string]int{}, make(chan struct{})
		slow := true
		s.OnRefresh = func(_ context.Context, token string) (auth.Tokens, error) {
			s.Mu.Lock()
			used[token]++
			wait := slow
			s.Mu.Unlock()
			if wait {
				<-release
			}
			return s.Issue("ada"), nil
		}
		clients := testkit.SignedIn(t, a, atOnce+1)
		var wg sync.WaitGroup
		for i, c := range clients {
			if i == atOnce {
				time.Sleep(time.Second) // the last one finds no free slot
			}
			wg.Go(func() {
				if v := c.At(a).Get(); !v.SignedIn() {
					t.Errorf("not signed in: %v", v.Err())
				}
			})
		}
		time.Sleep(time.Second)
		stall.Stop()
		s.Mu.Lock()
		slow = false
		s.Mu.Unlock()
		if v := clients[atOnce].At(b).Get(); !v.SignedIn() {
			t.Errorf("not signed in by the process that took over: %v", v.Err())
		}
		close(release)
		stall.Start()
		wg.Wait()
		for token, n := range used {
			if n > 1 {
				t.Errorf("%s was used %d times", token, n)
			}
		}
		if len(used) != len(clients) {
			t.Errorf("%d refresh tokens were used, want %d", len(used), len(clients))
		}
	})
}

// stalledWrites is a store whose writes stall until a time. Its reads work.
type stalledWrites struct {
	store.Store
	mu    sync.Mutex
	until time.Time
}

func (s *stalledWrites) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.mu.Lock()
	wait := time.Until(s.until)
	s.mu.Unlock()
	time.Sleep(wait)
	return s.Store.Put(ctx, rec, prev)
}

// No refresh token is sent twice if the store's writes stall for longer than the lease.
// The holder cannot renew its lease then, but it is alive.
func TestStalledWritesCauseNoTakeOver(t *testing.T) {
	for _, long := range []time.Duration{time.Second, 3500 * time.Millisecond, 5 * time.Second, 8 * time.Second} {
		for at := range 16 {
			synctest.Test(t, func(t *testing.T) {
				s, shared := &testkit.Service{}, &stalledWrites{Store: memstore.New()}
				used := map[string]int{}
				s.OnRefresh = func(_ context.Context, rt string) (auth.Tokens, error) {
					s.Mu.Lock()
					used[rt]++
					s.Mu.Unlock()
					time.Sleep(8 * time.Second)
					return s.Issue("ada"), nil
				}
				keys := []session.SecretKey{session.GenerateKey()}
				var all []*session.Manager
				for range 3 {
					m, err := session.New(session.Config{
						Auth: s, Keys: keys, Store: shared, StoreTimeout: time.Minute, AuthTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
					})
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, m)
				}
				c := testkit.SignedIn(t, all[0], 1)[0]
				var wg sync.WaitGroup
				for _, m := range all {
					for range 5 {
						wg.Go(func() {
							if v := c.At(m).Get(); !v.SignedIn() {
								t.Errorf("not signed in: %v", v.Err())
							}
						})
					}
				}
				time.Sleep(time.Duration(at) * 400 * time.Millisecond)
				shared.mu.Lock()
				shared.until = time.Now().Add(long)
				shared.mu.Unlock()
				wg.Wait()
				for rt, n := range maps.All(used) {
					if n > 1 {
						t.Errorf("%s was used %d times; writes stalled for %v", rt, n, long)
					}
				}
				for _, m := range all {
					if err := m.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// If the holder of a lease dies, another process takes over within two leases and a
// claim.
func TestTakeOverFromACrashedProcess(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, stall *testkit.StallingStore) {
		calls := 0
		s.OnRefresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			s.Mu.Lock()
			calls++
			first := calls == 1
			s.Mu.Unlock()
			if first {
				stall.Stop() // the process has died
				<-ctx.Done()
				return auth.Tokens{}, auth.ErrUnavailable
			}
			return s.Issue("ada"), nil
		}
		c := testkit.SignedIn(t, a, 1)[0]
		dead := c.At(a)
		go dead.Get()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if v := c.At(b).Get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("taken over after %v", took)
		}
		time.Sleep(4 * time.Minute)
		stall.Start()
	})
}

// A process takes the lease, and the response to its write is late. Another process has
// taken the lease over meanwhile. The first one reads that and does not send the token.
func TestLeaseCountsOnceItHasBeenRead(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, st *testkit.StallingStore) {
		used := map[string]int{}
		s.OnRefresh = func(_ context.Context, token string) (auth.Tokens, error) {
			s.Mu.Lock()
			used[token]++
			s.Mu.Unlock()
			time.Sleep(8 * time.Second)
			return s.Issue("ada"), nil
		}
		c := testkit.SignedIn(t, a, 1)[0]
		var once sync.Once
		st.AfterPut = func() { once.Do(func() { time.Sleep(7 * time.Second) }) }
		var wg sync.WaitGroup
		for _, m := range []*session.Manager{a, b} {
			wg.Go(func() {
				if v := c.At(m).Get(); !v.SignedIn() {
					t.Errorf("not signed in: %v", v.Err())
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		for token, n := range used {
			if n > 1 {
				t.Errorf("%s was used %d times", token, n)
			}
		}
	})
}

// The tokens of a process that was paused during its refresh do not replace those of the
// process that took over. They are revoked.
func TestLateTokensDoNotReplaceNewerOnes(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, stall *testkit.StallingStore) {
		release := make(chan struct{})
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			first := s.Refreshed() == 1
			tokens := s.Issue("ada")
			if first {
				<-release // the response to the process that is paused
			}
			return tokens, nil
		}
		c := testkit.SignedIn(t, a, 1)[0]
		var wg sync.WaitGroup
		wg.Go(func() { c.At(a).Get() })
		time.Sleep(time.Second)
		stall.Stop()
		other := c.At(b)
		if v := other.Get(); !v.SignedIn() || s.Refreshed() != 2 {
			t.Errorf("not taken over: %v, %d refreshes", v.Err(), s.Refreshed())
		}
		close(release)
		stall.Start()
		wg.Wait()
		synctest.Wait()
		if single, _, _ := s.Revoked(); len(single) != 1 || single[0] != "rt-2" {
			t.Errorf("revoked: %v, want the late tokens, rt-2", single)
		}
		isIn(other, "afterwards")
	})
}

// lossyReads is a process's view of a store that fails each 40th read.
type lossyReads struct {
	store.Store
	reads atomic.Int64
}

func (s *lossyReads) Get(ctx context.Context, key string) (store.Record, error) {
	if s.reads.Add(1)%40 == 0 {
		return store.Record{}, errors.New("the response was lost")
	}
	return s.Store.Get(ctx, key)
}

// dyingStore is the view of a process that dies: its calls do not return until the test ends.
type dyingStore struct {
	store.Store
	dead atomic.Bool
	end  chan struct{}
}

func (s *dyingStore) wait() {
	if s.dead.Load() {
		<-s.end
	}
}

func (s *dyingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.wait()
	return s.Store.Get(ctx, key)
}

func (s *dyingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.wait()
	return s.Store.Put(ctx, rec, prev)
}

// A lease is also taken over if the store fails some of the reads: the pauses between
// reads grow until enough reads in a row succeed.
func TestTakeOverDespiteFailedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, keys := memstore.New(), []session.SecretKey{session.GenerateKey()}
		dying := &dyingStore{Store: shared, end: make(chan struct{})}
		s := &testkit.Service{T: t}
		s.OnRefresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			if dying.dead.CompareAndSwap(false, true) {
				<-ctx.Done()
				return auth.Tokens{}, auth.ErrUnavailable
			}
			return s.Issue("ada"), nil
		}
		process := func(st store.Store) *session.Manager {
			m, err := session.New(session.Config{Auth: s, Keys: keys, Store: st, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		a, b := process(dying), process(&lossyReads{Store: shared})
		c := testkit.SignedIn(t, a, 1)[0]
		holder := c.At(a)
		go holder.Get()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		for !c.At(b).Get().SignedIn() && time.Since(start) < 5*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("taken over after %v", took)
		}
		close(dying.end)
		for _, m := range []*session.Manager{a, b} {
			_ = m.Shutdown(t.Context())
		}
	})
}
