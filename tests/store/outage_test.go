package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proxy"
)

// A call waits for a row that another client has locked, for longer than the database
// waits, and within its own timeout.
func (d database) testLock(t *testing.T) {
	ctx := context.Background()
	patience := "lock_timeout=300"
	if d.dialect == sqlstore.MySQL {
		patience = "innodb_lock_wait_timeout=1"
	}
	db := d.open(t, patience)
	table := dbtest.Table()
	s := d.store(t, db, sqlstore.Config{Table: table})
	rec := counted("key", 1)
	if err := s.Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	lock := func() *sql.Tx {
		t.Helper()
		tx, err := d.open(t).Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("UPDATE " + table + " SET expires_at = expires_at + 1"); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	tx := lock()
	time.AfterFunc(1500*time.Millisecond, func() { _ = tx.Rollback() })
	next := counted("key", 2)
	if err := s.Put(ctx, next, rec.Version); err != nil {
		t.Errorf("Put on a row that was locked for a while: %v", err)
	}

	tx = lock()
	defer tx.Rollback()
	const timeout = 500 * time.Millisecond
	hasty := d.store(t, db, sqlstore.Config{Table: table, Timeout: timeout})
	start := time.Now()
	err := hasty.Put(ctx, counted("key", 3), next.Version)
	if took := time.Since(start); err == nil || errors.Is(err, store.ErrConflict) || took > timeout+35*time.Second {
		t.Errorf("Put on a row that stays locked: error %v after %v", err, took)
	}
	if got, err := s.Get(ctx, "key"); err != nil || count(got) != 2 {
		t.Errorf("Get of a row that is locked: %d, error %v", count(got), err)
	}
}

// The app may start before its database: calls fail until it is up. Then the table is
// created and calls succeed.
func (d database) testStartsBefore(t *testing.T) {
	ctx := context.Background()
	d.server.Stop()
	s := d.store(t, d.open(t), sqlstore.Config{})
	if err := s.Setup(ctx); err == nil {
		t.Error("Setup without a server succeeded")
	} else if wrong := (*sqlstore.SchemaError)(nil); errors.As(err, &wrong) {
		t.Errorf("Setup without a server: %v, want one that is no SchemaError", err)
	}
	if _, err := s.Get(ctx, "key"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get without a server: %v", err)
	}
	d.server.Start()
	d.outages().recovered(t, s)
	if err := s.Put(ctx, record("key"), 0); err != nil {
		t.Error(err)
	}
}

// outages has the functions that the tests of outages need, for any kind of server.
type outages struct {
	server *dbtest.Server

	// open returns a store with its own connections. Stores with the same name have the
	// same records.
	open func(t testing.TB, name string, timeout time.Duration) store.Store
}

func (d database) outages() outages {
	return outages{d.server, func(t testing.TB, name string, timeout time.Duration) store.Store {
		return d.store(t, d.open(t), sqlstore.Config{Table: name, Timeout: timeout})
	}}
}

// recovered waits until s works again. The store needs two seconds at most after the
// database accepts connections. A busy machine may need longer, so only the full tests
// check this limit.
func (o outages) recovered(t *testing.T, s store.Store) {
	t.Helper()
	o.server.Await()
	start := time.Now()
	for {
		_, err := s.Get(context.Background(), "no such key")
		took := time.Since(start)
		if errors.Is(err, store.ErrNotFound) {
			t.Logf("the first response took %v", took)
			if scale.Long() && took > 2*time.Second+busy {
				t.Error("the store recovered too slowly")
			}
			return
		}
		if took > time.Minute {
			t.Fatalf("no response after %v: %v", took, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// busy is the time by which a busy machine may exceed a limit.
const busy = 3 * time.Second

// testRestart stops the server under load, and kills it: no acknowledged write is lost,
// no failure looks like a response, and the store recovers by itself.
func (o outages) testRestart(t *testing.T) {
	ctx := context.Background()
	s := o.open(t, dbtest.Table(), 5*time.Second)
	for name, end := range map[string]func(){"stopped": o.server.Stop, "killed": o.server.Kill} {
		t.Run(name, func(t *testing.T) {
			const workers = 6
			var acknowledged [workers]atomic.Int64
			var finished atomic.Bool
			var wg sync.WaitGroup
			for w := range workers {
				key := fmt.Sprintf("%s%d", name, w)
				rec := counted(key, 0)
				if err := s.Put(ctx, rec, 0); err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					for !finished.Load() {
						got, err := s.Get(ctx, key)
						if errors.Is(err, store.ErrNotFound) {
							t.Errorf("%q is not found any more", key)
							return
						}
						if err == nil && count(got) < int(acknowledged[w].Load()) {
							t.Errorf("%q stands at %d, %d was acknowledged", key, count(got), acknowledged[w].Load())
							return
						}
						if err == nil {
							n := count(got) + 1
							// A conflict is possible: an attempt whose outcome is
							// unknown may have been carried out late.
							if err = s.Put(ctx, counted(key, n), got.Version); err == nil {
								acknowledged[w].Store(int64(n))
							}
						}
						if err != nil {
							time.Sleep(5 * time.Millisecond)
						}
					}
				})
			}
			time.Sleep(300 * time.Millisecond)
			end()
			time.Sleep(300 * time.Millisecond)
			if _, err := s.Get(ctx, name+"0"); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Errorf("Get without a server: %v", err)
			}
			o.server.Start()
			o.recovered(t, s)
			before := acknowledged[0].Load()
			for deadline := time.Now().Add(time.Minute); acknowledged[0].Load() == before; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("no write is acknowledged after the restart")
					break
				}
			}
			finished.Store(true)
			wg.Wait()
			for w := range workers {
				got, err := s.Get(ctx, fmt.Sprintf("%s%d", name, w))
				if err != nil || count(got) < int(acknowledged[w].Load()) {
					t.Errorf("worker %d: %d acknowledged, %d there, error %v", w, acknowledged[w].Load(), count(got), err)
				}
			}
		})
	}
}

