package session

import (
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// This file opens the cookies that a request presents. Requests share what was opened.

// openCookies returns the user's session in the presented cookies, nil if they cannot be
// opened. It skips sessions with the IDs skipped.
func (x *Exchange) openCookies(skipped []keeper.ID) *keeper.Record {
	p := x.place
	if x.m.stored() {
		var accept func(*idCookie) bool
		if skipped != nil {
			accept = func(c *idCookie) bool { return !slices.Contains(skipped, c.record.ID) }
		}
		c := open(x, p.tokens[:1], p.sealID, decodeID, accept)
		if c == nil {
			return nil
		}
		return &c.record
	}
	var accept func(*tokensCookie) bool
	if skipped != nil {
		accept = func(c *tokensCookie) bool { return !slices.Contains(skipped, c.record.ID) }
	}
	c := open(x, p.tokens, p.sealTokens, x.m.decodeTokens, accept)
	if c == nil {
		return nil
	}
	// A browser may have the state cookie of an earlier session.
	sameSession := func(s *stateCookie) bool { return s.session == tagOf(c.record.ID) }
	return c.with(open(x, p.state, p.sealState, decodeState, sameSession))
}

// openVisitor returns the visitor's session in the presented cookies, nil if they cannot
// be opened.
func (x *Exchange) openVisitor() *keeper.Record {
	j := x.m.jar
	if x.m.stored() {
		if c := open(x, j.Visitor[:1], seal.Visitor, decodeVisitorID, nil); c != nil {
			return &c.record
		}
		return nil
	}
	if c := open(x, j.Visitor, seal.Visitor, decodeVisitor, nil); c != nil {
		return &c.record
	}
	return nil
}

// openedCookie is a cookie that was opened. Manager.opened has it under its sealed text.
type openedCookie struct {
	purpose string
	content cookieContent // shared, never modified
	old     bool          // an older key opened it
}

// open returns the content of the first cookie under names that one of the keys
// opens and accept accepts, nil if there is none. Requests share the content, so
// it must not be modified.
//
// A browser may present several cookies of one name, for example one that another
// host of the domain has set. A cookie that cannot be opened must not hide one
// that can.
func open[C cookieContent](x *Exchange, names []string, purpose string, decode func(string) (C, bool), accept func(C) bool) (content C) {
	for sealed := range x.m.jar.Candidates(x.presented, purpose, names) {
		opened, ok := x.m.opened.Get(sealed)
		// A client may present a text as another cookie than that for which it was sealed.
		if !ok || opened.purpose != purpose {
			if opened, ok = openSealed(x.m, names[0], purpose, sealed, decode); !ok {
				continue
			}
			sealed = strings.Clone(sealed) // it may be part of a large header
			x.m.opened.Put(sealed, opened, opened.content.memory()+2*len(sealed), x.m.forgetAt(opened.content))
		}
		if c := opened.content.(C); accept == nil || accept(c) {
			x.reseal = x.reseal || opened.old
			return c
		}
	}
	return content
}

// forgetAt returns the time after which content is not needed if the browser sends no
// further request.
func (m *Manager) forgetAt(content cookieContent) time.Time {
	idle := m.now().Add(m.cfg.IdleTimeout)
	if end := content.end(m); !end.IsZero() && end.Before(idle) {
		return end
	}
	return idle
}

// forget drops what is remembered of the session's presented cookies, because the session
// has ended.
func (x *Exchange) forget() {
	p := x.place
	names, purpose := p.tokens, p.sealTokens
	if x.m.stored() {
		names, purpose = p.tokens[:1], p.sealID
	}
	for sealed := range x.m.jar.Candidates(x.presented, purpose, names) {
		x.m.opened.Remove(sealed)
	}
	for sealed := range x.m.jar.Candidates(x.presented, p.sealState, p.state) {
		x.m.opened.Remove(sealed)
	}
}

// openSealed opens and decodes a cookie.
func openSealed[C cookieContent](m *Manager, name, purpose, sealed string, decode func(string) (C, bool)) (openedCookie, bool) {
	plain, old, ok := m.openText(purpose, name, sealed)
	if !ok {
		return openedCookie{}, false
	}
	content, ok := decode(plain)
	return openedCookie{purpose, content, old}, ok
}

// maxUnchecked is the length of the longest text that is opened without a check of its
// MAC first. Opening allocates a multiple of the length. Most cookies are shorter than
// maxUnchecked, and need no second computation of the MAC.
const maxUnchecked = 1024

// openText opens a sealed text with the first key that fits. old reports that this is
// not the newest key.
//
// Any client can send texts that no key opens. Such texts must not allocate memory once per
// key, so only the newest key opens a text unchecked.
func (m *Manager) openText(purpose, name, text string) (plain string, old, ok bool) {
	for i, s := range m.secrets {
		if (i > 0 || len(text) > maxUnchecked) && !s.Cookies.Authentic(purpose, name, text) {
			continue
		}
		if plain, ok := s.Cookies.Open(purpose, name, text); ok {
			return plain, i > 0, true
		}
	}
	return "", false, false
}

// decodeTokens decodes a tokens cookie and reads the claims of its access token, once
// for all requests that present the cookie.
func (m *Manager) decodeTokens(b string) (*tokensCookie, bool) {
	c, ok := decodeTokens(b)
	if !ok {
		return nil, false
	}
	m.keeper.ReadClaims(&c.record)
	return c, true
}

// authentic reports whether one of the keys has sealed the parts of a cookie's
// value.
func (m *Manager) authentic(purpose, name string, parts []string) bool {
	return slices.ContainsFunc(m.secrets, func(s seal.Secret) bool {
		return s.Cookies.Authentic(purpose, name, parts...)
	})
}
