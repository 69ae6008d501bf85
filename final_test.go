package session_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// strict makes the service accept each refresh token once, and revoke those that
// are logged out.
func (s *scripted) strict() {
	used := map[string]bool{}
	s.refresh = func(_ context.Context, rt string) (auth.Tokens, error) {
		s.mu.Lock()
		refused := used[rt]
		used[rt] = true
		s.mu.Unlock()
		if refused {
			return auth.Tokens{}, &auth.Error{Op: "refresh", StatusCode: 401, Err: auth.ErrRefused}
		}
		return s.tokens("ada"), nil
	}
	s.logout = func(_ context.Context, t auth.Tokens, _ bool) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		used[t.RefreshToken] = true
		return nil
	}
}

func (c *visitor) copied() *visitor { return c.at(c.m) }

// After a session's end no copy of its cookies is accepted, however new the
// copy, however late, and whatever the coordinator has forgotten.
func TestNoCopyIsAcceptedAfterTheEnd(t *testing.T) {
	ends := map[string]func(c *visitor){
		"logout": func(c *visitor) {
			c.do(c.t.Context(), func(ctx context.Context, _ *session.Session) { _ = c.m.Logout(ctx) })
		},
		"logout of all": func(c *visitor) {
			c.do(c.t.Context(), func(ctx context.Context, _ *session.Session) { _ = c.m.LogoutAll(ctx) })
		},
		"refusal": func(c *visitor) { c.get() },
		"login": func(c *visitor) {
			c.do(c.t.Context(), func(ctx context.Context, _ *session.Session) { _ = c.m.Login(ctx, "ada", "password") })
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
				if name == "refusal" && c.m.Stored() {
					return // all copies of a stored session's cookie are the same
				}
				s.strict()
				s.life = 30 * time.Minute
				c.login("ada")
				thief := c.copied()
				time.Sleep(31 * time.Minute)
				thief.get() // is renewed,
				if !thief.get().SignedIn() {
					t.Fatal("the copy is not signed in before the end")
				}
				time.Sleep(20 * time.Minute) // and forgotten by the coordinator
				newest := thief.copied()
				end(c)
				for _, later := range []time.Duration{0, 80 * time.Second, 10 * time.Minute, time.Hour, 20 * time.Hour, 24 * 24 * time.Hour} {
					if later > 24*time.Hour && name != "logout" {
						continue // weeks in a bubble take a while, and the first shows them
					}
					time.Sleep(later)
					if v := newest.copied().get(); v.SignedIn() || v.Err() != nil {
						t.Errorf("%v later a copy is signed in: %v, %v", later, v.SignedIn(), v.Err())
					}
				}
			})
		})
	}
}

// sizes is a store that notes how large the records are that it is given.
type sizes struct {
	store.Store
	mu   sync.Mutex
	last map[string]int
}

func (s *sizes) Put(ctx context.Context, rec store.Record, prev uint64) error {
	err := s.Store.Put(ctx, rec, prev)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last[rec.Key] = len(rec.Data)
	}
	return err
}

// What is left of an ended session has no tokens and no values once the tokens
// are revoked.
func TestMarkIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sizes{Store: memstore.New(), last: map[string]int{}}
		s := &scripted{}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Coordinator: shared, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &visitor{t: t, m: m, jar: map[string]string{}}
		c.login("ada")
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
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
			t.Errorf("%d records, want the mark", len(shared.last))
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

var errServiceDown = &auth.Error{Op: "logout", StatusCode: 503, Err: auth.ErrUnavailable}

// A logout of all sessions that the service has not carried out is an error, and
// is tried again until the service has done it.
func TestLogoutAllIsRetried(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, e *eventLog) {
		s.strict()
		down := true
		s.logout = func(_ context.Context, tokens auth.Tokens, all bool) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !all {
				t.Errorf("%s alone is logged out", tokens.RefreshToken)
			}
			if down {
				return errServiceDown
			}
			return nil
		}
		c.login("ada")
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			err := c.m.LogoutAll(ctx)
			if c.m.Stored() && err != nil {
				t.Errorf("every session of the user is over here: %v", err)
			}
			if !c.m.Stored() && (!errors.Is(err, session.ErrLogoutIncomplete) || !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, session.ErrSessionUnavailable)) {
				t.Errorf("logout: %v, want ErrLogoutIncomplete", err)
			}
		})
		if len(c.jar) != 0 || !e.has(session.EventRevokeFailed, "") {
			t.Errorf("%d cookies left, events %v", len(c.jar), e.all)
		}
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		down = false
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if _, all, _ := s.given(); len(all) != 1 {
			t.Errorf("logged out for all: %v, want once", all)
		}
	})
}

