package store_test

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
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

// countedReads is a store that counts its reads.
type countedReads struct {
	store.Store
	gets atomic.Int64
}

func (s *countedReads) Get(ctx context.Context, key string) (store.Record, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, key)
}

// Loading a page sends many requests at once. Three processes whose connections to the
// database open slowly serve all of them with two reads each.
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
		st := &countedReads{Store: sqlStore}
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
	// All requests must arrive while the first connection opens, even on a busy machine.
	connect := time.Duration(scale.Of(2000, 2000, 500)) * time.Millisecond
	for range scale.Of(1, 3, 20) {
		var wg sync.WaitGroup
		for range 3 {
			m, st, between := process()
			between.Set(proxy.Fault{Connect: connect})
			var served sync.WaitGroup
			for range 20 {
				served.Go(func() {
					if v := c.At(m).Get(); !v.SignedIn() {
						t.Errorf("not signed in: %v", v.Err())
					}
				})
			}
			wg.Go(func() {
				served.Wait()
				if reads, conns := st.gets.Load(), between.Accepted(); reads > 2 || conns > 2 {
					t.Errorf("%d reads, %d connections for 20 requests, want at most 2", reads, conns)
				}
			})
		}
		wg.Wait()
	}
}
