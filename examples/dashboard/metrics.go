package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/telemetry"
)

// metrics serves the metrics of the process on a separate address, so that visitors of the
// app cannot reach them.
type metrics struct {
	addr     string // empty: there are none
	registry *prometheus.Registry
}

// newMetrics returns the metrics for addr, and cfg with the hooks that count.
func newMetrics(addr string, cfg session.Config) (metrics, session.Config, error) {
	if addr == "" {
		return metrics{}, cfg, nil
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t, err := telemetry.New(reg)
	if err != nil {
		return metrics{}, cfg, err
	}
	return metrics{addr, reg}, t.Instrument(cfg), nil
}

// start listens and prints where. The caller must call stop at the end.
func (m metrics) start(stdout io.Writer, log *slog.Logger) (stop func(), err error) {
	if m.addr == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: errorLog, MaxRequestsInFlight: 4}))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          errorLog,
	}
	go func() { _ = server.Serve(listener) }() // ends with Close
	fmt.Fprintf(stdout, "metrics on http://%s/metrics\n", listener.Addr())
	return func() { _ = server.Close() }, nil
}
