package keeper_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// This file has the parts of the simulation's world: processes, their store and the auth
// service. Each of them fails as trouble determines.

// simProc is a process. Its calls of the store and the service pass through step.
type simProc struct {
	w    *simWorld
	name string
	m    *session.Manager

	mu        sync.Mutex
	dead      bool
	frozen    time.Time // when it continues after a pause
	refreshed time.Time // when it last sent a refresh
}

func (w *simWorld) newProc(i int) *simProc {
	p := &simProc{w: w, name: fmt.Sprintf("P%d", i)}
	cfg := session.Config{
		Auth: simAuth{p}, Keys: w.keys, Logger: slog.New(slog.DiscardHandler), Now: w.clock(),
		OnEvent: func(context.Context, session.Event) { w.mayPanic() },
	}
	if w.stored {
		cfg.Store = simStore{p}
	} else {
		cfg.Coordinator = simStore{p}
	}
	var err error
	if p.m, err = session.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	return p
}

var errDead = errors.New("process is dead")

// step blocks while the process is paused. If the process is dead, step returns
// errDead at the end of the world.
func (p *simProc) step() error {
	for {
		p.mu.Lock()
		dead, until := p.dead, p.frozen
		p.mu.Unlock()
		if dead {
			<-p.w.over
			return errDead
		}
		wait := time.Until(until)
		if wait <= 0 {
			return nil
		}
		time.Sleep(wait)
	}
}

func (p *simProc) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// mayPanic panics now and then. It stands for code of the app.
func (w *simWorld) mayPanic() {
	if w.chance(w.tr.panics) {
		panic("a mistake in the app")
	}
}

// stallFor returns how long a write that begins now stalls. Stalls alternate with
// pauses, at the same times for all processes.
func (w *simWorld) stallFor() time.Duration {
	most := 200 * time.Millisecond // hardly time for one write
	if w.pick(2) == 0 {
		most = 3 * time.Second
	}
	pause, long, queued := w.upTo(most), w.upTo(8*time.Second), w.upTo(300*time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !now.Before(w.stalled) {
		w.stallAt = now.Add(pause)
		w.stalled = w.stallAt.Add(long)
	}
	if w.calm || now.Before(w.stallAt) {
		return 0
	}
	return w.stalled.Sub(now) + queued
}

// simStore is the shared store of one process.
type simStore struct{ p *simProc }

var errStoreDown = errors.New("store does not respond")

// call calls do, unless the call is lost. The response may be lost, too.
func (s simStore) call(ctx context.Context, put bool, do func() error) error {
	w := s.p.w
	if err := s.p.step(); err != nil {
		return err
	}
	time.Sleep(w.upTo(max(w.tr.laggard, 20*time.Millisecond)))
	w.mayPanic()
	if put && w.tr.stall {
		time.Sleep(w.stallFor())
	}
	w.mu.Lock()
	down := !w.calm && w.tr.storeDown > 0 && time.Now().After(w.downFrom) && time.Now().Before(w.downFrom.Add(w.tr.storeDown))
	w.mu.Unlock()
	if down && w.tr.storeHang {
		<-ctx.Done()
		return ctx.Err()
	}
	if down || !w.tr.ackLoss && w.chance(w.tr.storeLoss/2) {
		time.Sleep(50 * time.Millisecond)
		return errStoreDown
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := do()
	time.Sleep(w.upTo(20 * time.Millisecond))
	if (put || !w.tr.ackLoss) && w.chance(w.tr.storeLoss/2) {
		time.Sleep(50 * time.Millisecond)
		return errStoreDown
	}
	if stepErr := s.p.step(); stepErr != nil {
		return stepErr
	}
	return err
}

func (s simStore) Get(ctx context.Context, key string) (rec store.Record, err error) {
	err = s.call(ctx, false, func() (err error) { rec, err = s.p.w.store.Get(ctx, key); return err })
	return rec, err
}

func (s simStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	return s.call(ctx, true, func() error { return s.p.w.store.Put(ctx, rec, prev) })
}

func (s simStore) Delete(ctx context.Context, key string) error {
	return s.call(ctx, false, func() error { return s.p.w.store.Delete(ctx, key) })
}

func (s simStore) List(ctx context.Context, owner string) (recs []store.Record, err error) {
	err = s.call(ctx, false, func() (err error) { recs, err = s.p.w.store.List(ctx, owner); return err })
	return recs, err
}

// simService is the auth service.
type simService struct {
	w      *simWorld
	offset time.Duration
	life   time.Duration

	mu     sync.Mutex
	tokens map[string]*simToken
	access map[string]time.Time // when an access token expires, in true time
}

// simToken is a refresh token.
type simToken struct {
	user      string
	live      bool
	revoked   bool
	uses      int
	open      int       // uses whose response has not reached the process
	retryFrom time.Time // when the next refresh may be sent
}

func (s *simService) issue() auth.Tokens { return s.issueFor("user-1") }

func (s *simService) issueFor(user string) auth.Tokens {
	now := time.Now().Add(s.offset).Unix()
	payload := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user"},"iat":%d,"exp":%d,"n":%d}`,
		user, now, now+int64(s.life/time.Second), len(s.tokens))
	b64 := base64.RawURLEncoding.EncodeToString
	t := auth.Tokens{
		AccessToken:  b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload)) + "." + b64([]byte("signature")),
		RefreshToken: fmt.Sprintf("rt-%d", len(s.tokens)+1),
	}
	s.tokens[t.RefreshToken] = &simToken{live: true, user: user}
	if s.access == nil {
		s.access = map[string]time.Time{}
	}
	s.access[t.AccessToken] = time.Now().Add(s.life)
	return t
}

