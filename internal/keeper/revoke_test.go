package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
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

// hookedStore is a store that calls functions of a test. Its records are sealed, because
// the Manager does not know that it is the memory of the process.
type hookedStore struct {
	testkit.FailingStore
	mu      sync.Mutex
	written map[string]bool                                // the keys of records
	onGet   func()                                         // called after a read
	onPut   func(rec store.Record, put func() error) error // called in place of a write
}

// keys returns the keys of all records that were written.
func (s *hookedStore) keys() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.written)
}

func (s *hookedStore) setGet(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onGet = f
}

func (s *hookedStore) setPut(f func(rec store.Record, put func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPut = f
}

func (s *hookedStore) Get(ctx context.Context, key string) (store.Record, error) {
	rec, err := s.FailingStore.Get(ctx, key)
	s.mu.Lock()
	hook := s.onGet
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	return rec, err
}

func (s *hookedStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	put := func() error { return s.FailingStore.Put(context.WithoutCancel(ctx), rec, prev) }
	s.mu.Lock()
	hook := s.onPut
	if s.written == nil {
		s.written = map[string]bool{}
	}
	s.written[rec.Key] = true
	s.mu.Unlock()
	if hook != nil {
		return hook(rec, put)
	}
	return put()
}

// hooked runs a test for a cookie session and for a stored session whose store, or
// coordinator, is st. The time is virtual.
func hooked(t *testing.T, test func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, e *testkit.Events)) {
	hookedWith(t, func(*session.Config) {}, test)
}

// hookedWith is hooked for a configuration.
func hookedWith(t *testing.T, set func(*session.Config), test func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, e *testkit.Events)) {
	for _, kind := range []string{"cookie", "stored"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, e := &testkit.Service{}, &testkit.Events{}
				st := &hookedStore{FailingStore: testkit.FailingStore{Store: memstore.New()}}
				cfg := session.Config{
					Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, IdleTimeout: time.Hour,
					Logger: slog.New(slog.DiscardHandler), OnEvent: e.Add,
				}
				if kind == "stored" {
					cfg.Store = st
				} else {
					cfg.Coordinator = st
				}
				set(&cfg)
				m, err := session.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				test(t, s, st, &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}, e)
				if err := m.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// logoutAll signs the user out everywhere, and returns the error.
func logoutAll(c *testkit.Visitor) (err error) {
	c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) { err = c.M.LogoutAll(ctx) })
	return err
}

// While the store is down, too, revocations pause longer after each failure.
func TestRevocationsPauseWithoutTheStore(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		var calls atomic.Int64
		var down atomic.Bool
		down.Store(true)
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(5 * time.Second)
			// The next write adds the new tokens to the mark. It is the last one.
			st.setPut(func(_ store.Record, put func() error) error {
				defer st.Down.Store(true)
				return put()
			})
			return s.Issue("ada"), nil
		}
		s.OnLogout = func(_ context.Context, tokens auth.Tokens, _ bool) error {
			if tokens.RefreshToken == "rt-1" || !down.Load() {
				return nil
			}
			calls.Add(1)
			return errServiceDown
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		var wg sync.WaitGroup
		wg.Go(func() { c.Copy().Get() })
		time.Sleep(time.Second)
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		time.Sleep(10 * time.Minute)
		if n := calls.Load(); n < 10 || n > 150 {
			t.Errorf("%d calls in 10 minutes, want a pause of up to 10 s between them", n)
		}
		st.setPut(nil)
		st.Down.Store(false)
		down.Store(false)
		time.Sleep(time.Minute)
		if single, _, _ := s.Revoked(); !slices.Contains(single, "rt-2") {
			t.Errorf("revoked: %v, want the tokens of the late refresh, too", single)
		}
	})
}

// A logout of all sessions never sends the refresh token that a slow refresh of this
// process has sent.
func TestLogoutAllWaitsForASlowRefresh(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Strict()
		strict := s.OnRefresh
		s.OnRefresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			got, err := strict(ctx, rt)
			if err != nil {
				t.Errorf("%s was sent twice", rt)
			}
			time.Sleep(8 * time.Second)
			return got, err
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		var wg sync.WaitGroup
		wg.Go(func() { c.Copy().Get() })
		time.Sleep(time.Second)
		if err := logoutAll(c); err != nil {
			t.Error(err)
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if _, all, n := s.Revoked(); !slices.Equal(all, []string{"rt-2"}) || n != 1 {
			t.Errorf("logged out for all: %v after %d refreshes, want rt-2 after one", all, n)
		}
	})
}

