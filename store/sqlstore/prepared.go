package sqlstore

import (
	"context"
	"database/sql"
	"runtime"
	"sync/atomic"

	"github.com/synmetrix/session/store"
)

// prepared is a statement that the database has parsed before its first use. SQLite needs
// more time to parse a read than to run it. The drivers of MySQL prepare a statement with
// arguments for each call, which is a round trip of its own.
//
// PostgreSQL has no prepared statements of this package: its drivers have settings for
// them, because a pooler between the app and the database may not support them.
type prepared struct {
	text string
	stmt atomic.Pointer[sql.Stmt] // nil until the first use
	off  atomic.Bool              // a server or a proxy does not support it
}

// newPrepared returns the prepared form of st, for the lifetime of s.
func newPrepared(s *Store, st statement) *prepared {
	p := &prepared{text: st.text}
	p.off.Store(s.dialect == PostgreSQL)
	// The app may use its database for longer than the store.
	runtime.AddCleanup(s, (*prepared).close, p)
	return p
}

// close closes the statement in the background, because it may wait for a connection.
func (p *prepared) close() {
	stmt := p.stmt.Load()
	if stmt == nil {
		return
	}
	go func() {
		defer func() { _ = recover() }() // a panic of the driver would end the process
		_ = stmt.Close()
	}()
}

// on returns the statement. database/sql prepares it on each connection that it uses, and
// again after a connection was lost.
func (p *prepared) on(ctx context.Context, db *sql.DB) (*sql.Stmt, error) {
	if stmt := p.stmt.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, p.text)
	if err != nil {
		return nil, err
	}
	if !p.stmt.CompareAndSwap(nil, stmt) { // another call was faster
		_ = stmt.Close()
		return p.stmt.Load(), nil
	}
	return stmt, nil
}

// get reads the record with a key. The result has at most one record.
func (s *Store) get(ctx context.Context, key string) ([]store.Record, error) {
	a := args{key: key}
	if s.read.off.Load() {
		return s.query(ctx, s.stmts.get, a)
	}
	recs, err := s.getPrepared(ctx, a)
	if err == nil || isTransient(err) || errorCode(err) == "" {
		return recs, err
	}
	// The server has rejected something. If it accepts the same text without preparation, it
	// has rejected the preparation.
	recs, err = s.query(ctx, s.stmts.get, a)
	if err == nil {
		s.read.off.Store(true)
	}
	return recs, err
}

func (s *Store) getPrepared(ctx context.Context, a args) ([]store.Record, error) {
	stmt, err := s.read.on(ctx, s.db)
	if err != nil {
		return nil, err
	}
	return scan(stmt.QueryContext(ctx, s.stmts.get.values(a)...))
}
