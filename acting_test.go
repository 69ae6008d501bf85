package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// actAs makes the browser's user act as another user.
func (b *browser) actAs(user string, opts ...session.SignInOption) *browser {
	b.t.Helper()
	return b.visit(func(ctx context.Context, _ *session.Session) {
		if err := b.tryActAs(ctx, user, opts...); err != nil {
			b.t.Fatal(err)
		}
	})
}

func (b *browser) tryActAs(ctx context.Context, user string, opts ...session.SignInOption) error {
	a := b.app
	grant := auth.Grant{Tokens: a.auth.issueFor(user), User: auth.User{Name: "the user " + user}}
	return a.ActAs(ctx, grant, opts...)
}

// sees checks the user and the actor of the browser's session. An empty text means none.
func (b *browser) sees(user, actor string) *browser {
	b.t.Helper()
	return b.visit(func(_ context.Context, s *session.Session) {
		b.t.Helper()
		if s.UserID() != user || s.Actor().ID != actor || s.Err() != nil {
			b.t.Errorf("user %q, actor %q (%v), want %q and %q", s.UserID(), s.Actor().ID, s.Err(), user, actor)
		}
	})
}

// Handlers see the session of the other user until it ends, and then the actor's own
// session with its values.
func TestActAs(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn().set(favorite, "dark")
		own := slices.Clone(b.names)
		signedIn := a.clock.Now()
		a.clock.Advance(5 * time.Minute)
		b.actAs("u2")
		b.sees("u2", "u1").visit(func(ctx context.Context, s *session.Session) {
			if s.User().Name != "the user u2" || !s.AuthenticatedAt().Equal(signedIn) {
				t.Errorf("user %+v, authenticated at %v", s.User(), s.AuthenticatedAt())
			}
			if _, err := s.AccessToken(ctx); err != nil {
				t.Error(err)
			}
		})
		b.has(favorite, "").set(favorite, "light")
		a.clock.Advance(3 * a.auth.life)
		b.sees("u2", "u1").has(favorite, "light")
		if b.logout().sees("u1", "").has(favorite, "dark"); !slices.Equal(b.names, own) {
			t.Errorf("cookies %q, want %q", b.names, own)
		}
		if b.last.Get("Clear-Site-Data") != "" {
			t.Error("an ordinary response evicts pages")
		}
		b.logout().sees("", "")
		if b.header() != "" {
			t.Errorf("cookies %q", b.names)
		}
	})
}

// The request of the sign-in as another user already sees the other session, and so does
// the one that ends it.
func TestActAsWithinARequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		b.visit(func(ctx context.Context, s *session.Session) {
			if err := b.tryActAs(ctx, "u2"); err != nil {
				t.Fatal(err)
			}
			if now := session.FromContext(ctx); now.UserID() != "u2" || now.Actor().ID != "u1" || s.UserID() != "u1" {
				t.Errorf("user %q, actor %q", now.UserID(), now.Actor().ID)
			}
			if err := b.tryActAs(ctx, "u3"); !errors.Is(err, session.ErrActing) {
				t.Errorf("again: %v", err)
			}
		})
		if b.last.Get("Clear-Site-Data") == "" {
			t.Error("prefetched pages stay")
		}
		b.visit(func(ctx context.Context, _ *session.Session) {
			for name, err := range map[string]error{
				"ChangePassword": a.ChangePassword(ctx, "a", "b"), "ChangeEmail": a.ChangeEmail(ctx, "a", "b"),
				"DeleteAccount": a.DeleteAccount(ctx, "a"), "LogoutOthers": a.LogoutOthers(ctx),
			} {
				if !errors.Is(err, session.ErrActing) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := a.Logout(ctx); err != nil {
				t.Fatal(err)
			}
			if s := session.FromContext(ctx); s.UserID() != "u1" || s.Actor().ID != "" {
				t.Errorf("user %q, actor %q", s.UserID(), s.Actor().ID)
			}
		})
		b.sees("u1", "")
		if err := func() (err error) {
			a.browser().visit(func(ctx context.Context, _ *session.Session) { err = b.tryActAs(ctx, "u2") })
			return err
		}(); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("a visitor: %v", err)
		}
	})
}

