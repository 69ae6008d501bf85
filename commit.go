package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/synmetrix/session/internal/deadline"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/nostore"
	"github.com/synmetrix/session/internal/seal"
)

// This file writes a session to the response. plan.go decides which cookies the response
// sets; commitCookies, commitStored and commitVisitor carry that plan out.

// Commit writes the session's cookies, cache headers and, with Config.Embedders, the
// headers for frames into h, the header of the response. It saves changed values of a
// stored session. If the request has signed in or out, Commit also sets Clear-Site-Data, so
// that browsers drop the pages that they have prefetched. Only the first call has an
// effect.
//
// Caches must not store a response that sets a session cookie, nor a response to a
// signed-in user whose session the handler has read by [FromContext]. Commit sets
// "Cache-Control: no-store" on these and removes every other field that caches obey, such
// as CDN-Cache-Control (RFC 9213). Other responses keep the fields of the handler.
//
// If Commit fails, the changes are not saved, and are not saved later either, so that the
// client can repeat the request. The caller must respond with status 413 if the error is
// [ErrTooLarge], with 401 if it is [ErrEnded], and with 503 otherwise, and must discard the
// handler's body. ErrEnded means that the browser has signed in again in the meantime, and
// that the changes belong to its previous session. Every other error is an
// [*UnavailableError].
func (x *Exchange) Commit(h http.Header) (err error) {
	x.mu.Lock()
	if x.committed {
		x.mu.Unlock()
		return nil
	}
	x.committed = true
	s, o, lastActing := x.session.Load(), x.outcome, x.lastActing
	x.mu.Unlock()
	before := len(h["Set-Cookie"])
	defer x.reportCommit(h, before, x.m.calls.Start(), &err)
	err = x.commitSession(h, s, &o)
	changed := o.pending[codeStep] != nil // by a login, a logout, or the first step of a login
	if lastActing != nil {
		begun, failed := lastActing.commitActing(h, &o, err)
		changed, err = changed || begun, cmp.Or(err, failed)
	}
	if err != nil {
		s.discardChanges()
	}
	if err != nil && o.fate == signsIn {
		// The browser never gets the cookies of the new session, so its tokens
		// would stay valid at the service without a user.
		x.m.keeper.Undelivered(context.WithoutCancel(x.ctx), o.current)
	}
	for s, p := range o.pending {
		x.commitPending(h, step(s), p)
	}
	if o.device != "" && err == nil {
		x.commitDevice(h, o.device)
	}
	if changed {
		// Prefetched pages show the previous user.
		h.Add("Clear-Site-Data", `"prefetchCache", "prerenderCache"`)
	}
	if err == nil { // after an error, the handler's response is replaced
		x.setFrameFields(h)
	}
	// After a sign-out, s is another session than the one that the handler may have read.
	if (s.presented || x.first.presented) && x.accessed.Load() || len(h["Set-Cookie"]) > before {
		nostore.Set(h)
	}
	return err
}

// commitSession plans the response for s and carries the plan out.
func (x *Exchange) commitSession(h http.Header, s *Session, o *outcome) error {
	m, j := x.m, x.m.jar
	c := s.commitState()
	p := x.plan(o, c)
	if p.expire {
		if o.fate != unusable {
			x.forget()
		}
		j.Expire(h, x.place.tokens, x.presented)
		j.Expire(h, x.place.state, x.presented)
	}
	if p.expireVisitor {
		j.Expire(h, j.Visitor, x.presented)
	}
	if p.evictPages {
		// Browsers keep pages for the back button, even with no-store, and drop them when
		// the cookies have changed. Chromium (as of version 156) compares the number of
		// cookies: a sign-out that deletes as many cookies as the sign-in set counts as no
		// change. So the response sets one more cookie.
		j.Add(h, j.MFA, "0", time.Second)
		j.Delete(h, j.MFA)
	}
	switch {
	case p.rec == nil:
		return nil
	case p.rec.Visitor:
		return x.commitVisitor(h, s, c, p)
	case m.stored():
		return x.commitStored(h, s, p, o.fate == signsIn)
	case !p.tokens && !p.state:
		return nil
	}
	return x.commitCookies(h, s, c, p, o)
}

