package load

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/sqlstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// filled is a database with many sessions.
type filled struct {
	name  string
	store store.Store
	bytes func() int64         // of all sessions
	cpu   func() time.Duration // of the server, for all calls so far
}

// TestSizes fills databases with sessions, and measures the size of a session and the
// cost of a read and a write on the server. The second table has the results of the model
// of docs/performance.md for these costs.
func TestSizes(t *testing.T) {
	rows := [][]string{{"store", "sessions", "bytes of a session", "read: server's CPU, µs", "64 reads at a time", "read, ms", "write: server's CPU, µs", "write, ms"}}
	predicted := map[string][][]string{} // by the costs at the largest size
	for _, n := range scale.Of([]int{1000}, []int{2000}, []int{100_000, 1_000_000}) {
		for _, fill := range []func(*testing.T, store.Record, int) filled{fillRedis, fillPostgres} {
			rec := sampleRecord(t)
			at := fill(t, rec, n)
			perSession := float64(at.bytes()) / float64(n)
			if perSession < float64(len(rec.Data)) || perSession > 20*float64(len(rec.Data)) {
				t.Errorf("%s: %.0f bytes for each of %d sessions", at.name, perSession, n)
			}
			get := func(ctx context.Context, rec store.Record) error {
				_, err := at.store.Get(ctx, rec.Key)
				return err
			}
			readCPU, read := at.cost(t, n, 1, get)
			crowdCPU, _ := at.cost(t, n, 64, get)
			writeCPU, write := at.cost(t, n, 1, func(ctx context.Context, rec store.Record) error {
				prev := rec.Version
				rec.Version++
				return at.store.Put(ctx, rec, prev)
			})
			rows = append(rows, []string{
				at.name, fmt.Sprint(n), fmt.Sprintf("%.0f", perSession),
				fmt.Sprintf("%.0f", readCPU), fmt.Sprintf("%.0f", crowdCPU), milliseconds(read), fmt.Sprintf("%.0f", writeCPU), milliseconds(write),
			})
			predicted[at.name] = prediction(at.name, perSession, min(readCPU, crowdCPU), max(readCPU, crowdCPU), writeCPU)
		}
	}
	table(t, rows)
	heading := []string{"store", "sessions", "processes", "requests/s", "reads/s", "writes/s", "cores of the server", "GB"}
	table(t, append(append([][]string{heading}, predicted["Redis"]...), predicted["PostgreSQL"]...))
}

// sampleRecord returns the record of a session that a user has begun.
func sampleRecord(t *testing.T) store.Record {
	t.Helper()
	kept := &keeps{Store: memstore.New()}
	f := newFleet(t, shared{open: func() store.Store { return kept }}, 1)
	f.signIn(0, 1)
	return kept.last
}

// keeps is a store that keeps the last record with an owner.
type keeps struct {
	store.Store
	last store.Record
}

func (k *keeps) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if rec.Owner != "" {
		k.last = rec
	}
	return k.Store.Put(ctx, rec, prev)
}

// numbered returns the copy n of a record.
func numbered(rec store.Record, n int) store.Record {
	rec.Key = fmt.Sprintf("%064x", n)
	rec.Owner = fmt.Sprintf("%064x", n/3)
	rec.Version = 1
	return rec
}

// cost calls do for records in all parts of the database, several at a time. It returns
// the CPU time of the server for each call in microseconds, and the median of the time
// that passes.
func (at filled) cost(t *testing.T, n, atOnce int, do func(context.Context, store.Record) error) (cpu float64, took time.Duration) {
	t.Helper()
	calls := scale.Of(128, 256, 6400)
	ctx := context.Background()
	rec := sampleRecord(t)
	durations := make([]time.Duration, calls)
	errs := make([]error, atOnce)
	before := at.cpu()
	var wg sync.WaitGroup
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < calls && errs[w] == nil; i += atOnce {
				start := time.Now()
				errs[w] = do(ctx, numbered(rec, i*(n/calls)+i%7))
				durations[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%s: %v", at.name, err)
	}
	return float64((at.cpu() - before).Microseconds()) / float64(calls), percentile(durations, 0.5)
}

func fillRedis(t *testing.T, rec store.Record, n int) filled {
	t.Helper()
	client := dbtest.Redis(t).Client(t)
	s, err := redisstore.New(client, redisstore.Config{Timeout: time.Minute, CacheTTL: -1})
	if err != nil {
		t.Fatal(err)
	}
	info := func(section, name string) string {
		text, err := client.Do(context.Background(), client.B().Info().Section(section).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(text, "\n"+name+":")
		value, _, _ := strings.Cut(rest, "\r\n")
		return value
	}
	used := func() int64 { v, _ := strconv.ParseInt(info("memory", "used_memory"), 10, 64); return v }
	empty := used()
	putAll(t, s, rec, n)
	return filled{"Redis", s, func() int64 { return used() - empty }, func() time.Duration {
		user, _ := strconv.ParseFloat(info("cpu", "used_cpu_user"), 64)
		system, _ := strconv.ParseFloat(info("cpu", "used_cpu_sys"), 64)
		return time.Duration((user + system) * float64(time.Second))
	}}
}

// putAll stores copies of a record, many at the same time.
func putAll(t *testing.T, s store.Store, rec store.Record, n int) {
	t.Helper()
	const workers = 64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = s.Put(context.Background(), numbered(rec, i), 0)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func fillPostgres(t *testing.T, rec store.Record, n int) filled {
	t.Helper()
	ctx := context.Background()
	db := dbtest.Postgres(t).Open(t)
	db.SetMaxOpenConns(1) // one process of the server does all work
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, PurgeEvery: -1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, numbered(rec, 0), 0); err != nil {
		t.Fatal(err)
	}
	const copies = `INSERT INTO sessions SELECT lpad(to_hex(i), 64, '0'), lpad(to_hex(i / 3), 64, '0'), version, data, meta, expires_at
		FROM sessions CROSS JOIN generate_series(1, %d) AS i`
	for _, statement := range []string{fmt.Sprintf(copies, n-1), "ANALYZE sessions"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	number := func(query string) (v int64) {
		if err := db.QueryRow(query).Scan(&v); err != nil && !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
		return v
	}
	pid := number("SELECT pg_backend_pid()")
	return filled{"PostgreSQL", s, func() int64 { return number("SELECT pg_total_relation_size('sessions')") }, func() time.Duration { return processTime(t, pid) }}
}

// processTime returns the CPU time of the first thread of a process, in nanoseconds and so
// finer than cpuTime. A backend of PostgreSQL has no other thread, and Redis executes all
// commands in its first.
func processTime(t *testing.T, pid int64) time.Duration {
	t.Helper()
	first, _, _ := strings.Cut(ofProcess(t, int(pid), "schedstat"), " ") // in nanoseconds (sched-stats)
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n)
}
