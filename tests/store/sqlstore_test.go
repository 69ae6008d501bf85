package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/store/storetest"
	"github.com/synmetrix/session/tests/internal/dbtest"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// newStore returns a store that lets slow machines be slow.
func newStore(t testing.TB, db *sql.DB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	s, err := sqlstore.New(db, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
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

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		db := openSQLite(t, filepath.Join(t.TempDir(), "sessions.db"))
		return newStore(t, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	})
}

func TestSQLiteInMemory(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		db := openSQLite(t, ":memory:")
		db.SetMaxOpenConns(1)
		return newStore(t, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	})
}

func TestPostgreSQL(t *testing.T) {
	db := dbtest.Postgres(t).Open(t)
	storetest.Run(t, func(t testing.TB) store.Store {
		return newStore(t, db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, Table: dbtest.Table()})
	})
}

func TestMariaDB(t *testing.T) {
	db := dbtest.MariaDB(t).Open(t)
	storetest.Run(t, func(t testing.TB) store.Store {
		return newStore(t, db, sqlstore.Config{Dialect: sqlstore.MySQL, Table: dbtest.Table()})
	})
}
