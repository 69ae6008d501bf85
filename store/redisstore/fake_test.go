package redisstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
)

// fake is a server that returns the same response to every command, except to those by
// which a client begins.
type fake struct {
	response string
	hello    string // the response to HELLO, if not the usual one
}

// start starts the server, and returns a client of it.
func (f fake) start(t *testing.T) rueidis.Client {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); f.serve(c) })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{l.Addr().String()}, DialCtxFn: dialUnix, ForceSingleClient: true,
		ReadBufferEachConn: 1 << 12, WriteBufferEachConn: 1 << 12,
	})
	if client == nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (f fake) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		response := f.response
		switch strings.ToUpper(args[0]) {
		case "HELLO":
			response = f.hello
			if response == "" {
				response = "%2\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n"
			}
		case "CLIENT":
			if strings.ToUpper(args[1]) != "CACHING" {
				response = "+OK\r\n"
			}
		}
		if response == "" {
			continue // silent
		}
		if _, err := io.WriteString(c, response); err != nil {
			return
		}
	}
}

// readCommand reads an array of strings.
func readCommand(r *bufio.Reader) ([]string, error) {
	number := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 2 {
			return 0, io.ErrUnexpectedEOF
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := number()
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

// everyCall calls the methods of a store with names that no error may contain.
func everyCall(s *redisstore.Store) map[string]error {
	ctx := context.Background()
	rec := record("thekey")
	rec.Owner, rec.Data = "theowner", []byte("thedata")
	_, get := s.Get(ctx, rec.Key)
	_, list := s.List(ctx, rec.Owner)
	return map[string]error{
		"Get": get, "List": list, "create": s.Put(ctx, rec, 0), "update": s.Put(ctx, rec, 3),
		"Delete": s.Delete(ctx, rec.Key), "Ping": s.Ping(ctx),
	}
}

// outage fails the test unless err reports an outage, and has no name or data in it.
func outage(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrFull) {
		t.Errorf("%s: error %v", name, err)
		return
	}
	if text := err.Error(); !strings.HasPrefix(text, "redisstore: ") || strings.ContainsAny(text, "\r\n") ||
		slices.ContainsFunc([]string{"thekey", "theowner", "thedata", "secret"}, func(s string) bool { return strings.Contains(text, s) }) {
		t.Errorf("%s: error %q", name, text)
	}
}

// An error of the server does not mean that a session has ended.
func TestErrorsOfServerAreOutages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ response, want string }{
		{"READONLY You can't write against a read only replica.", "READONLY"},
		{"LOADING Redis is loading the dataset in memory", ""}, // the client retries until the timeout
		{"CLUSTERDOWN Hash slot not served", "CLUSTERDOWN"},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN"},
		{"NOAUTH Authentication required.", "NOAUTH"},
		{"NOPERM User default has no permissions to access the 'thekey' key", "NOPERM"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"},
		{"MISCONF Errors writing to the AOF file: secret", "MISCONF"},
		{"BUSY Redis is busy running a script.", "BUSY"},
		{"MOVED 3999 127.0.0.1:6381", "MOVED"},
		{"ERR unknown command 'GET', with args beginning with: 'thekey' ", "ERR unknown command"},
		{"ERR something about thekey", "ERR"},
		{"thekey is secret", "ERR"},
		{"", "ERR"},
	} {
		t.Run(tt.response, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if tt.want == "" {
				timeout = 200 * time.Millisecond
			}
			s := newStore(t, fake{response: "-" + tt.response + "\r\n"}.start(t), redisstore.Config{Timeout: timeout})
			for name, err := range everyCall(s) {
				outage(t, name, err)
				if err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: error %q, want %s in it", name, err, tt.want)
				}
			}
		})
	}
}

// Responses of another kind than the command's are outages, too.
func TestUnusableResponsesAreOutages(t *testing.T) {
	t.Parallel()
	for _, response := range []string{
		":7\r\n", "+OK\r\n", "$0\r\n\r\n", "$4\r\n\x00\xff\x00\xff\r\n", "*0\r\n", "*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n", "*2\r\n:7\r\n$0\r\n\r\n",
		"*2\r\n$1\r\n1\r\n$0\r\n\r\n", "*2\r\n:1\r\n$5\r\nhello\r\n", "%1\r\n+a\r\n+b\r\n", "#t\r\n", ",1.5\r\n",
		"HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x46", "$99\r\ncut",
	} {
		t.Run(fmt.Sprintf("%q", response), func(t *testing.T) {
			t.Parallel()
			s := newStore(t, fake{response: response}.start(t), redisstore.Config{Timeout: 200 * time.Millisecond})
			for name, err := range everyCall(s) {
				if name == "List" && strings.HasPrefix(response, "*") && err == nil {
					continue // an array is a list
				}
				outage(t, name, err)
			}
		})
	}
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	for name, hello := range map[string]string{
		"no password":    "-NOAUTH HELLO must be called with the client already authenticated\r\n",
		"wrong password": "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
		"another server": "220 mail.example.org ESMTP\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, fake{hello: hello}.start(t), redisstore.Config{Timeout: 500 * time.Millisecond})
			for name, err := range everyCall(s) {
				outage(t, name, err)
			}
		})
	}
}

// Calls return after Config.Timeout, and when their context is done.
func TestCallsTimeOut(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	calls := map[string]func(ctx context.Context, s *redisstore.Store) error{
		"Get":    func(ctx context.Context, s *redisstore.Store) error { _, err := s.Get(ctx, "key"); return err },
		"Put":    func(ctx context.Context, s *redisstore.Store) error { return s.Put(ctx, record("key"), 0) },
		"update": func(ctx context.Context, s *redisstore.Store) error { return s.Put(ctx, record("key"), 3) },
		"Delete": func(ctx context.Context, s *redisstore.Store) error { return s.Delete(ctx, "key") },
		"List":   func(ctx context.Context, s *redisstore.Store) error { _, err := s.List(ctx, "owner"); return err },
		"Ping":   func(ctx context.Context, s *redisstore.Store) error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A call that times out may close the connection, and so may the client, at
			// the same time, for another call on it.
			s := newStore(t, fake{}.start(t), redisstore.Config{Timeout: timeout})
			start := time.Now()
			err := call(context.Background(), s)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > timeout+10*time.Second {
				t.Errorf("error %v after %v, want DeadlineExceeded within %v", err, took, timeout)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(timeout/10, cancel)
			if err := call(ctx, s); !errors.Is(err, context.Canceled) {
				t.Errorf("a canceled call: error %v", err)
			}
		})
	}
}

// panicking is a client that panics.
type panicking struct{ rueidis.Client }

func (panicking) B() rueidis.Builder { panic("with a secret in it") }

func TestClientPanics(t *testing.T) {
	t.Parallel()
	s := newStore(t, panicking{}, redisstore.Config{})
	for name, err := range everyCall(s) {
		outage(t, name, err)
	}
}
