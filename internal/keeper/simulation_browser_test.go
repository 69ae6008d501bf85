package keeper_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
)

// simResult is the outcome of a request.
type simResult struct {
	signedIn bool
	err      error // of the session
	failed   error // of the handler, or of the commit
	gone     bool  // the process has died, or the client has disconnected
	received bool  // the response has reached the browser
	user     string
	actor    string
	sentAt   time.Time
}

// request sends the browser's cookies to a process. The cookies of the response reach
// the browser after a while, or never.
func (w *simWorld) request(p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	return w.requestOf(w.browser, p, handler)
}

func (w *simWorld) requestOf(jar map[string]string, p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	served := make(chan simResult, 1)
	go func() { served <- w.serve(jar, p, handler) }()
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	select {
	case a := <-served:
		return a
	case <-patience.C:
		if !p.isDead() {
			w.problem("%s: a request had no response within a minute", p.name)
			if *simSeed >= 0 {
				buf := make([]byte, 1<<16)
				println(string(buf[:runtime.Stack(buf, true)]))
			}
		}
		return simResult{gone: true}
	}
}

func (w *simWorld) serve(jar map[string]string, p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	a := simResult{sentAt: time.Now()}
	time.Sleep(w.upTo(50 * time.Millisecond))
	r := httptest.NewRequest("GET", "/", nil)
	w.mu.Lock()
	w.stats.requests++
	for _, name := range slices.Sorted(maps.Keys(jar)) {
		r.AddCookie(&http.Cookie{Name: name, Value: jar[name]})
	}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if w.chance(w.tr.leave) {
		time.AfterFunc(w.upTo(300*time.Millisecond), cancel)
	}
	r, x := testkit.Begin(p.m, r.WithContext(ctx))
	s := session.FromContext(r.Context())
	a.signedIn, a.err = s.SignedIn(), s.Err()
	a.user, a.actor = s.UserID(), s.Actor().ID
	if a.signedIn {
		token, err := s.AccessToken(r.Context())
		if err == nil {
			w.checkToken(p, token)
		}
	}
	if handler != nil {
		a.failed = handler(r.Context(), p.m)
	}
	h := http.Header{}
	if err := x.Commit(h); err != nil && a.failed == nil {
		a.failed = err
	}
	_ = x.End()
	a.gone = ctx.Err() != nil || p.isDead()
	if !a.gone && !w.chance(w.tr.hang) {
		time.Sleep(w.upTo(50 * time.Millisecond))
		w.deliver(jar, h)
		a.received = true
		w.noteLateTokens(a.sentAt, h)
	}
	return a
}

func (w *simWorld) deliver(jar map[string]string, h http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%8.3f browser gets %v", time.Since(w.start).Seconds(), len(h["Set-Cookie"])))
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.MaxAge < 0 {
			delete(jar, c.Name)
		} else {
			jar[c.Name] = c.Value
		}
	}
}

// staleActing reports whether a late response may have restored the cookies of acting
// after its end. While the coordinator does not respond, these cookies are accepted until
// the service rejects their refresh. That request has no user, and the next request sees
// the actor's own session.
func (w *simWorld) staleActing() bool { return w.tr.acts && w.tr.storeLoss > 0 && !w.stored }

// noteLateTokens excuses the end of a cookie session if a response with refreshed tokens has
// arrived after the one to a new sign-in, and was written before: docs/protocol.md does not
// promise that the new cookies stay.
func (w *simWorld) noteLateTokens(sentAt time.Time, h http.Header) {
	names := map[string]bool{}
	for _, c := range (&http.Response{Header: h}).Cookies() {
		names[c.Name] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stored && w.signsIn(sentAt) && names["__Host-session"] && !names["__Host-session-device"] {
		w.excused = true
	}
}

// checkToken checks that the access token of a request is valid at the service.
func (w *simWorld) checkToken(p *simProc, token string) {
	s := &w.service
	s.mu.Lock()
	until := s.access[token]
	s.mu.Unlock()
	// A token's life counts from its receipt, some time after its issue, and the
	// clocks of the processes differ.
	slack := 9*time.Second + w.tr.skew + w.tr.slow
	if w.tr.pause {
		slack += 12 * time.Second
	}
	if time.Now().After(until.Add(slack)) {
		w.problem("%s: a request was served with a token that expired %v ago", p.name, time.Since(until))
	}
}

func simLogin(ctx context.Context, m *session.Manager) error {
	return m.Login(ctx, "a@example.com", "password")
}
