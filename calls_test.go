package session_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

type traceKey struct{}
type callKey struct{}

// callLog records calls. Its hooks fail the test if a call ends that has not begun.
type callLog struct {
	t     *testing.T
	mu    sync.Mutex
	begun map[string]int
	calls []session.Call
	ids   []any // the value of traceKey in the contexts of calls
}

func (l *callLog) before(ctx context.Context, name string) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if session.FromContext(ctx).SignedIn() {
		l.t.Errorf("%s: the hook has a session", name)
	}
	l.begun[name]++
	return context.WithValue(ctx, callKey{}, name)
}

func (l *callLog) on(ctx context.Context, c session.Call) {
	// The call may be the one that reads the session, so the hook must not see a session.
	if err := session.FromContext(ctx).Authorize(nil); !errors.Is(err, session.ErrNotLoaded) {
		l.t.Errorf("%s: the hook has a session (%v)", c.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if name, _ := ctx.Value(callKey{}).(string); name != c.Name {
		if !slices.Contains([]string{"session.refresh", "session.sign_in", "session.commit"}, c.Name) {
			l.t.Errorf("%s: the context is that of %q", c.Name, name)
		}
	} else if l.begun[name]--; l.begun[name] < 0 {
		l.t.Errorf("%s has not begun", name)
	}
	l.calls = append(l.calls, c)
	l.ids = append(l.ids, ctx.Value(traceKey{}))
}

// take returns the calls of a name since the last take, and forgets all calls.
func (l *callLog) take(name string) (calls []session.Call, ids []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range l.calls {
		if c.Name == name {
			calls, ids = append(calls, c), append(ids, l.ids[i])
		}
	}
	l.calls, l.ids = nil, nil
	return calls, ids
}

// slowStore takes a second for each call, and is not the memory of the process.
type slowStore struct{ store.Store }

func (s slowStore) Get(ctx context.Context, key string) (store.Record, error) {
	time.Sleep(time.Second)
	return s.Store.Get(ctx, key)
}

// endAll waits in virtual time until m has no more work.
func endAll(t *testing.T, m *session.Manager) {
	t.Helper()
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Minute) // a read for which no request waits may still run
}

func TestOnCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &callLog{t: t, begun: map[string]int{}}
		service := &testkit.Service{T: t}
		service.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(3 * time.Second)
			return service.Issue("ada"), nil
		}
		m, err := session.New(session.Config{
			Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Store: slowStore{memstore.New()},
			Logger: slog.New(slog.DiscardHandler), BeforeCall: l.before, OnCall: l.on,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		visit := func(handler func(context.Context, *session.Session)) {
			c.Do(context.WithValue(t.Context(), traceKey{}, "request"), handler)
		}
		signIn := func(ctx context.Context, _ *session.Session) {
			if err := m.Login(ctx, "ada", "password"); err != nil {
				t.Error(err)
			}
		}

		// Calls that belong to a request have its context.
		for _, name := range []string{"auth.login", "store.put", "session.sign_in", "session.commit"} {
			visit(signIn)
			calls, ids := l.take(name)
			if len(calls) == 0 || ids[0] != "request" || calls[0].Err != nil {
				t.Errorf("%s: %+v with the context of %v", name, calls, ids)
			}
			for _, call := range calls {
				if (call.CookieBytes > 40) != (name == "session.commit") {
					t.Errorf("%s sets %d bytes of cookies", name, call.CookieBytes)
				}
			}
		}
		time.Sleep(testkit.Life / 4) // until the sessions from before have ended at the service, too
		l.take("")
		visit(nil)
		calls, ids := l.take("store.get")
		if len(calls) == 0 || calls[0].Duration != time.Second || ids[0] != "request" {
			t.Errorf("a visit reads %+v with the context of %v", calls, ids)
		}
		visit(nil)
		if calls, _ = l.take("session.commit"); len(calls) != 0 {
			t.Errorf("a response without cookies is reported: %+v", calls)
		}

		// A refresh outlives its request.
		for _, name := range []string{"auth.refresh", "session.refresh"} {
			time.Sleep(2 * testkit.Life)
			visit(nil)
			synctest.Wait()
			calls, ids = l.take(name)
			if len(calls) != 1 || calls[0].Duration < 3*time.Second || calls[0].Err != nil || ids[0] != nil {
				t.Errorf("%s: %+v with the context of %v", name, calls, ids)
			}
			if name == "session.refresh" && len(calls) == 1 && calls[0].Duration < 4*time.Second {
				t.Errorf("the refresh without its calls of the store: %v", calls[0].Duration)
			}
		}
		endAll(t, m)
		l.mu.Lock()
		defer l.mu.Unlock()
		for name, n := range l.begun {
			if n != 0 {
				t.Errorf("%d calls of %s have not ended", n, name)
			}
		}
	})
}

// Hooks that fail, or return nothing, do not stop the calls.
func TestOnCallPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, before := range []func(context.Context, string) context.Context{
			func(context.Context, string) context.Context { panic("before") },
			func(context.Context, string) context.Context { return nil },
		} {
			service := &testkit.Service{T: t}
			service.Strict()
			m, err := session.New(session.Config{
				Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Store: slowStore{memstore.New()},
				Logger: slog.New(slog.DiscardHandler), BeforeCall: before,
				OnCall: func(context.Context, session.Call) { panic("after") },
			})
			if err != nil {
				t.Fatal(err)
			}
			c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
			c.Login("ada")
			time.Sleep(2 * testkit.Life)
			if !c.Get().SignedIn() {
				t.Error("the user is not signed in any more")
			}
			endAll(t, m)
		}
	})
}

// Calls of the memory of the process are reported like those of any other store. A method
// that the service does not have is not reported.
func TestOnCallOfMemory(t *testing.T) {
	l := &callLog{t: t, begun: map[string]int{}}
	service := &testkit.Service{T: t}
	m, err := session.New(session.Config{
		Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Store: memstore.New(),
		Logger: slog.New(slog.DiscardHandler), OnCall: func(_ context.Context, c session.Call) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.calls, l.ids = append(l.calls, c), append(l.ids, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
	c.Login("ada")
	if calls, _ := l.take("store.put"); len(calls) == 0 {
		t.Error("no call of the store was reported")
	}
	c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
		if err := m.SendMagicLink(ctx, "ada@example.com"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	})
	if calls, _ := l.take("auth.send_magic_link"); len(calls) != 0 {
		t.Errorf("reported: %+v", calls)
	}
}
