// Package sqlstore keeps sessions in a table of an SQL database, by way of
// database/sql and a driver that the app brings: SQLite, PostgreSQL, MySQL and
// MariaDB.
//
//	db, err := sql.Open("pgx", "postgres://...")
//	...
//	sessions, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//
// The table is made with the first call, or by [Store.Setup], if it is not
// there; [Store.Schema] shows the statements for whoever makes it by hand. Rows
// that have expired are absent from that moment on, and are removed later, a
// few hundred at a time, by whichever process is at work.
//
// # Time
//
// With PostgreSQL and MySQL it is the database's clock that decides what has
// expired, so that servers whose clocks differ agree. With SQLite it is that
// of the process. ExpiresAt is kept in milliseconds, rounded up.
//
// # What is durable
//
// A Put that has returned is as durable as the database makes a commit.
//
// SQLite: the store puts the file in WAL mode, in which readers and a writer
// do not wait for each other, and which needs a local file system. What was
// acknowledged survives the death of the process. Whether it survives a power
// failure is decided by "PRAGMA synchronous", which belongs to the connection
// and so to the driver's settings: FULL, which is SQLite's own default, does;
// NORMAL is faster and may lose the last commits, though never the file. A
// busy time-out is not needed, as the store itself waits for other processes
// until [Config.Timeout]; one in the driver's settings does no harm while it
// is shorter. A database in memory works with one connection only
// (db.SetMaxOpenConns(1)), since each connection has its own.
//
// PostgreSQL and MySQL: the usual settings are durable (synchronous_commit,
// innodb_flush_log_at_trx_commit). A fail-over to a replica that had not
// received the last commits loses these: a session begun in that moment is
// gone, and one renewed in it may hold a refresh token that was used.
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
	"github.com/synmetrix/session/store/internal/check"
)

// Config is what a [Store] may be told. Only Dialect is required.
type Config struct {
	// Dialect is the kind of the database.
	Dialect Dialect

	// Table is the name of the table: lower-case letters, digits and
	// underscores, at most 48. Empty means "sessions".
	Table string

	// Timeout bounds each call, with all that it takes: the wait for a
	// connection, the repetition after a deadlock. Zero means 2 seconds.
	Timeout time.Duration

	// PurgeEvery is the least time between two removals of expired rows by
	// this Store. They are begun by its calls, and run beside them. Zero
	// means a minute; below zero, nothing is removed but by [Store.Purge].
	PurgeEvery time.Duration

	// Logger is told when a removal of expired rows fails. Nil means
	// slog.Default().
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

	// writer is held by the one call that writes, where the database allows
	// no more. Within a process nobody has to find out by being refused.
	writer chan struct{}

	setup     chan struct{} // held by the call that looks after the table
	ready     atomic.Bool   // the table has been found right
	purgeNext atomic.Int64  // when to purge next, in Unix nanoseconds
	purging   sync.Mutex
}

var _ store.Store = (*Store)(nil)

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// New returns a store in a table of db. It does not talk to the database: the
// app may start before it does.
//
// db stays the app's: the store never closes it, and leaves its limits alone.
// They should be set; db.SetMaxOpenConns(20) is a start for a server.
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
	if !check.Name(key) {
		return store.Record{}, store.ErrNotFound
	}
	recs, err := do(s, ctx, "get", func(ctx context.Context) ([]store.Record, error) {
		recs, err := s.query(ctx, s.stmts.get, args{key: key})
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
	if !check.Name(owner) {
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

// errForeignRow is the answer to somebody else's question. Drivers have given
// one after a query was canceled; nobody must be signed in by it.
var errForeignRow = errors.New("the database answered with a record that was not asked for")

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := ctx.Err(); err != nil {
		return failed("put", err)
	}
	if err := check.Record(rec); err != nil {
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

// update replaces the live record of a.key that has version a.prev. It reports
// whether there was one.
func (s *Store) update(ctx context.Context, a args) (bool, error) {
	n, err := s.exec(ctx, s.stmts.update, a)
	if err != nil || n > 0 {
		return n > 0, err
	}
	if s.dialect != MySQL || a.rec.Version != a.prev {
		return false, nil
	}
	// MySQL counts the rows that have changed, unless the driver is told
	// otherwise. None has if the record is equal to the one it replaces.
	recs, err := s.query(ctx, s.stmts.get, args{key: a.key})
	if err != nil || len(recs) == 0 {
		return false, err
	}
	return equal(recs[0], a.rec), nil
}

// create stores the record if its key holds none that is alive. It reports
// whether it did.
func (s *Store) create(ctx context.Context, a args) (bool, error) {
	if s.dialect != MySQL {
		n, err := s.exec(ctx, s.stmts.create, a)
		return n > 0, err
	}
	// The one statement that MySQL has for this reports by a number whose
	// meaning depends on a setting of the driver. Two are told apart safely.
	for {
		_, err := s.exec(ctx, s.stmts.create, a)
		if err == nil || !isDuplicate(err) {
			return err == nil, err
		}
		n, err := s.exec(ctx, s.stmts.replace, a) // if it has expired
		if err != nil || n > 0 {
			return n > 0, err
		}
		recs, err := s.query(ctx, s.stmts.get, args{key: a.key})
		if err != nil || len(recs) > 0 {
			return false, err
		}
		// It has expired, or was removed, between the statements.
	}
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", err)
	}
	if !check.Name(key) {
		return nil
	}
	_, err := do(s, ctx, "delete", func(ctx context.Context) (int64, error) {
		return s.exec(ctx, s.stmts.remove, args{key: key})
	})
	return err
}

// query runs a statement that selects records.
func (s *Store) query(ctx context.Context, stmt statement, a args) (recs []store.Record, err error) {
	rows, err := s.db.QueryContext(ctx, stmt.text, stmt.values(a)...)
	if err != nil {
		return nil, err
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

// exec runs a statement that writes, and returns the number of rows that it
// reports.
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

// equal reports whether a record that was read is the one that was to be
// written.
func equal(got, want store.Record) bool {
	return got.Owner == want.Owner && got.Version == want.Version &&
		string(got.Data) == string(want.Data) && string(got.Meta) == string(want.Meta) &&
		got.ExpiresAt.UnixMilli() == millis(want.ExpiresAt)
}

func failed(op string, err error) error { return fmt.Errorf("sqlstore: %s: %w", op, err) }
