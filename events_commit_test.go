package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// traced is a key of the context of a request, such as tracing uses.
type traced struct{}

// Events while the response is committed have the request's context values.
// Their context is not canceled when the client disconnects.
func TestEventsAtCommit(t *testing.T) {
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		type sighting struct {
			event session.Event
			ctx   context.Context
			alive bool
		}
		var mu sync.Mutex
		var all []sighting
		down := &testkit.FailingStore{}
		a := newApp(t, func(c *session.Config) {
			down.Store = &memstore.Store{Now: c.Now}
			if stored {
				c.Store = down
			} else {
				c.Coordinator = down
			}
			c.OnEvent = func(ctx context.Context, e session.Event) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, sighting{e, ctx, ctx.Err() == nil})
				if e.Name == session.EventStoreUnavailable {
					down.Down.Store(false)
				}
			}
		})
		ctx, disconnect := context.WithCancel(context.WithValue(context.Background(), traced{}, "trace-1"))
		r, x := testkit.Begin(a.Manager, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		if err := a.Login(r.Context(), "user@example.com", "password"); err != nil {
			t.Fatal(err)
		}
		s := session.FromContext(r.Context())
		if err := favorite.Set(s, "dark"); err != nil {
			t.Fatal(err)
		}
		disconnect()
		down.Down.Store(true)
		if err := x.Commit(http.Header{}); stored != errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("commit: %v", err)
		}
		if err := a.Shutdown(context.Background()); err != nil { // the end of a session continues in the background
			t.Fatal(err)
		}
		want := []string{"session_started ", "store_unavailable "}
		if stored {
			want = append(want, "session_ended login_not_delivered")
		}
		var got []string
		for _, seen := range all {
			name := seen.event.Name + " " + seen.event.Reason
			got = append(got, name)
			if seen.ctx.Value(traced{}) != "trace-1" || session.FromContext(seen.ctx) != s || !seen.alive {
				t.Errorf("%s: the context is not that of the request, or is canceled", name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

// A response that only records the use of a cookie session needs no coordinator.
// Its outage is reported.
func TestCoordinatorFailsAtCommit(t *testing.T) {
	down := &testkit.FailingStore{}
	a := newApp(t, func(c *session.Config) { down.Store, c.Coordinator = &memstore.Store{Now: c.Now}, down })
	a.auth.life = 10 * time.Hour
	b := a.signedIn()
	a.clock.Advance(3 * time.Hour)
	b.visit(func(context.Context, *session.Session) { down.Down.Store(true) })
	if n := a.log.count(session.EventStoreUnavailable, "level=ERROR"); n != 1 {
		t.Errorf("%d events store_unavailable, want 1", n)
	}
	if lines := b.last["Set-Cookie"]; len(lines) != 1 || !strings.HasPrefix(lines[0], "__Host-session-state=") {
		t.Errorf("cookies %q, want the state cookie", lines)
	}
}

// If a session has ended, values at the end of its request cannot be saved. This is not
// reported as an outage.
func TestEventsAtEnd(t *testing.T) {
	down := &testkit.FailingStore{}
	var value any
	a := newApp(t, func(c *session.Config) {
		down.Store = &memstore.Store{Now: c.Now}
		c.Store = down
		c.OnEvent = func(ctx context.Context, _ session.Event) { value = ctx.Value(traced{}) }
	})
	b := a.signedIn()
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), traced{}, "trace-1"), "GET", "/", nil)
	r.Header.Set("Cookie", b.header())
	r, x := testkit.Begin(a.Manager, r)
	if err := x.Commit(http.Header{}); err != nil {
		t.Fatal(err)
	}
	if err := favorite.Set(session.FromContext(r.Context()), "dark"); err != nil {
		t.Fatal(err)
	}
	down.Down.Store(true)
	if err := x.End(); !errors.Is(err, session.ErrSessionUnavailable) || value != "trace-1" {
		t.Errorf("end: %v; the event's context has %v", err, value)
	}
}

// Tokens that have outgrown their cookies are reported once per generation, not
// once per request.
func TestTokensThatFitNoCookieAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, cookieKind)
		st.refreshes(func() (auth.Tokens, error) {
			tokens := st.service.Issue("u1")
			tokens.AccessToken += strings.Repeat("A", 20_000)
			return tokens, nil
		})
		for generation := 1; generation <= 3; generation++ {
			st.expire()
			for range 5 {
				st.visit()
			}
			synctest.Wait()
			if events, levels := st.seen.of(t, session.EventTokensUnwritten, ""); len(events) != generation || len(levels) != generation {
				t.Errorf("after %d generations the hook was called %d times, logged %d times", generation, len(events), len(levels))
			}
		}
	})
}
