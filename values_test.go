package session_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// A value is restored exactly, with its type.
func TestValuesByType(t *testing.T) {
	type cart struct {
		Items []string
		Since time.Time
		Note  *string `json:",omitempty"`
	}
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		keeps(t, kind, "text", "a \"b\" <c> \x00 é 💡")
		keeps(t, kind, "empty text", "")
		keeps(t, kind, "number", math.MaxInt)
		keeps(t, kind, "fraction", 0.1)
		keeps(t, kind, "truth", false)
		keeps(t, kind, "struct", cart{[]string{"a", "b"}, epoch, nil})
		keeps(t, kind, "pointer", &cart{Items: []string{"c"}})
		keeps(t, kind, "no pointer", (*cart)(nil))
		keeps(t, kind, "map", map[string]int{"a": 1})
		keeps(t, kind, "bytes", []byte{0, 255})
		keeps(t, kind, "any", any(map[string]any{"a": []any{1.0, nil}}))
		keeps(t, kind, strings.Repeat("n", 128), "a long name")
		keeps(t, kind, "a name = of; any, \"bytes\"\r\n\x00", "x")
	})
}

func keeps[T any](t *testing.T, kind func(*session.Config), name string, want T) {
	t.Helper()
	key := session.NewKey[T](name)
	b := newApp(t, kind).signedIn()
	b.visit(func(_ context.Context, s *session.Session) {
		if v, ok := key.Get(s); ok || !reflect.ValueOf(&v).Elem().IsZero() {
			t.Errorf("%q before it was set: %v", name, v)
		}
		if err := key.Set(s, want); err != nil {
			t.Errorf("set %q: %v", name, err)
		}
		if v, ok := key.Get(s); !ok || !reflect.DeepEqual(v, want) {
			t.Errorf("%q in the same request: %v (%v), want %v", name, v, ok, want)
		}
	})
	b.visit(func(_ context.Context, s *session.Session) {
		if v, ok := key.Get(s); !ok || !reflect.DeepEqual(v, want) {
			t.Errorf("%q in the next request: %v (%v), want %v", name, v, ok, want)
		}
		if names := s.ValueNames(); !slices.Equal(names, []string{name}) {
			t.Errorf("names %q, want %q", names, name)
		}
	})
}

func TestDeletedValues(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		b := newApp(t, kind).withTheme("dark")
		other := session.NewKey[int]("other")
		b.visit(func(_ context.Context, s *session.Session) {
			if err := other.Set(s, 1); err != nil {
				t.Error(err)
			}
			if err := favorite.Delete(s); err != nil {
				t.Error(err)
			}
			if _, ok := favorite.Get(s); ok || !slices.Equal(s.ValueNames(), []string{"other"}) {
				t.Errorf("values %q after a deletion", s.ValueNames())
			}
			// A missing value can be deleted.
			if err := session.NewKey[int]("none").Delete(s); err != nil {
				t.Error(err)
			}
		})
		b.visit(func(_ context.Context, s *session.Session) {
			if _, ok := favorite.Get(s); ok || !slices.Equal(s.ValueNames(), []string{"other"}) {
				t.Errorf("values %q in the next request", s.ValueNames())
			}
			// If a value is set, deleted and set again, the last change
			// applies.
			_, _, _ = favorite.Set(s, "a"), favorite.Delete(s), favorite.Set(s, "b")
		})
		b.visit(func(_ context.Context, s *session.Session) {
			if v, _ := favorite.Get(s); v != "b" {
				t.Errorf("value %q, want b", v)
			}
		})
	})
}

// A value of another type under the same name counts as missing.
func TestValueOfAnotherType(t *testing.T) {
	b := newApp(t).withTheme("dark")
	b.visit(func(_ context.Context, s *session.Session) {
		if v, ok := session.NewKey[int]("theme").Get(s); ok || v != 0 {
			t.Errorf("a text as a number: %d (%v)", v, ok)
		}
		if v, ok := session.NewKey[struct{ A int }]("theme").Get(s); ok {
			t.Errorf("a text as a struct: %v", v)
		}
		if v, ok := session.NewKey[any]("theme").Get(s); !ok || v != "dark" {
			t.Errorf("a text as anything: %v (%v)", v, ok)
		}
		// A value that can be decoded only in part counts as missing.
		if err := session.NewKey[map[string]any]("half").Set(s, map[string]any{"A": 1, "B": "x"}); err != nil {
			t.Error(err)
		}
		if v, ok := session.NewKey[struct{ A, B int }]("half").Get(s); ok || v.A != 0 {
			t.Errorf("half a value: %v (%v)", v, ok)
		}
	})
}

