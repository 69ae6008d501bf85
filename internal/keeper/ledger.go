package keeper

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

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
	k    *Keeper
	id   ID
	key  string
	base *Record // nil for a stored session

	known *Record // what the caller knows of the session

	seals []seal.Sealer // by secret, made when needed
}

func (k *Keeper) ledger(base *Record) *ledger {
	l := &ledger{k: k, id: base.ID, key: base.Key, known: base}
	if !k.cfg.Stored {
		l.base = &Record{ID: base.ID, Key: base.Key, UserID: base.UserID, Created: base.Created, Pair: base.Pair}
	}
	return l
}

// read returns the record as it is now. It returns an *Error for a session
// that has ended; after any other error it is unknown whether it has.
func (l *ledger) read(ctx context.Context) (*Record, error) {
	r, err := l.load(ctx)
	if err == nil && r.ended != "" {
		return nil, &Error{Ended: r.ended, mark: r}
	}
	return r, err
}

// readMark returns the mark of a session that has ended. Its error is
// errNoMark where there is none.
func (l *ledger) readMark(ctx context.Context) (*Record, error) {
	r, err := l.load(ctx)
	if isEnded(err) || err == nil && r.ended == "" {
		return nil, errNoMark
	}
	return r, err
}

var errNoMark = errors.New("the session has no mark of its end")

// load returns the record, which may be a mark.
func (l *ledger) load(ctx context.Context) (*Record, error) {
	ctx, cancel := context.WithTimeout(ctx, l.k.cfg.StoreTimeout)
	defer cancel()
	rec, err := l.k.store.Get(ctx, l.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if l.base == nil {
			return nil, &Error{Ended: endedByStore}
		}
		return l.base, nil
	case err != nil:
		return nil, err
	}
	r, err := l.open(rec)
	if err != nil {
		return nil, err
	}
	if r.ended == "" && l.base != nil && l.base.Pair.Gen > r.Pair.Gen {
		// The coordinator has lost a generation that the browser has.
		r, v := l.base.Clone(), r.version
		r.version = v
		return r, nil
	}
	return r, nil
}

// open returns the record that rec holds, which others may have, too.
func (l *ledger) open(rec store.Record) (*Record, error) {
	// A version is chosen at random for each state of a record: it stands for
	// the bytes.
	if r, ok := l.k.records.Get(l.key); ok && r.version == rec.Version && rec.Key == l.key {
		return r, nil
	}
	plain := rec.Data
	if !l.k.cfg.Private {
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
	l.k.ReadClaims(r)
	l.k.records.Put(l.key, r, r.Memory()+len(plain))
	return r, nil
}

func (l *ledger) unseal(data []byte) ([]byte, bool) {
	for i := range l.k.cfg.Secrets {
		if plain, ok := l.seal(i).Open(seal.Record, l.key, string(data)); ok {
			return plain, true
		}
	}
	return nil, false
}

func (l *ledger) seal(i int) seal.Sealer {
	if l.seals == nil {
		l.seals = make([]seal.Sealer, len(l.k.cfg.Secrets))
	}
	if l.seals[i].IsZero() {
		l.seals[i] = l.k.cfg.Secrets[i].Records(l.id[:])
	}
	return l.seals[i]
}

// put stores r if the stored version is prev.
func (l *ledger) put(ctx context.Context, r *Record, prev uint64) error {
	rec := store.Record{Key: l.key, Version: r.version, ExpiresAt: l.expiry(r)}
	if l.base == nil && r.ended == "" {
		rec.Owner = l.k.cfg.Secrets[0].Owner(r.UserID)
	}
	rec.Data = r.encode()
	if !l.k.cfg.Private {
		sealed, err := l.seal(0).Seal(seal.Record, l.key, rec.Data)
		if err != nil {
			return err
		}
		rec.Data = []byte(sealed)
	}
	ctx, cancel := context.WithTimeout(ctx, l.k.cfg.StoreTimeout)
	defer cancel()
	return l.k.store.Put(ctx, rec, prev)
}

// What a store forgets is later than what the record says itself: the clocks of
// machines differ, and an outage of the store must not end sessions.
const clockSlack = 5 * time.Minute

// outageSlack is how much of an outage of the store does not count as idle time
// at most.
func (k *Keeper) outageSlack() time.Duration { return min(k.cfg.IdleTimeout, time.Hour) }

// expiry is when the store may forget r.
func (l *ledger) expiry(r *Record) time.Time {
	now, cfg := l.k.now(), &l.k.cfg
	end := r.Created.Add(cfg.Lifetime)
	switch {
	case r.ended != "" && l.base == nil && r.Pair.Tokens == (auth.Tokens{}):
		// Its absence would end the session, too. The mark says why.
		end = now.Add(cfg.Grace)
	case r.ended != "":
		// Whatever is known of the session here, copies of its cookies may be
		// newer: the mark stays as long as any of them could be accepted.
		end = later(end, now.Add(cfg.Grace))
	case l.base == nil:
		end = earlier(end, r.LastSeen.Add(cfg.IdleTimeout+l.k.outageSlack()))
	case r.shown:
		end = now.Add(cfg.Grace)
	default:
		end = earlier(end, now.Add(cfg.IdleTimeout))
	}
	return end.Add(clockSlack)
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
func (l *ledger) update(ctx context.Context, change func(*Record) error) (*Record, error) {
	return l.swap(ctx, l.read, change)
}

// updateMark is update for the mark of a session that has ended.
func (l *ledger) updateMark(ctx context.Context, change func(*Record) error) (*Record, error) {
	return l.swap(ctx, l.readMark, change)
}

func (l *ledger) swap(ctx context.Context, read func(context.Context) (*Record, error), change func(*Record) error) (*Record, error) {
	lost, conflicts, poll := 0, 0, time.Millisecond
	for {
		old, err := read(ctx)
		if err != nil {
			return nil, err
		}
		next := old.Clone()
		if err := change(next); err != nil {
			return old, err
		}
		l.k.beat(next)
		next.version = newVersion()
		switch err := l.put(ctx, next, old.version); {
		case err == nil:
			return next, nil
		case errors.Is(err, store.ErrFull):
			return nil, err // nothing was written
		case errors.Is(err, store.ErrConflict):
			if conflicts++; conflicts > maxConflicts || ctx.Err() != nil {
				return nil, err
			}
			if conflicts > 3 {
				l.k.pause(ctx, &poll)
			}
		default:
			// The response is lost, the write perhaps not: its version tells.
			got, readErr := l.load(ctx)
			switch {
			case isEnded(readErr) && next.ended != "":
				return next, nil
			case readErr != nil:
				return nil, errors.Join(err, readErr)
			case got.version == next.version:
				return next, nil
			}
			if lost++; lost > maxLostPuts {
				return nil, err
			}
		}
	}
}
