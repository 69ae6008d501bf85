package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
)

// SchemaError reports that the table exists but does not have the right columns. Retries do
// not help: an operator has to alter or rename the table.
type SchemaError struct {
	// Table is the name of the table.
	Table string

	// Problem describes the difference.
	Problem string

	// Statement creates the right table.
	Statement string
}

// Error returns the fields in one line.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("sqlstore: table %s: %s; the right table is created by: %s", e.Table, e.Problem, e.Statement)
}

// Schema returns the statements that create the table, separated by semicolons.
func (s *Store) Schema() string { return strings.Join(s.schema(), "; ") }

func (s *Store) schema() []string {
	var create, index string
	switch s.dialect {
	case SQLite:
		create = "CREATE TABLE %[1]s (session_key TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, version INTEGER NOT NULL," +
			" data BLOB NOT NULL, meta BLOB NOT NULL, expires_at INTEGER NOT NULL)"
		index = "CREATE INDEX %[3]s ON %[1]s (%[2]s)"
	case PostgreSQL:
		create = `CREATE TABLE %[1]s (session_key TEXT COLLATE "C" NOT NULL PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL,` +
			" version BIGINT NOT NULL, data BYTEA NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL)"
		index = "CREATE INDEX %[3]s ON %[1]s (%[2]s)"
	case MySQL:
		// Keys and owners are compared byte by byte. Every collation treats some
		// different strings as equal.
		create = "CREATE TABLE %[1]s (session_key VARBINARY(128) NOT NULL PRIMARY KEY, owner VARBINARY(128) NOT NULL," +
			" version BIGINT NOT NULL, data LONGBLOB NOT NULL, meta LONGBLOB NOT NULL, expires_at BIGINT NOT NULL," +
			" INDEX (owner), INDEX (expires_at)) ENGINE=InnoDB"
	}
	table := s.dialect.quote(s.table)
	statements := []string{fmt.Sprintf(create, table)}
	if index != "" {
		for _, column := range []string{"owner", "expires_at"} {
			statements = append(statements, fmt.Sprintf(index, table, column, s.dialect.quote(s.table+"_"+column)))
		}
	}
	return statements
}

// Setup creates the table if it does not exist, and checks it otherwise. It returns a
// [*SchemaError] if the table is not the right one. Other errors may be temporary.
//
// Calling Setup is optional: every method runs it until it has succeeded once. Call it
// at startup to find a wrong table early. Several processes may call it at the same
// time.
func (s *Store) Setup(ctx context.Context) error {
	_, err := do(s, ctx, "setup", func(context.Context) (struct{}, error) { return struct{}{}, nil })
	return err
}

// ensure sets the table up, unless this has succeeded before.
func (s *Store) ensure(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	select {
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.ready.Load() {
		return nil
	}
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.prepare(ctx) })
	if err == nil {
		s.ready.Store(true)
	}
	return err
}

// prepare creates and checks the table, on one connection.
func (s *Store) prepare(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // returns it to the pool
	found, err := s.inspect(ctx, conn)
	if err != nil {
		return err
	}
	if found == nil {
		// If another process creates the table at the same time, one of the two
		// fails. So check the table again, whether or not this one failed.
		failure := s.createTable(ctx, conn)
		if found, err = s.inspect(ctx, conn); err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("creating the table %s: %w", s.table, failure)
		}
	}
	if problem := s.problem(found); problem != "" {
		return &SchemaError{Table: s.table, Problem: problem, Statement: s.Schema()}
	}
	if s.dialect == SQLite {
		return useWAL(ctx, conn)
	}
	return nil
}

// createTable runs the statements of schema in one transaction.
func (s *Store) createTable(ctx context.Context, conn *sql.Conn) (err error) {
	begin := "BEGIN"
	switch s.dialect {
	case MySQL: // needs one statement, and commits it implicitly
		_, err = conn.ExecContext(ctx, s.schema()[0])
		return err
	case SQLite:
		begin = "BEGIN IMMEDIATE" // fails at once, not halfway, if another process writes
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return err
	}
	for _, statement := range append(s.schema(), "COMMIT") {
		if _, err = conn.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	if err != nil {
		if _, failure := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); failure != nil {
			// Close the connection: it must not be reused in an open transaction.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	return err
}

// useWAL switches an SQLite file to WAL mode permanently. It leaves a database in
// memory as it is.
func useWAL(ctx context.Context, conn *sql.Conn) error {
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode == "wal" || mode == "memory" {
		return nil
	}
	return conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
}

// column is a column of the existing table.
type column struct {
	name, typ string
	key       bool   // part of the primary key
	flaw      string // another problem with it, or ""
}

// inspect returns the columns of the table, or nil if there is no table.
func (s *Store) inspect(ctx context.Context, conn *sql.Conn) ([]column, error) {
	rows, err := conn.QueryContext(ctx, fmt.Sprintf(inspections[s.dialect], s.table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.typ, &c.key, &c.flaw); err != nil {
			return nil, err
		}
		c.typ = strings.ReplaceAll(strings.ToLower(c.typ), "bigint(20)", "bigint") // MariaDB adds a width
		found = append(found, c)
	}
	return found, rows.Err()
}

// inspections are the queries of inspect. The table name needs no escaping; see
// tableName.
var inspections = map[Dialect]string{
	SQLite: `SELECT name, type, pk > 0,
			CASE WHEN (SELECT sql FROM sqlite_master WHERE name = '%[1]s') LIKE '%%collate%%'
				THEN 'has a collation' ELSE '' END
		FROM pragma_table_info('%[1]s')`,
	PostgreSQL: `SELECT a.attname, format_type(a.atttypid, a.atttypmod),
			EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
			CASE WHEN c.collisdeterministic = false THEN 'has a collation that is not deterministic' ELSE '' END
		FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
		WHERE a.attrelid = to_regclass('"%[1]s"') AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY a.attnum`,
	MySQL: `SELECT c.column_name, c.column_type, c.column_key = 'PRI',
			CASE WHEN t.engine = 'InnoDB' THEN '' ELSE 'is not in an InnoDB table' END
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = DATABASE() AND c.table_name = '%[1]s'
		ORDER BY c.ordinal_position`,
}

// problem describes what is wrong with a table of these columns, or returns "". The
// table may have further columns and other indexes.
func (s *Store) problem(found []column) string {
	var keys []string
	for _, c := range found {
		if c.key {
			keys = append(keys, c.name)
		}
	}
	types := columnTypes[s.dialect]
	for i, name := range strings.Split(columns, ", ") {
		at := slices.IndexFunc(found, func(c column) bool { return c.name == name })
		switch {
		case at < 0:
			return "column " + name + " is missing"
		case found[at].typ != types[i]:
			return fmt.Sprintf("column %s is %s, not %s", name, found[at].typ, types[i])
		case found[at].flaw != "":
			return "column " + name + " " + found[at].flaw
		}
	}
	if !slices.Equal(keys, []string{"session_key"}) {
		return fmt.Sprintf("the primary key is (%s), not (session_key)", strings.Join(keys, ", "))
	}
	return ""
}

// columnTypes are the types of the columns, in order, as the database reports them.
var columnTypes = map[Dialect][]string{
	SQLite:     {"text", "text", "integer", "blob", "blob", "integer"},
	PostgreSQL: {"text", "text", "bigint", "bytea", "bytea", "bigint"},
	MySQL:      {"varbinary(128)", "varbinary(128)", "bigint", "longblob", "longblob", "bigint"},
}