func TestValuesThatCannotBeSet(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		b := newApp(t, kind).withTheme("dark")
		b.visit(func(_ context.Context, s *session.Session) {
			for what, err := range map[string]error{
				"a channel":        session.NewKey[chan int]("c").Set(s, make(chan int)),
				"not a number":     session.NewKey[float64]("f").Set(s, math.NaN()),
				"an empty name":    session.NewKey[int]("").Set(s, 1),
				"a long name":      session.NewKey[int](strings.Repeat("n", 129)).Set(s, 1),
				"no deletion of a": session.NewKey[int]("").Delete(s),
			} {
				if err == nil || !strings.HasPrefix(err.Error(), "session: ") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if !slices.Equal(s.ValueNames(), []string{"theme"}) {
				t.Errorf("values %q", s.ValueNames())
			}
		})
	})
}

// Without a session there are no values, and none can be set.
func TestValuesWithoutSession(t *testing.T) {
	a := newApp(t)
	for what, tt := range map[string]struct {
		s    *session.Session
		want error
	}{
		"no middleware": {session.FromContext(context.Background()), session.ErrNotLoaded},
		"a bearer":      {sessionOf(a, http.Header{"Authorization": {"Bearer abc"}}), session.ErrUnauthenticated},
	} {
		s := tt.s
		if err := favorite.Set(s, "dark"); !errors.Is(err, tt.want) {
			t.Errorf("%s: set: %v, want %v", what, err, tt.want)
		}
		if err := favorite.Delete(s); !errors.Is(err, tt.want) {
			t.Errorf("%s: delete: %v, want %v", what, err, tt.want)
		}
		if v, ok := favorite.Get(s); ok || v != "" || s.ValueNames() != nil {
			t.Errorf("%s: value %q", what, v)
		}
		if _, err := s.AccessToken(context.Background()); err == nil {
			t.Errorf("%s: an access token", what)
		}
		if s.SignedIn() || s.UserID() != "" || s.Roles() != nil || s.HasRole("") || s.DefaultRole() != "" || !s.AccessTokenExpiresAt().IsZero() {
			t.Errorf("%s: a user is signed in", what)
		}
	}
}

func sessionOf(a *app, h http.Header) *session.Session {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = h
	r, _ = testkit.Begin(a.Manager, r)
	return session.FromContext(r.Context())
}

// The values of a cookie session have a limit. A change beyond the limit has no
// effect.
func TestValuesTooLarge(t *testing.T) {
	a := newApp(t)
	b := a.withTheme("dark")
	b.visit(func(_ context.Context, s *session.Session) {
		err := favorite.Set(s, strings.Repeat("x", 20_000))
		if !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), "Config.Store") {
			t.Errorf("set: %v, want ErrTooLarge and the way out", err)
		}
		if v, _ := favorite.Get(s); v != "dark" {
			t.Errorf("the value is %.20q now", v)
		}
		// The response carries every value that Set accepts, up to the last
		// byte.
		n := 0
		for ; favorite.Set(s, strings.Repeat("x", n+7)) == nil; n += 7 {
		}
		if n < 7000 {
			t.Errorf("no more than %d bytes fit four cookies", n)
		}
	})
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := favorite.Get(s); len(v) < 7000 {
			t.Errorf("%d bytes arrived", len(v))
		}
		// A smaller value is always accepted.
		if err := favorite.Delete(s); err != nil {
			t.Error(err)
		}
	})

	newApp(t, inMemory).signedIn().visit(func(_ context.Context, s *session.Session) {
		if err := favorite.Set(s, strings.Repeat("x", 100_000)); err != nil {
			t.Errorf("in a store: %v", err)
		}
		for i := range 10_000 {
			if err := session.NewKey[int](fmt.Sprint(i)).Set(s, i); err != nil {
				if i < 9_999 || !errors.Is(err, session.ErrTooLarge) {
					t.Fatalf("value %d: %v", i, err)
				}
				return
			}
		}
		t.Error("there is no end of values")
	})
}

