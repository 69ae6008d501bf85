package store_test

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proxy"
)

// countedReads is a store that counts its reads, and does not begin them before all
// requests have been sent.
type countedReads struct {
	store.Store
	sent sync.WaitGroup

	mu    sync.Mutex
	keys  []string // in the order of their first reads
	reads map[string]int
}

func (s *countedReads) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	if s.reads[key]++; s.reads[key] == 1 {
		s.keys = append(s.keys, key)
	}
	s.mu.Unlock()
	s.sent.Wait()
	return s.Store.Get(ctx, key)
}

// few reports whether there were few reads: two of the session, one for the first request
// and one for all others, and three of the mark of its user, which is remembered for 2 s.
func (s *countedReads) few() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys) == 2 && s.reads[s.keys[0]] <= 2 && s.reads[s.keys[1]] <= 3
}

// Loading a page sends many requests at once. Three processes whose connections to the
// database open slowly serve all of them with few reads each.
func TestColdStartSharesReads(t *testing.T) {
	t.Parallel()
	server := dbtest.Postgres(t)
	key, service := session.GenerateKey(), &testkit.Service{Life: time.Hour}
	process := func() (*session.Manager, *countedReads, *proxy.Proxy) {
		between := proxy.New(t, "tcp", server.Proxy.Addr())
		db, err := sql.Open(server.Driver, strings.ReplaceAll(server.DSN, server.Proxy.Addr(), between.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		sqlStore, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		st := &countedReads{Store: sqlStore, reads: map[string]int{}}
		m, err := session.New(session.Config{
			Auth: service, Keys: []session.SecretKey{key}, Store: st, StoreTimeout: 10 * time.Second,
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
		return m, st, between
	}
	first, _, _ := process()
	c := &testkit.Visitor{T: t, M: first, Jar: map[string]string{}}
	c.Login("ada")
	for range scale.Of(1, 1, 20) {
		var wg sync.WaitGroup
		for range 3 {
			m, st, between := process()
			between.Set(proxy.Fault{Connect: time.Second})
			var served sync.WaitGroup
			st.sent.Add(20)
			for range 20 {
				served.Go(func() {
					st.sent.Done()
					if v := c.At(m).Get(); !v.SignedIn() {
						t.Errorf("not signed in: %v", v.Err())
					}
				})
			}
			wg.Go(func() {
				served.Wait()
				if conns := between.Accepted(); !st.few() || conns > 2 {
					t.Errorf("reads by key %v, %d connections for 20 requests, want at most 2", st.reads, conns)
				}
			})
		}
		wg.Wait()
	}
}
