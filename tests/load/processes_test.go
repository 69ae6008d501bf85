package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// shared is a server whose sessions several processes share.
type shared struct {
	name string

	// open returns the store of another process.
	open func() store.Store

	// trips returns how many commands or queries the server has received.
	trips func() int
}

func shareRedis(t *testing.T) shared {
	t.Helper()
	server := dbtest.Redis(t)
	watch := server.Client(t)
	return shared{
		name: "Redis",
		open: func() store.Store {
			s, err := redisstore.New(server.Client(t), redisstore.Config{Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		trips: func() int {
			info, err := watch.Do(context.Background(), watch.B().Info().Section("commandstats").Build()).ToString()
			if err != nil {
				t.Fatal(err)
			}
			return commandCalls(info)
		},
	}
}

// commandCalls returns the number of commands that stores send. It leaves out those that
// clients send by themselves.
func commandCalls(info string) (sum int) {
	for line := range strings.Lines(info) {
		rest, ok := strings.CutPrefix(line, "cmdstat_")
		name, stats, _ := strings.Cut(rest, ":")
		switch {
		case !ok, name == "info", name == "ping", name == "hello", name == "multi", name == "exec", name == "pttl",
			strings.HasPrefix(name, "client|"), strings.HasPrefix(name, "config|"), strings.HasPrefix(name, "script|"):
			continue
		}
		var calls int
		if _, err := fmt.Sscanf(stats, "calls=%d", &calls); err == nil {
			sum += calls
		}
	}
	return sum
}

func sharePostgres(t *testing.T) shared {
	t.Helper()
	db := dbtest.Postgres(t).Open(t)
	var trips atomic.Int64
	return shared{
		name: "PostgreSQL",
		open: func() store.Store {
			s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, PurgeEvery: -1, Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Setup(context.Background()); err != nil {
				t.Fatal(err)
			}
			return &counted{Store: s, reads: &trips, writes: new(atomic.Int64)}
		},
		trips: func() int { return int(trips.Load()) },
	}
}

// counted is a store that counts calls. Each is one query.
type counted struct {
	store.Store
	reads, writes *atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string) (store.Record, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, key)
}

func (c *counted) List(ctx context.Context, owner string) ([]store.Record, error) {
	c.reads.Add(1)
	return c.Store.List(ctx, owner)
}

func (c *counted) Put(ctx context.Context, rec store.Record, prev uint64) error {
	c.writes.Add(1)
	return c.Store.Put(ctx, rec, prev)
}

func (c *counted) Delete(ctx context.Context, key string) error {
	c.writes.Add(1)
	return c.Store.Delete(ctx, key)
}

// fleet is an app in several processes that share a store. Their Managers are in the
// process of the test, because only their calls of the store count.
type fleet struct {
	t     *testing.T
	moved atomic.Int64

	managers []*session.Manager
	apps     []http.Handler
}

func newFleet(t *testing.T, at shared, processes int) *fleet {
	t.Helper()
	f := &fleet{t: t}
	now := func() time.Time { return time.Now().Add(time.Duration(f.moved.Load())) }
	auth := &service{now: now, live: map[string]time.Time{}}
	keys := []session.SecretKey{session.GenerateKey()}
	for range processes {
		m, err := session.New(session.Config{
			Auth: auth, Keys: keys, Store: at.open(), Now: now, Cookie: session.Cookie{Insecure: true},
			Logger: slog.New(slog.DiscardHandler), AuthTimeout: time.Minute, StoreTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		middleware.Mount(mux, m)
		mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		f.managers = append(f.managers, m)
		f.apps = append(f.apps, middleware.Sessions(m)(mux))
	}
	return f
}

// send sends a request to a process and returns the cookies of the response.
func (f *fleet) send(process int, method, path, cookie, body string, want int) string {
	f.t.Helper()
	r := httptest.NewRequest(method, "http://localhost"+path, bytes.NewReader([]byte(body)))
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	f.apps[process].ServeHTTP(w, r)
	if w.Code != want {
		f.t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, want, w.Body)
	}
	var pairs []string
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

func (f *fleet) signIn(process, n int) (cookie string) {
	body, err := json.Marshal(map[string]string{"email": fmt.Sprintf("user%d@example.com", n), "password": password})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.send(process, "POST", "/login", "", string(body), http.StatusOK)
}

// TestStoreCalls counts the calls of the store at the events in the life of a session. Each
// call is one round trip, unless the cache of Redis' client has the record.
// docs/performance.md has the table.
func TestStoreCalls(t *testing.T) {
	calls := &counted{Store: memstore.New(), reads: new(atomic.Int64), writes: new(atomic.Int64)}
	f := newFleet(t, shared{open: func() store.Store { return calls }}, 2)
	rows := [][]string{{"event", "reads", "writes"}}
	event := func(name string, reads, writes int64, do func()) {
		calls.reads.Store(0)
		calls.writes.Store(0)
		do()
		r, w := calls.reads.Load(), calls.writes.Load()
		rows = append(rows, []string{name, fmt.Sprint(r), fmt.Sprint(w)})
		if r > reads || w > writes {
			t.Errorf("%s: %d reads and %d writes, want %d and %d at most", name, r, w, reads, writes)
		}
	}
	var cookie string
	get := func(process int) func() {
		return func() { f.send(process, "GET", "/admin", cookie, "", http.StatusOK) }
	}
	event("sign-in", 1, 7, func() { cookie = f.signIn(0, 1) })
	event("request in the same process", 1, 0, get(0))
	event("request in another process", 2, 0, get(1))
	f.moved.Add(int64(accessLife))
	event("request with a refresh", 5, 2, get(0))
	event("sign-out", 3, 2, func() {
		f.send(0, "POST", "/logout", cookie, "{}", http.StatusNoContent)
		// The tokens are revoked in the background.
		if err := f.managers[0].Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	event("request after it", 2, 0, func() { f.send(1, "GET", "/admin", cookie, "", http.StatusUnauthorized) })
	table(t, rows)
}

// TestProcesses sends requests of many sessions to processes at random, as a load
// balancer does. The number of reads must be that of the model in docs/performance.md:
// PostgreSQL is read for each request. Redis is read for the first request in each
// process, as long as the client's cache keeps the record. Each such read may be followed
// by a read of the user's mark. A process reads the mark at most every 2 seconds, and the
// test does not wait that long.
func TestProcesses(t *testing.T) {
	rows := [][]string{{"store", "processes", "requests of a session", "reads for a request", "by the model", "with marks"}}
	sessions := scale.Of(30, 50, 300)
	for _, share := range []func(*testing.T) shared{sharePostgres, shareRedis} {
		at := share(t)
		for _, processes := range scale.Of([]int{1, 5}, []int{1, 10}, []int{1, 10, 100}) {
			for _, requests := range []int{6, 60} {
				f := newFleet(t, at, processes)
				got, want := f.reads(at, sessions, requests)
				n := float64(sessions * requests)
				rows = append(rows, []string{at.name, fmt.Sprint(processes), fmt.Sprint(requests), fmt.Sprintf("%.3f", float64(got)/n), fmt.Sprintf("%.3f", want/n), fmt.Sprintf("%.3f", perRequest*want/n)})
				if float64(got) > want*perRequest*1.1 || float64(got) < want*0.9 {
					t.Errorf("%s, %d processes: %d reads, want %.0f to %.0f", at.name, processes, got, want, want*perRequest)
				}
			}
		}
	}
	table(t, rows)
}

// reads returns the number of reads for the requests of the sessions, and the number by
// the model.
func (f *fleet) reads(at shared, sessions, requests int) (got int, want float64) {
	f.t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(len(f.apps))))
	cookies := make([]string, sessions)
	for i := range cookies {
		cookies[i] = f.signIn(random.IntN(len(f.apps)), i)
	}
	before := at.trips()
	for range requests {
		for _, cookie := range cookies {
			f.send(random.IntN(len(f.apps)), "GET", "/admin", cookie, "", http.StatusOK)
		}
	}
	got = at.trips() - before
	return got, f.model(at, sessions, requests)
}

// model returns the reads of sessions by the model.
func (f *fleet) model(at shared, sessions, requests int) float64 {
	if at.name != "Redis" {
		return float64(sessions * requests)
	}
	return float64(sessions) * processesOf(float64(len(f.apps)), float64(requests))
}
