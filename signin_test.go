package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// ages returns the Max-Age of the session's cookies in the last response.
func (b *browser) ages() []string {
	b.t.Helper()
	var ages []string
	for _, line := range b.last.Values("Set-Cookie") {
		if _, _, age := parseSetCookie(b.t, line); age != "0" {
			ages = append(ages, age)
		}
	}
	return ages
}

// A lifetime that has passed at the sign-in does not select the configured one, whatever
// keeps it until the session starts.
func TestPassedLifetime(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for _, life := range []time.Duration{-time.Minute, -1, 1, time.Millisecond - 1} {
			for _, mfa := range []bool{false, true} {
				a := newApp(t, kind)
				a.auth.mfa = mfa
				b := a.browser()
				b.visit(func(ctx context.Context, _ *session.Session) {
					err := a.Login(ctx, "user@example.com", "password", session.WithLifetime(life))
					if mfa != errors.Is(err, auth.ErrSecondFactor) || !mfa && err != nil {
						t.Fatal(err)
					}
				})
				if mfa {
					b.visit(func(ctx context.Context, _ *session.Session) {
						if err := a.LoginTOTP(ctx, "123456"); err != nil {
							t.Fatal(err)
						}
					})
				}
				a.clock.Advance(time.Millisecond)
				b.is(false)
			}
		}
	})
}

// The options of a sign-in apply to all cookies until the session ends: at the sign-in,
// when the use is recorded, after a refresh, and after a new sign-in of the same user.
func TestRemember(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for _, tt := range []struct {
			name          string
			opts          []session.SignInOption
			nonPersistent bool
			life          time.Duration // 0: no Max-Age
		}{
			{"default", nil, false, 30 * 24 * time.Hour},
			{"default, non-persistent", nil, true, 0},
			{"remembered", []session.SignInOption{session.WithRemember(true)}, true, 30 * 24 * time.Hour},
			{"not remembered", []session.SignInOption{session.WithRemember(false)}, false, 0},
			{"a shorter lifetime", []session.SignInOption{session.WithLifetime(10 * time.Hour)}, false, 10 * time.Hour},
			{"a longer lifetime", []session.SignInOption{session.WithLifetime(90 * 24 * time.Hour)}, false, 30 * 24 * time.Hour},
			{"both", []session.SignInOption{session.WithRemember(false), session.WithLifetime(10 * time.Hour)}, false, 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				a := newApp(t, kind, func(c *session.Config) { c.Cookie.NonPersistent = tt.nonPersistent })
				b := a.browser().login(tt.opts...)
				check := func(when string, passed time.Duration) {
					t.Helper()
					for _, age := range b.ages() {
						want := ""
						if tt.life > 0 {
							want = strconv.Itoa(int((tt.life - passed) / time.Second))
						}
						if age != want {
							t.Errorf("%s: Max-Age %q, want %q", when, age, want)
						}
					}
				}
				if len(b.ages()) == 0 {
					t.Fatal("no cookies")
				}
				check("at the sign-in", 0)
				a.clock.Advance(3 * time.Hour) // the tokens are due, and the use is recorded
				b.is(true)
				check("after a refresh", 3*time.Hour)
				b.login()
				check("after a new sign-in", 0)
				if life := min(tt.life, 24*time.Hour); life > 0 && life < 24*time.Hour {
					a.clock.Advance(life - time.Minute)
					b.is(true)
					a.clock.Advance(time.Minute)
					b.is(false)
				}
			})
		}
	})
}

// The options of the first step of a sign-in apply to the session after the second.
func TestRememberWithSecondFactor(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		a.auth.mfa = true
		b := a.browser().visit(func(ctx context.Context, _ *session.Session) {
			err := a.Login(ctx, "user@example.com", "password", session.WithRemember(false), session.WithLifetime(time.Hour), session.WithReturnTo("/reports"))
			if !errors.Is(err, auth.ErrSecondFactor) {
				t.Fatal(err)
			}
		})
		b.visit(func(ctx context.Context, _ *session.Session) {
			if to, _ := a.PendingLogin(ctx); to != "/reports" {
				t.Errorf("return to %q", to)
			}
			if err := a.LoginTOTP(ctx, "123456"); err != nil {
				t.Fatal(err)
			}
		})
		for _, age := range b.ages() {
			if age != "" {
				t.Errorf("Max-Age %q", age)
			}
		}
		b.visit(func(_ context.Context, s *session.Session) {
			if at := s.ExpiresAt(); !at.Equal(a.clock.Now().Add(time.Hour)) || s.User().Email != "user@example.com" {
				t.Errorf("ends at %v, user %v", at, s.User())
			}
		})
	})
}

