package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// A panic of the auth service ends neither the process nor the session, and no error
// contains its value.
func TestAuthServicePanics(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Strict()
		works := s.OnRefresh
		panics := true
		s.OnRefresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			if panics {
				panic("rt " + rt)
			}
			return works(ctx, rt)
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		if v := c.Get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) || strings.Contains(v.Err().Error(), "rt-") {
			t.Errorf("the auth service panics: %v", v.Err())
		}
		panics = false
		time.Sleep(time.Second)
		if v := c.Get(); !v.SignedIn() {
			t.Errorf("after the panics of the auth service: %v", v.Err())
		}
	})
}

// brittleStore is a store that panics, and that lists a record of another program.
type brittleStore struct {
	store.Store
	panics bool
}

func (s *brittleStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if s.panics {
		panic(rec)
	}
	return s.Store.Put(ctx, rec, prev)
}

func (s *brittleStore) List(ctx context.Context, owner string) ([]store.Record, error) {
	recs, err := s.Store.List(ctx, owner)
	return append(recs, store.Record{Key: "short", Owner: owner, Version: 1}), err
}

// A panic of a hook or a store ends neither the process nor the session.
func TestHooksAndStoresPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, shared := &testkit.Service{}, &brittleStore{Store: memstore.New()}
		s.Strict()
		hooks := false
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Store: shared, Logger: slog.New(slog.DiscardHandler),
			OnEvent: func(context.Context, session.Event) {
				if hooks {
					panic("hook")
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		hooks, shared.panics = true, true
		if v := c.Get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) {
			t.Errorf("the store panics: %v", v.Err())
		}
		shared.panics = false
		time.Sleep(10 * time.Second)
		if v := c.Get(); !v.SignedIn() {
			t.Errorf("after the panics of the store: %v", v.Err())
		}
		// The user's list has a record of another program.
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
