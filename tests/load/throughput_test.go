package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// stores are where sessions are, by the name of the store.
var stores = []struct {
	name string
	env  func(*testing.T) string
}{
	{"cookies", func(*testing.T) string { return "STORE=cookie" }},
	{"memory", func(*testing.T) string { return "STORE=memory" }},
	{"SQLite", func(t *testing.T) string { return "STORE=sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }},
	{"PostgreSQL", func(t *testing.T) string { return "STORE=" + dbtest.Postgres(t).URL }},
	{"MariaDB", func(t *testing.T) string { return "STORE=" + dbtest.MariaDB(t).URL }},
	{"Redis", func(t *testing.T) string { return "STORE=" + dbtest.Redis(t).URL }},
	{"cookies, coordinator in Redis", func(t *testing.T) string { return "COORDINATOR=" + dbtest.Redis(t).URL }},
}

// TestThroughput gets a page for one role with many browsers, each over a connection that
// stays open, under each framework and with each store. Every response must be that page.
// CPU is the processor time of the program for a request, which other programs disturb
// little.
func TestThroughput(t *testing.T) {
	rows := [][]string{{"store", "framework", "requests/s", "CPU, µs", "p50, ms", "p99, ms", "RSS, MiB"}}
	for i, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			env := s.env(t)
			for j, framework := range []string{"nethttp", "echo", "gin", "echo5"} {
				if scale.Turn(i+j, 4) {
					t.Run(framework, func(t *testing.T) {
						rows = append(rows, append([]string{s.name, framework}, testThroughput(t, env, framework)...))
					})
				}
			}
		})
	}
	table(t, rows)
}

func testThroughput(t *testing.T, env, framework string) []string {
	service := startService(t, time.Hour)
	program := startDashboard(t, service, env, "FRAMEWORK="+framework)
	var clients []*rawClient
	for _, b := range signedIn(t, program.URL, scale.Of(4, 8, 64)) {
		c, err := b.raw("/admin")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.conn.Close() })
		clients = append(clients, c)
	}
	each := scale.Of(25, 50, 250)
	took := make([][]time.Duration, len(clients))
	errs := make([]error, len(clients))
	run := func(requests int) time.Duration {
		var wg sync.WaitGroup
		start := time.Now()
		for i, c := range clients {
			wg.Go(func() { took[i], errs[i] = c.run(requests) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	run(each/5 + 1) // a warm-up of connections, caches and the heap
	before := cpuTime(t, program)
	total := run(each)
	cpu := cpuTime(t, program) - before
	var all []time.Duration
	for _, d := range took {
		all = append(all, d...)
	}
	if len(all) != each*len(clients) {
		t.Fatalf("%d responses to %d requests", len(all), each*len(clients))
	}
	_, most := memory(t, program)
	return []string{
		fmt.Sprintf("%.0f", float64(len(all))/total.Seconds()), fmt.Sprintf("%.0f", float64(cpu.Microseconds())/float64(len(all))),
		milliseconds(percentile(all, 0.5)), milliseconds(percentile(all, 0.99)), fmt.Sprintf("%.0f", most),
	}
}

// rawClient sends one request repeatedly. It uses less of the cores, which it shares with
// the program, than an http.Client.
type rawClient struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	want    int64 // the length of the page
}

// raw returns a client that sends b's cookies.
func (b *browser) raw(path string) (*rawClient, error) {
	if err := b.get(path); err != nil {
		return nil, err
	}
	u, err := url.Parse(b.base)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest("GET", b.base+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header = page.Clone()
	for _, c := range b.client.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	var request bytes.Buffer
	if err := r.Write(&request); err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &rawClient{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), request: request.Bytes()}
	c.want, err = c.page()
	return c, err
}

// run sends n requests, one after the other, and returns how long each took.
func (c *rawClient) run(n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		length, err := c.page()
		if err != nil {
			return nil, err
		}
		if length != c.want {
			return nil, fmt.Errorf("a page of %d bytes, want %d", length, c.want)
		}
		took[i] = time.Since(start)
	}
	return took, nil
}

// page sends the request and returns the length of the page.
func (c *rawClient) page() (int64, error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		err = fmt.Errorf("a response with type %q", res.Header.Get("Content-Type"))
	}
	return n, err
}
