package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

const mib = 1 << 20

// heap returns the memory in use, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // completes the sweep of the first
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

var (
	cart    = session.NewKey[string]("cart")
	counter = session.NewKey[int]("counter")
)

func newRequest(cookie string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", cookie)
	return r
}

// outside is a store that the Manager does not know to be in memory: records are
// sealed.
func outside(c *session.Config) {
	c.Store = struct{ store.Store }{&memstore.Store{Now: c.Now}}
}

func set[T any](t *testing.T, k session.Key[T], v T) func(context.Context, *session.Session) {
	return func(_ context.Context, s *session.Session) {
		if err := k.Set(s, v); err != nil {
			t.Errorf("set: %v", err)
		}
	}
}

// If a user changes a large value repeatedly, only the newest value stays in
// memory.
func TestMemoryOfLargeValues(t *testing.T) {
	a := newApp(t, inMemory)
	b := a.signedIn()
	before := heap()
	for i := range 100 {
		b.visit(set(t, cart, strings.Repeat(string(rune('a'+i%26)), mib-100)))
	}
	b.visit(func(_ context.Context, s *session.Session) {
		if v, ok := cart.Get(s); !ok || len(v) != mib-100 {
			t.Errorf("%d bytes arrived", len(v))
		}
	})
	// Pools of buffers take some memory, and more on a busy machine.
	if grown := heap() - before; grown > 20*mib {
		t.Errorf("100 changes of a value of 1 MiB take %d MiB", grown/mib)
	}
	runtime.KeepAlive(a)
}

// A new version of a record replaces the one before.
func TestMemoryOfManyChanges(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kind    func(*session.Config)
		changes int
	}{{"in memory", inMemory, 2000}, {"sealed", outside, 100}} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, tt.kind)
			b := a.signedIn().visit(set(t, cart, strings.Repeat("x", 100<<10)))
			before := heap()
			for i := range tt.changes {
				b.visit(set(t, counter, i))
			}
			if grown := heap() - before; grown > 4*mib {
				t.Errorf("a counter in a session with a value of 100 KiB takes %d MiB after %d requests", grown/mib, tt.changes)
			}
			b.visit(func(_ context.Context, s *session.Session) {
				if n, _ := counter.Get(s); n != tt.changes-1 {
					t.Errorf("the counter is at %d, want %d", n, tt.changes-1)
				}
			})
		})
	}
}

// A list of sessions copies none of their values.
func TestMemoryOfLists(t *testing.T) {
	for name, kind := range map[string]func(*session.Config){"in memory": inMemory, "sealed": outside} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, kind)
			var b *browser
			for range 10 {
				b = a.signedIn().visit(set(t, cart, strings.Repeat("x", mib/2)))
			}
			b.visit(func(ctx context.Context, s *session.Session) {
				s.SignedIn()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				list, err := a.Sessions(ctx)
				runtime.ReadMemStats(&after)
				if len(list) != 10 || err != nil {
					t.Errorf("%d sessions, %v", len(list), err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > mib/2 {
					t.Errorf("a list of 10 sessions with values of 512 KiB allocates %d KiB", n>>10)
				}
			})
		})
	}
}

// All sessions together take no more memory than Config.CacheBytes.
func TestCacheBytes(t *testing.T) {
	const budget = mib / 2
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		kind := func(*session.Config) {}
		if stored {
			kind = outside
		}
		for _, visits := range []func(a *app){
			func(a *app) { // many sessions
				for range 625 {
					a.signedIn().is(true)
				}
			},
			func(a *app) { // large tokens
				a.auth.roles = []string{"user", strings.Repeat("r", 2<<10)}
				for range 125 {
					a.signedIn().is(true)
				}
			},
			func(a *app) { // many roles
				a.auth.roles = slices.Repeat([]string{"r"}, 400)
				for range 125 {
					a.signedIn().is(true)
				}
			},
			func(a *app) { // many states of one session
				b := a.signedIn().visit(set(t, cart, strings.Repeat("x", 6000)))
				for i := range 250 {
					b.visit(set(t, counter, i))
				}
			},
			func(a *app) { // many sessions with large values
				for range 125 {
					a.signedIn().visit(set(t, cart, strings.Repeat("x", 6000))).is(true)
				}
			},
			func(a *app) { // many values
				b := a.signedIn()
				for i := range 400 {
					b.visit(set(t, session.NewKey[int](fmt.Sprint(i%200)), i))
				}
			},
		} {
			taken := func(bytes int) int {
				before := heap()
				a := newApp(t, kind, func(c *session.Config) { c.CacheBytes = bytes })
				visits(a)
				a.log.mu.Lock()
				a.log.lines = nil
				a.log.mu.Unlock()
				after := heap()
				runtime.KeepAlive(a)
				return after - before
			}
			// The memory of the store and of the auth service does not count. Goroutines that
			// are still busy change the heap, too, but not each time.
			cached := taken(budget) - taken(1)
			for range 2 {
				if cached > budget {
					cached = min(cached, taken(budget)-taken(1))
				}
			}
			t.Logf("%d of %d bytes", cached, budget)
			if cached > budget {
				t.Errorf("the caches take %d bytes, want at most %d", cached, budget)
			}
		}
	})
}

