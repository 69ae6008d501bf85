package keeper_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
)

// A refresh that returns tokens of another user ends the session and revokes them.
func TestRefreshForAnotherUserEndsTheSession(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		c.Login("ada")
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return s.Issue("mallory"), nil }
		time.Sleep(2 * testkit.Life)
		if v := c.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v as %q, error %v; want signed out", v.SignedIn(), v.UserID(), v.Err())
		}
		if !e.Has(session.EventSessionEnded, "refresh_other_user") {
			t.Error("no event session_ended with the reason refresh_other_user")
		}
		synctest.Wait()
		if single, _, _ := s.Revoked(); !slices.Equal(single, []string{"rt-2"}) {
			t.Errorf("revoked: %v; want the other user's token", single)
		}
		if len(c.Jar) != 0 {
			t.Errorf("%d cookies left", len(c.Jar))
		}
	})
}

// If the service returns no new refresh token, the old one stays valid.
func TestRefreshTokenStaysWithoutRotation(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		s.OnRefresh = func(_ context.Context, rt string) (auth.Tokens, error) {
			if rt != "rt-1" {
				t.Errorf("refreshed with %s", rt)
			}
			tokens := s.Issue("ada")
			tokens.RefreshToken = ""
			return tokens, nil
		}
		for range 3 {
			time.Sleep(2 * testkit.Life)
			if !c.Get().SignedIn() {
				t.Fatal("signed out")
			}
		}
		if s.Refreshed() != 3 {
			t.Errorf("%d refreshes, want 3", s.Refreshed())
		}
	})
}

// If the token is due and still valid, the request that starts the refresh waits a
// second. The others do not wait.
func TestOneRequestWaitsWhileTheTokenIsValid(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		release := make(chan struct{})
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			<-release
			return s.Issue("ada"), nil
		}
		time.Sleep(testkit.Life - 2*time.Second)
		waits := func() (time.Duration, bool) {
			start := time.Now()
			signedIn := c.Get().SignedIn()
			return time.Since(start), signedIn
		}
		if d, ok := waits(); !ok || d != time.Second {
			t.Errorf("the first request waited %v, signed in %v; want a second", d, ok)
		}
		for range 3 {
			if d, ok := waits(); !ok || d != 0 {
				t.Errorf("another request waited %v, signed in %v; want no wait", d, ok)
			}
		}
		close(release)
		synctest.Wait()
		if s.Refreshed() != 1 {
			t.Errorf("%d refreshes, want 1", s.Refreshed())
		}
	})
}

// If the response of the service is lost, the refresh token is sent once more. A refusal
// then ends the session.
func TestLostResponseIsRetriedOnce(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		c.Login("ada")
		lost := &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		refused := &auth.Error{Op: "refresh", StatusCode: 401, Err: auth.ErrRefused}
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			if s.Refreshed() == 1 {
				return auth.Tokens{}, lost
			}
			return auth.Tokens{}, refused
		}
		time.Sleep(2 * testkit.Life)
		v := c.Get()
		var unavailable *session.UnavailableError
		if !errors.As(v.Err(), &unavailable) || unavailable.RetryAfter <= 0 {
			t.Fatalf("error %v; want unavailable, with a pause", v.Err())
		}
		if c.Get(); s.Refreshed() != 1 {
			t.Error("retried without a pause")
		}
		time.Sleep(unavailable.RetryAfter)
		start := time.Now()
		if v := c.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, error %v; want signed out", v.SignedIn(), v.Err())
		}
		// Both attempts were this process's own. No other process can write tokens.
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the session ended after %v; want at once", waited)
		}
		if !e.Has(session.EventSessionEnded, "refresh_outcome_unknown") || s.Refreshed() != 2 {
			t.Errorf("%d refreshes, events %v", s.Refreshed(), e.All())
		}
	})
}