// User returns the data that the service has reported. Data that a refresh does not
// report stays the same. Without an address, Email is the address of the sign-in.
func TestUser(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		is := func(b *browser, want auth.User) {
			t.Helper()
			b.visit(func(_ context.Context, s *session.Session) {
				if got := s.User(); got != want {
					t.Errorf("user %+v, want %+v", got, want)
				}
			})
		}
		is(a.browser(), auth.User{})
		b := a.browser().login()
		is(b, auth.User{ID: "u1", Email: "user@example.com"})
		start := func(u auth.User) *browser {
			return a.browser().visit(func(ctx context.Context, _ *session.Session) {
				if err := a.Start(ctx, auth.Grant{Tokens: a.auth.issue(), User: u}); err != nil {
					t.Fatal(err)
				}
			})
		}
		full := auth.User{ID: "other", Email: "ada@example.com", Name: "Ada", Picture: "https://example.com/ada.png"}
		b = start(full)
		full.ID = "u1" // that of the access token
		is(b, full)
		a.clock.Advance(2 * a.auth.life) // the service does not report the user at a refresh
		is(b, full)
		is(start(auth.User{Email: strings.Repeat("e", 321), Name: strings.Repeat("n", 257), Picture: strings.Repeat("p", 513)}), auth.User{ID: "u1"})
	})
}

// A user who signed in too long ago has to sign in again, and keeps the values.
func TestAuthorizeFresh(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		fresh := func(b *browser) (err error) {
			b.visit(func(_ context.Context, s *session.Session) { err = s.AuthorizeFresh(10 * time.Minute) })
			return err
		}
		if err := fresh(a.browser()); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("a visitor: %v", err)
		}
		b := a.signedIn().set(favorite, "dark")
		signedIn := a.clock.Now()
		a.clock.Advance(10 * time.Minute)
		if err := fresh(b); err != nil {
			t.Errorf("after 10 minutes: %v", err)
		}
		a.clock.Advance(time.Second)
		if err := fresh(b); !errors.Is(err, session.ErrReauthenticationRequired) || errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("after 10 minutes and a second: %v", err)
		}
		a.clock.Advance(2 * time.Hour) // a refresh does not count
		b.visit(func(_ context.Context, s *session.Session) {
			if at := s.AuthenticatedAt(); !at.Equal(signedIn) {
				t.Errorf("authenticated at %v, want %v", at, signedIn)
			}
		})
		before := b.copy()
		if err := fresh(b.login()); err != nil {
			t.Errorf("after a new sign-in: %v", err)
		}
		b.has(favorite, "dark")
		before.is(false)
		// The service may report that the user has entered the password earlier.
		old := a.browser().visit(func(ctx context.Context, _ *session.Session) {
			if err := a.Start(ctx, auth.Grant{Tokens: a.auth.issue(), AuthenticatedAt: a.clock.Now().Add(-time.Hour)}); err != nil {
				t.Fatal(err)
			}
		})
		if err := fresh(old); !errors.Is(err, session.ErrReauthenticationRequired) {
			t.Errorf("signed in at the service an hour ago: %v", err)
		}
	})
}

// Passive requests refresh tokens and save values, and do not extend the session.
func TestPassiveRequests(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for _, passive := range []bool{false, true} {
			a := newApp(t, kind)
			user, visitor := a.signedIn(), a.browser().set(favorite, "dark")
			for i := range 5 {
				a.clock.Advance(6 * time.Hour)
				for _, b := range []*browser{user, visitor} {
					b.visit(func(ctx context.Context, s *session.Session) {
						if passive {
							session.MarkPassive(ctx)
						}
						if i < 3 && b == user && !s.SignedIn() {
							t.Fatal("not signed in")
						}
						if i == 2 {
							if err := favorite.Set(s, "light"); err != nil {
								t.Fatal(err)
							}
						}
					})
				}
			}
			user.is(!passive)
			visitor.has(favorite, map[bool]string{false: "light"}[passive])
			if n := a.auth.refreshes(); n < 3 {
				t.Errorf("%d refreshes", n)
			}
		}
		session.MarkPassive(httptest.NewRequest("GET", "/", nil).Context()) // outside: nothing
	})
}
