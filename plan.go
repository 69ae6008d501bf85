package session

import (
	"cmp"
	"errors"
	"time"

	"github.com/synmetrix/session/internal/keeper"
)

// This file decides which cookies a response sets, and commit.go sets them. plan and
// revise have no side effects and do no I/O.

// sessionState is the state of a Session at the time of Commit.
type sessionState struct {
	rec     *keeper.Record    // nil if there is nothing to write
	readAt  time.Time         // when rec was read
	values  map[string][]byte // of a cookie session, with the changes
	changed bool              // the handler has changed values
	begun   bool              // rec is of a visitor, who has no cookie for it yet
	expire  bool              // the presented cookies can be deleted

	// unavailable reports that rec could not be resolved, because its access token has expired
	// and the auth service is down.
	unavailable bool
}

// commitState returns the state to commit. After it, a cookie session accepts no more
// values, because the response could not carry them. The session of a visitor without
// values accepts none either, because the response could not carry its cookie.
func (s *Session) commitState() sessionState {
	if s.m == nil || s.bearer {
		return sessionState{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, _ := s.changesLocked()
	c := sessionState{
		rec: s.rec, readAt: s.readAt, unavailable: s.failure != nil,
		changed: len(changes) > 0, begun: s.begun, expire: s.expire,
	}
	if !s.m.stored() || s.rec == nil {
		s.closed = cmp.Or(s.closed, closedByCommit)
		c.values = s.valuesLocked()
	}
	return c
}

// cookiePlan lists the changes of the session's cookies by the response.
type cookiePlan struct {
	expire        bool // delete the presented cookies of a user's session
	expireVisitor bool // delete the presented cookies of a visitor's session
	evictPages    bool // make browsers drop the pages that they keep for the back button

	rec     *keeper.Record // whose cookies are set; nil: none
	tokens  bool           // set the tokens cookie of a cookie session
	state   bool           // set the state cookie of a cookie session, or the cookie of a visitor's session
	touch   bool           // record that the session is in use
	changed bool           // the handler has changed values
}

// plan decides what the response does, before the store or the coordinator is
// read. It has no side effects.
func (x *Exchange) plan(o *outcome, c sessionState) cookiePlan {
	p := cookiePlan{
		expire:     o.fate == unusable || o.fate == signsOut || c.expire,
		evictPages: o.fate == signsOut && x.navigates(),
		rec:        c.rec, changed: c.changed,
	}
	if c.rec == nil || !c.rec.Visitor {
		// If the browser has cookies of a user, its visitor cookie is from before the
		// sign-in.
		p.expireVisitor = x.place.visitors && (o.fate != keeps || c.expire || c.rec != nil && !c.unavailable)
	}
	if c.rec == nil {
		return p
	}
	if c.unavailable {
		// The cookies stay as they are, and the next request may find the session available
		// again. But the request counts as use, so that an outage of the auth service does not
		// end the sessions of users who try again.
		p.touch = !o.passive && x.m.touchDue(c.rec, c.readAt)
		if p.state = p.touch; !p.touch {
			p.rec = nil
		}
		return p
	}
	isNew := o.fate == signsIn || c.begun
	p.touch = !isNew && !o.passive && x.m.touchDue(c.rec, c.readAt)
	if c.rec.Visitor {
		p.state = c.changed || c.begun || p.touch || x.reseal
		return p
	}
	// A late request presents older tokens than the record has. Its response
	// carries the newest.
	p.tokens = isNew || x.reseal || c.rec.Pair.Gen > x.gen
	p.state = isNew || x.reseal || c.changed || p.touch
	return p
}

// navigates reports whether the browser shows the response as a page.
func (x *Exchange) navigates() bool { return x.header.Get("Sec-Fetch-Mode") == "navigate" }

// revise returns the plan for a cookie session after the coordinator was read.
// newest holds the newest tokens that the coordinator has, nil if it has none;
// err is why they could not be read. due reports whether the plan's own tokens
// are due for refresh.
//
// Without this step a late response could revive a session that has ended in the meantime,
// or replace newer tokens that another response has delivered. revise has no side effects.
func (p cookiePlan) revise(o *outcome, newest *keeper.Record, err error, due bool) (cookiePlan, error) {
	isNew := o.fate == signsIn
	switch {
	case err != nil && endReason(err) != "":
		p.tokens, p.state = false, false
	case err != nil && isNew:
		// The coordinator cannot have newer tokens, or the end, of a session that
		// starts with this response.
	case err != nil && p.changed:
		// Without its cookie the change would be lost silently.
		return cookiePlan{}, err
	case err != nil:
		// A state cookie alone cannot revive a session. It is set even during an outage of
		// the coordinator, so that the outage does not count as idle time.
		p.tokens, p.state = false, p.touch
	case newest != nil && newest.Pair.Gen > p.rec.Pair.Gen:
		p.rec = p.rec.Clone()
		p.rec.Pair, p.tokens = newest.Pair, true
	case newest == nil && p.tokens && !isNew:
		// The coordinator forgets the newest tokens some time after a browser has
		// presented them. If the plan's tokens are due, another process may have
		// refreshed them, and the browser may have the successors.
		p.tokens = !due
	}
	return p, nil
}

// endReason returns why the session has ended if err says so, and "" otherwise. Most
// responses have no error, and errors.As allocates.
func endReason(err error) keeper.Reason {
	var why *keeper.Error
	if errors.As(err, &why) {
		return why.Ended
	}
	return ""
}
