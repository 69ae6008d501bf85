package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// request starts a request of the browser whose client can disconnect. over ends the
// request as a server does.
func (b *browser) request() (r *http.Request, x *session.Exchange, over func()) {
	b.t.Helper()
	ctx, disconnect := context.WithCancel(context.Background())
	b.t.Cleanup(disconnect)
	r = httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Header.Set("Cookie", b.header())
	r, x = testkit.Begin(b.Manager, r)
	return r, x, func() {
		b.t.Helper()
		if err := x.Commit(http.Header{}); err != nil {
			b.t.Errorf("commit: %v", err)
		}
		if err := x.End(); err != nil {
			b.t.Errorf("end: %v", err)
		}
		disconnect()
	}
}

// A goroutine that continues after its request with its own context gets a
// refreshed token, even if it is the first to use the session.
func TestTokenAfterTheRequest(t *testing.T) {
	for _, first := range []string{"the token", "the user"} {
		t.Run(first, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
				a := newApp(t, kind)
				b := a.signedIn()
				a.clock.Advance(a.auth.life)
				r, _, over := b.request()
				over()
				s := session.FromContext(r.Context())
				if first == "the user" {
					// The request is over, so calls with its context fail.
					if s.SignedIn() || !errors.Is(s.Err(), context.Canceled) {
						t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
					}
					if n := a.auth.refreshes(); n != 0 {
						t.Errorf("%d refreshes that no call waits for", n)
					}
				}
				ctx := context.WithoutCancel(r.Context())
				if token, err := s.AccessToken(ctx); err != nil || token == "" {
					t.Fatalf("token: %v", err)
				}
				if !s.SignedIn() || s.UserID() != "u1" || s.Err() != nil {
					t.Errorf("user %q, error %v", s.UserID(), s.Err())
				}
				if n := a.auth.refreshes(); n != 1 {
					t.Errorf("%d refreshes, want 1", n)
				}
				b.is(true)
			})
		})
	}
}

// The same holds if the client disconnected before the session could be read.
func TestTokenOfAClientThatLeftAtOnce(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		b := newApp(t, kind).signedIn()
		ctx, disconnect := context.WithCancel(context.Background())
		disconnect()
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("Cookie", b.header())
		r, _ = testkit.Begin(b.Manager, r)
		s := session.FromContext(r.Context())
		if _, err := s.AccessToken(context.WithoutCancel(r.Context())); err != nil {
			t.Errorf("token: %v", err)
		}
		if s.UserID() != "u1" {
			t.Errorf("user %q (%v)", s.UserID(), s.Err())
		}
	})
}

// If a client disconnects, a due token that is still valid stays valid.
func TestTokenIsValidWhenTheClientLeaves(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.RefreshBefore = 10 * time.Minute })
	b := a.signedIn()
	a.clock.Advance(a.auth.life - time.Minute)
	r, _, over := b.request()
	over()
	if s := session.FromContext(r.Context()); s.UserID() != "u1" {
		t.Errorf("user %q (%v)", s.UserID(), s.Err())
	}
}

// A change that Set has accepted is saved, whenever the request ends.
func TestValuesAtTheEndOfTheRequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		b := newApp(t, kind).withTheme("dark")
		r, _, over := b.request()
		s := session.FromContext(r.Context())
		if _, ok := favorite.Get(s); !ok {
			t.Fatal("no value")
		}
		var set []string
		started, ended, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i, late := 0, false; !late; i++ {
				select {
				case <-ended:
					late = true
				default:
				}
				name := fmt.Sprintf("v%d", i%100)
				err := session.NewKey[int](name).Set(s, i)
				if (err != nil || late) && !errors.Is(err, session.ErrCommitted) {
					t.Errorf("set, after the request: %v: %v, want ErrCommitted", late, err)
				}
				if err != nil {
					return
				}
				if i < 100 {
					set = append(set, name)
				}
				if i == 0 {
					close(started)
				}
			}
		}()
		<-started
		over()
		close(ended)
		<-done
		if err := favorite.Set(s, "light"); !errors.Is(err, session.ErrCommitted) {
			t.Errorf("set after the request: %v, want ErrCommitted", err)
		}
		if err := favorite.Delete(s); !errors.Is(err, session.ErrCommitted) {
			t.Errorf("deleted after the request: %v, want ErrCommitted", err)
		}
		if err := s.Save(context.WithoutCancel(r.Context())); err != nil {
			t.Errorf("save: %v", err)
		}
		if v, _ := favorite.Get(s); v != "dark" {
			t.Errorf("the value is %q", v)
		}
		if !stored {
			return // its cookies have not been kept
		}
		b.visit(func(_ context.Context, s *session.Session) {
			for _, name := range set {
				if _, ok := session.NewKey[int](name).Get(s); !ok {
					t.Errorf("%s is lost", name)
				}
			}
		})
	})
}

