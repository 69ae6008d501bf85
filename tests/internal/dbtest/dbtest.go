// Package dbtest runs real database servers for tests: PostgreSQL, MariaDB and Redis as
// Debian packages them, with temporary data.
//
// A server listens on a Unix socket in its own directory only. Tests reach it
// through a proxy, whose port stays the same while the server is stopped and
// started, and which can break connections.
package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proxy"

	"github.com/go-sql-driver/mysql"   // and the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// The driver logs each broken connection, of which tests make thousands.
func init() { _ = mysql.SetLogger(log.New(io.Discard, "", 0)) }

// Server is a database server in a separate process.
type Server struct {
	// Driver is the name of its driver to sql.Open, or "redis".
	Driver string

	// DSN is the address of an empty database for Driver, through Proxy.
	DSN string

	// URL is the same address in the form of the settings of apps.
	URL string

	// Proxy forwards the connections of the tests to the server.
	Proxy *proxy.Proxy

	t       testing.TB
	command func() *exec.Cmd
	stop    syscall.Signal // makes it end without waiting for clients
	socket  string
	cmd     *exec.Cmd
	exited  chan struct{}
	log     *os.File
}

// needs skips the test if a program is not installed, or fails it if all tests must run.
func needs(t testing.TB, pkg, program string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if scale.CI() {
		t.Fatalf("%s is not installed (Debian package %s)", program, pkg)
	}
	t.Skipf("%s is not installed (Debian package %s)", program, pkg)
}

// Postgres starts a PostgreSQL server that ends with the test. Without the
// program the test is skipped; with CI or LONG in the environment it fails.
func Postgres(t testing.TB) *Server {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) == 0 {
		err = exec.ErrNotFound
	}
	needs(t, "postgresql", "PostgreSQL", err)
	bin := filepath.Dir(found[len(found)-1])

	dir := directory(t)
	data := filepath.Join(dir, "data")
	as := unprivileged(t, dir)
	run(t, as(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync", "--no-instructions"))
	s := &Server{
		Driver: "pgx",
		t:      t,
		command: func() *exec.Cmd {
			return as(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=500",
				"-c", "fsync=off") // Kill loses nothing that the operating system has
		},
		stop:   syscall.SIGINT,
		socket: filepath.Join(dir, ".s.PGSQL.5432"),
	}
	s.begin(dir)
	s.DSN = fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.Proxy.Addr())
	s.URL = s.DSN
	s.Start()
	return s
}

// MariaDB starts a MariaDB server that ends with the test. Without the program
// the test is skipped; with CI or LONG in the environment it fails.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	bin, err := exec.LookPath("mariadbd")
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/mariadbd")
	}
	needs(t, "mariadb-server", "MariaDB", err)
	install, err := exec.LookPath("mariadb-install-db")
	needs(t, "mariadb-server", "MariaDB", err)

	dir := directory(t)
	data := filepath.Join(dir, "data")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command(install, "--no-defaults", "--user="+me.Username, "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-flush-method=nosync", "--innodb-log-file-size=8M"))
	s := &Server{
		Driver: "mysql",
		t:      t,
		socket: filepath.Join(dir, "sock"),
		stop:   syscall.SIGTERM,
	}
	s.command = func() *exec.Cmd {
		return exec.Command(bin, "--no-defaults", "--user="+me.Username, "--datadir="+data, "--socket="+s.socket,
			"--pid-file="+filepath.Join(dir, "pid"), "--tmpdir="+dir, "--skip-networking", "--skip-log-bin", "--max-connections=500",
			"--innodb-flush-log-at-trx-commit=2", // Kill loses nothing that the operating system has
			"--innodb-flush-method=nosync")
	}
	s.begin(dir)
	s.DSN = fmt.Sprintf("root@tcp(%s)/mysql", s.Proxy.Addr())
	s.Start()
	db := s.Open(t)
	if _, err := db.Exec("CREATE DATABASE session"); err != nil {
		t.Fatal(err)
	}
	s.DSN = fmt.Sprintf("root@tcp(%s)/session", s.Proxy.Addr())
	s.URL = fmt.Sprintf("mysql://root@%s/session", s.Proxy.Addr())
	return s
}

// Open opens the server's database, and closes it with the test.
func (s *Server) Open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Start starts the server, also after Stop or Kill, and waits until it accepts
// connections.
func (s *Server) Start() {
	s.t.Helper()
	// After a Kill, files and processes of the previous server may prevent the start for
	// a moment.
	deadline := time.Now().Add(time.Minute)
	for {
		s.launch()
		err := s.await(deadline)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(s.log.Name())
			s.t.Fatalf("%s: %v\n%s", s.Driver, err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *Server) launch() {
	s.t.Helper()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// The server ends with the test's process, however that ends. The kernel sends the
	// signal when the thread that started the server ends, so that thread must not end
	// before.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("%s: %v", s.Driver, err)
	}
	s.cmd, s.exited = cmd, exited
}

// Await waits until the server accepts new connections through Proxy.
func (s *Server) Await() {
	s.t.Helper()
	if err := s.await(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatalf("%s: %v", s.Driver, err)
	}
}

// await waits until the server responds.
func (s *Server) await(deadline time.Time) error {
	ping := s.pingRedis
	if s.Driver != redis {
		db, err := sql.Open(s.Driver, s.DSN)
		if err != nil {
			return err
		}
		defer db.Close()
		ping = db.PingContext
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := ping(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("the server has ended")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no response: %w", err)
		}
	}
}

// Stop ends the server as an operator would, without waiting for its clients.
func (s *Server) Stop() { s.end(s.stop) }

// Kill ends the server like a power failure, except that the operating system still
// writes the data that it has received.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

func (s *Server) begin(dir string) {
	s.t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.log = log
	s.t.Cleanup(func() {
		s.Stop()
		_ = log.Close()
		if out, err := os.ReadFile(log.Name()); err == nil && s.t.Failed() {
			s.t.Logf("what %s has logged, at the end:\n%s", s.Driver, out[max(0, len(out)-5000):])
		}
	})
	s.Proxy = proxy.New(s.t, "unix", s.socket)
}

// directory returns a new directory for a server. The names of sockets must be short, and
// those in t.TempDir are not.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// unprivileged returns a function that makes commands for PostgreSQL, which does not run
// as root. The commands run as the user of the Debian package, who also becomes the owner
// of dir.
func unprivileged(t testing.TB, dir string) func(name string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		return exec.Command
	}
	postgres, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(postgres.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, 0); err != nil {
		t.Fatal(err)
	}
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		// The group stays that of root, because a parent directory may be closed to
		// others.
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(uid), Gid: 0},
		}
		return cmd
	}
}

var tables atomic.Int64

// Table returns the name of a table that no other test of this process uses.
func Table() string { return fmt.Sprintf("sessions%d", tables.Add(1)) }
