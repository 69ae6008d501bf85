package session

import (
	"net/http"

	"github.com/synmetrix/session/internal/seal"
)

// pendingLogin is a login whose password was right and that waits for a second
// factor. The browser keeps the ticket, sealed. Without a ticket it stands for the
// end of the pending login.
type pendingLogin struct{ ticket string }

// setPending fails with [ErrCommitted] if the cookie can't be set any more.
func (x *Exchange) setPending(p *pendingLogin) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.committed {
		return ErrCommitted
	}
	x.pending = p
	return nil
}

func (x *Exchange) pendingTicket() string {
	x.mu.Lock()
	pending := x.pending
	x.mu.Unlock()
	if pending != nil {
		return pending.ticket
	}
	return x.openPending()
}

// openPending returns the ticket of the pending login that was presented,
// empty if there is none.
func (x *Exchange) openPending() string {
	now, name := x.m.now(), x.m.jar.MFA
	for sealed := range x.m.jar.Candidates(x.presented, seal.MFA, []string{name}) {
		for _, s := range x.m.secrets {
			if plain, ok := s.Cookies.Open(seal.MFA, name, sealed); ok {
				if ticket, ok := decodePending(plain, now); ok {
					return ticket
				}
			}
		}
	}
	return ""
}

// commitPending sets or deletes the cookie of a pending login. A cookie that does
// not open is deleted, too.
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
		_ = m.jar.Set(h, []string{name}, sealed, pendingLife, x.presented) // it fits
	}
}
