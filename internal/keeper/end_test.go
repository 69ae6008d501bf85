package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

// After the end of a session no copy of its cookies is accepted: not the newest, not
// weeks later, and not after the coordinator has removed the record.
func TestNoCopyIsAcceptedAfterTheEnd(t *testing.T) {
	ends := map[string]func(c *testkit.Visitor){
		"logout": func(c *testkit.Visitor) {
			c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) { _ = c.M.Logout(ctx) })
		},
		"logout of all": func(c *testkit.Visitor) {
			c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) { _ = c.M.LogoutAll(ctx) })
		},
		"refusal": func(c *testkit.Visitor) { c.Get() },
		"login": func(c *testkit.Visitor) {
			c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) { _ = c.M.Login(ctx, "ada", "password") })
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
				if name == "refusal" && c.M.Config().Store != nil {
					return // all copies of a stored session's cookie are the same
				}
				s.Strict()
				s.Life = 30 * time.Minute
				c.Login("ada")
				thief := c.Copy()
				time.Sleep(31 * time.Minute)
				thief.Get() // refreshes the tokens
				if !thief.Get().SignedIn() {
					t.Fatal("the copy is not signed in before the end")
				}
				time.Sleep(20 * time.Minute) // the coordinator removes the record
				newest := thief.Copy()
				end(c)
				for _, later := range []time.Duration{0, 80 * time.Second, 10 * time.Minute, time.Hour, 20 * time.Hour, 24 * 24 * time.Hour} {
					if later > 24*time.Hour && name != "logout" {
						continue // weeks need much real time even in virtual time; one kind of end is enough
					}
					time.Sleep(later)
					if v := newest.Copy().Get(); v.SignedIn() || v.Err() != nil {
						t.Errorf("%v later a copy is signed in: %v, %v", later, v.SignedIn(), v.Err())
					}
				}
			})
		})
	}
}

// sizes is a store that remembers the size of each record.
type sizes struct {
	store.Store
	mu   sync.Mutex
	last map[string]int
}

func (s *sizes) Put(ctx context.Context, rec store.Record, prev uint64) error {
	err := s.Store.Put(ctx, rec, prev)
	if err == nil && !testkit.IsCounter(rec.Key) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last[rec.Key] = len(rec.Data)
	}
	return err
}

// The mark of an ended session has no tokens and no values when the tokens are
// revoked.
func TestMarkIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sizes{Store: memstore.New(), last: map[string]int{}}
		s := &testkit.Service{}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Coordinator: shared, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for _, n := range shared.last {
			if n > 128 {
				t.Errorf("the sealed mark has %d bytes", n)
			}
		}
		if len(shared.last) != 1 {
			t.Errorf("%d records, want one, the mark", len(shared.last))
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

var errServiceDown = &auth.Error{Op: "logout", StatusCode: 503, Err: auth.ErrUnavailable}

// If the service fails, its logout of all sessions is retried until it succeeds.
func TestLogoutAllIsRetried(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		s.Strict()
		down := true
		s.OnLogout = func(_ context.Context, tokens auth.Tokens, all bool) error {
			s.Mu.Lock()
			defer s.Mu.Unlock()
			if !all {
				t.Errorf("%s was logged out alone, want all", tokens.RefreshToken)
			}
			if down {
				return errServiceDown
			}
			return nil
		}
		c.Login("ada")
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.LogoutAll(ctx); err != nil {
				t.Errorf("logout: %v, but all sessions of the user have ended here", err)
			}
		})
		if len(c.Jar) != 0 || !e.Has(session.EventRevokeFailed, "") {
			t.Errorf("%d cookies left, events %v", len(c.Jar), e.All())
		}
		time.Sleep(10 * time.Minute)
		s.Mu.Lock()
		down = false
		s.Mu.Unlock()
		time.Sleep(2 * time.Minute)
		if _, all, _ := s.Revoked(); len(all) != 1 {
			t.Errorf("logged out for all: %v, want once", all)
		}
	})
}

// A logout of all sessions needs a valid access token, so an expired one is refreshed.
func TestLogoutAllRenewsAnExpiredAccessToken(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Strict()
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		if _, all, n := s.Revoked(); !slices.Equal(all, []string{"rt-2"}) || n != 1 {
			t.Errorf("logged out for all: %v after %d refreshes, want rt-2 after one", all, n)
		}
	})
}

