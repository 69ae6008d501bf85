package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
)

// slowAuth is an auth service that compares passwords slowly. It therefore rejects a
// known address later than an unknown one.
type slowAuth struct {
	*stubAuth
	unknown, known time.Duration
	email          string // that was received last
}

func (a *slowAuth) Login(ctx context.Context, email, password string) (auth.Grant, error) {
	a.email = email
	took := a.known
	if email == "unknown@example.com" {
		took = a.unknown
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return auth.Grant{}, auth.ErrUnavailable
	}
	switch {
	case password != "right" || took == a.unknown:
		return auth.Grant{}, auth.ErrRefused
	case email == "mfa@example.com":
		return auth.Grant{}, &auth.SecondFactorError{Ticket: "the ticket"}
	}
	return auth.Grant{Tokens: a.issue()}, nil
}

func (a *slowAuth) LoginTOTP(_ context.Context, ticket, code string) (auth.Grant, error) {
	time.Sleep(a.known)
	if code != "123456" {
		return auth.Grant{}, auth.ErrRefused
	}
	return a.stubAuth.LoginTOTP(context.Background(), ticket, code)
}

// signInSite is an app whose own routes call the Manager.
type signInSite struct {
	*app
	auth *slowAuth
}

// overTime runs a test under a clock that moves when all goroutines wait.
func overTime(t *testing.T, unknown, known time.Duration, test func(t *testing.T, s signInSite)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var auth *slowAuth
		a := newApp(t, func(c *session.Config) {
			auth = &slowAuth{stubAuth: c.Auth.(*stubAuth), unknown: unknown, known: known}
			c.Auth, c.Now = auth, nil
		})
		test(t, signInSite{a, auth})
	})
}

// login returns how long a call of Login takes, and its error.
func (s signInSite) login(email, password string) (took time.Duration, err error) {
	s.t.Helper()
	s.browser().visit(func(ctx context.Context, _ *session.Session) {
		began := time.Now()
		err = s.Login(ctx, email, password)
		took = time.Since(began)
	})
	return took, err
}

// refused returns how long a refusal of Login takes.
func (s signInSite) refused(email string) time.Duration {
	s.t.Helper()
	took, err := s.login(email, "wrong")
	if !errors.Is(err, auth.ErrRefused) {
		s.t.Errorf("%s: %v, want a refusal", email, err)
	}
	return took
}

func TestRefusedLoginTakesAsLongForEveryAddress(t *testing.T) {
	overTime(t, 4*time.Millisecond, 130*time.Millisecond, func(t *testing.T, s signInSite) {
		for _, email := range []string{"unknown@example.com", "user@example.com", "unknown@example.com"} {
			if took := s.refused(email); took != 300*time.Millisecond {
				t.Errorf("%s was refused after %v, want 300ms", email, took)
			}
		}
	})
}

// A service may be slower than any fixed floor. Its slowest response determines
// how long later rejections take.
func TestRefusedLoginTakesAsLongAsASlowService(t *testing.T) {
	responses := map[string]func(s signInSite){
		"a refusal":       func(s signInSite) { s.refused("user@example.com") },
		"a sign-in":       func(s signInSite) { _, _ = s.login("user@example.com", "right") },
		"a second factor": func(s signInSite) { _, _ = s.login("mfa@example.com", "right") },
	}
	for name, respond := range responses {
		t.Run(name, func(t *testing.T) {
			overTime(t, 4*time.Millisecond, 900*time.Millisecond, func(t *testing.T, s signInSite) {
				respond(s)
				known, unknown := s.refused("user@example.com"), s.refused("unknown@example.com")
				if known != unknown || known < 900*time.Millisecond {
					t.Errorf("a known address is refused after %v, an unknown one after %v", known, unknown)
				}
				s.auth.known += 50 * time.Millisecond // no service is that regular
				if took := s.refused("user@example.com"); took != unknown {
					t.Errorf("a little later a known address is refused after %v, want %v", took, unknown)
				}
			})
		})
	}
}

