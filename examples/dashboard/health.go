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

	mu    sync.Mutex // not held during a check
	last  *check
	until time.Time // when the result of last is too old
}

// check is one check, whose report is set when done is closed.
type check struct {
	done   chan struct{}
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

// check returns the result of the check in progress, or of the last check if that
// is recent. Otherwise it starts a new check.
func (rd *readiness) check(ctx context.Context) readyReport {
	rd.mu.Lock()
	c := rd.last
	if c == nil || !rd.until.IsZero() && !time.Now().Before(rd.until) {
		c = &check{done: make(chan struct{})}
		rd.last, rd.until = c, time.Time{}
		// Other requests wait for the result, so it must not fail because this
		// request is canceled.
		go rd.run(context.WithoutCancel(ctx), c)
	}
	rd.mu.Unlock()
	<-c.done
	return c.report
}

func (rd *readiness) run(ctx context.Context, c *check) {
	var wg sync.WaitGroup
	wg.Go(func() { c.report.Store = okOrDown(rd.store(ctx)) })
	wg.Go(func() { c.report.Auth = okOrDown(rd.auth(ctx)) })
	wg.Wait()
	rd.mu.Lock()
	rd.until = time.Now().Add(cachedFor)
	rd.mu.Unlock()
	close(c.done)
}

func okOrDown(err error) string {
	if err != nil {
		return "down"
	}
	return "ok"
}
