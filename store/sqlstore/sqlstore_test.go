package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
)

func record(key string) store.Record {
	return store.Record{Key: key, Owner: "owner", Version: 7, Data: []byte("data"), ExpiresAt: time.Now().Add(time.Hour)}
}

func TestConfig(t *testing.T) {
	db := sql.OpenDB(connector{})
	defer db.Close()
	tests := []struct {
		name   string
		db     *sql.DB
		config sqlstore.Config
		want   string // part of the error
	}{
		{"minimal", db, sqlstore.Config{Dialect: sqlstore.SQLite}, ""},
		{"all fields", db, sqlstore.Config{Dialect: sqlstore.MySQL, Table: "web_sessions_2", Timeout: time.Second, PurgeEvery: -1}, ""},
		{"no database", nil, sqlstore.Config{Dialect: sqlstore.SQLite}, "db is nil"},
		{"no dialect", db, sqlstore.Config{}, "Config.Dialect"},
		{"unknown dialect", db, sqlstore.Config{Dialect: 9}, "Config.Dialect"},
		{"negative timeout", db, sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: -1}, "Config.Timeout"},
		{"table with a quote", db, sqlstore.Config{Dialect: sqlstore.SQLite, Table: `a"b`}, "Config.Table"},
		{"table with a schema", db, sqlstore.Config{Dialect: sqlstore.SQLite, Table: "a.b"}, "Config.Table"},
		{"table in upper case", db, sqlstore.Config{Dialect: sqlstore.SQLite, Table: "Sessions"}, "Config.Table"},
		{"long table", db, sqlstore.Config{Dialect: sqlstore.SQLite, Table: strings.Repeat("t", 49)}, "Config.Table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlstore.New(tt.db, tt.config)
			if tt.want == "" {
				if err != nil || s == nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A row of another query is an error. It could sign a visitor in as another user.
func TestForeignRowIsRejected(t *testing.T) {
	s := open(t, sqlstore.Config{}, func(context.Context, string, []driver.NamedValue) response {
		return response{rows: [][]driver.Value{row("other", "owner"), row("more", "else")}}
	})
	rec, err := s.Get(context.Background(), "key")
	if err == nil || errors.Is(err, store.ErrNotFound) || rec.Key != "" {
		t.Errorf("Get: key %q, error %v", rec.Key, err)
	}
	recs, err := s.List(context.Background(), "owner")
	if err == nil || len(recs) != 0 {
		t.Errorf("List: %d records, error %v", len(recs), err)
	}
}

// Calls return after Config.Timeout, even if the driver hangs and ignores contexts.
func TestCallsTimeOut(t *testing.T) {
	release := make(chan struct{})
	const timeout = 500 * time.Millisecond
	s := open(t, sqlstore.Config{Timeout: timeout}, func(context.Context, string, []driver.NamedValue) response {
		<-release
		return response{}
	})
	calls := map[string]func(ctx context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "key"); return err },
		"Put":    func(ctx context.Context) error { return s.Put(ctx, record("key"), 0) },
		"update": func(ctx context.Context) error { return s.Put(ctx, record("key"), 3) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "key") },
		"List":   func(ctx context.Context) error { _, err := s.List(ctx, "owner"); return err },
		"Purge":  func(ctx context.Context) error { _, err := s.Purge(ctx); return err },
	}
	t.Cleanup(func() { close(release) })
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			err := call(context.Background())
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took < timeout || took > timeout+10*time.Second {
				t.Errorf("error %v after %v, want DeadlineExceeded after %v", err, took, timeout)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(timeout/10, cancel)
			start = time.Now()
			if err := call(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("a canceled call: error %v after %v", err, time.Since(start))
			}
		})
	}
}

