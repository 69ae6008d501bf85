package session

import (
	"net/http"

	"github.com/synmetrix/session/internal/seal"
)

// pendingLogin is a login with the right password that waits for a one-time code.
// The browser keeps the ticket in a sealed cookie, so that any process can complete
// the login. A pendingLogin without a ticket ends a pending login.
type pendingLogin struct{ ticket string }

// setPending makes the response set or delete the cookie of a pending login. It
// fails with [ErrCommitted] if the response has begun.
func (x *Exchange) setPending(p *pendingLogin) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.committed {
		return ErrCommitted
	}
	x.pending = p
	return nil
}

// pendingTicket returns the ticket of the pending login, "" if there is none. A login
// step of the same request has priority over the cookie.
func (x *Exchange) pendingTicket() string {
	x.mu.Lock()
	pending := x.pending
	x.mu.Unlock()
	if pending != nil {
		return pending.ticket
	}
	return x.openPending()
}

// openPending returns the ticket in the presented cookies, "" if there is none. It
// opens the cookies once: the handler and Commit may both need the ticket.
func (x *Exchange) openPending() string {
	if !x.presented.Has(x.m.jar.MFA) {
		return ""
	}
	x.mu.Lock()
	p := x.presentedLogin
	x.mu.Unlock()
	if p == nil {
		p = &pendingLogin{x.readPending()}
		x.mu.Lock()
		x.presentedLogin = p
		x.mu.Unlock()
	}
	return p.ticket
}

// readPending is openPending without its memory.
func (x *Exchange) readPending() string {
	now, name := x.m.now(), x.m.jar.MFA
	for sealed := range x.m.jar.Candidates(x.presented, seal.MFA, []string{name}) {
		if plain, _, ok := x.m.openText(seal.MFA, name, sealed); ok {
			if ticket, ok := decodePending(plain, now); ok {
				return ticket
			}
		}
	}
	return ""
}

// commitPending sets or deletes the cookie of a pending login. It also deletes a
// presented cookie that has expired or cannot be opened.
func (x *Exchange) commitPending(h http.Header, pending *pendingLogin) {
	m, name := x.m, x.m.jar.MFA
	if pending == nil && (!x.presented.Has(name) || x.openPending() != "") {
		return
	}
	if pending == nil || pending.ticket == "" {
		m.jar.Expire(h, []string{name}, x.presented)
		return
	}
	plain := encodePending(m.now().Add(pendingLife), pending.ticket)
	if sealed, err := m.secrets[0].Cookies.Seal(seal.MFA, name, plain); err == nil {
		_ = m.jar.Set(h, []string{name}, sealed, pendingLife, x.presented) // Login has checked that it fits
	}
}
