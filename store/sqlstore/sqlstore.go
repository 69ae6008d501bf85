// Package sqlstore keeps sessions in a table of an SQL database: SQLite, PostgreSQL,
// MySQL or MariaDB. It uses database/sql. The app imports the driver.
//
//	db, err := sql.Open("pgx", "postgres://...")
//	...
//	sessions, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//
// If the table does not exist, the first call or [Store.Setup] creates it. To create
// it by hand, use the statements of [Store.Schema]. Expired rows are absent at once,
// and are removed later, a few hundred at a time, by any process that uses the store.
//
// # Time
//
// With PostgreSQL and MySQL, the clock of the database determines what has expired, so that
// processes whose clocks differ agree. With SQLite, the clock of the process determines it.
// ExpiresAt is stored in milliseconds, rounded up.
//
// # Durability
//
// After Put returns, the record is as durable as any commit of the database.
//
// SQLite: the store switches the file to WAL mode, which requires a local file system. In
// WAL mode readers and a writer do not block each other. Committed records survive a crash
// of the process. Whether they survive a power failure depends on "PRAGMA synchronous", a
// setting of the connection and so of the driver. With FULL, which is SQLite's default,
// they survive it. NORMAL is faster and may lose the last commits, but does not corrupt the
// file. A busy timeout of the driver is not needed, because the store itself retries until
// [Config.Timeout]; a shorter busy timeout does no harm. With a database in memory, use one
// connection (db.SetMaxOpenConns(1)), because each connection has its own database.
//
// PostgreSQL and MySQL: commits are durable with the default settings (synchronous_commit,
// innodb_flush_log_at_trx_commit). A fail-over to a replica that has not received the last
// commits loses them. A session that was started in these commits is lost, and a session
// that was refreshed in them may have a used refresh token.
//
// # Prepared statements
//
// With SQLite and MySQL, the statement that reads a record is prepared once on each connection.
// If the server or a proxy rejects this, the store continues without it.
//
// With PostgreSQL, the store prepares nothing. The drivers do, by their own settings. Behind a
// pooler that does not support prepared statements, such as PgBouncer before 1.21 with
// pool_mode=transaction, set default_query_exec_mode=exec in the address of pgx, or
// binary_parameters=yes in that of lib/pq.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/store"
)

// Config is the configuration of a [Store]. Only Dialect is required.
type Config struct {
	// Dialect is the kind of database.
	Dialect Dialect

	// Table is the name of the table: lower-case letters, digits and underscores,
	// at most 48. Empty means "sessions".
	Table string

	// Timeout bounds each call, including the wait for a connection and retries
	// after a deadlock. Zero means 2 seconds.
	Timeout time.Duration

	// PurgeEvery is the average time between two removals of expired rows by this
	// Store. Calls of the store start them, and they run in the background. Zero
	// means a minute. If it is negative, only [Store.Purge] removes rows.
	PurgeEvery time.Duration

	// Logger logs failures to remove expired rows. Nil means slog.Default().
	Logger *slog.Logger
}

// Store is a [store.Store] in a table of a database.
type Store struct {
	db         *sql.DB
	dialect    Dialect
	table      string
	timeout    time.Duration
	purgeEvery time.Duration
	logger     *slog.Logger
	stmts      statements
	read       *prepared // stmts.get

	// writer is a lock for calls that write. It is nil unless the database is
	// SQLite, which allows one writer at a time and reports others as busy.
	writer chan struct{}

	setup     chan struct{} // a lock for the call that sets the table up
	ready     atomic.Bool   // the table is set up
	purgeNext atomic.Int64  // time of the next purge, in Unix nanoseconds
	purging   sync.Mutex
}

var _ store.Store = (*Store)(nil)

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// New returns a store in a table of db. It does not connect to the database, so that
// the app may start first.
//
// The app owns db: the store does not close it and does not change its limits. Set a
// limit for its connections, for example db.SetMaxOpenConns(20) for a server.
func New(db *sql.DB, c Config) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: db is nil")
	}
	if c.Table == "" {
		c.Table = "sessions"
	}
	if !tableName.MatchString(c.Table) {
		return nil, fmt.Errorf("sqlstore: Config.Table %q: want lower-case letters, digits and underscores, at most 48", c.Table)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("sqlstore: Config.Timeout %v: want zero or more", c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.PurgeEvery == 0 {
		c.PurgeEvery = time.Minute
	}
	stmts, ok := c.Dialect.statements(c.Table)
	if !ok {
		return nil, errors.New("sqlstore: Config.Dialect: want SQLite, PostgreSQL or MySQL")
	}
	s := &Store{
		db:         db,
		dialect:    c.Dialect,
		table:      c.Table,
		timeout:    c.Timeout,
		purgeEvery: c.PurgeEvery,
		logger:     c.Logger,
		stmts:      stmts,
		setup:      make(chan struct{}, 1),
	}
	s.read = newPrepared(s, stmts.get)
	if c.Dialect == SQLite {
		s.writer = make(chan struct{}, 1)
	}
	return s, nil
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, failed("get", err)
	}
	if !store.ValidName(key) {
		return store.Record{}, store.ErrNotFound
	}
	recs, err := do(s, ctx, "get", func(ctx context.Context) ([]store.Record, error) {
		recs, err := s.get(ctx, key)
		if err == nil && len(recs) > 0 && recs[0].Key != key {
			err = errForeignRow
		}
		return recs, err
	})
	switch {
	case err != nil:
		return store.Record{}, err
	case len(recs) == 0:
		return store.Record{}, store.ErrNotFound
	}
	return recs[0], nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, owner string) ([]store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("list", err)
	}
	if !store.ValidName(owner) {
		return nil, nil
	}
	return do(s, ctx, "list", func(ctx context.Context) ([]store.Record, error) {
		recs, err := s.query(ctx, s.stmts.list, args{rec: store.Record{Owner: owner}})
		for _, rec := range recs {
			if rec.Owner != owner {
				return nil, errForeignRow
			}
		}
		return recs, err
	})
}

