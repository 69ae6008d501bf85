package session

import (
	"net/http"

	"github.com/synmetrix/session/internal/seal"
)

// pending is a sign-in that waits for its second step. The browser keeps it in a
// sealed cookie, so that any process can complete the sign-in. The zero pending ends
// a pending sign-in.
type pending struct {
	waits  bool
	ticket string // of the service, for the one-time code
	email  string // of the account; empty if any account may sign in
	signInOptions
}

// step is the second step of a sign-in. A browser may wait for both at once.
type step int

const (
	codeStep step = iota // a one-time code
	linkStep             // a link in an e-mail, or the return from another provider
	steps
)

// stepCookie returns the name of the cookie of a pending sign-in, and the purpose of
// its seal.
func (m *Manager) stepCookie(s step) (name, purpose string) {
	if s == codeStep {
		return m.jar.MFA, seal.MFA
	}
	return m.jar.Link, seal.Link
}

// await makes p the browser's pending sign-in at a step.
func (m *Manager) await(x *Exchange, s step, p pending) error {
	p.waits = true
	fits := func() bool { return m.jar.FitsOne(seal.Size(len(encodePending(m.now(), p)))) }
	if !fits() {
		p.returnTo = "" // the user can still sign in
	}
	if !fits() {
		return errCookiesFull
	}
	return x.setPending(s, p)
}

// setPending makes the response set or delete the cookie of a pending sign-in. It
// fails with [ErrCommitted] if the response has begun.
func (x *Exchange) setPending(s step, p pending) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.committed {
		return ErrCommitted
	}
	x.pending[s] = &p
	return nil
}

// endPendingLocked makes the response end all pending sign-ins, because the browser has
// signed in or out.
func (x *Exchange) endPendingLocked() { x.pending = [steps]*pending{noPending, noPending} }

// noPending is no pending sign-in. It is never modified.
var noPending = &pending{}

// pendingAt returns the pending sign-in at a step. A step of the same request has
// priority over the cookie.
func (x *Exchange) pendingAt(s step) pending {
	x.mu.Lock()
	p := x.pending[s]
	x.mu.Unlock()
	if p != nil {
		return *p
	}
	return x.openPending(s)
}

// openPending returns the pending sign-in in the presented cookies. It opens the
// cookies once: the handler and Commit may both need it.
func (x *Exchange) openPending(s step) pending {
	if name, _ := x.m.stepCookie(s); !x.presented.Has(name) {
		return pending{}
	}
	x.mu.Lock()
	p := x.presentedPending[s]
	x.mu.Unlock()
	if p == nil {
		opened := x.readPending(s)
		p = &opened
		x.mu.Lock()
		x.presentedPending[s] = p
		x.mu.Unlock()
	}
	return *p
}

// readPending opens the presented cookies of a pending sign-in.
func (x *Exchange) readPending(s step) pending {
	now := x.m.now()
	name, purpose := x.m.stepCookie(s)
	for sealed := range x.m.jar.Candidates(x.presented, purpose, []string{name}) {
		if plain, _, ok := x.m.openText(purpose, name, sealed); ok {
			if p, ok := decodePending(plain, now); ok {
				return p
			}
		}
	}
	return pending{}
}

// commitPending sets or deletes the cookie of a pending sign-in. It also deletes a
// presented cookie that has expired or cannot be opened.
func (x *Exchange) commitPending(h http.Header, s step, p *pending) {
	m := x.m
	name, purpose := m.stepCookie(s)
	if p == nil && (!x.presented.Has(name) || x.openPending(s).waits) {
		return
	}
	if p == nil || !p.waits {
		m.jar.Expire(h, []string{name}, x.presented)
		return
	}
	plain := encodePending(m.now().Add(pendingLife), *p)
	_ = x.set(h, []string{name}, purpose, plain, m.ageOf(pendingLife)) // await has checked that it fits
}
