package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store/memstore"
)

// What the simulation does not tell apart is tested here case by case, in
// virtual time, with an auth service that does what the case says.

type scripted struct {
	life    time.Duration // of access tokens; default scriptedLife
	refresh func(ctx context.Context, refreshToken string) (auth.Tokens, error)
	logout  func(ctx context.Context, t auth.Tokens, all bool) error // nil: done at once

	mu        sync.Mutex
	issued    int
	refreshes int
	loggedOut []string
	all       []string
}

const scriptedLife = time.Minute

func (s *scripted) tokens(user string) auth.Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	now, life := time.Now().Unix(), s.life
	if life == 0 {
		life = scriptedLife
	}
	payload := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user"]},"iat":%d,"exp":%d}`,
		user, now, now+int64(life/time.Second))
	b64 := base64.RawURLEncoding.EncodeToString
	return auth.Tokens{
		AccessToken:  b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload)) + "." + b64(fmt.Append(nil, s.issued)),
		RefreshToken: fmt.Sprintf("rt-%d", s.issued),
	}
}

func (s *scripted) Login(_ context.Context, email, _ string) (auth.Grant, error) {
	return auth.Grant{Tokens: s.tokens(email)}, nil
}

func (s *scripted) Refresh(ctx context.Context, t auth.Tokens) (auth.Grant, error) {
	s.mu.Lock()
	s.refreshes++
	s.mu.Unlock()
	next, err := s.refresh(ctx, t.RefreshToken)
	return auth.Grant{Tokens: next}, err
}

func (s *scripted) Logout(ctx context.Context, t auth.Tokens, all bool) error {
	if s.logout != nil {
		if err := s.logout(ctx, t, all); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if all {
		s.all = append(s.all, t.RefreshToken)
	} else {
		s.loggedOut = append(s.loggedOut, t.RefreshToken)
	}
	return nil
}

func (s *scripted) refreshed() int {
	_, _, n := s.given()
	return n
}

// given returns the refresh tokens that were given back, alone and for all
// sessions of their user, and how often tokens were refreshed.
func (s *scripted) given() (single, all []string, refreshes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.loggedOut), slices.Clone(s.all), s.refreshes
}

// visitor is a browser at a Manager, without a network between.
type visitor struct {
	t   *testing.T
	m   *session.Manager
	jar map[string]string
}

func (c *visitor) do(ctx context.Context, handler func(ctx context.Context, s *session.Session)) *session.Session {
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	for name, value := range c.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r, x := c.m.Begin(r)
	if handler != nil {
		handler(r.Context(), session.FromContext(r.Context()))
	} else {
		session.FromContext(r.Context()).SignedIn()
	}
	h := http.Header{}
	if err := x.Commit(h); err != nil {
		c.t.Error(err)
	}
	for _, cookie := range (&http.Response{Header: h}).Cookies() {
		if cookie.MaxAge < 0 {
			delete(c.jar, cookie.Name)
		} else {
			c.jar[cookie.Name] = cookie.Value
		}
	}
	return session.FromContext(r.Context())
}

func (c *visitor) get() *session.Session { return c.do(c.t.Context(), nil) }

func (c *visitor) login(user string) {
	c.t.Helper()
	c.do(c.t.Context(), func(ctx context.Context, _ *session.Session) {
		if err := c.m.Login(ctx, user, "password"); err != nil {
			c.t.Fatal(err)
		}
	})
}

// eventLog records the Manager's events.
type eventLog struct {
	mu  sync.Mutex
	all []session.Event
}

func (e *eventLog) add(_ context.Context, ev session.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *eventLog) has(name, reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Name == name && ev.Reason == reason {
			return true
		}
	}
	return false
}

// inBubble runs a case for a session in cookies and for one in a store.
func inBubble(t *testing.T, test func(t *testing.T, s *scripted, c *visitor, e *eventLog)) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, e := &scripted{}, &eventLog{}
				cfg := session.Config{
					Auth: s, Keys: []session.SecretKey{session.GenerateKey()},
					Logger: slog.New(slog.DiscardHandler), OnEvent: e.add,
				}
				if stored {
					cfg.Store = memstore.New()
				}
				m, err := session.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				test(t, s, &visitor{t: t, m: m, jar: map[string]string{}}, e)
				if err := m.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}

func TestRefreshForAnotherUserEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, e *eventLog) {
		c.login("ada")
		s.refresh = func(context.Context, string) (auth.Tokens, error) { return s.tokens("mallory"), nil }
		time.Sleep(2 * scriptedLife)
		if v := c.get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v as %q, error %v; want signed out", v.SignedIn(), v.UserID(), v.Err())
		}
		if !e.has(session.EventSessionEnded, "refresh_other_user") {
			t.Error("no event for it")
		}
		synctest.Wait()
		if single, _, _ := s.given(); !slices.Equal(single, []string{"rt-2"}) {
			t.Errorf("given back: %v; want the other user's token", single)
		}
		if len(c.jar) != 0 {
			t.Errorf("%d cookies left", len(c.jar))
		}
	})
}