// A session that has ended in this process takes no memory in the caches.
func TestMemoryAfterEnd(t *testing.T) {
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		kind := func(*session.Config) {}
		if stored {
			kind = outside
		}
		a := newApp(t, kind)
		a.auth.roles = []string{"user", strings.Repeat("r", 2<<10)}
		var browsers []*browser
		before := heap()
		for range 200 {
			browsers = append(browsers, a.signedIn().is(true))
		}
		lived := heap() - before
		for _, b := range browsers {
			b.logout()
		}
		clear(browsers) // their cookies
		after := heap() - before
		runtime.KeepAlive(a)
		if t.Logf("%d bytes, %d after the ends", lived, after); after > lived/3 {
			t.Errorf("%d of %d bytes are left after the ends of all sessions", after, lived)
		}
	})
}

// A session takes no memory in the caches a minute after its expiry, without a request.
func TestMemoryAfterExpiry(t *testing.T) {
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		synctest.Test(t, func(t *testing.T) {
			st := &keyedStore{Store: memstore.New()}
			a := newApp(t, func(c *session.Config) {
				c.Now = time.Now
				if stored {
					c.Store = st
				}
			})
			a.auth.roles = []string{"user", strings.Repeat("r", 2<<10)}
			before := heap()
			for i := range 200 {
				b := a.browser().visit(func(ctx context.Context, _ *session.Session) {
					option := session.WithLifetime(5 * time.Minute)
					if i%2 == 0 {
						option = session.WithRemember(true) // the idle timeout ends it
					}
					if err := a.Login(ctx, "user@example.com", "password", option); err != nil {
						t.Fatal(err)
					}
				})
				if time.Sleep(time.Second); i%2 == 0 {
					b.visit(nil).is(true)
				}
				b.is(true)
			}
			lived := heap() - before
			time.Sleep(7 * time.Minute)
			half := heap() - before
			time.Sleep(24 * time.Hour)
			for _, key := range st.keys { // the memory of the store does not count
				if err := st.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			a.log.mu.Lock()
			a.log.lines = nil
			a.log.mu.Unlock()
			after := heap() - before
			runtime.KeepAlive(a)
			t.Logf("%d bytes, %d after the end of half of them, %d after the end of all", lived, half, after)
			if !stored && half > lived*2/3 || after > lived/8 {
				t.Error("sessions are left after their expiry")
			}
		})
	})
}

// keyedStore is a store with the keys of its records.
type keyedStore struct {
	store.Store
	keys []string
}

func (s *keyedStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.keys = append(s.keys, rec.Key)
	return s.Store.Put(ctx, rec, prev)
}

// A record that does not fit into the cache can still be read and changed.
func TestWithoutRoomInCache(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind, func(c *session.Config) { c.CacheBytes = 1 })
		b := a.withTheme("dark")
		for range 3 {
			b.visit(func(_ context.Context, s *session.Session) {
				if v, _ := favorite.Get(s); v != "dark" || !s.HasRole("user") {
					t.Errorf("value %q, roles %q", v, s.Roles())
				}
			})
		}
	})
}

// The values of a stored session have a limit. A change beyond the limit has no
// effect.
func TestMaxValueBytes(t *testing.T) {
	for _, kind := range []func(*session.Config){inMemory, outside} {
		a := newApp(t, kind, func(c *session.Config) { c.MaxValueBytes = 1000 })
		b := a.withTheme("dark")
		b.visit(func(_ context.Context, s *session.Session) {
			// The names count, and the two quotes of a text in JSON.
			rest := 1000 - len(`theme"dark"cart""`)
			if err := cart.Set(s, strings.Repeat("x", rest+1)); !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), "Config.MaxValueBytes") {
				t.Errorf("set of a byte too many: %v, want ErrTooLarge and the field", err)
			}
			if !slices.Equal(s.ValueNames(), []string{"theme"}) {
				t.Errorf("values %q", s.ValueNames())
			}
			if err := cart.Set(s, strings.Repeat("x", rest)); err != nil {
				t.Errorf("set up to the limit: %v", err)
			}
			if err := counter.Set(s, 1); !errors.Is(err, session.ErrTooLarge) {
				t.Errorf("another value: %v, want ErrTooLarge", err)
			}
			if err := favorite.Set(s, "darker"); !errors.Is(err, session.ErrTooLarge) {
				t.Errorf("a longer value: %v, want ErrTooLarge", err)
			}
			// A smaller value is always accepted, and makes room for others.
			if err := errors.Join(favorite.Set(s, ""), counter.Set(s, 1)); !errors.Is(err, session.ErrTooLarge) {
				t.Errorf("a shorter value and another value: %v, want ErrTooLarge", err)
			}
			if err := errors.Join(favorite.Delete(s), counter.Set(s, 1)); err != nil {
				t.Errorf("no value and another value: %v", err)
			}
		})
		b.visit(func(_ context.Context, s *session.Session) {
			if !slices.Equal(s.ValueNames(), []string{"cart", "counter"}) {
				t.Errorf("values %q", s.ValueNames())
			}
		})
	}
}