// writeContext returns a context for writes that belong to the response. The context has
// the values of the request's context and outlives it, because changes must not be lost if
// the client disconnects. The caller must end it.
func (x *Exchange) writeContext() *deadline.Context {
	return deadline.New(context.WithoutCancel(x.ctx), 4*x.m.cfg.StoreTimeout)
}

// commitCookies carries out the plan for a cookie session.
func (x *Exchange) commitCookies(h http.Header, s *Session, c sessionState, p cookiePlan, o *outcome) error {
	m := x.m
	ctx := x.writeContext()
	defer ctx.End()
	newest, readErr := m.keeper.Newest(ctx, p.rec)
	due, _ := m.keeper.Due(p.rec, m.now())
	p, err := p.revise(o, newest, readErr, due)
	switch {
	case err != nil:
		return m.publicError(ctx, c.rec, err)
	case readErr != nil:
		_ = m.publicError(ctx, p.rec, readErr) // reports readErr, unless the session has ended
	}
	if !p.tokens && !p.state {
		return nil
	}
	rec := p.rec
	// A new session and new keys need cookies, too, but change nothing.
	changes := c.changed || p.touch || rec != c.rec
	if changes {
		rec = rec.Clone()
		rec.Values = c.values
	}
	if p.touch {
		rec.LastSeen = m.now()
	}
	if err := x.setCookies(ctx, h, rec, p.tokens, p.state); err != nil {
		return err
	}
	if p.touch {
		m.keeper.Used(ctx, rec)
	}
	if changes {
		s.noteCommitted(rec)
	}
	return nil
}

// setCookies sets the tokens cookie of a cookie session, its state cookie, or
// both.
func (x *Exchange) setCookies(ctx context.Context, h http.Header, rec *keeper.Record, tokens, state bool) error {
	m := x.m
	age := m.cookieAge(rec)
	e := seal.NewEncoder()
	defer e.Free()
	if tokens {
		encodeTokens(e, rec)
		switch err := x.set(h, x.place.tokens, x.place.sealTokens, e.B, age); {
		case errors.Is(err, ErrTooLarge):
			// The tokens have grown at a refresh. The session continues: the coordinator
			// has the new tokens, and finds them by the browser's old cookies.
			if m.noteOutgrown(rec) {
				m.event(ctx, slog.LevelError, rec, Event{Name: EventTokensUnwritten, Err: err})
			}
		case err != nil:
			return &UnavailableError{Err: err}
		}
	}
	if state {
		e.B = e.B[:0]
		encodeState(e, rec)
		if err := x.set(h, x.place.state, x.place.sealState, e.B, age); err != nil {
			return &UnavailableError{Err: err}
		}
	}
	return nil
}

// maxOutgrown bounds the number of sessions in Manager.outgrown.
const maxOutgrown = 4096

// noteOutgrown records that the tokens of r fit no cookie. It returns true the first time
// for each generation, so that a generation is logged once and not with each response.
func (m *Manager) noteOutgrown(r *keeper.Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.outgrown[r.Key] >= r.Pair.Gen {
		return false
	}
	if len(m.outgrown) >= maxOutgrown {
		clear(m.outgrown) // some generations are logged twice, but the memory stays bounded
	}
	m.outgrown[r.Key] = r.Pair.Gen
	return true
}

// noteCommitted stores in s the state that the cookies of the response hold.
func (s *Session) noteCommitted(rec *keeper.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasRecordLocked(rec) {
		return
	}
	if rec.Pair.Gen <= s.rec.Pair.Gen || rec.Pair.Claims == nil {
		rec.Pair = s.rec.Pair
	}
	s.rec = rec
	s.discardLocked()
}

// commitStored carries out the plan for a stored session. Its cookie holds the
// session's ID alone, so only a new session or a new key needs a cookie.
func (x *Exchange) commitStored(h http.Header, s *Session, p cookiePlan, isNew bool) error {
	m, j := x.m, x.m.jar
	reseal := x.reseal && !isNew
	if p.changed || p.touch || reseal {
		ctx := x.writeContext()
		defer ctx.End()
		// Writing the record seals it with the newest key. The record and the
		// cookie must change keys together: when the operator removes the old
		// key, neither may still depend on it.
		err := m.publicError(ctx, p.rec, s.save(ctx, p.touch || reseal))
		switch {
		case p.changed && endedByLogin(err):
			return err // the new session would not have the changes
		case errors.Is(err, ErrEnded):
			return nil // the response is late: the session has ended in the meantime
		case err != nil && p.changed:
			return err
		case err != nil:
			reseal = false // a later response tries again
		case p.touch:
			m.keeper.Used(ctx, p.rec)
		}
	}
	if !isNew && !reseal {
		return nil
	}
	age := m.cookieAge(p.rec)
	// The browser may have a state cookie, and chunks of the tokens cookie, from before the
	// app had a store. The ID needs one cookie, so set deletes the chunks.
	j.Expire(h, x.place.state, x.presented)
	return x.set(h, x.place.tokens, x.place.sealID, p.rec.ID[:], age)
}