// An end of sessions of one of the two users does not affect the other user.
func TestEndsWhileActing(t *testing.T) {
	for name, tt := range map[string]struct {
		end            func(t *testing.T, a *app, b *browser)
		user, actor    string // in the browser afterwards
		user2, another bool   // whether sessions of the other user and of the actor in other browsers continue
	}{
		"LogoutAll, meant for the other user": {func(t *testing.T, a *app, b *browser) {
			b.visit(func(ctx context.Context, _ *session.Session) {
				if err := a.LogoutAll(ctx); err != nil {
					t.Fatal(err)
				}
			})
		}, "u1", "", false, true},
		"EndAll of the other user": {func(t *testing.T, a *app, _ *browser) {
			if err := a.EndAll(t.Context(), "u2"); err != nil {
				t.Fatal(err)
			}
		}, "u1", "", false, true},
		"EndAll of the own user": {func(t *testing.T, a *app, _ *browser) {
			if err := a.EndAll(t.Context(), "u1"); err != nil {
				t.Fatal(err)
			}
		}, "", "", true, false},
		"a new sign-in": {func(_ *testing.T, _ *app, b *browser) { b.login() }, "u1", "", true, true},
		"the lifetime": {func(_ *testing.T, a *app, b *browser) {
			a.clock.Advance(time.Hour)
		}, "u1", "", true, true},
		"the own lifetime": {func(_ *testing.T, a *app, b *browser) {
			a.clock.Advance(30 * 24 * time.Hour)
		}, "", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
				a := newApp(t, kind)
				a.auth.life = 400 * 24 * time.Hour
				a.auth.user = "u2"
				elsewhere := a.signedIn()
				a.auth.user = ""
				another, b := a.signedIn(), a.signedIn()
				b.actAs("u2", session.WithLifetime(time.Hour)).sees("u2", "u1")
				before := b.copy()
				tt.end(t, a, b)
				b.sees(tt.user, tt.actor)
				elsewhere.is(tt.user2)
				another.is(tt.another)
				// Copies of the cookies do not revive the session.
				before.visit(func(_ context.Context, s *session.Session) {
					if s.UserID() == "u2" || s.Actor().ID != "" {
						t.Errorf("a copy: user %q, actor %q", s.UserID(), s.Actor().ID)
					}
				})
			})
		})
	}
}

// The cookies of the acting session are rejected without those of the actor's own
// session, and in place of them.
func TestActingCookiesAlone(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn().actAs("u2")
		only := func(keep func(name string) bool, rename func(string) string) *browser {
			c := a.browser()
			for _, name := range b.names {
				if keep(name) {
					c.names = append(c.names, rename(name))
					c.values[rename(name)] = b.values[name]
				}
			}
			return c
		}
		acting := func(name string) bool { return strings.Contains(name, "-acting") }
		same := func(name string) string { return name }
		own := func(name string) string { return strings.Replace(name, "-acting", "", 1) }
		only(acting, own).sees("", "")
		only(func(name string) bool { return !acting(name) }, same).sees("u1", "")
		only(func(name string) bool { return !acting(name) }, func(name string) string {
			return strings.Replace(name, "__Host-session", "__Host-session-acting", 1)
		}).sees("", "")
		// With the cookies of another session of the same user.
		c := a.signedIn()
		for _, name := range b.names {
			if acting(name) {
				c.names, c.values[name] = append(c.names, name), b.values[name]
			}
		}
		if c.sees("u1", ""); slices.ContainsFunc(c.names, acting) {
			t.Errorf("cookies %q", c.names)
		}
		b.sees("u1", "") // that has ended it
	})
}

// If the store has no record of the acting session, handlers see the actor's own session.
func TestActingWithoutRecord(t *testing.T) {
	st := &swappingStore{Store: nil}
	a := newApp(t, inMemory, func(c *session.Config) { st.Store, c.Store = c.Store, st })
	b := a.signedIn().actAs("u2").sees("u2", "u1")
	key := st.put[len(st.put)-1] // of the other user's session
	st.mu.Lock()
	st.instead = map[string]string{key: "count-none"} // a read that fails to match
	st.mu.Unlock()
	b.sees("u1", "") // without a record the acting session has ended
}

// Use of the acting session is also use of the actor's own session. Done reports the end
// of either.
func TestActingKeepsTheOwnSessionAlive(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		a.auth.life = 400 * 24 * time.Hour
		b := a.signedIn().actAs("u2")
		for range 4 {
			a.clock.Advance(20 * time.Hour)
			b.sees("u2", "u1")
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", b.header())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, x := testkit.Begin(a.Manager, r.WithContext(ctx))
		done := session.FromContext(r.Context()).Done()
		if err := x.Commit(http.Header{}); err != nil {
			t.Fatal(err)
		}
		if err := a.EndAll(t.Context(), "u1"); err != nil {
			t.Fatal(err)
		}
		<-done
	})
}

