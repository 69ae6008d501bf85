package store_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
)

var sqlite = database{dialect: sqlstore.SQLite}

// The tests below run these programs in separate processes, by the binary of the test.
const (
	programEnv = "STORE_TEST_PROGRAM"
	fileEnv    = "STORE_TEST_FILE"
	nameEnv    = "STORE_TEST_NAME"
)

func TestMain(m *testing.M) {
	programs := map[string]func() error{"write": writeForever, "count": countUp}
	if program := programs[os.Getenv(programEnv)]; program != nil {
		if err := program(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	scale.AtOnce(32) // they wait for records that expire, and for servers
	os.Exit(m.Run())
}

// program returns a command that runs a program with a file.
func program(t *testing.T, program, file, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), programEnv+"="+program, fileEnv+"="+file, nameEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

func programStore() (store.Store, error) {
	db, err := sql.Open("sqlite", os.Getenv(fileEnv))
	if err != nil {
		return nil, err
	}
	return sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: 30 * time.Second})
}

// writeForever creates and updates records, and prints each acknowledged record, until
// the process is killed.
func writeForever() error {
	s, err := programStore()
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s.%d", os.Getenv(nameEnv), i)
		prev := uint64(0)
		for n := range 3 {
			rec := counted(key, n)
			rec.Meta = []byte(strings.Repeat("m", 3000)) // over several pages
			if err := s.Put(ctx, rec, prev); err != nil {
				return err
			}
			prev = rec.Version
			fmt.Println(key, n)
		}
	}
}

// countUp increments a number that other processes increment, too.
func countUp() error {
	s, err := programStore()
	if err != nil {
		return err
	}
	for range countEach {
		if err := increment(context.Background(), s, "counter"); err != nil {
			return err
		}
	}
	return nil
}

const countEach = 40

// Processes that share a file lose no writes.
func TestSQLiteProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	s := sqlite.store(t, openSQLite(t, file), sqlstore.Config{})
	if err := s.Put(context.Background(), counted("counter", 0), 0); err != nil {
		t.Fatal(err)
	}
	const processes = 3
	var cmds []*exec.Cmd
	for range processes {
		cmd := program(t, "count", file, "")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	rec, err := s.Get(context.Background(), "counter")
	if err != nil || count(rec) != processes*countEach {
		t.Errorf("counted to %d, error %v, want %d", count(rec), err, processes*countEach)
	}
}