// endedByLogin reports whether err says that the session has ended because its browser has
// signed in again.
func endedByLogin(err error) bool {
	var ended *endedError
	return errors.As(err, &ended) && ended.why == keeper.EndedByLogin
}

// commitVisitor carries out the plan for the session of a visitor. Its cookie has a
// different name from a user's, so a response that arrives after a sign-in does not replace
// the user's cookie.
func (x *Exchange) commitVisitor(h http.Header, s *Session, c sessionState, p cookiePlan) error {
	m, j := x.m, x.m.jar
	if !p.state || c.begun && len(s.withChanges(p.rec.Values)) == 0 {
		return nil // the values were deleted in the request that set them
	}
	rec := p.rec.Clone()
	if m.stored() {
		ctx := x.writeContext()
		defer ctx.End()
		switch err := m.publicError(ctx, rec, s.save(ctx, p.touch || x.reseal)); {
		case p.changed && endedByLogin(err):
			return err
		case errors.Is(err, ErrEnded):
			return nil // the session has ended in the meantime
		case err != nil && (p.changed || c.begun):
			return err
		case err != nil || !c.begun && !x.reseal:
			return nil
		}
		return x.set(h, j.Visitor, seal.Visitor, rec.ID[:], m.cookieAge(rec))
	}
	rec.Values = c.values
	if p.touch {
		rec.LastSeen = m.now()
	}
	s.noteCommitted(rec)
	if len(rec.Values) == 0 {
		j.Expire(h, j.Visitor, x.presented)
		return nil
	}
	if err := x.set(h, j.Visitor, seal.Visitor, encodeVisitor(rec), m.cookieAge(rec)); err != nil {
		return &UnavailableError{Err: err}
	}
	return nil
}

// set seals plain with the newest key and adds it to h, under one of names or
// split over several. It fails with [ErrTooLarge] if the cookies would be too
// many.
func (x *Exchange) set(h http.Header, names []string, purpose string, plain []byte, age time.Duration) error {
	sealed := seal.NewEncoder()
	defer sealed.Free()
	var err error
	if sealed.B, err = x.m.secrets[0].Cookies.AppendSeal(sealed.B, purpose, names[0], plain); err != nil {
		return err
	}
	if !x.m.jar.Set(h, names, sealed.B, age, x.presented) {
		return errCookiesFull
	}
	return nil
}

// End saves the values of a stored session that the handler changed after Commit.
// Afterwards the session accepts no more values, because they could not be saved. The
// caller must call End once, after the handler. It is too late to report the error to the
// client, so End reports it as [EventValuesLost].
func (x *Exchange) End() (err error) {
	if y := x.acting.Load(); y != nil {
		defer func() { err = cmp.Or(y.End(), err) }()
	}
	s := x.session.Load()
	if s.m == nil || !x.m.stored() {
		return nil
	}
	s.close(closedByCommit)
	c := s.commitState()
	if c.rec == nil || !c.changed {
		return nil
	}
	ctx := x.writeContext()
	defer ctx.End()
	err = x.m.publicError(ctx, c.rec, s.save(ctx, false))
	if err != nil && !errors.Is(err, ErrEnded) {
		x.m.event(ctx, slog.LevelError, c.rec, Event{Name: EventValuesLost, Err: err})
	}
	return err
}

// touchDue reports whether the use of a session at now must be recorded: a tenth of the
// idle timeout has passed since the last time. Recording each request would cost
// a cookie or a write to the store per request.
func (m *Manager) touchDue(r *keeper.Record, now time.Time) bool {
	return now.Sub(r.LastSeen) >= m.cfg.IdleTimeout/10
}
