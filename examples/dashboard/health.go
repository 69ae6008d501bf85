package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// healthz responds with status 200 while the process serves requests.
func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ping returns an error if a service is not available.
type ping func(context.Context) error

// readiness reports whether the services that the app depends on are available.
// It calls them at most once a second and caches the result.
type readiness struct {
	auth, store ping

	mu     sync.Mutex
	until  time.Time
	report readyReport
}

type readyReport struct {
	Store string `json:"store"`
	Auth  string `json:"auth"`
}

const cachedFor = time.Second

func (rd *readiness) serve(w http.ResponseWriter, r *http.Request) {
	report := rd.check(r.Context())
	status := http.StatusOK
	if report != (readyReport{Store: "ok", Auth: "ok"}) {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, report)
}

func (rd *readiness) check(ctx context.Context) readyReport {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if time.Now().Before(rd.until) {
		return rd.report
	}
	// The result is cached for other requests, so it must not fail because this
	// request is canceled.
	ctx = context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { rd.report.Store = okOrDown(rd.store(ctx)) })
	wg.Go(func() { rd.report.Auth = okOrDown(rd.auth(ctx)) })
	wg.Wait()
	rd.until = time.Now().Add(cachedFor)
	return rd.report
}

func okOrDown(err error) string {
	if err != nil {
		return "down"
	}
	return "ok"
}