// If the service rejects the refresh token, too, the other sessions cannot be ended.
// The logout is not retried.
func TestLogoutAllWithoutUsableTokens(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, auth.ErrRefused }
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(10 * time.Minute)
		if _, all, n := s.Revoked(); len(all) != 0 || n != 1 || !e.Has(session.EventRevokeFailed, "") {
			t.Errorf("logged out for all: %v, %d refreshes; want one refresh, and an event", all, n)
		}
	})
}

// If the refresh for a logout of all sessions returns the tokens of another user, only
// these tokens are revoked.
func TestLogoutAllWithAnotherUsersTokens(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return s.Issue("grace"), nil }
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(10 * time.Minute)
		if single, all, n := s.Revoked(); !slices.Equal(single, []string{"rt-2"}) || len(all) != 0 || n != 1 {
			t.Errorf("logged out: %v, for all: %v, after %d refreshes; want rt-2 alone after one", single, all, n)
		}
		if !e.Has(session.EventRevokeFailed, "") {
			t.Errorf("events %v, want one of the failed revocation", e.All())
		}
	})
}

// Late requests with the cookie of a session that was logged out cause no calls of the
// service while the revocation is retried.
func TestRequestsDoNotCauseRevocations(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		calls := 0
		s.OnLogout = func(context.Context, auth.Tokens, bool) error {
			s.Mu.Lock()
			defer s.Mu.Unlock()
			calls++
			return errServiceDown
		}
		c.Login("ada")
		late := c.Copy()
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		for range 1000 {
			late.Copy().Get()
			time.Sleep(10 * time.Millisecond)
		}
		s.Mu.Lock()
		defer s.Mu.Unlock()
		if calls > 10 {
			t.Errorf("%d calls in 10 s, want at most 10", calls)
		}
	})
}

// While the service limits the rate, no revocation is sent.
func TestRevocationsObeyTheRateLimit(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		calls := 0
		s.OnLogout = func(context.Context, auth.Tokens, bool) error {
			s.Mu.Lock()
			defer s.Mu.Unlock()
			calls++
			return &auth.Error{
				Op: "logout", StatusCode: 429, RetryAfter: 5 * time.Minute,
				Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable),
			}
		}
		var all []*testkit.Visitor
		for range 20 {
			one := c.Copy()
			one.Jar = map[string]string{}
			one.Login("ada")
			all = append(all, one)
		}
		for _, one := range all {
			one.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
				if err := c.M.Logout(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(4 * time.Minute)
		s.Mu.Lock()
		n := calls
		s.Mu.Unlock()
		if n != 1 {
			t.Errorf("%d calls while the rate is limited, want 1", n)
		}
	})
}

// A process that finds a mark with tokens revokes them, if the process that wrote the
// mark does not.
func TestAnotherProcessRevokes(t *testing.T) {
	testkit.TwoProcesses(t, func(t *testing.T, s *testkit.Service, a, b *session.Manager, _ *testkit.StallingStore) {
		down := true
		s.OnLogout = func(context.Context, auth.Tokens, bool) error {
			s.Mu.Lock()
			defer s.Mu.Unlock()
			if down {
				return errServiceDown
			}
			return nil
		}
		c := &testkit.Visitor{T: t, M: a, Jar: map[string]string{}}
		c.Login("ada")
		late := c.At(b)
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := a.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.Mu.Lock()
		down = false
		s.Mu.Unlock()
		time.Sleep(3 * time.Minute)
		if v := late.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, %v", v.SignedIn(), v.Err())
		}
		synctest.Wait()
		if single, _, _ := s.Revoked(); len(single) != 1 {
			t.Errorf("revoked: %v, want the token", single)
		}
	})
}

// A full coordinator still stores the mark of an ended session.
func TestFullCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{}
		full := &memstore.Store{MaxRecords: 1}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Coordinator: full, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		filler := store.Record{Key: "filler", Version: 1, Data: make([]byte, 100), ExpiresAt: time.Now().Add(1000 * time.Hour)}
		if err := full.Put(t.Context(), filler, 0); err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		late := c.Copy()
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.Logout(ctx); err != nil {
				t.Errorf("logout: %v", err)
			}
		})
		if v := late.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("after the logout: signed in %v, %v", v.SignedIn(), v.Err())
		}
		synctest.Wait()
		if single, _, _ := s.Revoked(); len(single) != 1 {
			t.Errorf("revoked: %v, want the token", single)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