// A process sends a limited number of refreshes at one time. Requests whose refresh does
// not get a slot in time fail and can be retried.
func TestConcurrentRefreshesAreLimited(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		var now, most int
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			s.Mu.Lock()
			now++
			most = max(most, now)
			s.Mu.Unlock()
			time.Sleep(4 * time.Second)
			s.Mu.Lock()
			now--
			s.Mu.Unlock()
			return s.Issue("ada"), nil
		}
		var clients []*testkit.Visitor
		for range 250 {
			one := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
			one.Login("ada")
			clients = append(clients, one)
		}
		time.Sleep(2 * testkit.Life)
		var wg sync.WaitGroup
		var served, failed int
		for _, one := range clients {
			wg.Go(func() {
				v := one.Get()
				s.Mu.Lock()
				defer s.Mu.Unlock()
				if v.SignedIn() {
					served++
				} else if errors.Is(v.Err(), session.ErrSessionUnavailable) {
					failed++
				}
			})
		}
		wg.Wait()
		if most != 64 || served < 128 || served+failed != len(clients) {
			t.Errorf("%d refreshes at one time, %d requests served, %d failed; want 64 at one time", most, served, failed)
		}
		time.Sleep(time.Minute)
		for _, one := range clients {
			if v := one.Get(); !v.SignedIn() {
				t.Fatalf("not signed in later: %v", v.Err())
			}
		}
	})
}

// After a rate limit one refresh is sent first, and the others after its response.
func TestOneProbeAfterARateLimit(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		limited := true
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(100 * time.Millisecond)
			if limited {
				return auth.Tokens{}, &auth.Error{
					Op: "refresh", StatusCode: 429, RetryAfter: 5 * time.Minute,
					Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable),
				}
			}
			return s.Issue("ada"), nil
		}
		var clients []*testkit.Visitor
		for range 10 {
			one := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
			one.Login("ada")
			clients = append(clients, one)
		}
		all := func() (signedIn int) {
			var wg sync.WaitGroup
			for _, one := range clients {
				wg.Go(func() {
					v := one.Get()
					s.Mu.Lock()
					defer s.Mu.Unlock()
					if v.SignedIn() {
						signedIn++
					}
				})
			}
			wg.Wait()
			return signedIn
		}
		time.Sleep(2 * testkit.Life)
		clients[0].Get()
		if all(); s.Refreshed() != 1 {
			t.Fatalf("%d refreshes while the rate is limited, want 1", s.Refreshed())
		}
		time.Sleep(5*time.Minute - time.Second)
		if all(); s.Refreshed() != 1 {
			t.Fatalf("%d refreshes before the limit resets, want 1", s.Refreshed())
		}
		time.Sleep(time.Second)
		if all(); s.Refreshed() != 2 {
			t.Fatalf("%d refreshes after the limit has reset, want 2 with one probe", s.Refreshed())
		}
		limited = false
		time.Sleep(5*time.Minute + time.Second)
		if n := all(); n != 1 || s.Refreshed() != 3 {
			t.Fatalf("%d refreshes, %d signed in; want one more probe, which succeeds", s.Refreshed(), n)
		}
		time.Sleep(20 * time.Second)
		if n := all(); n != 10 || s.Refreshed() != 12 {
			t.Errorf("%d refreshes, %d signed in; want all", s.Refreshed(), n)
		}
	})
}

// A logout waits for a refresh that is under way and revokes its tokens.
func TestLogoutRevokesTheTokensOfALateRefresh(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(1500 * time.Millisecond)
			return s.Issue("ada"), nil
		}
		time.Sleep(2 * testkit.Life)
		var wg sync.WaitGroup
		other := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
		for k, v := range c.Jar {
			other.Jar[k] = v
		}
		wg.Go(func() {
			if v := other.Get(); v.SignedIn() {
				t.Error("signed in by a refresh that ended after the logout")
			}
		})
		time.Sleep(time.Second)
		// The session is known without the refresh, so only the revocation waits for it.
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			start := time.Now()
			if err := c.M.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != 500*time.Millisecond {
				t.Errorf("the logout took %v; want the rest of the refresh", took)
			}
		})
		wg.Wait()
		if single, all, _ := s.Revoked(); !slices.Equal(all, []string{"rt-2"}) || len(single) != 0 {
			t.Errorf("revoked: all by %v, and %v alone; want all by the newest, rt-2", all, single)
		}
	})
}

// If another session of the user has ended this one, a late write of a value does not
// revive it.
func TestNoLateWriteRevivesASession(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store == nil {
			return // values of a cookie session are not written to a store
		}
		c.Login("ada")
		other := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
		other.Login("ada")
		theme := session.NewKey[string]("theme")
		c.Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			if err := theme.Set(mine, "dark"); err != nil {
				t.Fatal(err)
			}
			other.Do(ctx, func(ctx context.Context, _ *session.Session) {
				if err := c.M.LogoutAll(ctx); err != nil {
					t.Fatal(err)
				}
			})
		})
		if v := c.Get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, error %v; want signed out", v.SignedIn(), v.Err())
		}
	})
}

