package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/store/storetest"
	"github.com/synmetrix/session/tests/internal/dbtest"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// database is a database for the SQL store.
type database struct {
	dialect sqlstore.Dialect
	server  *dbtest.Server // nil: SQLite
}

// TestSQLite, TestPostgreSQL and TestMariaDB run the same tests of the SQL store with
// each database.
func TestSQLite(t *testing.T) {
	t.Parallel()
	database{dialect: sqlstore.SQLite}.test(t)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	database{sqlstore.PostgreSQL, dbtest.Postgres(t)}.test(t)
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	database{sqlstore.MySQL, dbtest.MariaDB(t)}.test(t)
}

func (d database) test(t *testing.T) {
	t.Run("Contract", d.testContract)
	t.Run("WrongSchema", d.testWrongSchema)
	t.Run("SchemaByHand", d.testSchemaByHand)
	t.Run("SetupRace", d.testSetupRace)
	t.Run("Purge", d.testPurge)
	t.Run("SwapsOfManyStores", d.testManyStores)
	if d.server != nil {
		t.Run("Lock", d.testLock)
		t.Run("StartsBeforeDatabase", d.testStartsBefore)
		t.Run("Restart", d.outages().testRestart)
		t.Run("Network", d.outages().testNetwork)
	}
}

// open opens a separate database for the test, which is closed with it. Settings are
// added to its address.
func (d database) open(t testing.TB, settings ...string) *sql.DB {
	t.Helper()
	if d.server == nil {
		return openSQLite(t, filepath.Join(t.TempDir(), "sessions.db"))
	}
	return d.openAgain(t, settings...)
}

func openSQLite(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (d database) openAgain(t testing.TB, settings ...string) *sql.DB {
	t.Helper()
	dsn := d.server.DSN
	for _, s := range settings {
		if strings.Contains(dsn, "?") {
			dsn += "&" + s
		} else {
			dsn += "?" + s
		}
	}
	db, err := sql.Open(d.server.Driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// store returns a store in a separate table, with a timeout for slow machines.
func (d database) store(t testing.TB, db *sql.DB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	c.Dialect = d.dialect
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	if c.Table == "" && d.server != nil {
		c.Table = dbtest.Table()
	}
	s, err := sqlstore.New(db, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(key string) store.Record {
	return store.Record{
		Key: key, Owner: "owner", Version: 1, Data: []byte("data of " + key), Meta: []byte("meta"),
		ExpiresAt: time.Now().Add(time.Hour),
	}
}

// settings are settings of apps that change the behavior of drivers and databases.
var settings = map[sqlstore.Dialect][]string{
	sqlstore.PostgreSQL: {
		"default_transaction_isolation=serializable&default_query_exec_mode=simple_protocol",
		"default_query_exec_mode=exec&timezone=America/St_Johns",
	},
	sqlstore.MySQL: {
		"clientFoundRows=true&tx_isolation=%27SERIALIZABLE%27",
		"interpolateParams=true&parseTime=true&loc=Local&time_zone=%27-08:00%27&sql_mode=%27ANSI%27",
	},
}

// testContract runs the suite of all stores with the default settings. With other
// settings it runs the whole suite in CI, and a small part of it otherwise.
func (d database) testContract(t *testing.T) {
	if d.server == nil {
		t.Run("default", func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) store.Store { return d.store(t, d.open(t), sqlstore.Config{}) })
		})
		t.Run("in memory", func(t *testing.T) {
			t.Parallel()
			contractOrEssence(t, func(t testing.TB) store.Store {
				db := openSQLite(t, ":memory:")
				db.SetMaxOpenConns(1)
				return d.store(t, db, sqlstore.Config{})
			})
		})
		return
	}
	for _, s := range append([]string{"default"}, settings[d.dialect]...) {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			if s == "default" {
				db := d.open(t)
				storetest.Run(t, func(t testing.TB) store.Store { return d.store(t, db, sqlstore.Config{}) })
				return
			}
			db := d.open(t, s)
			contractOrEssence(t, func(t testing.TB) store.Store { return d.store(t, db, sqlstore.Config{}) })
		})
	}
}

