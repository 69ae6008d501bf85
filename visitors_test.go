package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store/memstore"
)

// visitorCookie is the cookie of a visitor's session.
const visitorCookie = "__Host-session-visitor"

// set changes a value in a request of the browser.
func (b *browser) set(k session.Key[string], v string) *browser {
	b.t.Helper()
	return b.visit(func(_ context.Context, s *session.Session) {
		if err := k.Set(s, v); err != nil {
			b.t.Fatalf("set: %v", err)
		}
	})
}

// has checks a value in a request of the browser. An empty one is none.
func (b *browser) has(k session.Key[string], want string) *browser {
	b.t.Helper()
	return b.visit(func(_ context.Context, s *session.Session) {
		b.t.Helper()
		if v, ok := k.Get(s); v != want || ok != (want != "") {
			b.t.Errorf("value %q (%v), want %q", v, ok, want)
		}
	})
}

// login signs the browser in.
func (b *browser) login(opts ...session.SignInOption) *browser {
	b.t.Helper()
	return b.visit(func(ctx context.Context, _ *session.Session) {
		if err := b.Login(ctx, "user@example.com", "password", opts...); err != nil {
			b.t.Fatal(err)
		}
	})
}

func (b *browser) logout() *browser {
	b.t.Helper()
	return b.visit(func(ctx context.Context, _ *session.Session) {
		if err := b.Logout(ctx); err != nil {
			b.t.Fatal(err)
		}
	})
}

// copy returns a second browser with the same cookies.
func (b *browser) copy() *browser {
	return &browser{app: b.app, names: slices.Clone(b.names), values: maps.Clone(b.values)}
}

// Visitors who are not signed in can have values, but no user, roles or token.
func TestVisitorValues(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.browser().set(favorite, "dark")
		if !slices.Equal(b.names, []string{visitorCookie}) {
			t.Fatalf("cookies %q", b.names)
		}
		if b.last.Get("Cache-Control") != "no-store" {
			t.Error("a response with a cookie may be cached")
		}
		b.has(favorite, "dark").is(false).visit(func(ctx context.Context, s *session.Session) {
			if err := s.Authorize(nil); !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("authorized: %v", err)
			}
			if _, err := s.AccessToken(ctx); !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("access token: %v", err)
			}
			if !slices.Equal(s.ValueNames(), []string{"theme"}) || s.UserID() != "" || s.Roles() != nil || !s.ExpiresAt().IsZero() {
				t.Errorf("values %q, user %q", s.ValueNames(), s.UserID())
			}
			<-s.Done() // no user is signed in
		})
		b.set(favorite, "light").has(favorite, "light")
		a.browser().has(favorite, "") // another visitor
		// Use extends the session, and without use the session ends.
		for range 3 {
			a.clock.Advance(23 * time.Hour)
			b.has(favorite, "light")
		}
		a.clock.Advance(25 * time.Hour)
		if b.has(favorite, ""); b.header() != "" {
			t.Errorf("cookies %q after the idle timeout", b.names)
		}
		b.set(favorite, "dark").has(favorite, "dark")
		for range 31 { // to the end of the lifetime
			a.clock.Advance(23 * time.Hour)
			b.visit(nil)
		}
		a.clock.Advance(23 * time.Hour)
		if b.has(favorite, ""); b.header() != "" {
			t.Errorf("cookies %q after the lifetime", b.names)
		}
		if n := a.log.count("session_"); n != 0 {
			t.Errorf("%d events of sessions", n)
		}
	})
}

// A visit, a deletion and a value that is rejected start no session.
func TestVisitsStartNoSession(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		records := &swappingStore{Store: memstore.New()}
		a := newApp(t, kind, func(c *session.Config) {
			if stored {
				c.Store = records
			} else {
				c.Coordinator = records
			}
		})
		for range scale.Of(1000, 1000, 10_000) {
			h := a.visit("", func(_ context.Context, s *session.Session) { _, _ = favorite.Pop(s) })
			if len(h) > 0 || records.puts > 0 {
				t.Fatalf("header %v, %d records", h, records.puts)
			}
		}
		for range 10 {
			h := a.visit("", func(ctx context.Context, s *session.Session) {
				_, _ = favorite.Get(s)
				_, _ = favorite.Pop(s)
				if err := favorite.Delete(s); err != nil {
					t.Fatal(err)
				}
				if err := favorite.Set(s, "dark"); err != nil {
					t.Fatal(err)
				}
				if v, ok := favorite.Pop(s); !ok || v != "dark" {
					t.Fatalf("value %q", v)
				}
				if err := favorite.Set(s, strings.Repeat("x", 2<<20)); !errors.Is(err, session.ErrTooLarge) {
					t.Fatalf("2 MiB: %v", err)
				}
				if err := s.Save(ctx); err != nil {
					t.Fatal(err)
				}
			})
			if len(h) > 0 || records.puts > 0 {
				t.Fatalf("header %v, %d records", h, records.puts)
			}
		}
	})
}