// CountSessions returns the number of records that have an owner: the sessions of
// signed-in users. The database reads all rows for it, so call it a few times a minute at
// most.
func (s *Store) CountSessions(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed("count", err)
	}
	return do(s, ctx, "count", func(ctx context.Context) (n int, err error) {
		err = s.db.QueryRowContext(ctx, s.stmts.count.text, s.stmts.count.values(args{})...).Scan(&n)
		return n, err
	})
}

// errForeignRow reports a row with another key or owner than the query's. Drivers have
// mixed up results after a query was canceled. Such a row would sign a visitor in as
// another user.
var errForeignRow = errors.New("the database returned a row of another query")

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := ctx.Err(); err != nil {
		return failed("put", err)
	}
	if err := rec.Validate(); err != nil {
		return failed("put", err)
	}
	put := s.update
	if prev == 0 {
		put = s.create
	}
	stored, err := do(s, ctx, "put", func(ctx context.Context) (bool, error) {
		return put(ctx, args{key: rec.Key, rec: rec, prev: prev})
	})
	if err != nil {
		return err
	}
	if !stored {
		return store.ErrConflict
	}
	return nil
}

// update replaces the live record with key a.key and version a.prev. It reports whether
// there was one.
func (s *Store) update(ctx context.Context, a args) (bool, error) {
	n, err := s.exec(ctx, s.stmts.update, a)
	if err != nil || n > 0 {
		return n > 0, err
	}
	if s.dialect != MySQL || a.rec.Version != a.prev {
		return false, nil
	}
	// Unless the driver is configured otherwise, MySQL counts only rows that have
	// changed. If the new record equals the old one, it counts none.
	recs, err := s.get(ctx, a.key)
	if err != nil || len(recs) == 0 {
		return false, err
	}
	return equal(recs[0], a.rec), nil
}

// create stores the record if there is no live record with its key. It reports whether it
// stored the record.
func (s *Store) create(ctx context.Context, a args) (bool, error) {
	if s.dialect != MySQL {
		n, err := s.exec(ctx, s.stmts.create, a)
		return n > 0, err
	}
	// MySQL has a single statement for this, but the row count that it returns
	// depends on a setting of the driver. The results of two statements do not.
	for {
		_, err := s.exec(ctx, s.stmts.create, a)
		if err == nil || !isDuplicate(err) {
			return err == nil, err
		}
		n, err := s.exec(ctx, s.stmts.replace, a) // if the stored record has expired
		if err != nil || n > 0 {
			return n > 0, err
		}
		recs, err := s.get(ctx, a.key)
		if err != nil || len(recs) > 0 {
			return false, err
		}
		// The stored record expired or was removed between the statements.
	}
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", err)
	}
	if !store.ValidName(key) {
		return nil
	}
	_, err := do(s, ctx, "delete", func(ctx context.Context) (int64, error) {
		return s.exec(ctx, s.stmts.remove, args{key: key})
	})
	return err
}

// query runs a statement that selects records.
func (s *Store) query(ctx context.Context, stmt statement, a args) ([]store.Record, error) {
	return scan(s.db.QueryContext(ctx, stmt.text, stmt.values(a)...))
}

// scan returns the records in the result of a query.
func scan(rows *sql.Rows, failure error) (recs []store.Record, err error) {
	if failure != nil {
		return nil, failure
	}
	defer func() {
		if closing := rows.Close(); err == nil {
			err = closing
		}
	}()
	for rows.Next() {
		var rec store.Record
		var version, expiresAt int64
		if err := rows.Scan(&rec.Key, &rec.Owner, &version, &rec.Data, &rec.Meta, &expiresAt); err != nil {
			return nil, err
		}
		rec.Version = uint64(version)
		rec.ExpiresAt = time.UnixMilli(expiresAt)
		recs = append(recs, rec)
	}
	return recs, rows.Err()
}

// exec runs a statement that writes, and returns its row count.
func (s *Store) exec(ctx context.Context, stmt statement, a args) (int64, error) {
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	res, err := s.db.ExecContext(ctx, stmt.text, stmt.values(a)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// equal reports whether the record that was read equals the record to be written.
func equal(got, want store.Record) bool {
	return got.Owner == want.Owner && got.Version == want.Version &&
		string(got.Data) == string(want.Data) && string(got.Meta) == string(want.Meta) &&
		got.ExpiresAt.UnixMilli() == millis(want.ExpiresAt)
}

func failed(op string, err error) error { return fmt.Errorf("sqlstore: %s: %w", op, err) }