func TestServiceThatDoesNotRotateKeepsTheRefreshToken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		c.login("ada")
		s.refresh = func(_ context.Context, rt string) (auth.Tokens, error) {
			if rt != "rt-1" {
				t.Errorf("refreshed with %s", rt)
			}
			tokens := s.tokens("ada")
			tokens.RefreshToken = ""
			return tokens, nil
		}
		for range 3 {
			time.Sleep(2 * scriptedLife)
			if !c.get().SignedIn() {
				t.Fatal("signed out")
			}
		}
		if s.refreshed() != 3 {
			t.Errorf("%d refreshes, want 3", s.refreshed())
		}
	})
}

func TestWithinTheWindowOneWaitsAndTheOthersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		c.login("ada")
		release := make(chan struct{})
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			<-release
			return s.tokens("ada"), nil
		}
		time.Sleep(scriptedLife - 2*time.Second)
		waits := func() (time.Duration, bool) {
			start := time.Now()
			signedIn := c.get().SignedIn()
			return time.Since(start), signedIn
		}
		if d, ok := waits(); !ok || d != time.Second {
			t.Errorf("the first waited %v, signed in %v; want a second", d, ok)
		}
		for range 3 {
			if d, ok := waits(); !ok || d != 0 {
				t.Errorf("one more waited %v, signed in %v; want none", d, ok)
			}
		}
		close(release)
		synctest.Wait()
		if s.refreshed() != 1 {
			t.Errorf("%d refreshes, want 1", s.refreshed())
		}
	})
}

func TestLostAnswerIsTriedOnceMoreAndThenEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, e *eventLog) {
		c.login("ada")
		lost := &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
		refused := &auth.Error{Op: "refresh", StatusCode: 401, Err: auth.ErrRefused}
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			if s.refreshed() == 1 {
				return auth.Tokens{}, lost
			}
			return auth.Tokens{}, refused
		}
		time.Sleep(2 * scriptedLife)
		v := c.get()
		var unavailable *session.UnavailableError
		if !errors.As(v.Err(), &unavailable) || unavailable.RetryAfter <= 0 {
			t.Fatalf("error %v; want unavailable, with a pause", v.Err())
		}
		if c.get(); s.refreshed() != 1 {
			t.Error("tried again without a pause")
		}
		time.Sleep(unavailable.RetryAfter)
		start := time.Now()
		if v := c.get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, error %v; want signed out", v.SignedIn(), v.Err())
		}
		// The first attempt was this process's own: there is no other process
		// whose write could still come.
		if waited := time.Since(start); waited != 0 {
			t.Errorf("refused after %v; want at once", waited)
		}
		if !e.has(session.EventSessionEnded, "refresh_outcome_unknown") || s.refreshed() != 2 {
			t.Errorf("%d refreshes, events %v", s.refreshed(), e.all)
		}
	})
}

func TestRefreshesOnTheWireAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		var now, most int
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			s.mu.Lock()
			now++
			most = max(most, now)
			s.mu.Unlock()
			time.Sleep(4 * time.Second)
			s.mu.Lock()
			now--
			s.mu.Unlock()
			return s.tokens("ada"), nil
		}
		var clients []*visitor
		for range 250 {
			one := &visitor{t: t, m: c.m, jar: map[string]string{}}
			one.login("ada")
			clients = append(clients, one)
		}
		time.Sleep(2 * scriptedLife)
		var wg sync.WaitGroup
		var served, told int
		for _, one := range clients {
			wg.Go(func() {
				v := one.get()
				s.mu.Lock()
				defer s.mu.Unlock()
				if v.SignedIn() {
					served++
				} else if errors.Is(v.Err(), session.ErrSessionUnavailable) {
					told++
				}
			})
		}
		wg.Wait()
		if most != 64 || served < 128 || served+told != len(clients) {
			t.Errorf("%d on the wire at once, %d served, %d told to come back; want 64 at once", most, served, told)
		}
		time.Sleep(time.Minute)
		for _, one := range clients {
			if v := one.get(); !v.SignedIn() {
				t.Fatalf("not signed in later: %v", v.Err())
			}
		}
	})
}

