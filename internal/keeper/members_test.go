package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// A sign-in over the limit ends the session that was least recently used, or is rejected.
func TestMaxSessions(t *testing.T) {
	for _, stored := range []bool{false, true} {
		for _, reject := range []bool{false, true} {
			t.Run(fmt.Sprintf("stored %v/reject %v", stored, reject), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := session.Config{
						Auth: &testkit.Service{Life: 24 * time.Hour}, Keys: []session.SecretKey{session.GenerateKey()},
						MaxSessions: 2, RejectOverMax: reject, Logger: slog.New(slog.DiscardHandler),
					}
					if stored {
						cfg.Store = memstore.New()
					}
					m, err := session.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					testMaxSessions(t, m, reject)
					if err := m.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func testMaxSessions(t *testing.T, m *session.Manager, reject bool) {
	first := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
	first.Login("ada")
	time.Sleep(time.Minute)
	second := browser(first, m, "ada")
	time.Sleep(5 * time.Hour)
	first.Get() // the use is noted once a tenth of the idle timeout
	friend := browser(first, m, "grace")
	third := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
	third.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
		switch err := m.Login(ctx, "ada", "password"); {
		case reject && !errors.Is(err, session.ErrTooManySessions):
			t.Errorf("the third sign-in: %v, want ErrTooManySessions", err)
		case !reject && err != nil:
			t.Error(err)
		}
	})
	isIn(first, "the session that was used last")
	isIn(friend, "another user")
	if reject {
		isIn(second, "the second session")
		isOut(third, "the rejected sign-in")
		second.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		third.Login("ada") // there is room again
		third.Login("ada") // it replaces its own session
		isIn(third, "a sign-in after a sign-out")
		return
	}
	isOut(second, "the session that was used longest ago")
	isIn(third, "the third session")
}

// A sign-in over the limit knows a session that began in another process after this
// process had read the list of sessions.
func TestMaxSessionsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, keys := memstore.New(), []session.SecretKey{session.GenerateKey()}
		var processes []*session.Manager
		for range 2 {
			m, err := session.New(session.Config{
				Auth: &testkit.Service{Life: 24 * time.Hour}, Keys: keys, Store: shared,
				MaxSessions: 2, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, m)
		}
		here, there := processes[0], processes[1]
		first := &testkit.Visitor{T: t, M: here, Jar: map[string]string{}}
		first.Login("ada")
		isIn(first.At(there), "the first session")
		time.Sleep(2 * time.Second)
		isIn(first.At(there), "when the other process reads the mark")
		second := browser(first, here, "ada")
		isIn(second.At(there), "the second session")
		isIn(first.At(there), "the first session, later")
		third := browser(first, here, "ada")
		isIn(third.At(there), "the third session")
		isIn(second.At(there), "the second session, later")
		isOut(first.At(there), "the first session after the third sign-in")
		for _, m := range processes {
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A session that has ended in favor of another stays ended when the other signs out.
func TestMaxSessionsIsFinal(t *testing.T) {
	hookedWith(t, func(c *session.Config) { c.MaxSessions = 1 }, func(t *testing.T, s *testkit.Service, _ *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		c.Login("ada")
		old := c.Copy()
		second := browser(c, c.M, "ada")
		second.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		isOut(second, "the second session")
		isOut(old, "the first session, which has ended for the second")
	})
}

// If the store fails during a sign-in, after the new session was added to the list of the
// user's sessions, the other sessions continue.
func TestMaxSessionsIfASignInFails(t *testing.T) {
	for name, outage := range map[string]bool{"one write fails": false, "an outage begins": true} {
		for browsers := range 2 {
			t.Run(fmt.Sprintf("%s/another browser %v", name, browsers == 1), func(t *testing.T) {
				hookedWith(t, func(c *session.Config) { c.MaxSessions = 2 }, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
					another := browsers == 1
					if c.M.Config().Store == nil || outage && another {
						return // a cookie session is not stored; in an outage the list cannot be written again
					}
					s.Life = 24 * time.Hour
					c.Login("ada")
					time.Sleep(time.Minute)
					second := browser(c, c.M, "ada")
					user := c
					if another {
						user = &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
					}
					st.setPut(func(rec store.Record, put func() error) error {
						if rec.Owner != "" {
							return testkit.ErrDown
						}
						err := put()
						if !testkit.IsCounter(rec.Key) {
							st.Down.Store(outage)
						}
						return err
					})
					user.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
						if err := user.M.Login(ctx, "ada", "password"); !errors.Is(err, session.ErrSessionUnavailable) {
							t.Errorf("Login: %v", err)
						}
					})
					st.setPut(nil)
					st.Down.Store(false)
					time.Sleep(3 * time.Second)
					isIn(c, "the first session")
					isIn(second, "the second session")
					user.Login("ada")
					isIn(user, "the next sign-in")
					isIn(second, "the second session after it")
					if another {
						isOut(c, "the session that was least recently used")
					}
				})
			})
		}
	}
}

// If the store fails during a sign-out, after the session has ended, its place in the list
// of the user's sessions becomes free when the store works again.
func TestMaxSessionsIfASignOutFails(t *testing.T) {
	reject := func(c *session.Config) { c.MaxSessions, c.RejectOverMax = 1, true }
	hookedWith(t, reject, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		c.Login("ada")
		old := c.Copy()
		st.setPut(func(_ store.Record, put func() error) error {
			err := put()
			st.Down.Store(true)
			return err
		})
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Errorf("Logout: %v", err)
			}
		})
		time.Sleep(5 * time.Second)
		st.setPut(nil)
		st.Down.Store(false)
		time.Sleep(time.Minute)
		isOut(old, "the session that has ended")
		c.Login("ada")
		isIn(c, "the next sign-in")
	})
}

// During an outage the coordinator does not learn that a session is in use. A sign-in after
// the outage does not end that session if there is room for both.
func TestMaxSessionsAfterAnOutage(t *testing.T) {
	for _, reject := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			coordinator := &testkit.FailingStore{Store: memstore.New()}
			m, err := session.New(session.Config{
				Auth: &testkit.Service{T: t, Life: 24 * time.Hour}, Keys: []session.SecretKey{session.GenerateKey()},
				Coordinator: coordinator, MaxSessions: 2, RejectOverMax: reject, IdleTimeout: 30 * time.Minute, MaxTokenAge: 24 * time.Hour,
				Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
			c.Login("ada")
			coordinator.Down.Store(true)
			for range 8 {
				time.Sleep(10 * time.Minute)
				if !c.Get().SignedIn() {
					t.Fatal("not signed in during the outage")
				}
			}
			coordinator.Down.Store(false)
			isIn(browser(c, m, "ada"), "the sign-in")
			isIn(c, "the session that was in use during the outage")
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A session whose lifetime has passed does not count for the limit, although no request
// has noticed its end.
func TestMaxSessionsAfterTheLifetime(t *testing.T) {
	hookedWith(t, func(c *session.Config) {
		c.MaxSessions, c.RejectOverMax, c.Lifetime, c.IdleTimeout = 1, true, 10*time.Hour, 10*time.Hour
	}, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		c.Login("ada")
		time.Sleep(9 * time.Hour)
		c.Get()
		time.Sleep(2 * time.Hour)
		isIn(browser(c, c.M, "ada"), "a sign-in after the lifetime of the first")
	})
}
