package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// healthz answers while the process serves.
func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ping returns an error if what it asks does not answer.
type ping func(context.Context) error

// readiness tells whether what the app depends on is there. It asks at most
// once a second, however often it is asked.
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

const remembered = time.Second

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
	// What is remembered is for others, too: it must not depend on whether
	// this one waits for it.
	ctx = context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { rd.report.Store = okOrDown(rd.store(ctx)) })
	wg.Go(func() { rd.report.Auth = okOrDown(rd.auth(ctx)) })
	wg.Wait()
	rd.until = time.Now().Add(remembered)
	return rd.report
}

func okOrDown(err error) string {
	if err != nil {
		return "down"
	}
	return "ok"
}
