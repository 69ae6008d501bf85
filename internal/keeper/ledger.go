package keeper

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

// ErrCorrupt is returned for a stored record that does not open for its session. It was
// damaged or moved, or its secret is missing.
var ErrCorrupt = errors.New("record does not open")

// corruptError is ErrCorrupt for the stored version of a record. The version lets
// readToEnd replace exactly the record that did not open.
type corruptError struct{ version uint64 }

func (*corruptError) Error() string { return ErrCorrupt.Error() }

func (*corruptError) Unwrap() error { return ErrCorrupt }

// ledger reads and writes the record of one session. Every write is a loop:
// read, check, apply, swap (rule 4).
//
// The record of a stored session is created at login. If it is absent, the session has
// ended. The record of a cookie session is created by the first write. Before that, and
// after the record has expired, base replaces it: the state in the browser's cookies.
type ledger struct {
	k    *Keeper
	id   ID
	key  string
	base *Record // nil for a stored session

	// origin is the state of the session that the caller passed. It has the user and the
	// start of the session, which a mark without tokens does not have.
	origin *Record

	seals []seal.Sealer // one for each secret, made when needed
}

// ledger returns the ledger of the session of which r is a state.
func (k *Keeper) ledger(r *Record) *ledger {
	l := &ledger{k: k, id: r.ID, key: r.Key, origin: r}
	if !k.cfg.Stored {
		l.base = &Record{ID: r.ID, Key: r.Key, SignIn: r.SignIn, Pair: r.Pair}
	}
	return l
}

// read returns the current record. The error is an [*Error] if the session has
// ended. After any other error it is unknown whether the session has ended.
func (l *ledger) read(ctx context.Context) (*Record, error) {
	return alive(l.load(ctx))
}

// alive returns r, and an [*Error] if it is a mark.
func alive(r *Record, err error) (*Record, error) {
	if err == nil && r.ended != "" {
		return nil, &Error{Ended: r.ended, mark: r}
	}
	return r, err
}

// readToEnd is read for a caller that ends the session. A mark may replace the record of a
// cookie session if that record does not open. The record of a stored session is its only
// copy, and may open again when the missing secret is configured.
func (l *ledger) readToEnd(ctx context.Context) (*Record, error) {
	r, err := l.read(ctx)
	var corrupt *corruptError
	if l.base != nil && errors.As(err, &corrupt) {
		r, err = l.base.Clone(), nil
		r.version = corrupt.version
	}
	return r, err
}

// readMark returns the mark of a session that has ended, or errNoMark.
func (l *ledger) readMark(ctx context.Context) (*Record, error) {
	r, err := l.load(ctx)
	if isEnded(err) || err == nil && r.ended == "" {
		return nil, errNoMark
	}
	return r, err
}

// errNoMark is returned by readMark. The session has not ended, or its mark has
// expired.
var errNoMark = errors.New("the session has no mark of its end")

// load returns the record, which may be a mark. Only load and Load read records from the
// store.
func (l *ledger) load(ctx context.Context) (*Record, error) {
	return l.result(l.k.store.Get(ctx, l.key))
}

// result returns the record of a read of the store.
func (l *ledger) result(rec store.Record, err error) (*Record, error) {
	switch {
	case errors.Is(err, store.ErrNotFound): // see base
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
		// The coordinator has lost a generation that the browser has: it was restored from
		// a backup, or lost a write. The browser's tokens are valid. The version stays that
		// of r, because the next write replaces r.
		newer := l.base.Clone()
		newer.version = r.version
		return newer, nil
	}
	return r, nil
}

// open returns the state in rec. Requests share it and must not modify it.
func (l *ledger) open(rec store.Record) (*Record, error) {
	// The cache saves the work of opening and decoding a record, but not the read: the
	// version comes from the store. Each write chooses a random version, so equal versions
	// have equal bytes.
	if r, ok := l.k.records.Get(l.key); ok && r.version == rec.Version && rec.Key == l.key {
		return r, nil
	}
	r, size, ok := l.decode(rec)
	if !ok || rec.Key != l.key {
		return nil, &corruptError{rec.Version}
	}
	r.version = rec.Version
	if !r.Visitor {
		l.k.ReadClaims(r)
	}
	if l.id != (ID{}) && r.ended == "" { // see openHere
		l.k.records.Put(l.key, r, r.Memory()+size, l.cachedUntil(r, rec.ExpiresAt))
	}
	return r, nil
}

// cachedUntil returns when r is no longer needed. expires is when the store may remove it: later,
// because clocks differ and an outage may extend the idle timeout.
func (l *ledger) cachedUntil(r *Record, expires time.Time) time.Time {
	if l.base != nil { // r does not have the time of the last use
		return expires
	}
	return earlier(expires, l.k.EndOf(r))
}

