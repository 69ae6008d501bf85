package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"
)

// served is the throughput of a contender behind a server on the loopback interface.
type served struct {
	contender string
	perSecond float64 // median of the rounds
	share     float64 // of the bare router's; median of the shares of the rounds
}

// connections is how many clients send requests at the same time, each over a separate
// connection. They are in the process of the server, and need the same time for all
// contenders.
const connections = 16

// measureServers gets the page for admins over the loopback interface. In each round all
// contenders have a turn, in another order.
func measureServers(e *env, names []string, rounds int, turn time.Duration) ([]served, error) {
	var sites []*site
	for _, c := range inOrder(names...) {
		s, err := openSite(e, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		defer s.close()
		sites = append(sites, s)
	}
	rates := make([][]float64, len(sites))
	for range rounds {
		for _, i := range rand.Perm(len(sites)) {
			rate, err := sites[i].load(turn)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sites[i].name, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	var all []served
	for i, s := range sites {
		shares := make([]float64, rounds)
		for j := range shares {
			shares[j] = rates[i][j] / rates[0][j] // the bare router is the first
		}
		all = append(all, served{s.name, 0, median(shares)})
	}
	for i := range all { // median sorts
		all[i].perSecond = median(rates[i])
	}
	return all, nil
}

// site is a server with the app of a contender.
type site struct {
	name    string
	server  *http.Server
	addr    string
	request []byte
}

func openSite(e *env, c contender) (*site, error) {
	h, err := c.open(e)
	if err != nil {
		return nil, err
	}
	r := newRequest("GET", "/admin")
	if !c.bare {
		if r, err = signedInRequest(h, "/admin", admin); err != nil {
			return nil, err
		}
	}
	var request bytes.Buffer
	if err := r.Write(&request); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{c.name, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}, l.Addr().String(), request.Bytes()}
	// The goroutines of the connections have the label, too.
	go pprof.Do(context.Background(), measured, func(context.Context) { _ = s.server.Serve(l) }) // returns ErrServerClosed
	return s, nil
}

func (s *site) close() { _ = s.server.Close() }

// load sends requests for a while and returns how many per second.
func (s *site) load(d time.Duration) (float64, error) {
	counts := make([]int, connections)
	errs := make([]error, connections)
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("part", "client"), func(context.Context) { counts[i], errs[i] = s.client(end) })
		})
	}
	wg.Wait()
	took := time.Since(start)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds(), errors.Join(errs...)
}

// client sends requests one after the other until end.
func (s *site) client(end time.Time) (n int, err error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for n == 0 || time.Now().Before(end) {
		if _, err := conn.Write(s.request); err != nil {
			return n, err
		}
		if err := readPage(r); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

var (
	statusOK      = []byte("HTTP/1.1 200 OK\r\n")
	contentLength = []byte("Content-Length: ")
)

// readPage reads a response, which must have status 200 and the length of the page for
// admins.
func readPage(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Equal(line, statusOK) {
		return fmt.Errorf("unexpected response: %q", line)
	}
	length := -1
	for len(line) > len("\r\n") {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if value, ok := bytes.CutPrefix(line, contentLength); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	if length != len(adminPage) {
		return fmt.Errorf("unexpected response with %d bytes", length)
	}
	_, err = r.Discard(length)
	return err
}
