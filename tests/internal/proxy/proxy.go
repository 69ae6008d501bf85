// Package proxy forwards connections and injects network faults.
package proxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is a network fault. The zero Fault is a network that works.
type Fault struct {
	// Down closes every connection, and each new one as soon as it is
	// accepted.
	Down bool

	// Hang keeps connections open and forwards nothing, in both directions, until the
	// fault ends.
	Hang bool

	// HangRequests and HangResponses do the same in one direction.
	HangRequests, HangResponses bool

	// Delay delays each piece of data, in both directions.
	Delay time.Duration

	// Connect delays each new connection.
	Connect time.Duration

	// CutAfter closes a connection after this number of bytes from the server since the
	// fault began, possibly in the middle of a response. Zero means never.
	CutAfter int

	// Corrupt is the probability that a byte from the server is replaced by another.
	Corrupt float64
}

// Proxy forwards connections to a server. Its port does not change while the server stops
// and starts.
type Proxy struct {
	listener      net.Listener
	network, addr string
	wg            sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when fault changes
	pairs   map[*pair]struct{}
	closed  bool

	accepted atomic.Int64
}

// pair is one connection through the proxy.
type pair struct {
	proxy          *Proxy
	client, server net.Conn
	frozen         atomic.Bool
}

// New returns a proxy to the server at addr, which need not be running yet. The proxy is
// closed at the end of the test.
func New(t testing.TB, network, addr string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("proxy: %v", err)
	}
	p := &Proxy{
		listener: l, network: network, addr: addr,
		changed: make(chan struct{}),
		pairs:   make(map[*pair]struct{}),
	}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr returns the host and port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set begins a fault, and ends the previous one.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if f.Down {
		p.Cut()
	}
}

// Cut closes all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		pr.close()
	}
}

// Accepted returns how many connections clients have opened.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Freeze keeps the current connections open and drops their data, like a firewall that
// has forgotten them. New connections work.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		pr.frozen.Store(true)
	}
}

// Live returns the number of connections.
func (p *Proxy) Live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	close(p.changed)
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) state() (f Fault, changed <-chan struct{}, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed, p.closed
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	p.accepted.Add(1)
	f, changed, _ := p.state()
	if f.Down {
		return
	}
	if f.Connect > 0 {
		select {
		case <-time.After(f.Connect):
		case <-changed:
		}
	}
	server, err := net.DialTimeout(p.network, p.addr, 5*time.Second)
	if err != nil {
		return
	}
	pr := &pair{proxy: p, client: client, server: server}
	p.mu.Lock()
	if p.closed || p.fault.Down {
		p.mu.Unlock()
		pr.close()
		return
	}
	p.pairs[pr] = struct{}{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { pr.pass(server, client, false) })
	pr.pass(client, server, true)
	wg.Wait()
	p.mu.Lock()
	delete(p.pairs, pr)
	p.mu.Unlock()
}

// close ends both directions. Data under way is lost, as after a reset.
func (pr *pair) close() {
	for _, c := range []net.Conn{pr.client, pr.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// pass copies from src to dst, and applies the current fault.
func (pr *pair) pass(dst, src net.Conn, responses bool) {
	defer pr.close()
	buf := make([]byte, 16<<10)
	left, counting := 0, (<-chan struct{})(nil)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		f, changed, closed := pr.proxy.state()
		for (f.Hang || f.HangResponses && responses || f.HangRequests && !responses) && !closed {
			<-changed
			f, changed, closed = pr.proxy.state()
		}
		if f.Delay > 0 {
			select {
			case <-time.After(f.Delay):
			case <-changed:
			}
		}
		data := buf[:n]
		if pr.frozen.Load() {
			continue
		}
		if responses {
			if counting != changed { // a new fault
				left, counting = f.CutAfter, changed
			}
			if f.CutAfter > 0 && n > left {
				data = data[:left]
			}
			left -= len(data)
			for i := range data {
				if f.Corrupt > 0 && rand.Float64() < f.Corrupt {
					data[i] ^= byte(1 + rand.IntN(255))
				}
			}
		}
		if _, err := dst.Write(data); err != nil || len(data) < n {
			return
		}
	}
}