// The service ends all sessions by an access token that is valid: an expired one
// is renewed for it.
func TestLogoutAllRenewsAnExpiredAccessToken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		s.strict()
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.m.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		if _, all, n := s.given(); !slices.Equal(all, []string{"rt-2"}) || n != 1 {
			t.Errorf("logged out for all: %v after %d refreshes, want rt-2 after one", all, n)
		}
	})
}

// Where the refresh token is refused, too, nothing is left to end the other
// sessions with, and nothing is tried again.
func TestLogoutAllWithoutUsableTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, e *eventLog) {
		s.refresh = func(context.Context, string) (auth.Tokens, error) { return auth.Tokens{}, auth.ErrRefused }
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.m.LogoutAll(ctx); !c.m.Stored() && !errors.Is(err, session.ErrLogoutIncomplete) {
				t.Errorf("logout: %v, want ErrLogoutIncomplete", err)
			}
		})
		time.Sleep(10 * time.Minute)
		if _, all, n := s.given(); len(all) != 0 || n != 1 || !e.has(session.EventRevokeFailed, "") {
			t.Errorf("logged out for all: %v, %d refreshes; want one refresh, and an event", all, n)
		}
	})
}

// Requests with the cookie of a session that was logged out cause no calls of
// their own while the service does not revoke its tokens.
func TestRequestsDoNotDriveRevocations(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		calls := 0
		s.logout = func(context.Context, auth.Tokens, bool) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			calls++
			return errServiceDown
		}
		c.login("ada")
		late := c.copied()
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.m.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		for range 1000 {
			late.copied().get()
			time.Sleep(10 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if calls > 10 {
			t.Errorf("%d calls in 10 s, want as few as refreshes would make", calls)
		}
	})
}

// A revocation asks the gate: while the service limits the rate it is not sent.
func TestRevocationsHeedTheRateLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		calls := 0
		s.logout = func(context.Context, auth.Tokens, bool) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			calls++
			return &auth.Error{
				Op: "logout", StatusCode: 429, RetryAfter: 5 * time.Minute,
				Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable),
			}
		}
		var all []*visitor
		for range 20 {
			one := c.copied()
			one.jar = map[string]string{}
			one.login("ada")
			all = append(all, one)
		}
		for _, one := range all {
			one.do(t.Context(), func(ctx context.Context, _ *session.Session) {
				if err := c.m.Logout(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(4 * time.Minute)
		s.mu.Lock()
		n := calls
		s.mu.Unlock()
		if n != 1 {
			t.Errorf("%d calls while the rate is limited, want 1", n)
		}
	})
}

// A process that finds a mark with tokens, which another one has left, revokes
// them.
func TestAnotherProcessRevokes(t *testing.T) {
	inTwoProcesses(t, func(t *testing.T, s *scripted, a, b *session.Manager, _ *stallingStore) {
		down := true
		s.logout = func(context.Context, auth.Tokens, bool) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if down {
				return errServiceDown
			}
			return nil
		}
		c := &visitor{t: t, m: a, jar: map[string]string{}}
		c.login("ada")
		late := c.at(b)
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := a.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		down = false
		s.mu.Unlock()
		time.Sleep(3 * time.Minute)
		if v := late.get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, %v", v.SignedIn(), v.Err())
		}
		synctest.Wait()
		if single, _, _ := s.given(); len(single) != 1 {
			t.Errorf("revoked: %v, want the token", single)
		}
	})
}

