package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// wrongTables are tables that differ from the store's, some of them only slightly. "$" is
// replaced by the name.
var wrongTables = map[sqlstore.Dialect][]struct{ name, create, problem string }{
	sqlstore.SQLite: {
		{"another library's", "CREATE TABLE $ (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)", "session_key is missing"},
		{"a column less", "CREATE TABLE $ (session_key TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, expires_at INTEGER NOT NULL)", "meta is missing"},
		{"a wrong type", "CREATE TABLE $ (session_key TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, version REAL NOT NULL, data BLOB NOT NULL, meta BLOB NOT NULL, expires_at INTEGER NOT NULL)", "version is real"},
		{"no primary key", "CREATE TABLE $ (session_key TEXT NOT NULL, owner TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, meta BLOB NOT NULL, expires_at INTEGER NOT NULL)", "primary key is ()"},
		{"another primary key", "CREATE TABLE $ (session_key TEXT NOT NULL, owner TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, meta BLOB NOT NULL, expires_at INTEGER NOT NULL, PRIMARY KEY (session_key, owner))", "primary key is (session_key, owner)"},
		{"a collation", "CREATE TABLE $ (session_key TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, meta BLOB NOT NULL, expires_at INTEGER NOT NULL)", "collation"},
		{"a view", "CREATE VIEW $ AS SELECT 'k' AS session_key", "session_key is"},
	},
	sqlstore.PostgreSQL: {
		{"another library's", "CREATE TABLE $ (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)", "session_key is missing"},
		{"a column less", "CREATE TABLE $ (session_key TEXT PRIMARY KEY, owner TEXT NOT NULL, version BIGINT NOT NULL, data BYTEA NOT NULL, expires_at BIGINT NOT NULL)", "meta is missing"},
		{"a wrong type", "CREATE TABLE $ (session_key TEXT PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL, data BYTEA NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL)", "version is integer"},
		{"text for bytes", "CREATE TABLE $ (session_key TEXT PRIMARY KEY, owner TEXT NOT NULL, version BIGINT NOT NULL, data TEXT NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL)", "data is text"},
		{"no primary key", "CREATE TABLE $ (session_key TEXT, owner TEXT NOT NULL, version BIGINT NOT NULL, data BYTEA NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL)", "primary key is ()"},
		{"another primary key", "CREATE TABLE $ (session_key TEXT, owner TEXT NOT NULL, version BIGINT NOT NULL, data BYTEA NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL, PRIMARY KEY (session_key, owner))", "primary key is (session_key, owner)"},
	},
	sqlstore.MySQL: {
		{"another library's", "CREATE TABLE $ (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)", "session_key is missing"},
		{"a column less", "CREATE TABLE $ (session_key VARBINARY(128) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version BIGINT NOT NULL, data LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "meta is missing"},
		{"a wrong type", "CREATE TABLE $ (session_key VARBINARY(128) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version INT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "version is int"},
		{"no sign", "CREATE TABLE $ (session_key VARBINARY(128) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version BIGINT UNSIGNED NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "version is bigint"},
		{"names with a collation", "CREATE TABLE $ (session_key VARCHAR(128) PRIMARY KEY, owner VARCHAR(128) NOT NULL, version BIGINT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "session_key is varchar(128)"},
		{"a name that is short", "CREATE TABLE $ (session_key VARBINARY(64) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version BIGINT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "session_key is varbinary(64)"},
		{"data that is short", "CREATE TABLE $ (session_key VARBINARY(128) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version BIGINT NOT NULL, data BLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "data is blob"},
		{"no primary key", "CREATE TABLE $ (session_key VARBINARY(128) NOT NULL, owner VARBINARY(128) NOT NULL, version BIGINT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL)", "primary key is ()"},
		{"no transactions", "CREATE TABLE $ (session_key VARBINARY(128) PRIMARY KEY, owner VARBINARY(128) NOT NULL, version BIGINT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL) ENGINE=MyISAM", "InnoDB"},
	},
}

// A wrong table is an error that names the difference and has the statement for the right
// table. After the table has been corrected, the store works.
func (d database) testWrongSchema(t *testing.T) {
	ctx := context.Background()
	for _, tt := range wrongTables[d.dialect] {
		t.Run(tt.name, func(t *testing.T) {
			db := d.open(t)
			table := dbtest.Table()
			if _, err := db.Exec(strings.ReplaceAll(tt.create, "$", table)); err != nil {
				t.Fatal(err)
			}
			s := d.store(t, db, sqlstore.Config{Table: table})
			var wrong *sqlstore.SchemaError
			if err := s.Setup(ctx); !errors.As(err, &wrong) {
				t.Fatalf("Setup: error %v, want a SchemaError", err)
			}
			if wrong.Table != table || !strings.Contains(wrong.Problem, tt.problem) || wrong.Statement != s.Schema() {
				t.Errorf("table %q, problem %q, want %q", wrong.Table, wrong.Problem, tt.problem)
			}
			text := wrong.Error()
			if !strings.Contains(text, "CREATE TABLE") || strings.Contains(text, "\n") {
				t.Errorf("the error is not one line that holds the statement: %s", text)
			}
			err := s.Put(ctx, record("key"), 0)
			if !errors.As(err, &wrong) || errors.Is(err, store.ErrConflict) {
				t.Errorf("Put: error %v, want a SchemaError", err)
			}

			kind := "TABLE "
			if tt.name == "a view" {
				kind = "VIEW "
			}
			if _, err := db.Exec("DROP " + kind + table); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(ctx, record("key"), 0); err != nil {
				t.Errorf("Put after the table was corrected: %v", err)
			}
		})
	}
}

// If the store has no permission to create the table, an operator creates it by the
// statements of Schema, and may add columns.
func (d database) testSchemaByHand(t *testing.T) {
	ctx := context.Background()
	db := d.open(t)
	s := d.store(t, db, sqlstore.Config{})
	statements := strings.Split(s.Schema(), "; ")
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	table := strings.Fields(statements[0])[2]
	if _, err := db.Exec("ALTER TABLE " + table + " ADD COLUMN remark INTEGER"); err != nil {
		t.Fatal(err)
	}
	rec := record("key")
	if err := s.Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, "key"); err != nil || string(got.Data) != string(rec.Data) {
		t.Errorf("data %q, error %v", got.Data, err)
	}
}