// If several calls save at once, the last save is kept.
func TestSavesAtOnce(t *testing.T) {
	a := newApp(t, inMemory)
	b := a.signedIn()
	r, _, over := b.request()
	s := session.FromContext(r.Context())
	counter := session.NewKey[int]("counter")
	var wg sync.WaitGroup
	for worker := range 8 {
		mine := session.NewKey[int](fmt.Sprintf("worker%d", worker))
		wg.Go(func() {
			for i := range 50 {
				if err := errors.Join(mine.Set(s, i), s.Save(t.Context())); err != nil {
					t.Error(err)
				}
				if v, _ := mine.Get(s); v != i {
					t.Errorf("%d is %d after it was saved", i, v)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 400 {
			if err := counter.Set(s, i); err != nil {
				t.Error(err)
			}
			if v, _ := counter.Get(s); v != i {
				t.Errorf("the counter is %d, want %d", v, i)
			}
		}
	})
	wg.Wait()
	over()
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := counter.Get(s); v != 399 {
			t.Errorf("the counter is %d, want 399", v)
		}
		for worker := range 8 {
			if v, _ := session.NewKey[int](fmt.Sprintf("worker%d", worker)).Get(s); v != 49 {
				t.Errorf("worker %d: %d, want 49", worker, v)
			}
		}
	})
}

// After a failure, later method calls do not retry at once, and the failure
// does not last for the whole request.
func TestUnavailableForAWhile(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		a.clock.Advance(a.auth.life)
		a.auth.fail(auth.ErrUnavailable)
		b.visit(func(ctx context.Context, s *session.Session) {
			for range 3 {
				if s.SignedIn() || !errors.Is(s.Err(), session.ErrSessionUnavailable) {
					t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
				}
				if err := s.Authorize(nil); !errors.Is(err, session.ErrSessionUnavailable) {
					t.Errorf("authorized: %v", err)
				}
				if err := favorite.Set(s, "dark"); !errors.Is(err, session.ErrSessionUnavailable) {
					t.Errorf("set: %v", err)
				}
			}
			if n := a.auth.refreshes(); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
			a.auth.fail(nil)
			a.clock.Advance(time.Minute)
			if !s.SignedIn() || s.Err() != nil {
				t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
			}
			if err := favorite.Set(s, "dark"); err != nil {
				t.Error(err)
			}
		})
		b.visit(func(_ context.Context, s *session.Session) {
			if v, _ := favorite.Get(s); v != "dark" {
				t.Errorf("the value is %q", v)
			}
		})
	})
}

// The same holds if the store was down when the request began.
func TestStoreBackWithinARequest(t *testing.T) {
	down := &testkit.FailingStore{}
	a := newApp(t, func(c *session.Config) { down.Store, c.Store = &memstore.Store{Now: c.Now}, down })
	b := a.signedIn()
	down.Down.Store(true)
	b.visit(func(_ context.Context, s *session.Session) {
		if s.SignedIn() || !errors.Is(s.Err(), session.ErrSessionUnavailable) {
			t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
		}
		down.Down.Store(false)
		a.clock.Advance(time.Minute)
		if !s.SignedIn() || s.UserID() != "u1" || s.Err() != nil {
			t.Errorf("user %q (%v)", s.UserID(), s.Err())
		}
		if err := favorite.Set(s, "dark"); err != nil {
			t.Error(err)
		}
	})
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := favorite.Get(s); v != "dark" {
			t.Errorf("the value is %q", v)
		}
	})
}

