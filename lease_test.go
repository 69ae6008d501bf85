package session_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// atOnce is how many refreshes of one process are on the wire at one time.
const atOnce = 64

// stallingStore is the store as a process sees it that can be made to stand
// still.
type stallingStore struct {
	store.Store

	still chan struct{}              // full while it stands still
	late  func(context.Context) bool // whose writes others are always ahead of
}

func (s *stallingStore) stop()  { s.still <- struct{}{} }
func (s *stallingStore) start() { <-s.still }
func (s *stallingStore) pass()  { s.stop(); s.start() }

func (s *stallingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.pass()
	return s.Store.Get(ctx, key)
}

func (s *stallingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.pass()
	if s.late != nil && s.late(ctx) {
		return store.ErrConflict
	}
	return s.Store.Put(ctx, rec, prev)
}

// inTwoProcesses runs a case with two Managers over one store.
func inTwoProcesses(t *testing.T, test func(t *testing.T, s *scripted, a, b *session.Manager, stall *stallingStore)) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, shared := &scripted{}, memstore.New()
				keys := []session.SecretKey{session.GenerateKey()}
				process := func(st store.Store) *session.Manager {
					cfg := session.Config{
						Auth: s, Keys: keys, AuthTimeout: time.Minute, StoreTimeout: time.Minute,
						Logger: slog.New(slog.DiscardHandler),
					}
					if stored {
						cfg.Store = st
					} else {
						cfg.Coordinator = st
					}
					m, err := session.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					return m
				}
				stall := &stallingStore{Store: shared, still: make(chan struct{}, 1)}
				a, b := process(stall), process(&stallingStore{Store: shared, still: make(chan struct{}, 1)})
				test(t, s, a, b, stall)
				for _, m := range []*session.Manager{a, b} {
					if err := m.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// signIn signs users in whose tokens have then expired.
func signIn(t *testing.T, m *session.Manager, users int) []*visitor {
	t.Helper()
	var all []*visitor
	for range users {
		v := &visitor{t: t, m: m, jar: map[string]string{}}
		v.login("ada")
		all = append(all, v)
	}
	time.Sleep(2 * scriptedLife)
	return all
}

// at is the same browser at another process.
func (c *visitor) at(m *session.Manager) *visitor {
	jar := map[string]string{}
	for name, value := range c.jar {
		jar[name] = value
	}
	return &visitor{t: c.t, m: m, jar: jar}
}

// A refresh that waits for its turn keeps its lease: nobody else sends the same
// refresh token.
func TestLeaseIsKeptWhileWaitingForItsTurn(t *testing.T) {
	inTwoProcesses(t, func(t *testing.T, s *scripted, a, b *session.Manager, _ *stallingStore) {
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(8 * time.Second)
			return s.tokens("ada"), nil
		}
		clients := signIn(t, a, atOnce+20)
		var wg sync.WaitGroup
		for _, m := range []*session.Manager{a, b} {
			for _, c := range clients {
				wg.Go(func() {
					if v := c.at(m).get(); !v.SignedIn() {
						t.Errorf("not signed in: %v", v.Err())
					}
				})
			}
			time.Sleep(time.Second) // so that all are the first process's
		}
		wg.Wait()
		if n := s.refreshed(); n != len(clients) {
			t.Errorf("%d refreshes, want %d", n, len(clients))
		}
	})
}

// Where so many values are written that the lease itself does not get its turn,
// those that the same process writes renew it, too: it is alive.
func TestLeaseIsKeptByOtherWrites(t *testing.T) {
	inTwoProcesses(t, func(t *testing.T, s *scripted, a, b *session.Manager, st *stallingStore) {
		if !a.Stored() {
			return // a cookie session's values are not written
		}
		type ours struct{}
		var calling atomic.Bool
		st.late = func(ctx context.Context) bool { return calling.Load() && ctx.Value(ours{}) == nil }
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			calling.Store(true)
			defer calling.Store(false)
			time.Sleep(8 * time.Second)
			return s.tokens("ada"), nil
		}
		c := &visitor{t: t, m: a, jar: map[string]string{}}
		c.login("ada")
		time.Sleep(scriptedLife - 4*time.Second) // the token is due, and still good
		var wg sync.WaitGroup
		wg.Go(func() {
			c.at(a).do(t.Context(), func(ctx context.Context, s *session.Session) {
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
		if v := c.at(b).get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if n := s.refreshed(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// One that has lost its lease while it waited sends nothing.
func TestLeaseThatWasLostIsNotUsed(t *testing.T) {
	inTwoProcesses(t, func(t *testing.T, s *scripted, a, b *session.Manager, stall *stallingStore) {
		used, release := map[string]int{}, make(chan struct{})
		slow := true
		s.refresh = func(_ context.Context, token string) (auth.Tokens, error) {
			s.mu.Lock()
			used[token]++
			wait := slow
			s.mu.Unlock()
			if wait {
				<-release
			}
			return s.tokens("ada"), nil
		}
		clients := signIn(t, a, atOnce+1)
		var wg sync.WaitGroup
		for i, c := range clients {
			if i == atOnce {
				time.Sleep(time.Second) // the last one finds all places taken
			}
			wg.Go(func() {
				if v := c.at(a).get(); !v.SignedIn() {
					t.Errorf("not signed in: %v", v.Err())
				}
			})
		}
		time.Sleep(time.Second)
		stall.stop()
		s.mu.Lock()
		slow = false
		s.mu.Unlock()
		if v := clients[atOnce].at(b).get(); !v.SignedIn() {
			t.Errorf("not signed in where it was taken over: %v", v.Err())
		}
		close(release)
		stall.start()
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