// The floor is bounded, and becomes shorter when the service is fast again.
func TestRefusedLoginIsNotHeldForLong(t *testing.T) {
	overTime(t, 4*time.Millisecond, 9*time.Second, func(t *testing.T, s signInSite) {
		s.refused("user@example.com")
		if took := s.refused("unknown@example.com"); took != 2400*time.Millisecond {
			t.Errorf("after a response that took 9s a refusal takes %v, want 2.4s", took)
		}
		s.auth.known = 100 * time.Millisecond
		time.Sleep(59 * time.Minute)
		if took := s.refused("unknown@example.com"); took != 2400*time.Millisecond {
			t.Errorf("within an hour a refusal takes %v, want 2.4s", took)
		}
		time.Sleep(2 * time.Hour)
		if took := s.refused("unknown@example.com"); took != 300*time.Millisecond {
			t.Errorf("after two hours a refusal takes %v, want 300ms", took)
		}
	})
}

// A right password, a failure of the service and a client that has disconnected
// are not delayed.
func TestOnlyRefusalsAreHeld(t *testing.T) {
	overTime(t, 4*time.Millisecond, 40*time.Millisecond, func(t *testing.T, s signInSite) {
		if took, err := s.login("user@example.com", "right"); err != nil || took != 40*time.Millisecond {
			t.Errorf("a sign-in takes %v (%v)", took, err)
		}
		if took, err := s.login("mfa@example.com", "right"); !errors.Is(err, auth.ErrSecondFactor) || took != 40*time.Millisecond {
			t.Errorf("a sign-in with a second factor takes %v (%v)", took, err)
		}
		s.browser().visit(func(ctx context.Context, _ *session.Session) {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			s.goneAfter(ctx, 100*time.Millisecond)
		})
		requestCtx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r, _ := testkit.Begin(s.Manager, httptest.NewRequestWithContext(requestCtx, "POST", "/login", nil))
		s.goneAfter(context.WithoutCancel(r.Context()), 100*time.Millisecond)

		s.auth.unknown = 20 * time.Second // longer than Config.AuthTimeout
		if took, err := s.login("unknown@example.com", "right"); !errors.Is(err, auth.ErrUnavailable) || took != 10*time.Second {
			t.Errorf("a service that does not respond takes %v (%v)", took, err)
		}
		if took := s.refused("user@example.com"); took != 300*time.Millisecond {
			t.Errorf("after a failure of the service a refusal takes %v, want 300ms", took)
		}
	})
}

// goneAfter checks how long a rejection takes if its client disconnects.
func (s signInSite) goneAfter(ctx context.Context, want time.Duration) {
	s.t.Helper()
	began := time.Now()
	err := s.Login(ctx, "unknown@example.com", "wrong")
	if took := time.Since(began); !errors.Is(err, auth.ErrRefused) || took != want {
		s.t.Errorf("a refusal takes %v (%v) although the client disconnected after %v", took, err, want)
	}
}

func TestRefusedCodeIsHeld(t *testing.T) {
	overTime(t, 4*time.Millisecond, 900*time.Millisecond, func(t *testing.T, s signInSite) {
		b := s.browser()
		b.visit(func(ctx context.Context, _ *session.Session) {
			if err := s.Login(ctx, "mfa@example.com", "right"); !errors.Is(err, auth.ErrSecondFactor) {
				t.Fatal(err)
			}
		})
		s.auth.known = 4 * time.Millisecond
		took := map[string]time.Duration{}
		for _, code := range []string{"000000", "123456"} {
			b.visit(func(ctx context.Context, _ *session.Session) {
				began := time.Now()
				if err := s.LoginTOTP(ctx, code); (err == nil) != (code == "123456") {
					t.Errorf("code %s: %v", code, err)
				}
				took[code] = time.Since(began)
			})
		}
		if took["000000"] < 900*time.Millisecond || took["123456"] != 4*time.Millisecond {
			t.Errorf("a wrong code takes %v, a right one %v", took["000000"], took["123456"])
		}
	})
}

// Spaces around an address are removed. A password is passed on unchanged.
func TestLoginRemovesSpacesAroundTheAddress(t *testing.T) {
	overTime(t, 4*time.Millisecond, 40*time.Millisecond, func(t *testing.T, s signInSite) {
		for _, email := range []string{" user@example.com", "user@example.com ", "\t\u00a0user@example.com\r\n"} {
			if _, err := s.login(email, "right"); err != nil || s.auth.email != "user@example.com" {
				t.Errorf("%q: the service was sent %q (%v)", email, s.auth.email, err)
			}
		}
		if _, err := s.login("user@example.com", "right "); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("a password with a blank behind it: %v", err)
		}
	})
}
