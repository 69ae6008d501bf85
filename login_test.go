package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// A login does not need the coordinator: it has no record of a new session.
func TestLoginWithoutCoordinator(t *testing.T) {
	shared := &testkit.FailingStore{Store: memstore.New()}
	shared.Down.Store(true)
	a := newApp(t, func(c *session.Config) { c.Coordinator, c.Now = shared, nil })
	b := a.signedIn()
	b.visit(func(_ context.Context, s *session.Session) {
		if !s.SignedIn() || s.UserID() != "u1" {
			t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
		}
	})
	shared.Down.Store(false)
	b.is(true)
	if n := a.auth.liveTokens(); n != 1 {
		t.Errorf("%d refresh tokens live, want 1", n)
	}
}

// If a new session cannot be saved, its cookie is not sent and its tokens are
// revoked.
func TestLoginIsNotDelivered(t *testing.T) {
	for _, back := range []bool{true, false} {
		shared := &testkit.FailingStore{Store: memstore.New()}
		a := newApp(t, func(c *session.Config) { c.Store, c.Now = shared, nil })
		r, x := testkit.Begin(a.Manager, httptest.NewRequest("POST", "/login", nil))
		if err := a.Login(r.Context(), "user@example.com", "password"); err != nil {
			t.Fatal(err)
		}
		if err := favorite.Set(session.FromContext(r.Context()), "dark"); err != nil {
			t.Fatal(err)
		}
		shared.Down.Store(true)
		h := http.Header{}
		if err := x.Commit(h); !errors.Is(err, session.ErrSessionUnavailable) || len(h["Set-Cookie"]) > 0 {
			t.Errorf("commit: %v, cookies %q", err, h["Set-Cookie"])
		}
		if back {
			shared.Down.Store(false)
		}
		_ = x.End()                                              // its error has been reported
		if err := a.Shutdown(context.Background()); err != nil { // waits for background work
			t.Error(err)
		}
		if n := a.auth.liveTokens(); n != 0 {
			t.Errorf("the store is back: %v; %d refresh tokens live on", back, n)
		}
	}
}

// A pending login ends when the browser signs in in another way or signs out. A
// cookie of a pending login that does not open is deleted.
func TestPendingLoginEnds(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		pending := func() *browser {
			a.auth.mfa = true
			defer func() { a.auth.mfa = false }()
			b := a.browser()
			b.visit(func(ctx context.Context, _ *session.Session) {
				if err := a.Login(ctx, "user@example.com", "password"); !errors.Is(err, auth.ErrSecondFactor) {
					t.Fatal(err)
				}
			})
			return b
		}
		is := func(b *browser, want bool) {
			t.Helper()
			b.visit(func(ctx context.Context, _ *session.Session) {
				if got := codePending(ctx, a); got != want {
					t.Errorf("pending: %v, want %v", got, want)
				}
			})
			if slices.Contains(b.names, "__Host-session-mfa") != want {
				t.Errorf("the browser has the cookies %q", b.names)
			}
		}
		b := pending()
		is(b, true)
		b.visit(func(ctx context.Context, _ *session.Session) { _ = a.Login(ctx, "user@example.com", "password") })
		is(b, false)

		b = pending()
		b.visit(func(ctx context.Context, _ *session.Session) { _ = a.Logout(ctx) })
		is(b, false)

		b = pending()
		b.values["__Host-session-mfa"] += "A"
		b.visit(nil)
		is(b, false)

		b = pending()
		a.clock.Advance(15 * time.Minute)
		b.visit(nil)
		is(b, false)
	})
}

// A response that changes the browser's user makes the browser drop prefetched
// pages. Other responses do not.
func TestChangeOfUserDropsPrefetchedPages(t *testing.T) {
	const drops = `"prefetchCache", "prerenderCache"`
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.browser()
		step := func(name, want string, do func(ctx context.Context) error) {
			t.Helper()
			b.visit(func(ctx context.Context, _ *session.Session) {
				if err := do(ctx); err != nil && !errors.Is(err, auth.ErrSecondFactor) {
					t.Fatalf("%s: %v", name, err)
				}
			})
			if got := b.last.Get("Clear-Site-Data"); got != want {
				t.Errorf("%s: Clear-Site-Data: %s, want %s", name, got, want)
			}
		}
		visit := func(context.Context) error { return nil }
		login := func(ctx context.Context) error { return a.Login(ctx, "user@example.com", "password") }
		step("a visit", "", visit)
		step("Login", drops, login)
		step("a visit", "", visit)
		step("Logout", drops, a.Logout)
		step("Start", drops, func(ctx context.Context) error { return a.Start(ctx, auth.Grant{Tokens: a.auth.issue()}) })
		step("LogoutAll", drops, a.LogoutAll)
		a.auth.mfa = true
		step("Login with a second factor", drops, login)
		step("LoginTOTP", drops, func(ctx context.Context) error { return a.LoginTOTP(ctx, "123456") })
		step("a change of a value", "", func(ctx context.Context) error { return favorite.Set(session.FromContext(ctx), "dark") })

		// The app's own Clear-Site-Data field stays.
		r, x := testkit.Begin(a.Manager, httptest.NewRequest("POST", "/logout", nil))
		if err := a.Logout(r.Context()); err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Clear-Site-Data": {`"storage"`}}
		if err := x.Commit(h); err != nil {
			t.Fatal(err)
		}
		if got := h["Clear-Site-Data"]; !slices.Equal(got, []string{`"storage"`, drops}) {
			t.Errorf("in addition to the app's field: %q", got)
		}
	})
}