// A sign-in keeps the values of a visitor. They stay through refreshes and a new sign-in
// of the same user, and are deleted when the user signs out.
func TestVisitorSignsIn(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind, func(c *session.Config) { c.KeepValue = func(name string) bool { return name != "draft" } })
		draft := session.NewKey[string]("draft")
		b := a.browser().set(favorite, "dark").set(draft, "hello")
		before := b.copy()
		b.login().is(true).has(favorite, "dark").has(draft, "").set(draft, "mine")
		if slices.Contains(b.names, visitorCookie) {
			t.Errorf("cookies %q", b.names)
		}
		a.clock.Advance(2 * a.auth.life)
		b.has(favorite, "dark")
		again := b.copy()
		b.login().has(favorite, "dark").has(draft, "mine")
		again.is(false)
		b.logout().has(favorite, "").has(draft, "")
		if b.header() != "" {
			t.Errorf("cookies %q", b.names)
		}
		a.auth.roles = []string{"user"}
		// A copy of the visitor's cookie does not lead to the user's values.
		before.is(false).has(draft, map[bool]string{false: "hello"}[a.Config().Store != nil])
	})
}

// Another user who signs in does not get the values of the user before.
func TestValuesOfAnotherUser(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn().set(favorite, "dark")
		a.auth.user = "u2"
		b.login().is(true).has(favorite, "")
	})
}

// A value that is set in the request of a sign-in, before the sign-in, is kept. A value
// that is set after a sign-out belongs to the visitor: a message for the next page.
func TestMessagesForTheNextPage(t *testing.T) {
	for _, save := range []bool{false, true} {
		overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) { testMessages(t, kind, save) })
	}
}

func testMessages(t *testing.T, kind func(*session.Config), save bool) {
	a := newApp(t, kind)
	message := session.NewKey[string]("message")
	set := func(ctx context.Context, v string) {
		if err := message.Set(session.FromContext(ctx), v); err != nil {
			t.Fatal(err)
		}
	}
	pops := func(b *browser, want string) {
		t.Helper()
		for _, want := range []string{want, ""} {
			b.visit(func(_ context.Context, s *session.Session) {
				if v, ok := message.Pop(s); v != want || ok != (want != "") {
					t.Errorf("message %q (%v), want %q", v, ok, want)
				}
			})
		}
	}
	b := a.browser()
	b.visit(func(ctx context.Context, _ *session.Session) {
		set(ctx, "wrong password")
	})
	pops(b, "wrong password")
	b.visit(func(ctx context.Context, s *session.Session) {
		set(ctx, "welcome")
		if save {
			if err := s.Save(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := a.Login(ctx, "user@example.com", "password"); err != nil {
			t.Error(err)
		}
	})
	pops(b.is(true), "welcome")
	b.visit(func(ctx context.Context, _ *session.Session) {
		if err := a.Logout(ctx); err != nil {
			t.Error(err)
		}
		set(ctx, "good bye")
	})
	pops(b.is(false), "good bye")
	// A message about a session that has ended belongs to the visitor, too.
	b.login()
	a.clock.Advance(25 * time.Hour)
	b.visit(func(ctx context.Context, s *session.Session) {
		if s.SignedIn() {
			t.Error("signed in after the idle timeout")
		}
		set(ctx, "you were away")
	})
	pops(b.is(false), "you were away")
}

// Responses that arrive after the sign-in, to requests from before, do not sign the user
// out, whatever they set.
func TestLateResponsesToVisitors(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		for _, first := range []string{"", "dark"} {
			b := a.browser()
			if first != "" {
				b.set(favorite, first)
			}
			r := httptest.NewRequest("GET", "/", nil)
			if first != "" {
				r.Header.Set("Cookie", b.header())
			}
			r, x := testkit.Begin(a.Manager, r)
			if err := favorite.Set(session.FromContext(r.Context()), "late"); err != nil {
				t.Fatal(err)
			}
			b.login()
			h := http.Header{}
			err := x.Commit(h)
			// The value cannot be stored in the previous session, so the response must
			// report a failure.
			if lost := a.Config().Store != nil && first != ""; lost != errors.Is(err, session.ErrEnded) || !lost && err != nil {
				t.Fatalf("commit: %v", err)
			}
			if err := x.End(); err != nil && !errors.Is(err, session.ErrEnded) {
				t.Fatal(err)
			}
			b.receive(h)
			b.is(true).has(favorite, first)
			if slices.Contains(b.names, visitorCookie) {
				t.Errorf("cookies %q", b.names)
			}
		}
	})
}

