package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// browser returns another browser in which the user has signed in.
func browser(c *testkit.Visitor, m *session.Manager, user string) *testkit.Visitor {
	b := &testkit.Visitor{T: c.T, M: m, Jar: map[string]string{}}
	b.Login(user)
	return b
}

// isOut checks that no user is signed in, and that nothing has failed.
func isOut(c *testkit.Visitor, what string) {
	c.T.Helper()
	if v := c.Copy().Get(); v.SignedIn() || v.Err() != nil {
		c.T.Errorf("%s: signed in %v, %v; want signed out", what, v.SignedIn(), v.Err())
	}
}

// isIn checks that a user is signed in.
func isIn(c *testkit.Visitor, what string) {
	c.T.Helper()
	if v := c.Copy().Get(); !v.SignedIn() {
		c.T.Errorf("%s: not signed in: %v", what, v.Err())
	}
}

// A logout of all sessions ends them at once, even while the auth service is down. It
// does not affect other users and later sign-ins.
func TestLogoutAllEndsOtherBrowsers(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		s.OnLogout = func(context.Context, auth.Tokens, bool) error { return errServiceDown }
		c.Login("ada")
		other, friend := browser(c, c.M, "ada"), browser(c, c.M, "grace")
		isIn(other, "before the logout")
		if err := logoutAll(c); err != nil {
			t.Error(err)
		}
		isOut(other, "another browser")
		isIn(friend, "another user")
		isIn(browser(c, c.M, "ada"), "a later sign-in")
		time.Sleep(20 * time.Hour)
		isOut(other, "another browser, hours later")
	})
}

// EndAll ends all sessions of a user in every process that shares the store or the
// coordinator, without a request of the user.
func TestEndAll(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		s.Life = 24 * time.Hour
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		here, there := browser(c, a, "ada"), browser(c, b, "ada")
		isIn(here, "before")
		isIn(there, "before")
		if err := a.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		isOut(here, "in the same process")
		time.Sleep(2 * time.Second)
		isOut(there, "in another process after 2 s")
		isOut(c.At(b), "a browser that the other process has not seen")
		isIn(browser(c, b, "ada"), "a later sign-in")
		if err := a.EndAll(t.Context(), ""); err == nil {
			t.Error("EndAll accepts an empty user ID")
		}
	})
}

// A session may begin in another process after a second end of all sessions. A process
// that has just read the mark of the first end accepts it.
func TestSignInAfterEndAllElsewhere(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		s.Life = 24 * time.Hour
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		for range 3 {
			isIn(c.At(b), "in the other process")
			time.Sleep(2 * time.Second)
			isIn(c.At(b), "when the other process reads the mark")
			old := c.Copy()
			if err := a.EndAll(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			c.Login("ada")
			isIn(c.At(b), "a sign-in after the end")
			isIn(c, "in the process of the sign-in")
			isOut(old, "the session from before")
		}
	})
}

// The end of all sessions wakes long responses at once.
func TestEndAllClosesDone(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		c.Login("ada")
		c.Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			done := mine.Done()
			synctest.Wait()
			start := time.Now()
			if err := c.M.EndAll(ctx, "ada"); err != nil {
				t.Fatal(err)
			}
			<-done
			if d := time.Since(start); d > 0 {
				t.Errorf("Done was closed after %v", d)
			}
		})
	})
}

// An earlier end of all sessions does not apply to a sign-in while the coordinator is
// down, and a later end does.
func TestEndAllAndASignInDuringAnOutage(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store != nil {
			return // a sign-in needs the store
		}
		s.Life = 24 * time.Hour
		if err := c.M.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		st.Down.Store(true)
		c.Login("ada")
		st.Down.Store(false)
		isIn(c, "after an earlier end")
		if err := c.M.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		isOut(c, "after a later end")
		st.Down.Store(true)
		var down *session.UnavailableError
		if err := c.M.EndAll(t.Context(), "ada"); !errors.As(err, &down) {
			t.Errorf("EndAll without a coordinator: %v, want ErrSessionUnavailable", err)
		}
	})
}

