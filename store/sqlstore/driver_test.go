package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/store/sqlstore"
)

// response is the response of a fake server to a statement.
type response struct {
	rows     [][]driver.Value
	affected int64
	err      error
}

// server is a fake database server: a function that returns the response to a
// statement. It gets the statements of the store's calls. Queries for the columns of the
// table get the right response without it.
type server func(ctx context.Context, text string, args []driver.NamedValue) response

// open returns a store that uses the server.
func open(t *testing.T, c sqlstore.Config, f server) *sqlstore.Store {
	t.Helper()
	if c.Dialect == 0 {
		c.Dialect = sqlstore.PostgreSQL
	}
	db := sql.OpenDB(connector{dialect: c.Dialect, server: f})
	t.Cleanup(func() { _ = db.Close() })
	s, err := sqlstore.New(db, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type connector struct {
	dialect sqlstore.Dialect
	server  server
	prepare func(text string) error // nil: the server accepts all statements
	closed  func(text string)       // called when a prepared statement is closed, unless nil
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn(c), nil }
func (c connector) Driver() driver.Driver                        { return nil }

type conn connector

func (conn) Close() error              { return nil }
func (conn) Begin() (driver.Tx, error) { return nil, driver.ErrSkip }

func (c conn) Prepare(text string) (driver.Stmt, error) {
	if c.prepare != nil {
		if err := c.prepare(text); err != nil {
			return nil, err
		}
	}
	return stmt{c, text}, nil
}

// stmt is a prepared statement.
type stmt struct {
	conn conn
	text string
}

func (s stmt) Close() error {
	if s.conn.closed != nil {
		s.conn.closed(s.text)
	}
	return nil
}

func (stmt) NumInput() int                              { return -1 }
func (stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.text, args)
}

func (c conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	a := c.server(ctx, text, args)
	return driver.RowsAffected(a.affected), a.err
}

func (c conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	switch {
	case strings.Contains(text, "pg_attribute"), strings.Contains(text, "information_schema"), strings.Contains(text, "pragma_table_info"):
		return &rows{values: table(c.dialect)}, nil
	case strings.HasPrefix(text, "PRAGMA"):
		return &rows{values: [][]driver.Value{{"wal"}}}, nil
	}
	a := c.server(ctx, text, args)
	if a.err != nil {
		return nil, a.err
	}
	return &rows{values: a.rows}, nil
}

// table returns the columns of the right table.
func table(d sqlstore.Dialect) [][]driver.Value {
	types := map[sqlstore.Dialect][]string{
		sqlstore.SQLite:     {"TEXT", "TEXT", "INTEGER", "BLOB", "BLOB", "INTEGER"},
		sqlstore.PostgreSQL: {"text", "text", "bigint", "bytea", "bytea", "bigint"},
		sqlstore.MySQL:      {"varbinary(128)", "varbinary(128)", "bigint(20)", "longblob", "longblob", "bigint"},
	}[d]
	var columns [][]driver.Value
	for i, name := range []string{"session_key", "owner", "version", "data", "meta", "expires_at"} {
		columns = append(columns, []driver.Value{name, types[i], i == 0, ""})
	}
	return columns
}

// row returns a stored row.
func row(key, owner string) []driver.Value {
	return []driver.Value{key, owner, int64(1), []byte("data"), []byte("meta"), time.Now().Add(time.Hour).UnixMilli()}
}

type rows struct{ values [][]driver.Value }

func (r *rows) Columns() []string {
	if len(r.values) == 0 {
		return nil
	}
	return make([]string, len(r.values[0]))
}

func (r *rows) Close() error { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(dest, r.values[0])
	r.values = r.values[1:]
	return nil
}
