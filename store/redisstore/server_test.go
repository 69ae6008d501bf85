package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store/redisstore"
)

// programs are the servers that the tests run, if they are installed.
var programs = []string{"redis-server", "valkey-server"}

// running is a server that all tests share.
var running struct {
	once   sync.Once
	err    error
	server *server
}

func TestMain(m *testing.M) {
	scale.AtOnce(64) // they wait for records that expire, and for timeouts
	code := m.Run()
	if running.server != nil {
		running.server.stop()
	}
	os.Exit(code)
}

// server is a server in a separate process. It listens on a Unix socket.
type server struct {
	dir  string
	args []string
	cmd  *exec.Cmd
}

// start starts a server with the given settings, such as "--maxmemory", "10mb".
func start(program string, settings ...string) (*server, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	s.args = append([]string{path, "--port", "0", "--unixsocket", s.socket(), "--dir", dir, "--save", "", "--appendonly", "no"}, settings...)
	if err := s.launch(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) launch() error {
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for range 1000 {
		c, err := net.Dial("unix", s.socket())
		if err == nil {
			_ = c.Close()
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the server does not listen")
}

// start starts the server again.
func (s *server) start(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) socket() string { return filepath.Join(s.dir, "sock") }

func (s *server) stop() {
	if s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

// needs skips the test if a program is not installed, and fails it where all tests must run.
func needs(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, exec.ErrNotFound) && !scale.CI():
		t.Skipf("%v (Debian package redis-server)", err)
	case err != nil:
		t.Fatal(err)
	}
}

// shared returns the server that all tests share.
func shared(t testing.TB) *server {
	t.Helper()
	running.once.Do(func() { running.server, running.err = start(programs[0]) })
	needs(t, running.err)
	return running.server
}

// own returns a server with other settings.
func own(t testing.TB, settings ...string) *server {
	t.Helper()
	s, err := start(programs[0], settings...)
	needs(t, err)
	t.Cleanup(s.stop)
	return s
}

// client returns a client of the server, as the package's documentation recommends it.
func (s *server) client(t testing.TB, change ...func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	option := rueidis.ClientOption{
		InitAddress:      []string{s.socket()},
		Dialer:           net.Dialer{KeepAlive: time.Second / 2},
		ConnWriteTimeout: time.Second,
		// A machine that runs many tests has little memory for each.
		ReadBufferEachConn: 1 << 14, WriteBufferEachConn: 1 << 14, CacheSizeEachConn: 16 << 20,
		DialCtxFn: dialUnix,
	}
	for _, f := range change {
		f(&option)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

var prefixes atomic.Int64

// newPrefix returns one that no other test uses.
func newPrefix() string { return fmt.Sprintf("test%d:", prefixes.Add(1)) }

// newStore returns a store with its own keys, and with timeouts for slow machines.
func newStore(t testing.TB, client rueidis.Client, c redisstore.Config) *redisstore.Store {
	t.Helper()
	if c.Prefix == "" {
		c.Prefix = newPrefix()
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	s, err := redisstore.New(client, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// calls returns how often the server has run each command.
func calls(t testing.TB, client rueidis.Client) map[string]int {
	t.Helper()
	info, err := client.Do(context.Background(), client.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	n := make(map[string]int)
	for line := range strings.Lines(info) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		if found {
			n[name], _ = strconv.Atoi(count)
		}
	}
	return n
}
