package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/telemetry"
)

// instrument returns cfg with hooks that count, and the handler that serves the metrics.
func instrument(cfg session.Config) (session.Config, http.Handler, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t, err := telemetry.New(reg)
	if err != nil {
		return cfg, nil, err
	}
	errorLog := slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn)
	return t.Instrument(cfg), promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: errorLog, MaxRequestsInFlight: 4}), nil
}

// newAdmin returns the handler of the admin address. It uses no session.
//
//	GET /healthz  200 while the process serves requests
//	GET /readyz   200, or 503 while the auth service or the store is down
//	GET /metrics  the metrics
//
// The path /auth is added if the configuration has it.
func newAdmin(auth, store func(context.Context) error, metrics http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.Handle("GET /readyz", &readiness{auth: auth, store: store})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// readiness reports whether the services that the gateway depends on are available. It
// calls them at most once a second, for all requests together.
type readiness struct {
	auth, store func(context.Context) error

	mu      sync.Mutex // not held during a check
	last    *check
	expires time.Time // of the result of last; zero while the check runs
}

// check is one check, whose result is set when done is closed.
type check struct {
	done        chan struct{}
	Store, Auth string
}

const (
	checkedFor   = time.Second
	checkTimeout = 5 * time.Second
)

func (rd *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rd.mu.Lock()
	c := rd.last
	if c == nil || !rd.expires.IsZero() && !time.Now().Before(rd.expires) {
		c = &check{done: make(chan struct{})}
		rd.last, rd.expires = c, time.Time{}
		// Other requests wait for the result, so it must not fail because this request
		// is canceled.
		go rd.run(context.WithoutCancel(r.Context()), c)
	}
	rd.mu.Unlock()
	select {
	case <-c.done:
	case <-r.Context().Done():
		return
	}
	status := http.StatusOK
	if c.Store != "ok" || c.Auth != "ok" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]string{"store": c.Store, "auth": c.Auth})
}

func (rd *readiness) run(ctx context.Context, c *check) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { c.Store = okOrDown(rd.store(ctx)) })
	wg.Go(func() { c.Auth = okOrDown(rd.auth(ctx)) })
	wg.Wait()
	rd.mu.Lock()
	rd.expires = time.Now().Add(checkedFor)
	rd.mu.Unlock()
	close(c.done)
}

func okOrDown(err error) string {
	if err != nil {
		return "down"
	}
	return "ok"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has disconnected
}