// Save does not report success for changes of a session that has ended.
func TestSaveAfterTheEnd(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		a.signedIn().visit(func(ctx context.Context, s *session.Session) {
			if err := favorite.Set(s, "dark"); err != nil {
				t.Error(err)
			}
			a.clock.Advance(a.auth.life)
			a.auth.fail(auth.ErrRefused)
			if _, err := s.AccessToken(ctx); !errors.Is(err, session.ErrEnded) {
				t.Errorf("token: %v", err)
			}
			if err := s.Save(ctx); !errors.Is(err, session.ErrEnded) {
				t.Errorf("save: %v, want ErrEnded", err)
			}
		})
	})
}

// A session that the request has replaced or ended accepts no values, because
// they would not be saved.
func TestValuesOfAReplacedSession(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		for name, replace := range map[string]func(context.Context) error{
			"login":  func(ctx context.Context) error { return a.Login(ctx, "user@example.com", "password") },
			"logout": a.Logout,
		} {
			a.signedIn().visit(func(ctx context.Context, s *session.Session) {
				if !s.SignedIn() {
					t.Error("not signed in")
				}
				if err := replace(ctx); err != nil {
					t.Error(err)
				}
				if err := favorite.Set(s, "dark"); !errors.Is(err, session.ErrEnded) {
					t.Errorf("%s: set: %v, want ErrEnded", name, err)
				}
				if err := favorite.Set(session.FromContext(ctx), "dark"); err != nil {
					t.Errorf("%s: set in the session of the request: %v", name, err)
				}
			})
		}
	})
}

// A login that needs a code fails if the response has begun, because its cookie
// cannot be set.
func TestSecondFactorAfterTheResponse(t *testing.T) {
	a := newApp(t)
	a.auth.mfa = true
	r, x := testkit.Begin(a.Manager, httptest.NewRequest("POST", "/login", nil))
	if err := x.Commit(http.Header{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Login(r.Context(), "user@example.com", "password"); !errors.Is(err, session.ErrCommitted) {
		t.Errorf("login: %v, want ErrCommitted", err)
	}
	if codePending(r.Context(), a) {
		t.Error("a login is pending that the browser does not know of")
	}
}

// If a session is found to have ended during a request, it stays ended for the
// rest of the request, and the response deletes its cookies.
func TestSessionEndsWithinARequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		b.visit(func(ctx context.Context, s *session.Session) {
			if !s.SignedIn() {
				t.Error("not signed in at first")
			}
			a.clock.Advance(a.auth.life)
			a.auth.fail(auth.ErrRefused)
			for range 2 {
				if _, err := s.AccessToken(ctx); err == nil || errors.Is(err, session.ErrSessionUnavailable) {
					t.Errorf("access token: %v", err)
				}
			}
			if err := favorite.Set(s, "dark"); !errors.Is(err, session.ErrEnded) {
				t.Errorf("set: %v, want ErrEnded", err)
			}
			called := func(*session.Session) bool { t.Error("a policy is called without a signed-in user"); return true }
			if err := s.Authorize(called); !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("authorized: %v", err)
			}
		})
		if b.header() != "" {
			t.Errorf("cookies %q after the end", b.names)
		}
		if n := a.log.count(session.EventSessionEnded, "reason=refresh_refused"); n != 1 {
			t.Errorf("%d sessions have ended, want 1", n)
		}
	})
}

// The same holds if the policy of a guard finds the end.
func TestSessionEndsWithinAPolicy(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	b.visit(func(ctx context.Context, s *session.Session) {
		err := s.Authorize(func(s *session.Session) bool {
			a.clock.Advance(a.auth.life)
			a.auth.fail(auth.ErrRefused)
			_, err := s.AccessToken(ctx)
			return err == nil
		})
		if !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("authorized: %v, want ErrUnauthenticated", err)
		}
	})
}

// Logging a session calls neither the store nor the service, even if its token
// has expired.
func TestLoggingASessionDoesNotRefresh(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		a.clock.Advance(a.auth.life)
		b.visit(func(_ context.Context, s *session.Session) {
			slog.New(slog.NewTextHandler(a.log, nil)).Info("at work", "session", s)
		})
		if a.auth.refreshes() != 0 || a.log.count("at work", "session.signed_in=true", "session.user_id=u1") != 1 {
			t.Errorf("%d refreshes; logged: %q", a.auth.refreshes(), a.log.lines)
		}
	})
}