// Concurrent requests cannot exceed the limit together.
func TestMaxValueBytesOfConcurrentRequests(t *testing.T) {
	for _, save := range []bool{true, false} {
		a := newApp(t, inMemory, func(c *session.Config) { c.MaxValueBytes = 1000 })
		b := a.withTheme("dark")
		late := *b
		r := newRequest(late.header())
		r, x := testkit.Begin(a.Manager, r)
		s := session.FromContext(r.Context())
		if err := cart.Set(s, strings.Repeat("x", 600)); err != nil {
			t.Fatal(err)
		}
		b.visit(set(t, session.NewKey[string]("other"), strings.Repeat("y", 600)))
		if save {
			if err := s.Save(r.Context()); !errors.Is(err, session.ErrTooLarge) || errors.Is(err, session.ErrSessionUnavailable) {
				t.Errorf("save: %v, want ErrTooLarge", err)
			}
			if _, ok := cart.Get(s); ok {
				t.Error("the value that did not fit is there")
			}
			if err := counter.Set(s, 1); err != nil {
				t.Errorf("a value that fits: %v", err)
			}
		}
		err := x.Commit(http.Header{})
		if save && err != nil || !save && !errors.Is(err, session.ErrTooLarge) {
			t.Errorf("commit (saved before: %v): %v", save, err)
		}
		if err := x.End(); err != nil {
			t.Errorf("end: %v", err)
		}
		want := []string{"counter", "other", "theme"}
		if !save {
			want = []string{"other", "theme"}
		}
		b.visit(func(_ context.Context, s *session.Session) {
			if !slices.Equal(s.ValueNames(), want) {
				t.Errorf("values %q, want %q", s.ValueNames(), want)
			}
		})
		if n := a.log.count(session.EventStoreUnavailable); n != 0 {
			t.Errorf("%d events say that the store is unavailable", n)
		}
	}
}

// The number of values has a limit, too. Concurrent requests cannot exceed it
// together, because the record would become unreadable.
func TestNumberOfValuesOfConcurrentRequests(t *testing.T) {
	a := newApp(t, inMemory)
	b := a.signedIn()
	header := b.header()
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			r, x := testkit.Begin(a.Manager, newRequest(header))
			s := session.FromContext(r.Context())
			for i := range 5000 {
				if err := session.NewKey[int](fmt.Sprint(worker, "-", i)).Set(s, i); err != nil {
					t.Error(err)
				}
			}
			if err := x.Commit(http.Header{}); err != nil && !errors.Is(err, session.ErrTooLarge) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.visit(func(_ context.Context, s *session.Session) {
		if n := len(s.ValueNames()); n != 10_000 || s.Err() != nil {
			t.Errorf("%d values, error %v, want those of two requests", n, s.Err())
		}
	})
}

// After a limit was lowered, a session above it can be read and made smaller.
func TestLoweredMaxValueBytes(t *testing.T) {
	key := session.GenerateKey()
	kept := memstore.New()
	with := func(most int) func(*session.Config) {
		return func(c *session.Config) {
			c.Keys, c.MaxValueBytes = []session.SecretKey{key}, most
			c.Store = kept
			kept.Now = c.Now
		}
	}
	b := newApp(t, with(5000)).withTheme("dark").visit(set(t, cart, strings.Repeat("x", 4000)))
	b.app = newApp(t, with(100))
	b.visit(func(_ context.Context, s *session.Session) {
		if err := counter.Set(s, 1); !errors.Is(err, session.ErrTooLarge) {
			t.Errorf("another value: %v, want ErrTooLarge", err)
		}
		if err := cart.Set(s, strings.Repeat("x", 3000)); err != nil {
			t.Errorf("a shorter value: %v", err)
		}
	})
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := cart.Get(s); len(v) != 3000 {
			t.Errorf("the value has %d bytes, want 3000", len(v))
		}
	})
}
