package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/store/sqlstore"
)

// preparing is a database that counts what a store prepares and closes.
type preparing struct {
	db               *sql.DB
	prepared, closed chan string
}

// newPreparing returns a database whose server returns a row for each read. reject returns
// the server's error for a statement to be prepared, or nil.
func newPreparing(t *testing.T, d sqlstore.Dialect, f server, reject func() error) *preparing {
	p := &preparing{prepared: make(chan string, 100), closed: make(chan string, 100)}
	p.db = sql.OpenDB(connector{dialect: d, server: f,
		prepare: func(text string) error { p.prepared <- text; return reject() },
		closed:  func(text string) { p.closed <- text },
	})
	t.Cleanup(func() { _ = p.db.Close() })
	return p
}

func (p *preparing) store(t *testing.T, d sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(p.db, sqlstore.Config{Dialect: d})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accepted() error { return nil }

func oneRow(context.Context, string, []driver.NamedValue) response {
	return response{rows: [][]driver.Value{row("key", "owner")}}
}

func get(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	if rec, err := s.Get(t.Context(), "key"); err != nil || rec.Key != "key" {
		t.Fatalf("Get: %v, %v", rec, err)
	}
}

func TestReadsArePreparedOnce(t *testing.T) {
	for d, want := range map[sqlstore.Dialect]int{sqlstore.SQLite: 1, sqlstore.MySQL: 1, sqlstore.PostgreSQL: 0} {
		t.Run(d.String(), func(t *testing.T) {
			p := newPreparing(t, d, oneRow, accepted)
			s := p.store(t, d)
			for range 5 {
				get(t, s)
			}
			if n := len(p.prepared); n != want {
				t.Errorf("%d statements prepared for 5 reads, want %d", n, want)
			}
		})
	}
}

func TestReadsArePreparedOnEachConnection(t *testing.T) {
	p := newPreparing(t, sqlstore.MySQL, oneRow, accepted)
	s := p.store(t, sqlstore.MySQL)
	get(t, s)
	p.db.SetMaxIdleConns(-1) // closes the connection
	get(t, s)
	if n := len(p.prepared); n != 2 {
		t.Errorf("%d statements prepared on 2 connections, want 2", n)
	}
}

func TestLostConnection(t *testing.T) {
	lost := true
	p := newPreparing(t, sqlstore.MySQL, func(ctx context.Context, text string, args []driver.NamedValue) response {
		if lost {
			lost = false
			return response{err: driver.ErrBadConn}
		}
		return oneRow(ctx, text, args)
	}, accepted)
	s := p.store(t, sqlstore.MySQL)
	get(t, s)
	get(t, s)
	if n := len(p.prepared); n != 2 {
		t.Errorf("%d statements prepared on the lost and the new connection, want 2", n)
	}
}

// TestServerWithoutPreparedStatements: a proxy may support statements only in text.
func TestServerWithoutPreparedStatements(t *testing.T) {
	p := newPreparing(t, sqlstore.MySQL, oneRow, func() error { return &mysqlError{Number: 1295} })
	s := p.store(t, sqlstore.MySQL)
	for range 5 {
		get(t, s)
	}
	if n := len(p.prepared); n != 1 {
		t.Errorf("%d attempts to prepare a statement, want 1", n)
	}
}

// TestFailureToPrepare: an outage says nothing about what the server supports.
func TestFailureToPrepare(t *testing.T) {
	down := true
	p := newPreparing(t, sqlstore.MySQL, oneRow, func() error {
		if down {
			return errors.New("connection reset")
		}
		return nil
	})
	s := p.store(t, sqlstore.MySQL)
	if _, err := s.Get(t.Context(), "key"); err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("Get during an outage: %v", err)
	}
	down = false
	get(t, s)
	get(t, s)
	if n := len(p.prepared); n != 2 {
		t.Errorf("%d statements prepared, want 1 during the outage and 1 after it", n)
	}
}

func TestStatementOfAnUnusedStoreIsClosed(t *testing.T) {
	p := newPreparing(t, sqlstore.MySQL, oneRow, accepted)
	get(t, p.store(t, sqlstore.MySQL))
	for end := time.Now().Add(10 * time.Second); len(p.closed) == 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("the statement of a store that is no longer used stays open")
		}
	}
}
