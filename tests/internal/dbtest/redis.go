package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// redis is the Driver of a Redis server, which sql.Open does not know.
const redis = "redis"

// Redis starts a Redis server that ends with the test. Without the program the
// test is skipped; with CI or LONG in the environment it fails.
func Redis(t testing.TB) *Server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	needs(t, "redis-server", "Redis", err)
	dir := directory(t)
	s := &Server{
		Driver: redis,
		t:      t,
		stop:   syscall.SIGTERM,
		socket: filepath.Join(dir, "sock"),
	}
	s.command = func() *exec.Cmd {
		return exec.Command(bin, "--port", "0", "--unixsocket", s.socket, "--dir", dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "no") // Kill loses nothing that the operating system has
	}
	s.begin(dir)
	s.URL = "redis://" + s.Proxy.Addr() + "/0"
	s.Start()
	return s
}

// Client returns a client of a Redis server, as package redisstore recommends it. It
// is closed with the test.
func (s *Server) Client(t testing.TB, change ...func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	option := rueidis.ClientOption{
		InitAddress: []string{s.Proxy.Addr()},
		Dialer:      net.Dialer{KeepAlive: time.Second / 2, Timeout: 2 * time.Second},
		// A client whose server is down is one that connects later.
		ForceSingleClient: true,
		ConnWriteTimeout:  time.Second,
		RetryDelay: func(attempts int, _ rueidis.Completed, _ error) time.Duration {
			if attempts > 3 {
				return -1
			}
			return 10 * time.Millisecond
		},
		ReadBufferEachConn: 1 << 14, WriteBufferEachConn: 1 << 14, CacheSizeEachConn: 16 << 20,
	}
	for _, f := range change {
		f(&option)
	}
	client, err := rueidis.NewClient(option)
	if client == nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// pingRedis returns an error unless the server answers, which it does not while
// it loads its data.
func (s *Server) pingRedis(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Proxy.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") {
		err = fmt.Errorf("it answers %q", line)
	}
	return err
}