// refresh handles a refresh that has reached the service.
func (s *simService) refresh(name, rt string) (auth.Tokens, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.w
	tok := s.tokens[rt]
	now := time.Now()
	w.mu.Lock()
	out := w.loggingOut || !w.loggedOut.IsZero()
	w.mu.Unlock()
	// A logout of all sessions does not wait until a session may be refreshed again.
	if now.Before(tok.retryFrom) && !w.tr.all {
		w.problem("%s: a refresh was retried %v too early", name, tok.retryFrom.Sub(now))
	}
	if w.chance(w.tr.refuseRT) {
		// The shortest pause is 75 percent of 250 ms, counted from the response.
		tok.retryFrom = now.Add(180 * time.Millisecond)
		e := &auth.Error{Op: "refresh", StatusCode: 503, Err: auth.ErrUnavailable}
		switch w.pick(4) {
		case 0:
			e.StatusCode, e.RetryAfter = 429, 20*time.Second
			e.Err = errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)
			// Each process has to learn about the rate limit itself.
			tok.retryFrom = now.Add(19 * time.Second)
		case 1:
			e.RetryAfter = 15 * time.Second
			tok.retryFrom = now.Add(14 * time.Second)
		}
		// The record has the end of the pause by the clock of one process. The
		// clock of another may be ahead.
		tok.retryFrom = tok.retryFrom.Add(-w.tr.skew)
		w.logf("%s: %s -> %d", name, rt, e.StatusCode)
		return auth.Tokens{}, e
	}
	w.stats.uses++
	tok.uses++
	if tok.uses > 1 {
		w.stats.secondUses++
		if tok.user == "user-2" && name == "P9" {
			// A new coordinator does not know that acting has ended, and the browser may have
			// missed the response.
		} else if out || w.tr.copies {
			// An old copy of the cookies may have a token that no process remembers.
		} else if tok.open == 0 {
			w.problem("%s: %s was used a second time, after its response had arrived", name, rt)
		} else if !w.excusable() {
			w.problem("%s: %s was used a second time, before its response had arrived", name, rt)
		}
	}
	// The real service looks up a token and rotates it in two steps, so two requests at
	// the same time may both succeed.
	twice := w.tr.twice && tok.uses == 2 && !tok.revoked && w.pick(2) == 0
	if !tok.live && !twice {
		w.logf("%s: %s -> refused", name, rt)
		if tok.uses > 1 && !w.tr.lax {
			for _, other := range s.tokens {
				other.live = other.live && other.user != tok.user
			}
		}
		return auth.Tokens{}, &auth.Error{Op: "refresh", StatusCode: 401, Err: auth.ErrRefused}
	}
	tok.live = false
	t := s.issueFor(tok.user)
	w.stats.refreshes++
	w.logf("%s: %s -> %s", name, rt, t.RefreshToken)
	if w.chance(w.tr.half) {
		t.AccessToken = "half"
		return t, &auth.Error{Op: "refresh", StatusCode: 200, Err: errors.Join(auth.ErrInvalidResponse)}
	}
	return t, nil
}

