//go:build unix

package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
)

// BenchmarkThroughput compares the gateway with a plain httputil.ReverseProxy, and with
// one that reuses its buffers as the gateway does. Both forward the same requests of a
// signed-in user to the same service, in turns, so that a busy machine slows both down.
// ratio is the gateway's throughput divided by that of the ReverseProxy. cpu-ratio is the
// same by the CPU time of this process, which includes the client and the service.
func BenchmarkThroughput(b *testing.B) {
	for _, store := range []string{"cookie", "memory"} {
		b.Run(store+"/bare", func(b *testing.B) { benchmarkThroughput(b, store, nil) })
		b.Run(store+"/pool", func(b *testing.B) { benchmarkThroughput(b, store, &pool{}) })
	}
}

func benchmarkThroughput(b *testing.B, store string, buffers httputil.BufferPool) {
	body := make([]byte, 4<<10)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer upstream.Close()
	u, _ := url.Parse(upstream.URL)
	s := start(b, func(_ *url.URL, c *session.Config, g *gateway.Config) {
		if store == "memory" {
			stored(u, c, g)
		}
		g.Upstreams = []gateway.Upstream{{Path: "/", URL: u, Roles: []string{"admin"}, Headers: []gateway.Header{gateway.User, gateway.Roles}}}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true}
	defer transport.CloseIdleConnections()
	bare := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, BufferPool: buffers, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.SetXForwarded()
	}})
	defer bare.Close()

	// There is no TLS, because its cost would hide that of the proxies.
	gatewayServer := httptest.NewServer(s.gateway)
	defer gatewayServer.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	cookies := s.cookies(s.browser(admin))
	var times, cpu [2]time.Duration
	b.ResetTimer()
	for range b.N {
		for i, address := range []string{bare.URL, gatewayServer.URL} {
			before := cpuTime()
			times[i] += load(b, client, address, cookies)
			cpu[i] += cpuTime() - before
		}
	}
	b.ReportMetric(float64(times[0])/float64(times[1]), "ratio")
	b.ReportMetric(float64(cpu[0])/float64(cpu[1]), "cpu-ratio")
	b.ReportMetric(float64(times[1].Microseconds())/float64(b.N*workers*each), "µs/request")
	b.ReportMetric(0, "ns/op")
}

// pool is a pool of buffers like the gateway's. Without it the ReverseProxy allocates
// more.
type pool struct{ sync.Pool }

func (p *pool) Get() []byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *pool) Put(b []byte) { p.Pool.Put(&b) }

// cpuTime returns the CPU time of this process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// In each turn, a number of workers each send a number of requests.
const workers, each = 16, 50

// load returns how long a turn takes.
func load(b *testing.B, client *http.Client, address, cookies string) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for range workers {
		wg.Go(func() {
			for range each {
				get(b, client, address, cookies)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func get(b *testing.B, client *http.Client, address, cookies string) {
	req, _ := http.NewRequest("GET", address, nil)
	req.Header.Set("Cookie", cookies)
	res, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		b.Error(res.StatusCode, err)
	}
}