// A logout from a page of the other user's session does not end the own session, however
// late.
func TestLateLogoutOfTheOtherUser(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for _, all := range []bool{false, true} {
			a := newApp(t, kind)
			a.auth.life = 400 * 24 * time.Hour
			another := a.signedIn()
			b := a.signedIn().actAs("u2", session.WithLifetime(time.Hour))
			twice := b.copy()
			a.clock.Advance(time.Hour)
			logout := func(b *browser) {
				t.Helper()
				b.visit(func(ctx context.Context, _ *session.Session) {
					out := a.Logout
					if all {
						out = a.LogoutAll
					}
					if err := out(ctx); err != nil {
						t.Fatal(err)
					}
				})
			}
			logout(b)
			b.sees("u1", "")
			logout(twice)
			b.sees("u1", "")
			another.sees("u1", "")
		}
	})
}

// While one of the two sessions cannot be read, handlers see neither, even after the
// store is back in the same request.
func TestActingWhileTheStoreIsDown(t *testing.T) {
	st := &testkit.FailingStore{}
	a := newApp(t, inMemory, func(c *session.Config) { st.Store, c.Store = c.Store, st })
	b := a.signedIn().actAs("u2")
	st.Down.Store(true)
	b.visit(func(_ context.Context, s *session.Session) {
		for _, down := range []bool{true, false} {
			st.Down.Store(down)
			if s.Err() == nil || s.UserID() != "" {
				t.Errorf("user %q (%v) while the store is down: %v", s.UserID(), s.Err(), down)
			}
			a.clock.Advance(time.Minute)
		}
	})
	b.sees("u2", "u1")
}

// If the service ends the actor's own session, acting ends.
func TestOwnSessionEndsAtTheService(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn().actAs("u2")
		a.auth.mu.Lock()
		for token, user := range a.auth.users {
			if user == "u1" {
				delete(a.auth.live, token)
			}
		}
		a.auth.mu.Unlock()
		a.clock.Advance(2 * a.auth.life)
		b.sees("", "").sees("", "")
		if b.header() != "" {
			t.Errorf("cookies %q", b.names)
		}
	})
}

// If the response fails, acting does not begin.
func TestActingDoesNotStartWithAFailedResponse(t *testing.T) {
	st := &testkit.FailingStore{}
	a := newApp(t, inMemory, func(c *session.Config) { st.Store, c.Store = c.Store, st })
	b := a.signedIn()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", b.header())
	r, x := testkit.Begin(a.Manager, r)
	if err := favorite.Set(session.FromContext(r.Context()), "dark"); err != nil {
		t.Fatal(err)
	}
	if err := b.tryActAs(r.Context(), "u2"); err != nil {
		t.Fatal(err)
	}
	st.Down.Store(true)
	h := http.Header{}
	if err := x.Commit(h); err == nil {
		t.Error("no error")
	}
	st.Down.Store(false)
	b.receive(h)
	b.sees("u1", "")
}

// The acting session is in the other user's list, and does not count for MaxSessions.
func TestActingIsListed(t *testing.T) {
	a := newApp(t, inMemory, func(c *session.Config) { c.MaxSessions = 2 })
	a.auth.user = "u2"
	user := a.signedIn()
	a.auth.user = ""
	support := a.signedIn().actAs("u2")
	var handle string
	user.visit(func(ctx context.Context, _ *session.Session) {
		list, err := a.Sessions(ctx)
		if err != nil || len(list) != 2 {
			t.Fatalf("sessions %v, %v", list, err)
		}
		handle = list[1].Handle
	})
	support.sees("u2", "u1")
	user.visit(func(ctx context.Context, _ *session.Session) {
		if err := a.EndSession(ctx, handle); err != nil {
			t.Error(err)
		}
	})
	support.sees("u1", "")
	user.sees("u2", "")
}

// A sign-in ends acting for the rest of its request, too, when the end of the acting session
// cannot be stored. Otherwise the handler would show the other user's data after the sign-in.
func TestSignInEndsActingInAnOutage(t *testing.T) {
	shared := &testkit.FailingStore{}
	a := newApp(t, func(c *session.Config) {
		shared.Store = &memstore.Store{Now: c.Now}
		c.Coordinator = shared
	})
	b := a.signedIn()
	b.actAs("u2").sees("u2", "u1")
	shared.Down.Store(true)
	b.visit(func(ctx context.Context, s *session.Session) {
		if err := a.Login(ctx, "user@example.com", "password"); err != nil {
			t.Fatal(err)
		}
		if now := session.FromContext(ctx); now.UserID() != "u1" || now.Actor().ID != "" || now.Err() != nil {
			t.Errorf("user %q, actor %q (%v)", now.UserID(), now.Actor().ID, now.Err())
		}
	})
	b.sees("u1", "")
	shared.Down.Store(false)
	b.sees("u1", "")
	for _, name := range b.names {
		if strings.Contains(name, "-acting") {
			t.Errorf("the browser still has %s", name)
		}
	}
}
