package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gorilla/securecookie"

	"github.com/synmetrix/session/store"
)

// reason says why a session has ended. Its text is stable: it stands in logs.
type reason string

const (
	endedByLogout       reason = "logout"
	endedByLogoutAll    reason = "logout_all"
	endedByLogin        reason = "replaced_by_login"
	endedByRefusal      reason = "refresh_refused"
	endedByUnknown      reason = "refresh_outcome_unknown"
	endedByOtherUser    reason = "refresh_other_user"
	endedByIdleTimeout  reason = "idle_timeout"
	endedByLifetime     reason = "lifetime"
	endedByStore        reason = "revoked" // the store has no record of it any more
	endedBeforeDelivery reason = "login_not_delivered"
)

// byBrowser reports whether the session ended at a request of its own browser,
// whose answer took its cookies away or replaced them. Late requests that still
// carry those must not touch what the browser has by then, which may be the
// session of another user.
func (why reason) byBrowser() bool {
	return why == endedByLogout || why == endedByLogoutAll || why == endedByLogin
}

// endedError is what a ledger answers for a session that is over.
type endedError struct {
	why  reason
	left Tokens // that may not have been given back yet
}

func (e *endedError) Error() string {
	return "session: " + ErrEnded.Error() + " (" + string(e.why) + ")"
}
func (e *endedError) Is(target error) bool { return target == ErrEnded }

// errCorrupt: the store returned a record that does not open for the session
// it was asked for.
var errCorrupt = errors.New("record does not open")

// ledger reads and writes the record of one session. Every write is a loop:
// read, check, re-apply, swap.
//
// A stored session's record is made at login and its absence means that the
// session has ended. A cookie session's record is made by the first write;
// until then, and after it has expired, base stands for it: what the browser's
// cookies say.
type ledger struct {
	m    *Manager
	id   sessionID
	key  string
	base *record // nil for a stored session

	seals []*securecookie.SecureCookie // by secret, made when needed
}

func (m *Manager) ledger(base *record) *ledger {
	l := &ledger{m: m, id: base.id, key: base.key}
	if !m.stored {
		l.base = &record{id: base.id, key: base.key, userID: base.userID, created: base.created, pair: base.pair}
	}
	return l
}

// read returns the record as it is now. Its errors are an *endedError, or
// leave the session's fate open.
func (l *ledger) read(ctx context.Context) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, l.m.cfg.StoreTimeout)
	defer cancel()
	rec, err := l.m.store.Get(ctx, l.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if l.base == nil {
			return nil, &endedError{why: endedByStore}
		}
		return l.base, nil
	case err != nil:
		return nil, err
	}
	r, err := l.open(rec)
	if err != nil {
		return nil, err
	}
	if r.ended != "" {
		return nil, &endedError{why: r.ended, left: r.pair.tokens}
	}
	if l.base != nil && l.base.pair.gen > r.pair.gen {
		// The coordinator has lost a generation that the browser has.
		r, v := l.base.clone(), r.version
		r.version = v
		return r, nil
	}
	return r, nil
}

// open returns the record that rec holds, which others may have, too.
func (l *ledger) open(rec store.Record) (*record, error) {
	// A version is chosen at random for each state of a record: it stands for
	// the bytes.
	if r, ok := l.m.records.get(l.key); ok && r.version == rec.Version && rec.Key == l.key {
		return r, nil
	}
	plain := rec.Data
	if !l.m.plain {
		var ok bool
		if plain, ok = l.unseal(rec.Data); !ok {
			return nil, errCorrupt
		}
	}
	r, err := decodeRecord(plain, l.id, l.key)
	if err != nil || rec.Key != l.key {
		return nil, errCorrupt
	}
	r.version = rec.Version
	r.pair.claims = l.m.readClaims(r)
	l.m.records.put(l.key, r, r.memory()+len(plain))
	return r, nil
}

func (l *ledger) unseal(data []byte) ([]byte, bool) {
	for i := range l.m.secrets {
		if plain, ok := open(l.seal(i), purposeRecord, l.key, string(data)); ok {
			return plain, true
		}
	}
	return nil, false
}

func (l *ledger) seal(i int) *securecookie.SecureCookie {
	if l.seals == nil {
		l.seals = make([]*securecookie.SecureCookie, len(l.m.secrets))
	}
	if l.seals[i] == nil {
		l.seals[i] = l.m.secrets[i].recordSeal(l.id)
	}
	return l.seals[i]
}