// If the coordinator does not store the end of the other sessions, the logout returns an
// error.
func TestLogoutAllIsIncomplete(t *testing.T) {
	hooked(t, func(t *testing.T, _ *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store != nil {
			return // the session stays, and the user tries again
		}
		c.Login("ada")
		var key string // of the first record that is written: the mark of the session
		st.setPut(func(rec store.Record, put func() error) error {
			if key == "" {
				key = rec.Key
			}
			if rec.Key != key {
				return testkit.ErrDown // the mark of the user
			}
			return put()
		})
		if err := logoutAll(c.Copy()); !errors.Is(err, session.ErrLogoutIncomplete) || !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("logout: %v, want ErrLogoutIncomplete", err)
		}
		isOut(c, "the session itself")
	})
}

// RefreshAll makes each session refresh its tokens once, at its next request in any
// process. An outage of the service signs no user out.
func TestRefreshAll(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		s.Life = 24 * time.Hour
		s.Strict()
		works := s.OnRefresh
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		there := browser(c, b, "ada")
		c.Get()
		there.Get()
		if s.Refreshed() != 0 {
			t.Fatalf("%d refreshes before", s.Refreshed())
		}
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, errServiceDown }
		if err := a.RefreshAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		isIn(c, "while the service is down")
		if s.Refreshed() != 1 {
			t.Errorf("%d attempts, want 1", s.Refreshed())
		}
		s.OnRefresh = works
		time.Sleep(time.Minute)
		for range 3 {
			c.Get()
			there.Get()
			time.Sleep(3 * time.Second)
		}
		if n := s.Refreshed(); n != 3 {
			t.Errorf("%d refreshes, want one that failed, and one for each session", n)
		}
		isIn(browser(c, a, "ada"), "a later sign-in")
		if n := s.Refreshed(); n != 3 {
			t.Errorf("%d refreshes after a sign-in, which has new roles anyway", n)
		}
	})
}

// A process that has read the mark of the user just before a further RefreshAll does not
// refresh the tokens that another process has refreshed since.
func TestRefreshAllAgain(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		s.Life = 24 * time.Hour
		s.Strict()
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		for i := range 4 {
			time.Sleep(5 * time.Second)
			isIn(c.At(b), "when the other process reads the mark")
			if err := a.RefreshAll(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				isIn(c, "in the process of RefreshAll")
				isIn(c.At(b), "in the other process")
			}
			time.Sleep(3 * time.Second)
			isIn(c.At(b), "when the other process has read the mark")
			if n := s.Refreshed(); n != i+1 {
				t.Fatalf("%d refreshes after %d calls of RefreshAll", n, i+1)
			}
		}
	})
}

// RefreshAll applies to sessions of which a process has seen no request yet, and to those
// of users whose marks the process has dropped from its cache.
func TestRefreshAllOfUnknownUsers(t *testing.T) {
	t.Run("another process", func(t *testing.T) {
		testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
			s.Life = 24 * time.Hour
			s.Strict()
			c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
			c.Login("ada")
			if err := a.RefreshAll(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			if isIn(c.At(b), "at another process"); s.Refreshed() != 1 {
				t.Errorf("%d refreshes at the first request, want 1", s.Refreshed())
			}
		})
	})
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("among many users/stored %v", stored), func(t *testing.T) {
			s := &testkit.Service{T: t, Life: 24 * time.Hour}
			s.Strict()
			cfg := session.Config{Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
			if stored {
				cfg.Store = memstore.New()
			}
			m, err := session.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
			c.Login("ada")
			if err := m.RefreshAll(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			for i := range 5000 {
				browser(c, m, fmt.Sprint("user", i)).Get()
			}
			if isIn(c, "after the others"); s.Refreshed() != 1 {
				t.Errorf("%d refreshes, want 1", s.Refreshed())
			}
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// EndAll makes a fixed number of calls of the store before it returns, however many
// sessions the user has. The records are removed afterwards.
func TestEndAllOfManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &deletingStore{Store: memstore.New()}
		m, err := session.New(session.Config{
			Auth: &testkit.Service{Life: 24 * time.Hour}, Keys: []session.SecretKey{session.GenerateKey()}, Store: st,
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		var all []*testkit.Visitor
		for range 300 {
			all = append(all, browser(c, m, "ada"))
		}
		st.slow.Store(true)
		start := time.Now()
		if err := m.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("EndAll returned after %v with a store of 50 ms", d)
		}
		st.slow.Store(false)
		for _, one := range all {
			isOut(one, "a session")
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := st.deletes.Load(); n < 300 {
			t.Errorf("%d records removed, want 300", n)
		}
	})
}

// deletingStore is a store that counts its deletions. Each call takes 50 ms if it is slow.
type deletingStore struct {
	store.Store
	slow    atomic.Bool
	deletes atomic.Int64
}

func (s *deletingStore) wait() {
	if s.slow.Load() {
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *deletingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.wait()
	return s.Store.Get(ctx, key)
}

func (s *deletingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.wait()
	return s.Store.Put(ctx, rec, prev)
}

func (s *deletingStore) Delete(ctx context.Context, key string) error {
	s.wait()
	s.deletes.Add(1)
	return s.Store.Delete(ctx, key)
}

// Without the coordinator, a session that seems to have ended is neither served nor
// ended: it may have begun in another process after the mark that this process knows.
func TestOldMarkEndsNoSession(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store != nil {
			return // without the store no session is served
		}
		s.Life = 24 * time.Hour
		c.Login("ada")
		late := c.Copy()
		if err := c.M.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		st.Down.Store(true)
		if v := late.Get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) || len(late.Jar) == 0 {
			t.Errorf("signed in %v, %v, %d cookies; want ErrSessionUnavailable", v.SignedIn(), v.Err(), len(late.Jar))
		}
		st.Down.Store(false)
		time.Sleep(time.Minute)
		isOut(late, "with the coordinator")
	})
}