// A coordinator that is full has room for the end of a session.
func TestFullCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
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
		c := &visitor{t: t, m: m, jar: map[string]string{}}
		c.login("ada")
		late := c.copied()
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.Logout(ctx); err != nil {
				t.Errorf("logout: %v", err)
			}
		})
		if v := late.get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("after the logout: signed in %v, %v", v.SignedIn(), v.Err())
		}
		synctest.Wait()
		if single, _, _ := s.given(); len(single) != 1 {
			t.Errorf("revoked: %v, want the token", single)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Clocks a few minutes apart end nothing: a late request is served by what was
// renewed, although the record was acknowledged by a clock that is behind.
func TestClocksApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{life: time.Hour}
		s.strict()
		shared := &memstore.Store{Now: func() time.Time { return time.Now().Add(3 * time.Minute) }}
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Coordinator: struct{ store.Store }{shared}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &visitor{t: t, m: m, jar: map[string]string{}}
		c.login("ada")
		old := c.copied()
		time.Sleep(time.Hour)
		c.get()
		c.get() // shows the newest generation
		if v := old.get(); !v.SignedIn() || s.refreshed() != 1 {
			t.Errorf("a late request: signed in %v, %v, after %d refreshes", v.SignedIn(), v.Err(), s.refreshed())
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An outage of the store or the coordinator ends no session of a user who is
// there all the time.
func TestOutageIsNotIdleness(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &failingStore{Store: memstore.New()}
				s := &scripted{life: 10 * time.Hour}
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
				c := &visitor{t: t, m: m, jar: map[string]string{}}
				c.login("ada")
				time.Sleep(8 * time.Minute)
				c.get()
				shared.down.Store(true)
				for range 19 {
					if v := c.get(); v.SignedIn() == stored {
						t.Fatalf("during the outage: signed in %v, %v", v.SignedIn(), v.Err())
					}
					time.Sleep(time.Minute)
					if stored && time.Now().Minute() >= 16 {
						break // the bound is IdleTimeout
					}
				}
				shared.down.Store(false)
				time.Sleep(time.Minute)
				if v := c.get(); !v.SignedIn() {
					t.Errorf("after the outage: not signed in, %v", v.Err())
				}
				time.Sleep(11 * time.Minute)
				if v := c.get(); v.SignedIn() {
					t.Error("the idle timeout does not end the session any more")
				}
				if err := m.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A service that is slower than requests wait for it loses no session: the
// refresh is heard all the same.
func TestSlowServiceIsHeard(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		s.strict()
		answer := s.refresh
		s.refresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			tokens, err := answer(ctx, rt) // carried out, whoever listens
			select {
			case <-time.After(25 * time.Second):
				return tokens, err
			case <-ctx.Done():
				return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
			}
		}
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		start := time.Now()
		v := c.get()
		if !errors.Is(v.Err(), session.ErrSessionUnavailable) || time.Since(start) != 10*time.Second {
			t.Errorf("the request waited %v: %v", time.Since(start), v.Err())
		}
		time.Sleep(20 * time.Second)
		if v := c.get(); !v.SignedIn() || s.refreshed() != 1 {
			t.Errorf("signed in %v, %v after %d refreshes; want one", v.SignedIn(), v.Err(), s.refreshed())
		}
	})
}

// A service that hangs for good does not hold a session back for longer than
// three times AuthTimeout.
func TestHangingServiceIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		s.refresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			if s.refreshed() > 1 {
				return s.tokens("ada"), nil
			}
			<-ctx.Done()
			return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		}
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		start := time.Now()
		for !c.get().SignedIn() {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("signed in after %v", took)
		}
	})
}

// Sessions that wait for a hanging service cost the store nothing: they take no
// lease before it is their turn.
func TestWaitingSessionsDoNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		shared := &swappingStore{}
		shared.Store = memstore.New()
		m, err := session.New(session.Config{
			Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Store: shared, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.refresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			<-ctx.Done()
			return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		}
		clients := signIn(t, m, 1000)
		before := shared.puts
		for _, c := range clients {
			go c.get()
		}
		time.Sleep(9*time.Second + time.Second/2)
		if n, most := shared.puts-before, atOnce*(1+10); n > most {
			t.Errorf("%d writes in 9 s, want at most the %d of those whose turn it is", n, most)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A panic in code of the app ends no process and no session.
func TestPanicsOfTheApp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		s.strict()
		works := s.refresh
		panics := true
		s.refresh = func(ctx context.Context, rt string) (auth.Tokens, error) {
			if panics {
				panic("rt " + rt)
			}
			return works(ctx, rt)
		}
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		if v := c.get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) || strings.Contains(v.Err().Error(), "rt-") {
			t.Errorf("the auth service panics: %v", v.Err())
		}
		panics = false
		time.Sleep(time.Second)
		if v := c.get(); !v.SignedIn() {
			t.Errorf("the auth service works again: %v", v.Err())
		}
	})
}

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

func TestPanicsOfHooksAndStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, shared := &scripted{}, &brittleStore{Store: memstore.New()}
		s.strict()
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
		c := &visitor{t: t, m: m, jar: map[string]string{}}
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		hooks, shared.panics = true, true
		if v := c.get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) {
			t.Errorf("the store panics: %v", v.Err())
		}
		shared.panics = false
		time.Sleep(10 * time.Second)
		if v := c.get(); !v.SignedIn() {
			t.Errorf("the store works again: %v", v.Err())
		}
		// A row that is none of the library's is in the user's list.
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := m.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
		})
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// stalledWrites is a store whose writes stall for a while now and then. Reads
// go on.
type stalledWrites struct {
	store.Store
	mu    sync.Mutex
	until time.Time
}

func (s *stalledWrites) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.mu.Lock()
	wait := time.Until(s.until)
	s.mu.Unlock()
	time.Sleep(wait)
	return s.Store.Put(ctx, rec, prev)
}

// No refresh token is used twice where the store's writes stall for longer than
// a lease lasts: the silence of its holder proves nothing then.
func TestStalledWritesAreNoDeath(t *testing.T) {
	for _, long := range []time.Duration{time.Second, 3500 * time.Millisecond, 5 * time.Second, 8 * time.Second} {
		for at := range 16 {
			synctest.Test(t, func(t *testing.T) {
				s, shared := &scripted{}, &stalledWrites{Store: memstore.New()}
				used := map[string]int{}
				s.refresh = func(_ context.Context, rt string) (auth.Tokens, error) {
					s.mu.Lock()
					used[rt]++
					s.mu.Unlock()
					time.Sleep(8 * time.Second)
					return s.tokens("ada"), nil
				}
				keys := []session.SecretKey{session.GenerateKey()}
				var all []*session.Manager
				for range 3 {
					m, err := session.New(session.Config{
						Auth: s, Keys: keys, Store: shared, StoreTimeout: time.Minute, AuthTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
					})
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, m)
				}
				c := signIn(t, all[0], 1)[0]
				var wg sync.WaitGroup
				for _, m := range all {
					for range 5 {
						wg.Go(func() {
							if v := c.at(m).get(); !v.SignedIn() {
								t.Errorf("not signed in: %v", v.Err())
							}
						})
					}
				}
				time.Sleep(time.Duration(at) * 400 * time.Millisecond)
				shared.mu.Lock()
				shared.until = time.Now().Add(long)
				shared.mu.Unlock()
				wg.Wait()
				for rt, n := range maps.All(used) {
					if n > 1 {
						t.Errorf("%s was used %d times; writes stalled for %v", rt, n, long)
					}
				}
				for _, m := range all {
					if err := m.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// After a holder's death others go on within two leases and a claim.
func TestTakeOverAfterADeath(t *testing.T) {
	inTwoProcesses(t, func(t *testing.T, s *scripted, a, b *session.Manager, stall *stallingStore) {
		calls := 0
		s.refresh = func(ctx context.Context, _ string) (auth.Tokens, error) {
			s.mu.Lock()
			calls++
			first := calls == 1
			s.mu.Unlock()
			if first {
				stall.stop() // the process has died
				<-ctx.Done()
				return auth.Tokens{}, auth.ErrUnavailable
			}
			return s.tokens("ada"), nil
		}
		c := signIn(t, a, 1)[0]
		dead := c.at(a)
		go dead.get()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if v := c.at(b).get(); !v.SignedIn() {
			t.Errorf("not signed in: %v", v.Err())
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("taken over after %v", took)
		}
		time.Sleep(4 * time.Minute)
		stall.start()
	})
}