// Shutdown waits for a refresh whose client has disconnected.
func TestShutdownWaitsForARefresh(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(3 * time.Second)
			return s.Issue("ada"), nil
		}
		time.Sleep(2 * testkit.Life)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c.Do(ctx, nil) // the client disconnects; the refresh continues
		start := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.M.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Shutdown: %v after %v; want the context's error after a second", err, time.Since(start))
		}
		if err := c.M.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * testkit.Life)
		if v := c.Get(); !errors.Is(v.Err(), keeper.ErrShutdown) {
			t.Errorf("after Shutdown: error %v", v.Err())
		}
	})
}

// A handler that does not use the session, and a logout, cause no refresh.
func TestRefreshOnlyIfTheUserIsNeeded(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		c.Do(t.Context(), func(context.Context, *session.Session) {})
		if s.Refreshed() != 0 {
			t.Error("a handler that does not use the session caused a refresh")
		}
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		if single, _, n := s.Revoked(); n != 0 || len(single) != 1 || len(c.Jar) != 0 {
			t.Errorf("%d refreshes, revoked %v, %d cookies left", n, single, len(c.Jar))
		}
	})
}

// Tokens that live long are refreshed when they are older than MaxTokenAge. An outage of
// the service signs no user out meanwhile.
func TestMaxTokenAge(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 7 * 24 * time.Hour
		s.Strict()
		works := s.OnRefresh
		c.Login("ada")
		time.Sleep(45 * time.Minute) // the default is an hour, and 20 percent less for some
		if isIn(c, "a young token"); s.Refreshed() != 0 {
			t.Errorf("%d refreshes of a token of 45 minutes", s.Refreshed())
		}
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, errServiceDown }
		time.Sleep(16 * time.Minute)
		if isIn(c, "while the service is down"); s.Refreshed() != 1 {
			t.Errorf("%d attempts after an hour, want 1", s.Refreshed())
		}
		s.OnRefresh = works
		time.Sleep(time.Minute)
		if c.Get(); s.Refreshed() != 2 {
			t.Errorf("%d refreshes, want one more", s.Refreshed())
		}
		// A user who is active all day causes 24 to 30 refreshes.
		for range 24 * 6 {
			time.Sleep(10 * time.Minute)
			c.Get()
		}
		if n := s.Refreshed() - 2; n < 23 || n > 30 {
			t.Errorf("%d refreshes in a day", n)
		}
	})
}

// Session.Refresh refreshes at once. Concurrent calls share the refresh.
func TestSessionRefresh(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.Life = 24 * time.Hour
		s.Strict()
		works := s.OnRefresh
		s.OnRefresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			time.Sleep(time.Second)
			return works(ctx, rt)
		}
		c.Login("ada")
		c.Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			before, err := mine.AccessToken(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if err := mine.Refresh(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if after, err := mine.AccessToken(ctx); err != nil || after == before || s.Refreshed() != 1 {
				t.Errorf("another token: %v, %v, %d refreshes; want one", after != before, err, s.Refreshed())
			}
			s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, errServiceDown }
			if err := mine.Refresh(ctx); !errors.Is(err, session.ErrSessionUnavailable) || !mine.SignedIn() {
				t.Errorf("while the service is down: %v, signed in %v", err, mine.SignedIn())
			}
		})
		c.Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
			if err := session.FromContext(ctx).Refresh(ctx); !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("without a session: %v", err)
			}
		})
	})
}

// A late write of a value does not create the record of a session that was removed from
// the store.
func TestNoLateWriteCreatesARecord(t *testing.T) {
	hooked(t, func(t *testing.T, s *testkit.Service, st *hookedStore, c *testkit.Visitor, _ *testkit.Events) {
		if c.M.Config().Store == nil {
			return // values of a cookie session are not written to a store
		}
		var key string
		st.setPut(func(rec store.Record, put func() error) error {
			key = rec.Key
			return put()
		})
		c.Login("ada")
		theme := session.NewKey[string]("theme")
		c.Do(t.Context(), func(ctx context.Context, mine *session.Session) {
			if err := theme.Set(mine, "dark"); err != nil {
				t.Fatal(err)
			}
			if err := st.Store.Delete(ctx, key); err != nil { // by another process
				t.Fatal(err)
			}
		})
		isOut(c, "after the removal")
	})
}
