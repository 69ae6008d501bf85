package keeper_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// clocksApart returns two processes with the same coordinator. The clock of the second is
// two hours ahead.
func clocksApart(t *testing.T, s *testkit.Service) (right, wrong *session.Manager) {
	shared, keys := &testkit.FailingStore{Store: memstore.New()}, []session.SecretKey{session.GenerateKey()}
	process := func(ahead time.Duration) *session.Manager {
		m, err := session.New(session.Config{
			Auth: s, Keys: keys, Coordinator: shared, Logger: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(ahead) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	return process(0), process(2 * time.Hour)
}

// A pause that a process with a wrong clock has written does not stop the refreshes of
// others until the wrong time.
func TestPauseOfAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{T: t}
		right, wrong := clocksApart(t, s)
		c := &testkit.Visitor{T: t, M: right, Jar: map[string]string{}}
		c.Login("ada")
		s.Strict()
		works := s.OnRefresh
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, errServiceDown }
		if c.At(wrong).Get(); s.Refreshed() != 1 {
			t.Fatalf("%d attempts by the process with the wrong clock", s.Refreshed())
		}
		s.OnRefresh = works
		time.Sleep(2 * time.Minute)
		isIn(c, "two minutes later")
		for _, m := range []*session.Manager{right, wrong} {
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A rate limit that was noted by a wrong clock ends after the longest time of a limit.
func TestRateLimitOfAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		ahead.Store(int64(24 * time.Hour))
		s := &testkit.Service{T: t, Life: time.Hour}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		s.Strict()
		works := s.OnRefresh
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			return auth.Tokens{}, &auth.Error{Op: "refresh", StatusCode: 429, RetryAfter: time.Minute, Err: auth.ErrRateLimited}
		}
		refresh := func(c *testkit.Visitor) (err error) {
			c.Do(t.Context(), func(ctx context.Context, s *session.Session) { err = s.Refresh(ctx) })
			return err
		}
		if err := refresh(c); err == nil {
			t.Error("no rate limit")
		}
		s.OnRefresh = works
		ahead.Store(0)
		time.Sleep(15 * time.Minute)
		if err := refresh(browser(c, m, "ada")); err != nil {
			t.Errorf("15 minutes after the clock was set back: %v", err)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The tokens in a mark are revoked although a process with a wrong clock has written the
// time of the next attempt.
func TestRevocationAfterAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{T: t, Life: time.Hour}
		right, wrong := clocksApart(t, s)
		c := &testkit.Visitor{T: t, M: wrong, Jar: map[string]string{}}
		c.Login("ada")
		late := c.At(right)
		s.OnLogout = func(context.Context, auth.Tokens, bool) error { return errServiceDown }
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := wrong.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		if err := wrong.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.OnLogout = nil
		time.Sleep(2 * time.Minute)
		isOut(late, "after the logout")
		if err := right.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if one, _, _ := s.Revoked(); len(one) != 1 {
			t.Errorf("%d tokens are revoked, want 1", len(one))
		}
	})
}