// decode returns the state in rec, and the size of the bytes that the state shares.
func (l *ledger) decode(rec store.Record) (r *Record, size int, ok bool) {
	if l.k.cfg.Private {
		r, err := decodeFromMemory(rec.Data, l.id, l.key, l.k.names)
		return r, len(rec.Data), err == nil
	}
	plain, ok := l.unseal(rec.Data)
	if !ok {
		return nil, 0, false
	}
	r, err := decodeRecord(plain, l.id, l.key)
	return r, len(plain), err == nil
}

// unseal opens data with the first secret that fits. Older secrets stay
// configured until all records have been written with the newest.
func (l *ledger) unseal(data []byte) (string, bool) {
	for i := range l.k.cfg.Secrets {
		if plain, ok := l.seal(i).OpenBytes(seal.Record, l.key, data); ok {
			return plain, true
		}
	}
	return "", false
}

// seal returns the sealer of secret i for this session. Deriving one is costly,
// so the ledger keeps it.
func (l *ledger) seal(i int) seal.Sealer {
	if l.seals == nil {
		l.seals = make([]seal.Sealer, len(l.k.cfg.Secrets))
	}
	// Most records open with the first secret, so the others are derived rarely.
	if l.seals[i].IsZero() {
		l.seals[i] = l.k.cfg.Secrets[i].Records(l.id[:])
	}
	return l.seals[i]
}

// put stores r if the stored version is prev. It is the one place that writes to the
// store.
func (l *ledger) put(ctx context.Context, r *Record, prev uint64) error {
	err := l.k.store.Put(ctx, l.encode(r), prev)
	if r.ended != "" && err == nil {
		l.k.records.Remove(l.key) // the state from before the end
	}
	return err
}

// encode returns r as the store keeps it.
func (l *ledger) encode(r *Record) store.Record {
	// A mark has no owner: removeSessions looks for sessions that have not ended. Records of
	// a coordinator have none either, because they are not complete sessions.
	rec := store.Record{Key: l.key, Version: r.version, ExpiresAt: l.expiry(r)}
	listed := l.base == nil && r.ended == "" && !r.Visitor
	if listed {
		rec.Owner = l.k.cfg.Secrets[0].Owner(r.UserID) // for removeSessions
	}
	if l.k.cfg.Private {
		rec.Data = r.encodeForMemory(l.k.names)
		return rec
	}
	if listed {
		rec.Meta = l.k.cfg.Secrets[0].Meta.SealBytes(seal.Meta, l.key, r.encodeMeta())
	}
	rec.Data = l.seal(0).SealBytes(seal.Record, l.key, r.encode())
	return rec
}

// newVersion returns a random version. A writer whose response was lost
// recognizes its own write by the version.
func newVersion() uint64 {
	for {
		if v := rand.Uint64(); v != 0 { // 0 is the version of a record that is not stored
			return v
		}
	}
}

const (
	// maxLostPuts limits how often update repeats a put whose response was lost,
	// while reads succeed.
	maxLostPuts = 3

	// maxConflicts limits how often update retries because other writers were faster.
	maxConflicts = 100
)

// update applies change to the newest state of the record and stores it. It returns the
// stored state. If change returns an error, update writes nothing. It returns that error,
// and the state that change rejected.
//
// update may call change several times. change must check the record that it receives, and
// not a record that the caller read before. update never creates the record of a stored
// session: that would revive a session that has ended (rule 7).
func (l *ledger) update(ctx context.Context, change func(*Record) error) (*Record, error) {
	return l.swap(ctx, l.read, change)
}

// updateMark is update for the mark of a session that has ended.
func (l *ledger) updateMark(ctx context.Context, change func(*Record) error) (*Record, error) {
	return l.swap(ctx, l.readMark, change)
}

// swap is update with a function that reads the record: read, or readMark.
func (l *ledger) swap(ctx context.Context, read func(context.Context) (*Record, error), change func(*Record) error) (*Record, error) {
	lost, conflicts, poll := 0, 0, time.Millisecond
	for {
		old, err := read(ctx)
		if err != nil {
			return nil, err
		}
		// old may be in the cache, and is returned unchanged if change rejects it.
		next := old.Clone()
		if err := change(next); err != nil {
			return old, err
		}
		l.k.beat(next) // every write of the lease's holder renews the lease
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
			// The first conflicts are retried at once, because the other writer is done.
			// More conflicts mean that many writers compete, and a pause lets them finish.
			if conflicts > 3 {
				l.k.pause(ctx, &poll)
			}
		default:
			// The response is lost, but the record may have been written. The version of
			// the record shows this, unless another writer has replaced it. load also
			// returns a mark, which read would report as an error.
			got, readErr := l.load(ctx)
			switch {
			case isEnded(readErr) && next.ended != "":
				return next, nil // next is the mark, and the session has ended
			case readErr != nil:
				return nil, errors.Join(err, readErr)
			case got.version == next.version:
				return next, nil
			}
			// The lost write may still take effect later. Then one of the two swaps fails.
			if lost++; lost > maxLostPuts {
				return nil, err
			}
		}
	}
}