// excusable reports whether the outcome of a refresh may be unknown in this world.
func (w *simWorld) excusable() bool {
	return w.tr.lost > 0 || w.tr.crash || w.tr.pause || w.tr.panics > 0
}

// simAuth is the auth service of one process.
type simAuth struct{ p *simProc }

func (a simAuth) Login(context.Context, string, string) (auth.Grant, error) {
	s := &a.p.w.service
	s.mu.Lock()
	defer s.mu.Unlock()
	return auth.Grant{Tokens: s.issue()}, nil
}

func (a simAuth) Refresh(ctx context.Context, t auth.Tokens) (auth.Grant, error) {
	rt := t.RefreshToken
	w := a.p.w
	if err := a.p.step(); err != nil {
		return auth.Grant{}, err
	}
	a.p.mu.Lock()
	a.p.refreshed = time.Now()
	a.p.mu.Unlock()
	if w.chance(w.tr.panics) {
		w.excuse()
		panic("a mistake in the service's client")
	}
	type response struct {
		t   auth.Tokens
		err error
	}
	arrived := make(chan response, 1)
	go func() { // the service handles the request even if the client has disconnected
		time.Sleep(w.upTo(50 * time.Millisecond))
		w.service.mu.Lock()
		w.service.tokens[rt].open++
		w.service.mu.Unlock()
		t, err := w.service.refresh(a.p.name, rt)
		if w.tr.slow > 0 {
			time.Sleep(w.upTo(w.tr.slow))
		} else {
			time.Sleep(w.upTo(300 * time.Millisecond))
		}
		if err == nil && w.chance(w.tr.lost) {
			w.logf("%s: the response with %s is lost", a.p.name, t.RefreshToken)
			t, err = auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown)}
			w.excuse()
			arrived <- response{t, err}
			return
		}
		if a.p.step() != nil {
			return
		}
		w.service.mu.Lock()
		w.service.tokens[rt].open--
		w.service.mu.Unlock()
		arrived <- response{t, err}
	}()
	select {
	case got := <-arrived:
		return auth.Grant{Tokens: got.t}, got.err
	case <-ctx.Done():
		return auth.Grant{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown, ctx.Err())}
	}
}

// excuse notes a fault that may end the session.
func (w *simWorld) excuse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused = true
}

func (a simAuth) Logout(_ context.Context, t auth.Tokens, all bool) error {
	if err := a.p.step(); err != nil {
		return err
	}
	w := a.p.w
	time.Sleep(w.upTo(100 * time.Millisecond))
	w.mayPanic()
	if w.chance(w.tr.refuseRT) {
		return &auth.Error{Op: "logout", StatusCode: 503, Err: auth.ErrUnavailable}
	}
	s := &w.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if all && time.Now().After(s.access[t.AccessToken]) {
		w.logf("%s: the access token of %s has expired", a.p.name, t.RefreshToken)
		return &auth.Error{Op: "logout", StatusCode: 401, Err: auth.ErrRefused}
	}
	w.logf("%s: %s is revoked, all: %v", a.p.name, t.RefreshToken, all)
	if all {
		for _, tok := range s.tokens {
			tok.live, tok.revoked = false, true
		}
	}
	if tok := s.tokens[t.RefreshToken]; tok != nil {
		tok.live, tok.revoked = false, true
	}
	return nil
}