// The values of a cookie session are in the response, so they cannot change
// after its start. Those of a stored session can.
func TestValuesAfterTheResponse(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		a := newApp(t, kind)
		b := a.withTheme("dark")
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", b.header())
		r, x := testkit.Begin(a.Manager, r)
		s := session.FromContext(r.Context())
		if err := x.Commit(http.Header{}); err != nil {
			t.Fatal(err)
		}
		err := favorite.Set(s, "light")
		if stored && err != nil || !stored && !errors.Is(err, session.ErrCommitted) {
			t.Errorf("set after the response has begun: %v", err)
		}
		if err := x.End(); err != nil {
			t.Error(err)
		}
		want := map[bool]string{true: "light", false: "dark"}[stored]
		b.visit(func(_ context.Context, s *session.Session) {
			if v, _ := favorite.Get(s); v != want {
				t.Errorf("value %q, want %q", v, want)
			}
		})
	})
}

// Changes whose commit failed are not saved later. The client has received status 503
// and retries the request, which would make the changes twice.
func TestFailedCommitSavesNothing(t *testing.T) {
	down := &testkit.FailingStore{}
	a := newApp(t, func(c *session.Config) {
		down.Store = &memstore.Store{Now: c.Now}
		c.Store = down
	})
	b := a.withTheme("dark")
	r, x, _ := b.request()
	s := session.FromContext(r.Context())
	if err := favorite.Set(s, "light"); err != nil {
		t.Fatal(err)
	}
	down.Down.Store(true)
	if err := x.Commit(http.Header{}); !errors.Is(err, session.ErrSessionUnavailable) {
		t.Errorf("commit: %v", err)
	}
	down.Down.Store(false)
	if err := favorite.Set(s, "bright"); !errors.Is(err, session.ErrCommitted) {
		t.Errorf("set after a failed commit: %v, want ErrCommitted", err)
	}
	if err := errors.Join(s.Save(r.Context()), x.End()); err != nil {
		t.Error(err)
	}
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := favorite.Get(s); v != "dark" {
			t.Errorf("value %q, want %q", v, "dark")
		}
	})
}

// Save writes a stored session's values at once, and reports whether the
// session has ended.
func TestSave(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		a := newApp(t, kind)
		b := a.withTheme("dark")
		elsewhere := *b
		b.visit(func(ctx context.Context, s *session.Session) {
			if err := favorite.Set(s, "light"); err != nil {
				t.Error(err)
			}
			if err := s.Save(ctx); err != nil {
				t.Errorf("save: %v", err)
			}
			a.visit(elsewhere.header(), func(_ context.Context, other *session.Session) {
				if v, _ := favorite.Get(other); (v == "light") != stored {
					t.Errorf("another request sees %q", v)
				}
			})
			// Another request signs out.
			a.visit(elsewhere.header(), func(ctx context.Context, _ *session.Session) {
				if err := a.Logout(ctx); err != nil {
					t.Error(err)
				}
			})
			if err := favorite.Set(s, "late"); err != nil {
				t.Error(err)
			}
			if err := s.Save(ctx); !errors.Is(err, session.ErrEnded) {
				t.Errorf("save after the session's end: %v, want ErrEnded", err)
			}
		})
		if lines := b.last.Values("Set-Cookie"); len(lines) != 0 {
			t.Errorf("a session that has ended was written: %q", lines)
		}
		a.visit(elsewhere.header(), signedOut(t))
		if err := session.FromContext(context.Background()).Save(context.Background()); !errors.Is(err, session.ErrNotLoaded) {
			t.Errorf("save without middleware: %v", err)
		}
	})
}

// If requests change different values of a stored session, all changes are
// kept.
func TestValuesAreMerged(t *testing.T) {
	a := newApp(t, inMemory)
	b := a.signedIn()
	header := b.header()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a.visit(header, func(_ context.Context, s *session.Session) {
				if err := session.NewKey[int](fmt.Sprintf("v%02d", i)).Set(s, i); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	b.visit(func(_ context.Context, s *session.Session) {
		if names := s.ValueNames(); len(names) != 20 {
			t.Errorf("%d values, want 20: %q", len(names), names)
		}
	})
}
