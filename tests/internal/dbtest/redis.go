package dbtest

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/synmetrix/session/tests/internal/port"
)

// redis is the Driver of a Redis server. sql.Open does not accept it.
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

// RedisCluster starts a cluster of three Redis servers and returns their addresses. There
// is no proxy, because each server sends clients the addresses of all.
func RedisCluster(t testing.TB) []string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	needs(t, "redis-server", "Redis", err)
	cli, err := exec.LookPath("redis-cli")
	needs(t, "redis-tools", "redis-cli", err)
	create := []string{"--cluster", "create"}
	var nodes []*Server
	for range 3 {
		addr, node := redisNode(t, bin, nil, "--cluster-enabled", "yes", "--cluster-port", port.Free(t), "--cluster-node-timeout", "5000")
		create = append(create, addr)
		nodes = append(nodes, node)
	}
	run(t, exec.Command(cli, append(create, "--cluster-yes")...))
	for _, node := range nodes { // a node receives the addresses of the others after some time
		client := node.Client(t)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			info, err := client.Do(context.Background(), client.B().ClusterInfo().Build()).ToString()
			if strings.Contains(info, "cluster_state:ok") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster does not work: error %v\n%s", err, info)
			}
		}
	}
	return create[2:]
}

// RedisSentinel starts a Redis server with a replica, and a Sentinel that watches them.
// It returns the Sentinel's address, the name of the set, and the server that is the
// primary at first.
func RedisSentinel(t testing.TB) (addr, set string, primary *Server) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	needs(t, "redis-server", "Redis", err)
	at, primary := redisNode(t, bin, nil)
	host, port, _ := strings.Cut(at, ":")
	redisNode(t, bin, nil, "--replicaof", host, port, "--repl-diskless-sync-delay", "0")
	addr, _ = redisNode(t, bin, []string{
		"sentinel monitor sessions " + host + " " + port + " 1",
		"sentinel down-after-milliseconds sessions 1000",
		"sentinel failover-timeout sessions 10000",
	}, "--sentinel")
	return addr, "sessions", primary
}

// RedisTLS starts a Redis server that requires a password and TLS. It returns its
// address with the password, and the file with the certificate to trust.
func RedisTLS(t testing.TB, password string) (url, certificate string) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	needs(t, "redis-server", "Redis", err)
	certificate, key := selfSigned(t)
	tlsPort := port.Free(t)
	_, s := redisNode(t, bin, nil, "--tls-port", tlsPort, "--tls-cert-file", certificate, "--tls-key-file", key,
		"--tls-ca-cert-file", certificate, "--tls-auth-clients", "no")
	client := s.Client(t) // the server requires no password yet
	for _, setting := range [][2]string{{"requirepass", password}, {"port", "0"}} {
		cmd := client.B().ConfigSet().ParameterValue().ParameterValue(setting[0], setting[1]).Build()
		if err := client.Do(context.Background(), cmd).Error(); err != nil {
			t.Fatal(err)
		}
	}
	return "rediss://:" + password + "@127.0.0.1:" + tlsPort, certificate
}

// selfSigned returns the files of a certificate for 127.0.0.1 and its key.
func selfSigned(t testing.TB) (certificate, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert"), filepath.Join(dir, "key")
}

// redisNode starts a server that listens on a TCP port, too. It ends with the test.
func redisNode(t testing.TB, bin string, config []string, args ...string) (addr string, s *Server) {
	t.Helper()
	dir := directory(t)
	s = &Server{Driver: redis, t: t, stop: syscall.SIGTERM, socket: filepath.Join(dir, "sock")}
	number := port.Free(t)
	config = append(config, "port "+number, "bind 127.0.0.1", "unixsocket "+s.socket, "dir "+dir, "save \"\"")
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.command = func() *exec.Cmd { return exec.Command(bin, append([]string{file}, args...)...) }
	s.begin(dir)
	s.Start()
	return "127.0.0.1:" + number, s
}

// Client returns a client of a Redis server. It is closed with the test.
func (s *Server) Client(t testing.TB, change ...func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	return RedisClient(t, append([]func(*rueidis.ClientOption){func(o *rueidis.ClientOption) {
		o.InitAddress = []string{s.Proxy.Addr()}
		o.ForceSingleClient = true // if the server is down, the client connects later
	}}, change...)...)
}

// RedisClient returns a client as package redisstore recommends it. It is closed with the
// test.
func RedisClient(t testing.TB, change ...func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	option := rueidis.ClientOption{
		Dialer:           net.Dialer{KeepAlive: time.Second / 2, Timeout: 2 * time.Second},
		ConnWriteTimeout: time.Second,
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

// pingRedis returns an error unless the server responds. While it loads its data, the
// server returns an error.
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
		err = fmt.Errorf("its response is %q", line)
	}
	return err
}
