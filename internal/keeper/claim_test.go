package keeper_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// delayedWrites is a process's view of a store. Reads are quick.
type delayedWrites struct {
	store.Store
	delay func() time.Duration // of a write
}

func (s *delayedWrites) Put(ctx context.Context, rec store.Record, prev uint64) error {
	time.Sleep(s.delay())
	return s.Store.Put(ctx, rec, prev)
}

// Slow writes of a claim do not show that the holder of the lease could have renewed it:
// the holder's writes may take longer. The refresh token is not sent a second time.
func TestSlowWritesAreNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stalledUntil time.Time // the holder's writes
		s := &testkit.Service{T: t}
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			s.Mu.Lock()
			if stalledUntil.IsZero() {
				stalledUntil = time.Now().Add(16 * time.Second)
			}
			s.Mu.Unlock()
			time.Sleep(15 * time.Second)
			return s.Issue("ada"), nil
		}
		shared, keys := memstore.New(), []session.SecretKey{session.GenerateKey()}
		process := func(delay func() time.Duration) *session.Manager {
			m, err := session.New(session.Config{
				Auth: s, Keys: keys, Store: &delayedWrites{shared, delay}, StoreTimeout: time.Minute, AuthTimeout: time.Minute,
				Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		holder := process(func() time.Duration {
			s.Mu.Lock()
			defer s.Mu.Unlock()
			return time.Until(stalledUntil)
		})
		claimant := process(func() time.Duration { return 600 * time.Millisecond })
		c := testkit.SignedIn(t, holder, 1)[0]
		var wg sync.WaitGroup
		for _, m := range []*session.Manager{holder, claimant} {
			wg.Go(func() {
				if v := c.At(m).Get(); !v.SignedIn() {
					t.Errorf("not signed in: %v", v.Err())
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		if n := s.Refreshed(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
		for _, m := range []*session.Manager{holder, claimant} {
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