func contractOrEssence(t *testing.T, open func(testing.TB) store.Store) {
	if scale.CI() {
		storetest.Run(t, open)
		return
	}
	ctx := context.Background()
	s := open(t)
	rec := record("key")
	next, expired := rec, rec
	next.Version++
	expired.Version, expired.ExpiresAt = next.Version+1, time.Now().Add(-time.Second)
	for i, step := range []struct {
		put  store.Record
		prev uint64
		want error
	}{{rec, 0, nil}, {rec, 0, store.ErrConflict}, {rec, rec.Version, nil}, {next, rec.Version, nil}, {next, rec.Version, store.ErrConflict}} {
		if err := s.Put(ctx, step.put, step.prev); !errors.Is(err, step.want) {
			t.Fatalf("put %d: %v, want %v", i, err, step.want)
		}
	}
	got, err := s.Get(ctx, rec.Key)
	if err != nil || got.Version != next.Version || !bytes.Equal(got.Data, rec.Data) || got.ExpiresAt.Sub(rec.ExpiresAt).Abs() > time.Millisecond {
		t.Errorf("got %+v, %v; want %+v", got, err, next)
	}
	if recs, err := s.List(ctx, rec.Owner); err != nil || len(recs) != 1 {
		t.Errorf("%d records in the list, error %v; want 1", len(recs), err)
	}
	if err := s.Put(ctx, expired, next.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, rec.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of an expired record: %v, want ErrNotFound", err)
	}
	if err := s.Delete(ctx, rec.Key); err != nil {
		t.Error(err)
	}
}

// testSetupRace creates the table by many stores at once, each over its own connections,
// like processes that start together.
func (d database) testSetupRace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	table := dbtest.Table()
	var wg sync.WaitGroup
	for i := range 8 {
		var db *sql.DB
		if d.server == nil {
			db = openSQLite(t, file)
		} else {
			db = d.open(t)
		}
		s := d.store(t, db, sqlstore.Config{Table: table})
		wg.Go(func() {
			if err := s.Setup(context.Background()); err != nil {
				t.Errorf("store %d: %v", i, err)
			}
			if err := s.Put(context.Background(), record(fmt.Sprintf("key%d", i)), 0); err != nil {
				t.Errorf("store %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// testManyStores counts by swaps of stores that share only the table.
func (d database) testManyStores(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "sessions.db")
	table := dbtest.Table()
	const stores, each = 4, 25
	var wg sync.WaitGroup
	for i := range stores {
		var db *sql.DB
		if d.server == nil {
			db = openSQLite(t, file)
		} else {
			db = d.open(t)
		}
		s := d.store(t, db, sqlstore.Config{Table: table})
		if err := s.Put(ctx, counted("counter", 0), 0); err != nil && i == 0 {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range each {
				if err := increment(ctx, s, "counter"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rec, err := d.storeOf(t, file, table).Get(ctx, "counter")
	if err != nil || count(rec) != stores*each {
		t.Errorf("counted to %d, error %v, want %d", count(rec), err, stores*each)
	}
}

// storeOf returns another store of the same records.
func (d database) storeOf(t *testing.T, file, table string) *sqlstore.Store {
	t.Helper()
	if d.server == nil {
		return d.store(t, openSQLite(t, file), sqlstore.Config{Table: table})
	}
	return d.store(t, d.open(t), sqlstore.Config{Table: table})
}

func (d database) testPurge(t *testing.T) {
	ctx := context.Background()
	db := d.open(t)
	table := dbtest.Table()
	s := d.store(t, db, sqlstore.Config{Table: table, PurgeEvery: -1})
	const expired, alive = 450, 30
	for i := range expired + alive {
		rec := record(fmt.Sprintf("key%d", i))
		if i < expired {
			rec.ExpiresAt = time.Now().Add(-time.Minute)
		}
		if err := s.Put(ctx, rec, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := rowCount(t, db, table); n != expired+alive {
		t.Fatalf("%d rows before, want %d", n, expired+alive)
	}
	// Several processes purge at once: each row is removed by one of them.
	var wg sync.WaitGroup
	var mu sync.Mutex
	var removed int64
	for range 3 {
		wg.Go(func() {
			n, err := s.Purge(ctx)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			removed += n
			mu.Unlock()
		})
	}
	wg.Wait()
	// A purge skips rows that another one has locked, so all rows are removed only after
	// another round.
	n, err := s.Purge(ctx)
	if removed += n; err != nil || removed != expired || rowCount(t, db, table) != alive {
		t.Errorf("removed %d, %d rows left, error %v; want %d and %d", removed, rowCount(t, db, table), err, expired, alive)
	}
	recs, err := s.List(ctx, "owner")
	if err != nil || len(recs) != alive {
		t.Errorf("%d alive, error %v, want %d", len(recs), err, alive)
	}

	// Rows are also removed without a call of Purge.
	self := d.store(t, db, sqlstore.Config{Table: table, PurgeEvery: 50 * time.Millisecond})
	old := record("old")
	old.ExpiresAt = time.Now().Add(-time.Minute)
	if err := self.Put(ctx, old, 0); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); rowCount(t, db, table) > alive; time.Sleep(10 * time.Millisecond) {
		if _, err := self.Get(ctx, "key449"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("an expired row was not removed by itself")
		}
	}
}

func rowCount(t *testing.T, db *sql.DB, table string) int {
	t.Helper()
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
