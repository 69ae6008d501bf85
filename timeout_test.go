package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store/memstore"
)

// The idle timeout is exact to the millisecond. It counts from the last
// recorded use.
func TestIdleTimeout(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind, func(c *session.Config) { c.IdleTimeout = time.Hour })
		a.auth.life = 100 * time.Hour // no refresh gets in the way
		b := a.signedIn()
		a.clock.Advance(time.Hour - time.Millisecond)
		b.is(true)
		a.clock.Advance(time.Hour - time.Millisecond)
		b.is(true)
		a.clock.Advance(time.Hour)
		b.is(false)
		if b.header() != "" {
			t.Errorf("cookies %q after the timeout", b.names)
		}
		a.endedBy("idle_timeout")
	})
}

// endedBy checks that a session's end was logged, and that its tokens were
// revoked.
func (a *app) endedBy(reason string) {
	a.t.Helper()
	if n := a.log.count(session.EventSessionEnded, "reason="+reason); n != 1 {
		a.t.Errorf("%d events session_ended for the reason %s, want 1", n, reason)
	}
	if err := a.Shutdown(context.Background()); err != nil { // waits for background work
		a.t.Error(err)
	}
	if n := a.auth.liveTokens(); n != 0 {
		a.t.Errorf("%d refresh tokens live on", n)
	}
}

// The lifetime is exact, and use does not extend it.
func TestLifetime(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 10*time.Hour, time.Hour })
		a.auth.life = time.Hour
		b := a.signedIn()
		for range 19 {
			a.clock.Advance(30 * time.Minute)
			b.is(true)
		}
		a.clock.Advance(30*time.Minute - time.Millisecond)
		b.is(true)
		a.clock.Advance(time.Millisecond)
		b.is(false)
		if n := a.log.count(session.EventSessionRefreshed); n < 9 {
			t.Errorf("%d refreshes in ten hours of an hour's tokens: the test shows nothing", n)
		}
		a.endedBy("lifetime")
	})
}

// ExpiresAt is the earlier of the two ends, from the first request on.
func TestExpiresAt(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind, func(c *session.Config) { c.Lifetime, c.IdleTimeout = 3*time.Hour, 2*time.Hour })
		b := a.signedIn()
		ends := func(want time.Time) {
			t.Helper()
			b.visit(func(_ context.Context, s *session.Session) {
				if got := s.ExpiresAt(); !got.Equal(want) {
					t.Errorf("the session ends at %v, want %v", got, want)
				}
			})
		}
		ends(epoch.Add(2 * time.Hour))
		a.clock.Advance(12 * time.Minute) // a tenth: noted at the end of the request
		ends(epoch.Add(2 * time.Hour))
		ends(epoch.Add(2*time.Hour + 12*time.Minute))
		a.clock.Advance(time.Hour)
		ends(epoch.Add(2*time.Hour + 12*time.Minute))
		ends(epoch.Add(3 * time.Hour))
		if got := session.FromContext(context.Background()).ExpiresAt(); !got.IsZero() {
			t.Errorf("an anonymous session ends at %v", got)
		}
	})
}

// Use is written once per tenth of the idle timeout, however many requests
// come.
func TestIdleTimeIsWrittenRarely(t *testing.T) {
	t.Run("cookie", func(t *testing.T) {
		a := newApp(t, func(c *session.Config) { c.IdleTimeout, c.MaxTokenAge = time.Hour, -1 })
		a.auth.life = 100 * time.Hour
		b := a.signedIn()
		writes := 0
		for minute := 1; minute <= 60; minute++ {
			a.clock.Advance(time.Minute)
			b.is(true)
			for _, line := range b.last.Values("Set-Cookie") {
				if !strings.HasPrefix(line, "__Host-session-state=") {
					t.Errorf("the tokens were written: %.60s", line)
				}
				writes++
			}
		}
		if writes != 10 {
			t.Errorf("%d writes in an hour, want 10", writes)
		}
		a.clock.Advance(6*time.Minute - time.Millisecond)
		if b.is(true); len(b.last.Values("Set-Cookie")) != 0 {
			t.Error("written before a tenth has passed")
		}
		a.clock.Advance(time.Millisecond)
		if b.is(true); len(b.last.Values("Set-Cookie")) != 1 {
			t.Error("not written after a tenth")
		}
	})
	t.Run("stored", func(t *testing.T) {
		store := &swappingStore{}
		a := newApp(t, func(c *session.Config) {
			c.IdleTimeout, store.Store = time.Hour, &memstore.Store{Now: c.Now}
			c.Store, c.MaxTokenAge = store, -1
		})
		a.auth.life = 100 * time.Hour
		b := a.signedIn()
		before := store.puts
		for range 60 {
			a.clock.Advance(time.Minute)
			if b.is(true); len(b.last.Values("Set-Cookie")) != 0 {
				t.Fatal("a stored session's cookie was written")
			}
		}
		if n := store.puts - before; n != 10 {
			t.Errorf("%d writes in an hour, want 10", n)
		}
	})
}

// A refresh is not use: it extends no timeout and writes no state.
func TestRefreshIsNotActivity(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		a := newApp(t, kind, func(c *session.Config) { c.IdleTimeout = 20 * time.Hour })
		b := a.signedIn()
		a.clock.Advance(a.auth.life)
		var ends time.Time
		b.visit(func(_ context.Context, s *session.Session) { ends = s.ExpiresAt() })
		if a.log.count(session.EventSessionRefreshed) != 1 || !ends.Equal(epoch.Add(20*time.Hour)) {
			t.Errorf("%d refreshes, and the session ends at %v", a.log.count(session.EventSessionRefreshed), ends)
		}
		for _, line := range b.last.Values("Set-Cookie") {
			if stored || !strings.HasPrefix(line, "__Host-session=") {
				t.Errorf("written with the new tokens: %.60s", line)
			}
		}
	})
}

// Without a readable state cookie, the idle timeout counts from the login.
func TestIdleWithoutState(t *testing.T) {
	for _, state := range []string{"", "; __Host-session-state=garbage"} {
		a := newApp(t, func(c *session.Config) { c.IdleTimeout = time.Hour })
		b := a.signedIn()
		a.clock.Advance(30 * time.Minute)
		tokens := "__Host-session=" + b.is(true).values["__Host-session"] + state
		a.clock.Advance(30*time.Minute - time.Millisecond)
		a.visit(tokens, func(_ context.Context, s *session.Session) {
			if !s.SignedIn() {
				t.Error("not signed in before the timeout")
			}
		})
		a.clock.Advance(time.Millisecond)
		a.visit(tokens, signedOut(t))
	}
}
