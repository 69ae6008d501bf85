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

// within returns p with a time limit.
func (p ping) within(limit time.Duration) ping {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return p(ctx)
	}
}

// readiness reports whether the services that the app depends on are available.
// It calls them at most once a second and caches the result.
type readiness struct {
	auth, store ping

	mu    sync.Mutex // not held during a check
	last  *probe
	until time.Time // when the result of last expires; zero while the check runs
}

// probe is one check, whose report is set when done is closed.
type probe struct {
	done   chan struct{}
	report readyReport
}

type readyReport struct {
	Store string `json:"store"`
	Auth  string `json:"auth"`
}

const cachedFor = time.Second

func (rd *readiness) serve(w http.ResponseWriter, r *http.Request) {
	report := rd.report(r.Context())
	status := http.StatusOK
	if report != (readyReport{Store: "ok", Auth: "ok"}) {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, report)
}

// report returns the result of the last check if it is at most cachedFor old.
// Otherwise it waits for the running check, or starts one.
func (rd *readiness) report(ctx context.Context) readyReport {
	rd.mu.Lock()
	p := rd.last
	if p == nil || !rd.until.IsZero() && !time.Now().Before(rd.until) {
		p = &probe{done: make(chan struct{})}
		rd.last, rd.until = p, time.Time{}
		// Other requests wait for the result, so it must not fail because this
		// request is canceled.
		go rd.run(context.WithoutCancel(ctx), p)
	}
	rd.mu.Unlock()
	<-p.done
	return p.report
}

func (rd *readiness) run(ctx context.Context, p *probe) {
	var wg sync.WaitGroup
	wg.Go(func() { p.report.Store = okOrDown(rd.store(ctx)) })
	wg.Go(func() { p.report.Auth = okOrDown(rd.auth(ctx)) })
	wg.Wait()
	rd.mu.Lock()
	rd.until = time.Now().Add(cachedFor)
	rd.mu.Unlock()
	close(p.done)
}

func okOrDown(err error) string {
	if err != nil {
		return "down"
	}
	return "ok"
}
