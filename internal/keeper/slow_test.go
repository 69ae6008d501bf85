package keeper_test

import (
	"context"
	"errors"
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

// Clocks that differ by a few minutes end no session. A late request is served, although
// the record expires by a clock that is ahead.
func TestClocksDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{Life: time.Hour}
		s.Strict()
		shared := &memstore.Store{Now: func() time.Time { return time.Now().Add(3 * time.Minute) }}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Coordinator: struct{ store.Store }{shared}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		old := c.Copy()
		time.Sleep(time.Hour)
		c.Get()
		c.Get() // sends the newest generation
		if v := old.Get(); !v.SignedIn() || s.Refreshed() != 1 {
			t.Errorf("a late request: signed in %v, %v, after %d refreshes", v.SignedIn(), v.Err(), s.Refreshed())
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An outage of the store or the coordinator ends no session that is in use.
func TestOutageDoesNotCountAsIdle(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &testkit.FailingStore{Store: memstore.New()}
				s := &testkit.Service{Life: 10 * time.Hour}
				cfg := session.Config{
					Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, IdleTimeout: 10 * time.Minute, Logger: slog.New(slog.DiscardHandler),
				}
				if stored {
					cfg.Store = shared
				} else {
					cfg.Coordinator = shared
				}
				m, err := session.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
				c.Login("ada")
				time.Sleep(8 * time.Minute)
				c.Get()
				shared.Down.Store(true)
				for range 19 {
					if v := c.Get(); v.SignedIn() == stored {
						t.Fatalf("during the outage: signed in %v, %v", v.SignedIn(), v.Err())
					}
					time.Sleep(time.Minute)
					if stored && time.Now().Minute() >= 20 {
						break // no more than IdleTimeout is not counted
					}
				}
				shared.Down.Store(false)
				time.Sleep(time.Minute)
				if v := c.Get(); !v.SignedIn() {
					t.Errorf("after the outage: not signed in, %v", v.Err())
				}
				time.Sleep(11 * time.Minute)
				if v := c.Get(); v.SignedIn() {
					t.Error("the idle timeout has not ended the session")
				}
				if err := m.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// If a service responds later than requests wait, its response is still used.
func TestLateResponseIsUsed(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Strict()
		respond := s.OnRefresh
		s.OnRefresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			tokens, err := respond(ctx, rt) // rotates the token at once
			select {
			case <-time.After(25 * time.Second):
				return tokens, err
			case <-ctx.Done():
				return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
			}
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		start := time.Now()
		v := c.Get()
		if !errors.Is(v.Err(), session.ErrSessionUnavailable) || time.Since(start) != 10*time.Second {
			t.Errorf("the request waited %v: %v", time.Since(start), v.Err())
		}
		time.Sleep(20 * time.Second)
		if v := c.Get(); !v.SignedIn() || s.Refreshed() != 1 {
			t.Errorf("signed in %v, %v after %d refreshes; want one", v.SignedIn(), v.Err(), s.Refreshed())
		}
	})
}

// A refresh that hangs delays the next refresh for at most three times AuthTimeout.
func TestHangingRefreshTimesOut(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.OnRefresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			if s.Refreshed() > 1 {
				return s.Issue("ada"), nil
			}
			<-ctx.Done()
			return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		start := time.Now()
		for !c.Get().SignedIn() {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("signed in after %v", took)
		}
	})
}

// countingStore counts writes.
type countingStore struct {
	store.Store
	puts atomic.Int64
}

func (s *countingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.puts.Add(1)
	return s.Store.Put(ctx, rec, prev)
}

// Sessions that wait for a slot do not write to the store. They take the lease when
// they have the slot.
func TestWaitingSessionsDoNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{}
		shared := &countingStore{Store: memstore.New()}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Store: shared, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.OnRefresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			<-ctx.Done()
			return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		}
		clients := testkit.SignedIn(t, m, 1000)
		before := shared.puts.Load()
		for _, c := range clients {
			go c.Get()
		}
		time.Sleep(9*time.Second + time.Second/2)
		if n, most := shared.puts.Load()-before, int64(atOnce*(1+10)); n > most {
			t.Errorf("%d writes in 9 s, want at most %d, those of the sessions with a slot", n, most)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}