// Requests of one visitor that change different values at the same time lose none of
// them, in a store.
func TestConcurrentValuesOfVisitor(t *testing.T) {
	a := newApp(t, inMemory)
	b := a.browser().set(favorite, "dark")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		wg.Go(func() { b.copy().set(session.NewKey[string](name), name) })
	}
	wg.Wait()
	b.visit(func(_ context.Context, s *session.Session) {
		if got := s.ValueNames(); len(got) != 5 {
			t.Errorf("values %q", got)
		}
	})
	// Calls of one request that store the first value at the same time.
	c := a.browser()
	c.visit(func(ctx context.Context, s *session.Session) {
		for _, name := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				if err := session.NewKey[string](name).Set(s, name); err != nil {
					t.Error(err)
				}
				if err := s.Save(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	c.visit(func(_ context.Context, s *session.Session) {
		if got := s.ValueNames(); len(got) != 4 {
			t.Errorf("values %q", got)
		}
	})
}

// The first value of a visitor needs a cookie, so it cannot be set after the response has
// begun. An outage of the store fails the response.
func TestFirstValueOfVisitorIsNotLost(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		st := &testkit.FailingStore{Store: memstore.New()}
		a := newApp(t, kind, func(c *session.Config) {
			if stored {
				c.Store = st
			}
		})
		r, x := testkit.Begin(a.Manager, httptest.NewRequest("GET", "/", nil))
		if err := x.Commit(http.Header{}); err != nil {
			t.Fatal(err)
		}
		if err := favorite.Set(session.FromContext(r.Context()), "dark"); !errors.Is(err, session.ErrCommitted) {
			t.Errorf("after the response has begun: %v", err)
		}
		if !stored {
			return
		}
		st.Down.Store(true)
		r, x = testkit.Begin(a.Manager, httptest.NewRequest("GET", "/", nil))
		if err := favorite.Set(session.FromContext(r.Context()), "dark"); err != nil {
			t.Fatal(err)
		}
		if err := x.Commit(http.Header{}); !errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("during an outage: %v", err)
		}
	})
}

// A late request of a browser that has signed out meanwhile begins no session of a visitor:
// its values are the user's.
func TestLateValuesAfterASignOut(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		b := newApp(t, kind).signedIn()
		late := b.copy()
		b.logout()
		late.visit(func(_ context.Context, s *session.Session) {
			if err := favorite.Set(s, "dark"); !errors.Is(err, session.ErrEnded) {
				t.Errorf("set: %v, want ErrEnded", err)
			}
		})
		if late.last.Get("Set-Cookie") != "" {
			t.Errorf("cookies %q", late.names)
		}
	})
}

// A cookie that does not open is deleted, and the visitor may have values again.
func TestForgedVisitorCookie(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.browser()
		b.names, b.values[visitorCookie] = []string{visitorCookie}, strings.Repeat("x", 200)
		if b.has(favorite, ""); b.header() != "" {
			t.Errorf("cookies %q", b.names)
		}
		b.names, b.values[visitorCookie] = []string{visitorCookie}, strings.Repeat("x", 200)
		b.set(favorite, "dark").has(favorite, "dark")
		// The cookies of visitors and users do not open in place of each other.
		user := a.signedIn()
		for _, swapped := range []*browser{
			{app: a, names: []string{"__Host-session"}, values: map[string]string{"__Host-session": b.values[visitorCookie]}},
			{app: a, names: []string{visitorCookie}, values: map[string]string{visitorCookie: user.values["__Host-session"]}},
		} {
			if swapped.is(false).has(favorite, ""); swapped.header() != "" {
				t.Errorf("cookies %q", swapped.names)
			}
		}
	})
}

// Ten values stay through every change of a session, and are deleted at its end.
func TestCart(t *testing.T) {
	overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
		item := func(i int) session.Key[string] { return session.NewKey[string](fmt.Sprintf("item-%d", i)) }
		s.refreshed = "ada@example.com"
		is := func(when string, n int) {
			t.Helper()
			var names []string
			c.Do(t.Context(), func(_ context.Context, s *session.Session) { names = s.ValueNames() })
			if len(names) != n {
				t.Errorf("%s: values %q, want %d", when, names, n)
			}
		}
		call := func(f func(ctx context.Context) error) {
			t.Helper()
			if _, err := timed(c, f); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 { // in several requests
			c.Do(t.Context(), func(_ context.Context, s *session.Session) {
				if err := item(i).Set(s, strings.Repeat("x", 100)); err != nil {
					t.Fatal(err)
				}
			})
		}
		is("a visitor", 10)
		call(func(ctx context.Context) error { return c.M.Login(ctx, "ada@example.com", "right") })
		is("after the sign-in", 10)
		time.Sleep(2 * testkit.Life)
		is("after the expiry of the token", 10)
		call(func(ctx context.Context) error { return session.FromContext(ctx).Refresh(ctx) })
		is("after a refresh", 10)
		call(func(ctx context.Context) error { return c.M.ChangePassword(ctx, "right", "changed") })
		is("after a change of the password", 10)
		call(func(ctx context.Context) error { return c.M.Login(ctx, "ada@example.com", "changed") })
		is("after a new sign-in", 10)
		time.Sleep(23 * time.Hour)
		is("before the idle timeout", 10)
		call(c.M.Logout)
		is("after the sign-out", 0)
		if len(c.Jar) != 0 {
			t.Errorf("cookies %v", c.Jar)
		}
	})
}