func TestAfterARateLimitOneProbes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		limited := true
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(100 * time.Millisecond)
			if limited {
				return auth.Tokens{}, &auth.Error{
					Op: "refresh", StatusCode: 429, RetryAfter: 5 * time.Minute,
					Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable),
				}
			}
			return s.tokens("ada"), nil
		}
		var clients []*visitor
		for range 10 {
			one := &visitor{t: t, m: c.m, jar: map[string]string{}}
			one.login("ada")
			clients = append(clients, one)
		}
		all := func() (signedIn int) {
			var wg sync.WaitGroup
			for _, one := range clients {
				wg.Go(func() {
					v := one.get()
					s.mu.Lock()
					defer s.mu.Unlock()
					if v.SignedIn() {
						signedIn++
					}
				})
			}
			wg.Wait()
			return signedIn
		}
		time.Sleep(2 * scriptedLife)
		clients[0].get()
		if all(); s.refreshed() != 1 {
			t.Fatalf("%d refreshes while the rate is limited, want 1", s.refreshed())
		}
		time.Sleep(5*time.Minute - time.Second)
		if all(); s.refreshed() != 1 {
			t.Fatalf("%d refreshes before the limit's end, want 1", s.refreshed())
		}
		time.Sleep(time.Second)
		if all(); s.refreshed() != 2 {
			t.Fatalf("%d refreshes after the limit's end, want one probe", s.refreshed())
		}
		limited = false
		time.Sleep(5*time.Minute + time.Second)
		if n := all(); n != 1 || s.refreshed() != 3 {
			t.Fatalf("%d refreshes, %d signed in; want one more probe, which succeeds", s.refreshed(), n)
		}
		time.Sleep(20 * time.Second)
		if n := all(); n != 10 || s.refreshed() != 12 {
			t.Errorf("%d refreshes, %d signed in; want all", s.refreshed(), n)
		}
	})
}

func TestLogoutTakesTheTokensOfALateRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		c.login("ada")
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(1500 * time.Millisecond)
			return s.tokens("ada"), nil
		}
		time.Sleep(2 * scriptedLife)
		var wg sync.WaitGroup
		other := &visitor{t: t, m: c.m, jar: map[string]string{}}
		for k, v := range c.jar {
			other.jar[k] = v
		}
		wg.Go(func() {
			if v := other.get(); v.SignedIn() {
				t.Error("signed in by a refresh that ended after the logout")
			}
		})
		time.Sleep(time.Second)
		// The logout does not wait for the refresh to know whose session it is.
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			start := time.Now()
			if err := c.m.LogoutAll(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != 500*time.Millisecond {
				t.Errorf("the logout took %v; want the rest of the refresh", took)
			}
		})
		wg.Wait()
		if single, all, _ := s.given(); !slices.Equal(all, []string{"rt-2"}) || len(single) != 0 {
			t.Errorf("given back: all of %v, and %v; want all by the newest, rt-2", all, single)
		}
	})
}

// A session that another one of its user has ended is not in the store any
// more, and a late answer does not bring it back.
func TestNoLateWriteRevives(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		if !c.m.Stored() {
			return // nothing to write; the mark is in the coordinator
		}
		c.login("ada")
		other := &visitor{t: t, m: c.m, jar: map[string]string{}}
		other.login("ada")
		theme := session.NewKey[string]("theme")
		c.do(t.Context(), func(ctx context.Context, mine *session.Session) {
			if err := theme.Set(mine, "dark"); err != nil {
				t.Fatal(err)
			}
			other.do(ctx, func(ctx context.Context, _ *session.Session) {
				if err := c.m.LogoutAll(ctx); err != nil {
					t.Fatal(err)
				}
			})
		})
		if v := c.get(); v.SignedIn() || v.Err() != nil {
			t.Errorf("signed in %v, error %v; want signed out", v.SignedIn(), v.Err())
		}
	})
}

func TestShutdownWaitsForARefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		c.login("ada")
		s.refresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(3 * time.Second)
			return s.tokens("ada"), nil
		}
		time.Sleep(2 * scriptedLife)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c.do(ctx, nil) // the client leaves; the refresh goes on
		start := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.m.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Shutdown: %v after %v; want the context's error after a second", err, time.Since(start))
		}
		if err := c.m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * scriptedLife)
		if v := c.get(); !errors.Is(v.Err(), session.ErrShutdown) {
			t.Errorf("after Shutdown: error %v", v.Err())
		}
	})
}

func TestWhoAsksNothingWaitsForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *scripted, c *visitor, _ *eventLog) {
		c.login("ada")
		time.Sleep(2 * scriptedLife)
		c.do(t.Context(), func(context.Context, *session.Session) {})
		if s.refreshed() != 0 {
			t.Error("a handler that asked nothing had the tokens renewed")
		}
		// Nor does a logout renew what it is about to give back.
		c.do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.m.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		if single, _, n := s.given(); n != 0 || len(single) != 1 || len(c.jar) != 0 {
			t.Errorf("%d refreshes, given back %v, %d cookies left", n, single, len(c.jar))
		}
	})
}
