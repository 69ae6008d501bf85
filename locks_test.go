package session_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// stuckStore is a store whose calls hang while it is stuck. They return when it is freed
// or when the caller stops waiting.
type stuckStore struct {
	store.Store
	stuck atomic.Bool
	hangs chan struct{} // a call has begun to hang
	free  chan struct{}
	freed sync.Once
	gave  atomic.Bool // a caller has stopped waiting
}

func newStuckStore() *stuckStore {
	return &stuckStore{hangs: make(chan struct{}, 100), free: make(chan struct{})}
}

func (s *stuckStore) hang(ctx context.Context) error {
	if !s.stuck.Load() {
		return nil
	}
	s.hangs <- struct{}{}
	select {
	case <-s.free:
		return nil
	case <-ctx.Done():
		s.gave.Store(true)
		return ctx.Err()
	}
}

func (s *stuckStore) release() { s.freed.Do(func() { s.stuck.Store(false); close(s.free) }) }

func (s *stuckStore) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.hang(ctx); err != nil {
		return store.Record{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *stuckStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := s.hang(ctx); err != nil {
		return err
	}
	return s.Store.Put(ctx, rec, prev)
}

// While the store hangs, calls that do not need it do not wait.
func TestHangingStoreBlocksOnlyItsCallers(t *testing.T) {
	type request struct {
		ctx context.Context
		s   *session.Session
		x   *session.Exchange
	}
	for name, wait := range map[string]func(request) error{
		"Save":   func(r request) error { return r.s.Save(r.ctx) },
		"Commit": func(r request) error { return r.x.Commit(http.Header{}) },
		"End":    func(r request) error { return r.x.End() },
	} {
		t.Run(name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
				if name == "End" && !stored {
					return // the end of the request writes nothing
				}
				hung := newStuckStore()
				a := newApp(t, func(c *session.Config) {
					hung.Store = &memstore.Store{Now: c.Now}
					c.StoreTimeout = 20 * time.Second // is waited for only if the test fails
					if stored {
						c.Store = hung
					} else {
						c.Coordinator = hung
					}
				})
				b := a.signedIn()
				r, x, _ := b.request()
				s := session.FromContext(r.Context())
				if err := favorite.Set(s, "dark"); err != nil {
					t.Fatal(err)
				}
				hung.stuck.Store(true)
				defer hung.release()
				done := make(chan error, 1)
				go func() { done <- wait(request{r.Context(), s, x}) }()
				<-hung.hangs

				s.LogValue()
				if v, _ := favorite.Get(s); s.UserID() != "u1" || v != "dark" {
					t.Errorf("user %q, value %q", s.UserID(), v)
				}
				if s.Done() == nil || s.ExpiresAt().IsZero() || len(s.ValueNames()) != 1 {
					t.Error("the session is empty")
				}
				if _, err := s.AccessToken(r.Context()); err != nil {
					t.Error(err)
				}
				if err := session.NewKey[int]("n").Set(s, 1); err != nil && !errors.Is(err, session.ErrCommitted) {
					t.Error(err)
				}
				if codePending(r.Context(), a) {
					t.Error("a login is pending")
				}
				if hung.gave.Load() {
					t.Error("a call has waited for the store")
				}
				hung.release()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Hooks and log handlers may use the session and the Manager in every call.
func TestHooksMayUseTheSession(t *testing.T) {
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		down := &testkit.FailingStore{}
		var m *session.Manager
		var names []string
		use := func(ctx context.Context) {
			s := session.FromContext(ctx)
			s.LogValue()
			_, _ = favorite.Get(s)
			_, _ = s.UserID(), s.Err()
			m.PendingLogin(ctx)
		}
		a := newApp(t, func(c *session.Config) {
			down.Store = &memstore.Store{Now: c.Now}
			c.Logger = slog.New(usingHandler{use})
			c.OnEvent = func(ctx context.Context, e session.Event) {
				names = append(names, e.Name)
				if session.FromContext(ctx).Err() != nil && !errors.Is(session.FromContext(ctx).Err(), session.ErrSessionUnavailable) {
					t.Errorf("%s: %v", e.Name, session.FromContext(ctx).Err())
				}
				use(ctx)
			}
			if stored {
				c.Store = down
			} else {
				c.Coordinator = down
			}
		})
		m = a.Manager
		b := a.signedIn()
		r, x, _ := b.request()
		if err := favorite.Set(session.FromContext(r.Context()), "dark"); err != nil {
			t.Fatal(err)
		}
		down.Down.Store(true)
		if err := x.Commit(http.Header{}); !errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("commit: %v", err)
		}
		b.request() // is not loaded
		if n := len(names); n != 3 || names[n-1] != session.EventStoreUnavailable {
			t.Errorf("events %q", names)
		}
	})
}

// usingHandler is a slog.Handler that does something at each line.
type usingHandler struct{ use func(context.Context) }

func (usingHandler) Enabled(context.Context, slog.Level) bool          { return true }
func (h usingHandler) Handle(ctx context.Context, _ slog.Record) error { h.use(ctx); return nil }
func (h usingHandler) WithAttrs([]slog.Attr) slog.Handler              { return h }
func (h usingHandler) WithGroup(string) slog.Handler                   { return h }