// testNetwork reads and writes over a network with many faults. Every call ends in time,
// its result is correct, and the store recovers.
func (o outages) testNetwork(t *testing.T) {
	const timeout = 500 * time.Millisecond
	faults := []struct {
		name  string
		fault proxy.Fault
		cut   bool // connections are also cut now and then
		lies  bool // bytes change: a response may be wrong, but not have another owner's record
	}{
		{name: "slow", fault: proxy.Fault{Delay: 20 * time.Millisecond}},
		{name: "too slow", fault: proxy.Fault{Delay: 400 * time.Millisecond}},
		{name: "cut", cut: true},
		{name: "hang", fault: proxy.Fault{Hang: true}},
		{name: "down", fault: proxy.Fault{Down: true}},
		{name: "cut at once", fault: proxy.Fault{CutAfter: 1}},
		{name: "cut within a response", fault: proxy.Fault{CutAfter: 40}},
		{name: "cut after some responses", fault: proxy.Fault{CutAfter: 700}},
		{name: "corrupt now and then", fault: proxy.Fault{Corrupt: 0.0005}, lies: true},
		{name: "corrupt", fault: proxy.Fault{Corrupt: 0.02}, lies: true},
	}
	table := dbtest.Table()
	s := o.open(t, table, timeout)
	patient := o.open(t, table, 0)
	const keys = 8
	var last [keys]atomic.Int64 // the last number acknowledged
	for i := range keys {
		if err := patient.Put(context.Background(), owned(i, 0), 0); err != nil {
			t.Fatal(err)
		}
	}
	lasts := scale.Of(200*time.Millisecond, 500*time.Millisecond, 5*time.Second)
	for _, f := range faults {
		if f.lies && o.server.Driver == "redis" {
			continue // its client panics: the protocol relies on TCP or TLS to detect errors
		}
		t.Run(f.name, func(t *testing.T) {
			var responses, failures atomic.Int64
			var wg sync.WaitGroup
			end := time.Now().Add(lasts)
			o.server.Proxy.Set(f.fault)
			for i := range keys {
				wg.Go(func() {
					for time.Now().Before(end) {
						ctx, cancel := context.Background(), context.CancelFunc(func() {})
						if rand.IntN(4) == 0 { // clients disconnect, too
							ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(5000))*time.Microsecond)
						}
						start := time.Now()
						err := step(ctx, s, i, &last[i], f.lies)
						cancel()
						if took := time.Since(start); took > 4*timeout+35*time.Second {
							t.Errorf("three calls took %v", took)
						}
						switch {
						case errors.Is(err, errUntrue):
							t.Error(err)
							return
						case err != nil:
							failures.Add(1)
						default:
							responses.Add(1)
						}
					}
				})
			}
			for f.cut && time.Now().Before(end) {
				o.server.Proxy.Cut()
				time.Sleep(20 * time.Millisecond)
			}
			wg.Wait()
			o.server.Proxy.Set(proxy.Fault{})
			o.recovered(t, s)
			t.Logf("%d responses, %d failures", responses.Load(), failures.Load())
		})
	}
}

// errUntrue is a wrong result, which is worse than an error.
var errUntrue = errors.New("untrue")

func owned(i, n int) store.Record {
	rec := counted(fmt.Sprintf("key%d", i), n)
	rec.Owner = fmt.Sprintf("owner%d", i)
	return rec
}

// step reads the record of one worker, lists its owner and swaps it.
func step(ctx context.Context, s store.Store, i int, last *atomic.Int64, lies bool) error {
	want := owned(i, 0)
	rec, err := s.Get(ctx, want.Key)
	switch {
	case errors.Is(err, store.ErrNotFound) && !lies:
		return fmt.Errorf("%w: %q is not found", errUntrue, want.Key)
	case err != nil:
		return err
	case rec.Key != want.Key:
		return fmt.Errorf("%w: requested %q, got %q", errUntrue, want.Key, rec.Key)
	case !lies && count(rec) < int(last.Load()):
		return fmt.Errorf("%w: %q stands at %d, %d was acknowledged", errUntrue, want.Key, count(rec), last.Load())
	}
	recs, err := s.List(ctx, want.Owner)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.Owner != want.Owner {
			return fmt.Errorf("%w: requested %q, got a record of %q", errUntrue, want.Owner, rec.Owner)
		}
	}
	if !lies && len(recs) != 1 {
		return fmt.Errorf("%w: %q has %d records", errUntrue, want.Owner, len(recs))
	}
	if lies {
		return nil // the data may be wrong, and must not be written
	}
	n := count(rec) + 1
	err = s.Put(ctx, owned(i, n), rec.Version)
	if err == nil {
		last.Store(int64(n))
	}
	return err
}