// put stores r if the stored version is prev.
func (l *ledger) put(ctx context.Context, r *record, prev uint64) error {
	rec := store.Record{Key: l.key, Version: r.version, ExpiresAt: l.expiry(r)}
	if l.base == nil && r.ended == "" {
		rec.Owner = l.m.secrets[0].ownerOf(r.userID)
	}
	rec.Data = r.encode()
	if !l.m.plain {
		sealed, err := seal(l.seal(0), purposeRecord, l.key, rec.Data)
		if err != nil {
			return err
		}
		rec.Data = []byte(sealed)
	}
	ctx, cancel := context.WithTimeout(ctx, l.m.cfg.StoreTimeout)
	defer cancel()
	return l.m.store.Put(ctx, rec, prev)
}

// expiry is when the store may forget r.
func (l *ledger) expiry(r *record) time.Time {
	now := l.m.now()
	end := r.created.Add(l.m.cfg.Lifetime)
	switch {
	case r.ended != "" && l.base == nil:
		// Its absence would end the session, too, but tell late requests no reason.
		return now.Add(l.m.cfg.Grace)
	case r.ended != "":
		if r.revoked {
			// The refresh token is dead at the service: a late cookie could
			// only live on its access token. A flight that has not noticed
			// yet is given the time to.
			end = earlier(end, later(r.pair.expires, now.Add(l.m.cfg.Grace+2*l.m.cfg.AuthTimeout)))
		}
		return later(end, now.Add(l.m.cfg.Grace))
	case l.base == nil:
		return earlier(end, r.lastSeen.Add(l.m.cfg.IdleTimeout))
	case r.shown:
		return now.Add(l.m.cfg.Grace)
	default:
		return earlier(end, now.Add(l.m.cfg.IdleTimeout))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// newVersion is random, so that a writer recognizes its own: no two writers
// choose the same.
func newVersion() uint64 {
	for {
		if v := rand.Uint64(); v != 0 {
			return v
		}
	}
}

// maxLostPuts bounds how often update goes on after a put whose answer was
// lost, while reads succeed; maxConflicts how often it is beaten by others.
const (
	maxLostPuts  = 3
	maxConflicts = 100
)

// update applies change to the newest state of the record and stores it. It
// never creates the record of a stored session. If change returns an error
// nothing is written, and update returns that error beside the state that
// change refused.
//
// change may be called several times and must judge the record it is given.
func (l *ledger) update(ctx context.Context, change func(*record) error) (*record, error) {
	lost, conflicts, poll := 0, 0, time.Millisecond
	for {
		old, err := l.read(ctx)
		if err != nil {
			return nil, err
		}
		next := old.clone()
		if err := change(next); err != nil {
			return old, err
		}
		l.m.beat(next)
		next.version = newVersion()
		switch err := l.put(ctx, next, old.version); {
		case err == nil:
			return next, nil
		case errors.Is(err, store.ErrConflict):
			if conflicts++; conflicts > maxConflicts || ctx.Err() != nil {
				return nil, err
			}
			if conflicts > 3 {
				l.m.pause(ctx, &poll)
			}
		default:
			// The answer is lost, the write perhaps not: it is found by its version.
			got, readErr := l.read(ctx)
			if next.ended != "" && errors.Is(readErr, ErrEnded) {
				return next, nil
			}
			if readErr != nil {
				return nil, errors.Join(err, readErr)
			}
			if got.version == next.version {
				return next, nil
			}
			if lost++; lost > maxLostPuts {
				return nil, err
			}
		}
	}
}

// end marks the session as ended, for good, and returns its last state with
// the tokens that are left to be given back. The mark keeps them until they
// are: one who could not learn whether its mark was written finds them in it.
// A check that returns an error stops it.
func (l *ledger) end(ctx context.Context, why reason, check func(*record) error) (*record, error) {
	last, err := l.update(ctx, func(r *record) error {
		if check != nil {
			if err := check(r); err != nil {
				return err
			}
		}
		r.ended = why
		r.lease, r.values = lease{}, nil
		if why == endedByRefusal || why == endedByUnknown || why == endedByOtherUser {
			r.revoke()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.m.endings.tell(l.key)
	l.forget(ctx, why)
	return last, nil
}

// forget deletes a stored session's record that is marked as ended, unless
// late requests have to see the mark. The mark alone keeps the session ended,
// so a failure costs nothing but space.
func (l *ledger) forget(ctx context.Context, why reason) {
	if l.base != nil || why.byBrowser() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.m.cfg.StoreTimeout)
	defer cancel()
	_ = l.m.store.Delete(ctx, l.key)
}

// confirmRevoked notes in the mark of a session's end that its refresh token is
// dead at the service: nobody has to give it back again, and a cookie session's
// mark need not outlive the access token.
func (l *ledger) confirmRevoked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.m.cfg.StoreTimeout)
	defer cancel()
	rec, err := l.m.store.Get(ctx, l.key)
	if err != nil {
		return
	}
	r, err := l.open(rec)
	if err != nil || r.ended == "" || r.revoked {
		return
	}
	next := r.clone()
	next.version = newVersion()
	next.revoke()
	_ = l.put(ctx, next, r.version)
}