// A session that has ended does not become valid again when it ends the others: a request
// may have loaded it before its end, or in a process that knows an older mark.
func TestLogoutOthersOfAnEndedSession(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		c.Login("ada")
		late := c.Copy()
		c.Copy().Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			mine.SignedIn()
			if err := c.M.EndAll(ctx, "ada"); err != nil {
				t.Fatal(err)
			}
			again := browser(c, c.M, "ada")
			if err := c.M.LogoutOthers(ctx); !errors.Is(err, session.ErrEnded) {
				t.Errorf("LogoutOthers: %v, want ErrEnded", err)
			}
			isIn(again, "a later sign-in")
		})
		isOut(late, "the session that has ended")
	})
}

// While keys are rotated, processes write marks under different keys. An end of all
// sessions applies in all of them, and no user is signed out.
func TestMarksDuringAKeyRotation(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %v", stored), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, shared := &testkit.Service{T: t, Life: 24 * time.Hour}, memstore.New()
				older, newer := session.GenerateKey(), session.GenerateKey()
				process := func(keys ...session.SecretKey) *session.Manager {
					cfg := session.Config{Auth: s, Keys: keys, MaxSessions: 3, Logger: slog.New(slog.DiscardHandler)}
					st := &testkit.FailingStore{Store: shared} // its records are sealed
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
				testMarksWhileAKeyIsExchanged(t, process(older, newer), process(newer, older))
			})
		})
	}
}

func testMarksWhileAKeyIsExchanged(t *testing.T, a, b *session.Manager) {
	first := &testkit.Visitor{T: t, M: b, Jar: map[string]string{}}
	first.Login("ada")
	for range 2 {
		second := browser(first, a, "ada")
		for _, m := range []*session.Manager{a, b} {
			isIn(second.At(m), "a sign-in with the other key first")
		}
		time.Sleep(3 * time.Second)
		if err := a.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		for _, m := range []*session.Manager{a, b} {
			isOut(second.At(m), "after the end of all sessions")
		}
		first.Login("ada") // another mark is written under the newer key
		isIn(first.At(a), "a later sign-in")
		time.Sleep(3 * time.Second)
	}
	for _, m := range []*session.Manager{a, b} {
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// If the store fails while the records of ended sessions are removed, the removal is
// retried.
func TestRemovalIsRetried(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store == nil {
			return
		}
		s.Life = 24 * time.Hour
		for range 3 {
			browser(c, c.M, "ada")
		}
		st.setPut(func(_ store.Record, put func() error) error {
			defer st.Down.Store(true) // after the mark
			return put()
		})
		if err := c.M.EndAll(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		st.setPut(nil)
		st.Down.Store(false)
		time.Sleep(time.Minute)
		keys := 0
		for key := range st.keys() {
			if _, err := st.Store.Get(t.Context(), key); err == nil {
				keys++
			}
		}
		if keys != 1 {
			t.Errorf("%d records left, want the mark of the user", keys)
		}
	})
}
