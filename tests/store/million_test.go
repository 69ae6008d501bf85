package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// fill adds n rows of the size of real sessions to the table. All of them have expired,
// except the first alive rows.
var fill = map[sqlstore.Dialect]string{
	sqlstore.SQLite: `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %[2]d)
		INSERT INTO %[1]s SELECT 'k' || i || hex(randomblob(28)), 'o' || (i / 3), i + 1, randomblob(1024), randomblob(128),
			CASE WHEN i < %[3]d THEN %[4]d ELSE 1 + i END FROM n`,
	sqlstore.PostgreSQL: `INSERT INTO %[1]s SELECT 'k' || i || repeat(md5(i::text), 2), 'o' || (i / 3), i + 1,
			decode(repeat(md5(i::text), 64), 'hex'), decode(repeat(md5(i::text), 8), 'hex'),
			CASE WHEN i < %[3]d THEN %[4]d ELSE 1 + i END FROM generate_series(0, %[2]d - 1) AS i`,
}

// TestMillion makes a table in which half of the rows have expired. Each statement must
// use an index. With LONG=1 the table has a million rows, and calls must be quick.
func TestMillion(t *testing.T) {
	rows := scale.Of(5_000, 5_000, 1_000_000)
	t.Run("SQLite", func(t *testing.T) { sqlite.testMillion(t, rows) })
	t.Run("PostgreSQL", func(t *testing.T) {
		database{sqlstore.PostgreSQL, dbtest.Postgres(t)}.testMillion(t, rows)
	})
}

func (d database) testMillion(t *testing.T, rows int) {
	ctx := context.Background()
	db := d.open(t)
	table := dbtest.Table()
	s := d.store(t, db, sqlstore.Config{Table: table, PurgeEvery: -1, Timeout: time.Minute})
	if err := s.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	alive := rows / 2
	start := time.Now()
	statement := fmt.Sprintf(fill[d.dialect], table, rows, alive, time.Now().Add(time.Hour).UnixMilli())
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows made in %v", rows, time.Since(start).Round(time.Millisecond))
	d.usesIndexes(t, db, table)
	keys := someKeys(t, db, table, alive)

	measure := func(what string, call func(rec store.Record) error) {
		t.Helper()
		var sum, worst time.Duration
		for _, key := range keys {
			rec, err := s.Get(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := call(rec); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			took := time.Since(start)
			sum, worst = sum+took, max(worst, took)
		}
		mean := sum / time.Duration(len(keys))
		t.Logf("%-5s mean %8v, longest %8v", what, mean.Round(time.Microsecond), worst.Round(time.Microsecond))
		// A call that looks at every row takes longer than this.
		if scale.Long() && mean > 100*time.Millisecond {
			t.Errorf("%s takes %v on a table of %d rows", what, mean, rows)
		}
	}
	measure("read", func(rec store.Record) error { _, err := s.Get(ctx, rec.Key); return err })
	measure("swap", func(rec store.Record) error {
		prev := rec.Version
		rec.Version = rand.Uint64() | 1
		return s.Put(ctx, rec, prev)
	})
	measure("list", func(rec store.Record) error { _, err := s.List(ctx, rec.Owner); return err })

	// All expired rows are removed during other reads.
	done := make(chan struct{})
	var worst time.Duration
	reads := 0
	go func() {
		defer close(done)
		start := time.Now()
		n, err := s.Purge(ctx)
		if err != nil || n != int64(rows-alive) {
			t.Errorf("removed %d, error %v, want %d", n, err, rows-alive)
		}
		t.Logf("purge of %d rows in %v", n, time.Since(start).Round(time.Millisecond))
	}()
	for purging := true; purging; {
		select {
		case <-done:
			purging = false
		default:
		}
		start := time.Now()
		if _, err := s.Get(ctx, keys[reads%len(keys)]); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(start))
		reads++
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d reads beside it, the longest %v", reads, worst.Round(time.Microsecond))
}

// usesIndexes checks that the store's statements read no whole table.
func (d database) usesIndexes(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	if _, err := db.Exec("ANALYZE " + table); err != nil {
		t.Fatal(err)
	}
	explain := map[sqlstore.Dialect]string{sqlstore.SQLite: "EXPLAIN QUERY PLAN ", sqlstore.PostgreSQL: "EXPLAIN "}[d.dialect]
	for _, where := range []string{
		"session_key = 'k' AND expires_at > 1",
		"owner = 'o' AND expires_at > 1",
		"expires_at <= 1 ORDER BY expires_at LIMIT 200",
	} {
		rows, err := db.Query(explain + "SELECT session_key, data FROM " + table + " WHERE " + where)
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var plan strings.Builder
		for rows.Next() {
			var text string
			dest := make([]any, len(names))
			for i := range dest {
				dest[i] = new(any)
			}
			dest[len(dest)-1] = &text // the step; SQLite has numbers before it
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(text + "\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		all := map[sqlstore.Dialect]string{sqlstore.SQLite: "SCAN ", sqlstore.PostgreSQL: "Seq Scan"}[d.dialect]
		if text := plan.String(); !strings.Contains(strings.ToUpper(text), "INDEX") || strings.Contains(text, all) {
			t.Errorf("%s: the plan is\n%s", where, text)
		}
	}
}

// someKeys returns keys of rows that have not expired.
func someKeys(t *testing.T, db *sql.DB, table string, alive int) []string {
	t.Helper()
	var keys []string
	for range 200 {
		var key string
		query := fmt.Sprintf("SELECT session_key FROM %s WHERE owner = 'o%d' LIMIT 1", table, rand.IntN(alive)/3)
		if err := db.QueryRow(query).Scan(&key); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}