// Tokens that were refreshed for a logout of all sessions are used for its next attempt,
// also if the store was down meanwhile.
func TestTokensRefreshedForALogoutAreKept(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		s.Strict()
		var all atomic.Int64
		s.OnLogout = func(_ context.Context, tokens auth.Tokens, _ bool) error {
			if st.Down.Load() {
				return errServiceDown
			}
			all.Add(1)
			return nil
		}
		strict := s.OnRefresh
		s.OnRefresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			st.Down.Store(true)
			return strict(ctx, rt)
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		_ = logoutAll(c)
		time.Sleep(30 * time.Second)
		st.Down.Store(false)
		time.Sleep(5 * time.Minute)
		if n := s.Refreshed(); n != 1 || all.Load() == 0 {
			t.Errorf("%d refreshes, %d logouts; want one refresh, whose tokens end all sessions", n, all.Load())
		}
	})
}

// If a full coordinator has no room for the tokens of an ended session, the process that
// ended it retries their revocation.
func TestFullCoordinatorRetries(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store != nil {
			return // a full store accepts no new sessions
		}
		st.setPut(func(rec store.Record, put func() error) error {
			if len(rec.Data) > 128 {
				return store.ErrFull
			}
			return put()
		})
		var failures atomic.Int64
		s.OnLogout = func(context.Context, auth.Tokens, bool) error {
			if failures.Add(1) <= 3 {
				return errServiceDown
			}
			return nil
		}
		c.Login("ada")
		late := c.Copy()
		if err := logoutAll(c); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, all, _ := s.Revoked(); !slices.Equal(all, []string{"rt-1"}) {
			t.Errorf("logged out for all: %v, want rt-1 after some failures", all)
		}
		if late.Get().SignedIn() {
			t.Error("signed in after the logout")
		}
		if err := logoutAll(late); err != nil {
			t.Errorf("a logout after the service has confirmed the first: %v", err)
		}
	})
}

// A response with a new refresh token and no access token is written once, also if the
// write takes effect after it has failed.
func TestHalfRefreshIsWrittenLate(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		s.OnRefresh = func(_ context.Context, rt string) (auth.Tokens, error) {
			if rt != "rt-1" {
				return s.Issue("ada"), nil
			}
			st.setPut(func(_ store.Record, first func() error) error {
				st.setPut(func(_ store.Record, second func() error) error {
					st.setPut(nil)
					if err := first(); err != nil {
						t.Error(err)
					}
					return second()
				})
				return testkit.ErrDown
			})
			return auth.Tokens{RefreshToken: "rt-half"}, nil
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Get()
		time.Sleep(time.Minute)
		if v := c.Get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
		if single, _, _ := s.Revoked(); len(single) != 0 {
			t.Errorf("revoked: %v, want nothing", single)
		}
	})
}

// A request that finds the idle timeout exceeded does not end a session that another
// process has used since.
func TestIdleTimeoutIsCheckedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, key := &testkit.Service{Life: 24 * time.Hour}, session.GenerateKey()
		st := &hookedStore{FailingStore: testkit.FailingStore{Store: memstore.New()}}
		process := func(st store.Store) *session.Manager {
			m, err := session.New(session.Config{
				Auth: s, Keys: []session.SecretKey{key}, Store: st, IdleTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		c := &testkit.Visitor{T: t, M: process(st), Jar: map[string]string{}}
		other := process(&hookedStore{FailingStore: testkit.FailingStore{Store: st.Store}})
		c.Login("ada")
		time.Sleep(time.Hour - time.Second)
		var slow atomic.Bool
		slow.Store(true)
		st.setGet(func() {
			if slow.CompareAndSwap(true, false) {
				time.Sleep(1500 * time.Millisecond)
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if v := c.Copy().Get(); !v.SignedIn() {
				t.Errorf("the slow request is not signed in: %v", v.Err())
			}
		})
		time.Sleep(500 * time.Millisecond)
		c.At(other).Get()
		wg.Wait()
		if v := c.Get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
	})
}

// A coordinator's record that does not open may be the mark of an end, so the session is
// unavailable. A logout ends it.
func TestUnreadableRecordOfACookieSession(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store != nil {
			return // the record is the session
		}
		s.Strict()
		var key string
		st.setPut(func(rec store.Record, put func() error) error {
			key = rec.Key
			return put()
		})
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Get() // a refresh writes the record
		rec, err := st.Store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		damaged := rec
		damaged.Version, damaged.Data = rec.Version+1, slices.Repeat([]byte{1}, len(rec.Data))
		if err := st.Store.Put(t.Context(), damaged, rec.Version); err != nil {
			t.Fatal(err)
		}
		if v := c.Get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) {
			t.Errorf("signed in: %v, %v; want ErrSessionUnavailable", v.SignedIn(), v.Err())
		}
		late := c.Copy()
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Errorf("logout: %v", err)
			}
		})
		if v := late.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("after the logout: signed in %v, %v", v.SignedIn(), v.Err())
		}
	})
}