// Killing a process during a write loses no acknowledged record and leaves the file
// intact.
func TestSQLiteKilled(t *testing.T) {
	times := scale.Of(4, 6, 200)
	file := filepath.Join(t.TempDir(), "sessions.db")
	writes := 0
	for i := range times {
		cmd := program(t, "write", file, fmt.Sprintf("run%d", i))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		acknowledged := make(map[string]int)
		killer := (*time.Timer)(nil)
		for lines.Scan() {
			var key string
			var n int
			if _, err := fmt.Sscan(lines.Text(), &key, &n); err != nil {
				break // a line that is incomplete because of the kill
			}
			acknowledged[key] = n
			if killer == nil {
				killer = time.AfterFunc(time.Duration(20+i*7%60)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || killer == nil {
			t.Fatalf("run %d ended by itself: %v", i, err)
		}
		db := openSQLite(t, file)
		s := sqlite.store(t, db, sqlstore.Config{})
		for key, n := range acknowledged {
			rec, err := s.Get(context.Background(), key)
			if err != nil || count(rec) < n {
				t.Errorf("run %d: %q stands at %d, error %v; %d was acknowledged", i, key, count(rec), err, n)
			}
		}
		intact(t, db)
		_ = db.Close()
		writes += len(acknowledged)
	}
	t.Logf("killed %d times, %d records acknowledged", times, writes)
}

// intact checks that the file is not damaged.
func intact(t *testing.T, db *sql.DB) {
	t.Helper()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity check: %q, error %v", verdict, err)
	}
}

// Writes to a full disk fail with a clear error, and damage neither the file nor the
// records. When there is room again, the store works.
func TestSQLiteFull(t *testing.T) {
	ctx := context.Background()
	db := openSQLite(t, filepath.Join(t.TempDir(), "sessions.db"))
	db.SetMaxOpenConns(1) // the limit belongs to a connection
	s := sqlite.store(t, db, sqlstore.Config{PurgeEvery: -1})
	if err := s.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA max_page_count = 60"); err != nil {
		t.Fatal(err)
	}
	var stored []store.Record
	var full error
	for i := 0; full == nil && i < 1000; i++ {
		rec := record(fmt.Sprintf("key%d", i))
		rec.Data = []byte(strings.Repeat("d", 2000))
		if full = s.Put(ctx, rec, 0); full == nil {
			stored = append(stored, rec)
		}
	}
	if full == nil || errors.Is(full, store.ErrConflict) || !strings.Contains(full.Error(), "full") {
		t.Fatalf("error %v, want one that says that the disk is full", full)
	}
	all := func() {
		t.Helper()
		recs, err := s.List(ctx, "owner")
		if err != nil || len(recs) != len(stored) {
			t.Errorf("%d records, error %v, want %d", len(recs), err, len(stored))
		}
		intact(t, db)
	}
	all()
	if err := s.Delete(ctx, stored[0].Key); err != nil {
		t.Errorf("Delete on a full disk: %v", err)
	}
	stored = stored[1:]
	if _, err := db.Exec("PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	rec := record("again")
	if err := s.Put(ctx, rec, 0); err != nil {
		t.Errorf("Put when there is room again: %v", err)
	}
	stored = append(stored, rec)
	all()
}

// A file that is not a database is not changed.
func TestSQLiteForeignFile(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "sessions.db")
	text := []byte(strings.Repeat("This is a text file, and not a database.\n", 1000))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := sqlite.store(t, openSQLite(t, file), sqlstore.Config{})
	for _, err := range []error{s.Setup(ctx), s.Put(ctx, record("key"), 0)} {
		if err == nil || !strings.Contains(err.Error(), "not a database") {
			t.Errorf("error %v, want one that says that it is not a database", err)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil || sha256.Sum256(after) != sha256.Sum256(text) {
		t.Errorf("the file has changed (error %v)", err)
	}
}

// A read-only file can be read, and writes fail with a clear error.
func TestSQLiteReadOnly(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "sessions.db")
	writer := openSQLite(t, file)
	rec := record("key")
	if err := sqlite.store(t, writer, sqlstore.Config{}).Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	s := sqlite.store(t, openSQLite(t, "file:"+file+"?mode=ro"), sqlstore.Config{})
	if got, err := s.Get(ctx, "key"); err != nil || string(got.Data) != string(rec.Data) {
		t.Errorf("Get: data %q, error %v", got.Data, err)
	}
	for _, err := range []error{s.Put(ctx, record("new"), 0), s.Put(ctx, record("key"), rec.Version), s.Delete(ctx, "key")} {
		if err == nil || errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("error %v, want one that says that the file is read-only", err)
		}
	}
	fresh := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := sqlite.store(t, openSQLite(t, "file:"+fresh+"?mode=ro"), sqlstore.Config{}).Setup(ctx)
	if err == nil || !strings.Contains(err.Error(), "creating the table") || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("Setup on an empty file that may only be read: %v", err)
	}
}

// A call waits for another process that has locked the file, within its timeout, without
// any setting of the driver.
func TestSQLiteLocked(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "sessions.db")
	s := sqlite.store(t, openSQLite(t, file), sqlstore.Config{})
	rec := record("key")
	if err := s.Put(ctx, rec, 0); err != nil {
		t.Fatal(err)
	}
	lock := func() *sql.Conn {
		t.Helper()
		conn, err := openSQLite(t, file).Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn := lock()
	time.AfterFunc(300*time.Millisecond, func() { _, _ = conn.ExecContext(ctx, "ROLLBACK") })
	if err := s.Put(ctx, record("new"), 0); err != nil {
		t.Errorf("Put while the file is locked for a while: %v", err)
	}

	lock()
	const timeout = 2 * time.Second
	hasty := sqlite.store(t, openSQLite(t, file), sqlstore.Config{Timeout: timeout})
	if _, err := hasty.Get(ctx, "key"); err != nil { // it has seen its table
		t.Fatal(err)
	}
	// The error has the cause, unless the timeout ends first on a busy machine.
	for try := 1; ; try++ {
		start := time.Now()
		err := hasty.Put(ctx, record("newer"), 0)
		took := time.Since(start)
		if err == nil || took > timeout+5*time.Second || try == 5 {
			t.Fatalf("Put while the file stays locked: error %v after %v", err, took)
		}
		if strings.Contains(err.Error(), "locked") {
			break
		}
	}
	if got, err := hasty.Get(ctx, "key"); err != nil || got.Version != rec.Version {
		t.Errorf("Get while the file is locked: %v", err)
	}
}

// The file is in WAL mode after the store has opened it, whichever program created it.
func TestSQLiteWAL(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "sessions.db"))
	if _, err := db.Exec("CREATE TABLE other (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.store(t, db, sqlstore.Config{}).Setup(context.Background()); err != nil {
		t.Fatal(err)
	}
	var mode string
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q, error %v", mode, err)
	}
}