// A statement is not canceled when its caller is.
func TestStatementOutlivesItsCaller(t *testing.T) {
	entered, finished := make(chan struct{}), make(chan error, 1)
	s := open(t, sqlstore.Config{}, func(ctx context.Context, _ string, _ []driver.NamedValue) response {
		close(entered)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
		finished <- ctx.Err()
		return response{affected: 1}
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-entered
		cancel()
	}()
	if err := s.Put(ctx, record("key"), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if err := <-finished; err != nil {
		t.Errorf("the statement's context: %v", err)
	}
}

func TestDriverPanics(t *testing.T) {
	s := open(t, sqlstore.Config{}, func(context.Context, string, []driver.NamedValue) response {
		panic("with the secret in it")
	})
	_, err := s.Get(context.Background(), "key")
	if err == nil || errors.Is(err, store.ErrNotFound) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

// Errors with the methods and fields of the drivers' errors.
type (
	pgError     struct{ state string }
	mysqlError  struct{ Number uint16 }
	sqliteError struct{ code int }
	cgoError    struct{ Code int }
)

func (e *pgError) Error() string     { return "pg " + e.state }
func (e *pgError) SQLState() string  { return e.state }
func (e *mysqlError) Error() string  { return fmt.Sprint("mysql ", e.Number) }
func (e *sqliteError) Error() string { return fmt.Sprint("sqlite ", e.code) }
func (e *sqliteError) Code() int     { return e.code }
func (e cgoError) Error() string     { return fmt.Sprint("sqlite3 ", e.Code) }

func TestTransientErrorsAreRetried(t *testing.T) {
	tests := []struct {
		err   error
		retry bool
	}{
		{&pgError{"40001"}, true}, // serialization failure
		{&pgError{"40P01"}, true}, // deadlock
		{&pgError{"55P03"}, true}, // lock not available
		{&pgError{"57P01"}, false},
		{&pgError{"08006"}, false},
		{&mysqlError{1213}, true}, // deadlock
		{&mysqlError{1205}, true}, // lock wait
		{&mysqlError{1020}, true}, // changed since read
		{&mysqlError{1146}, false},
		{&sqliteError{5}, true},         // busy
		{&sqliteError{6}, true},         // locked
		{&sqliteError{5 | 2<<8}, true},  // busy, snapshot
		{&sqliteError{13}, false},       // full
		{&sqliteError{8 | 6<<8}, false}, // read-only
		{cgoError{5}, true},
		{cgoError{13}, false},
		{driver.ErrSkip, false},
		{errors.New("connection reset by peer"), false},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			var tries atomic.Int32
			s := open(t, sqlstore.Config{}, func(context.Context, string, []driver.NamedValue) response {
				if tries.Add(1) <= 3 {
					return response{err: fmt.Errorf("wrapped: %w", tt.err)}
				}
				return response{affected: 1}
			})
			err := s.Put(context.Background(), record("key"), 1)
			if tt.retry && (err != nil || tries.Load() != 4) {
				t.Errorf("error %v after %d tries, want success at the fourth", err, tries.Load())
			}
			if !tt.retry && (!errors.Is(err, tt.err) || tries.Load() != 1) {
				t.Errorf("error %v after %d tries, want the error of the first", err, tries.Load())
			}
		})
	}
}

// A lock that is not released is an error after Config.Timeout.
func TestRetriesTimeOut(t *testing.T) {
	busy := &sqliteError{5}
	s := open(t, sqlstore.Config{Timeout: 50 * time.Millisecond}, func(context.Context, string, []driver.NamedValue) response {
		return response{err: busy}
	})
	if err := s.Put(context.Background(), record("key"), 1); !errors.Is(err, busy) || errors.Is(err, store.ErrConflict) {
		t.Errorf("error %v, want that of the driver", err)
	}
}

// A record with an invalid name cannot exist, so that no query is sent.
func TestInvalidNames(t *testing.T) {
	s := open(t, sqlstore.Config{}, func(context.Context, string, []driver.NamedValue) response {
		t.Error("a query was sent")
		return response{}
	})
	ctx := context.Background()
	for _, name := range []string{"", "a b", "a\x00", strings.Repeat("k", 129)} {
		if _, err := s.Get(ctx, name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
		if err := s.Delete(ctx, name); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if recs, err := s.List(ctx, name); err != nil || len(recs) != 0 {
			t.Errorf("List: %d records, %v", len(recs), err)
		}
	}
}

// Values are sent as arguments and are never part of a statement.
func TestNoValueInStatements(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL} {
		t.Run(d.String(), func(t *testing.T) {
			var texts []string
			s := open(t, sqlstore.Config{Dialect: d}, func(_ context.Context, text string, args []driver.NamedValue) response {
				texts = append(texts, text)
				marks := strings.Count(text, "?")
				if d == sqlstore.PostgreSQL {
					marks = strings.Count(text, "$")
				}
				if marks != len(args) {
					t.Errorf("%d arguments for %d placeholders in %s", len(args), marks, text)
				}
				return response{affected: 1}
			})
			ctx := context.Background()
			rec := record("thekey")
			rec.Owner, rec.Data = "theowner", []byte("thedata")
			_ = s.Put(ctx, rec, 0)
			_ = s.Put(ctx, rec, 12345)
			_, _ = s.Get(ctx, rec.Key)
			_, _ = s.List(ctx, rec.Owner)
			_ = s.Delete(ctx, rec.Key)
			if len(texts) != 5 {
				t.Errorf("%d statements, want 5", len(texts))
			}
			for _, text := range texts {
				for _, value := range []string{"thekey", "theowner", "thedata", "12345", "{", "}"} {
					if strings.Contains(text, value) {
						t.Errorf("%q in %s", value, text)
					}
				}
			}
		})
	}
}

func TestCallsStartAPurge(t *testing.T) {
	purged := make(chan string, 100)
	s := open(t, sqlstore.Config{PurgeEvery: 20 * time.Millisecond}, func(_ context.Context, text string, _ []driver.NamedValue) response {
		if strings.HasPrefix(text, "DELETE") && strings.Contains(text, "LIMIT") {
			purged <- text
		}
		return response{}
	})
	deadline := time.After(10 * time.Second)
	for n := 0; n < 2; {
		_, _ = s.List(context.Background(), "owner")
		select {
		case <-purged:
			n++
		case <-deadline:
			t.Fatalf("purged %d times", n)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestNegativePurgeEvery(t *testing.T) {
	s := open(t, sqlstore.Config{PurgeEvery: -1}, func(_ context.Context, text string, _ []driver.NamedValue) response {
		if strings.HasPrefix(text, "DELETE") {
			t.Errorf("unexpected purge: %s", text)
		}
		return response{}
	})
	for range 50 {
		if _, err := s.List(context.Background(), "owner"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Purge removes batches until one is not full.
func TestPurgeInBatches(t *testing.T) {
	left := int64(1000)
	s := open(t, sqlstore.Config{PurgeEvery: -1}, func(context.Context, string, []driver.NamedValue) response {
		n := min(left, 200)
		left -= n
		return response{affected: n}
	})
	n, err := s.Purge(context.Background())
	if n != 1000 || err != nil || left != 0 {
		t.Errorf("removed %d, left %d, error %v", n, left, err)
	}
}
