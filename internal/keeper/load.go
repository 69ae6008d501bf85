package keeper

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/synmetrix/session/store"
)

// This file has the reads and writes that a request makes outside of a refresh.
// Load is where a late request gets the newest tokens (rule 5).

// Load returns the newest state of a session. r is the state in the request's
// cookies, and now is when the request arrived. If r has an older generation than the
// record, because the request is late, the newest tokens are returned, and the response
// carries their cookie.
//
// The error is an [*Error] if the session has ended. For any other error it is unknown
// whether the session has ended. down is the error of a coordinator that does not
// respond; the session is then served from its cookies. Load reports neither error.
func (k *Keeper) Load(ctx context.Context, r *Record, now time.Time) (newest *Record, down, err error) {
	if r.Visitor && !k.cfg.Stored {
		return k.loadVisitor(r, now)
	}
	rec, err := k.store.Get(ctx, r.Key)
	if newest = k.unchanged(r, rec, err); newest == nil {
		if newest, down, err = k.current(ctx, r, rec, err); err != nil {
			return nil, nil, err
		}
	} else if k.mayServe(newest, now) {
		return newest, nil, nil
	}
	if !newest.Visitor {
		if down, err = k.checkMark(ctx, r, newest, down); err != nil {
			return nil, down, err
		}
	}
	// The timeouts are checked after the record was read, because another request may have
	// used the session.
	if why := k.expired(newest, k.now()); why != "" {
		if errors.Is(k.expire(ctx, k.ledger(r), why), errChanged) {
			return k.Load(ctx, r, k.now())
		}
		return nil, down, &Error{Ended: why}
	}
	return newest, down, nil
}

// current returns the state of a session in rec, which was read for a request, and down of
// Load. err is the error of that read.
func (k *Keeper) current(ctx context.Context, r *Record, rec store.Record, err error) (newest *Record, down, _ error) {
	l := k.ledger(r)
	newest, err = alive(l.result(rec, err))
	switch {
	case isEnded(err):
		k.resumeRevocation(l, err)
		k.revokeGone(l, err)
		return nil, nil, err
	case err != nil && !k.servesWithout(ctx, err):
		return nil, nil, err
	case err != nil:
		// The cookies are enough to serve the request. Ends and refreshes in other
		// processes are known only from the coordinator, and are therefore ignored during
		// an outage.
		return r, err, nil
	case newest == l.base:
		// There is no record, and result has returned base, which has no values, unlike r.
		return r, nil, nil
	case !k.cfg.Stored:
		// The record may have newer tokens than the cookies (rule 5).
		return k.withCookies(ctx, l, newest, r), nil, nil
	}
	return newest, nil, nil
}

// unchanged returns the newest state of a session in the two common cases: a cookie session
// without a record in the coordinator, and a stored session whose state this process has
// decoded before. Nearly all requests are such cases, so they need no ledger. rec and err
// are the result of a read. In all other cases unchanged returns nil.
func (k *Keeper) unchanged(r *Record, rec store.Record, err error) *Record {
	switch {
	case err != nil && !k.cfg.Stored && errors.Is(err, store.ErrNotFound):
		return r
	case err == nil && k.cfg.Stored:
		if known, ok := k.records.Get(r.Key); ok && known.version == rec.Version && rec.Key == r.Key && known.ended == "" {
			return known
		}
	}
	return nil
}

// mayServe reports whether a session may be served without a further read: the mark of its
// user is known and young, and the session has ended neither by the mark nor by its
// timeouts.
func (k *Keeper) mayServe(r *Record, now time.Time) bool {
	if !r.Visitor {
		mark, young := k.youngMark(r.UserID)
		if !young || mark.endReason(r, k.cfg.MaxSessions > 0) != "" {
			return false
		}
	}
	return k.expired(r, now) == ""
}

// checkMark returns an [*Error] if the session of r has ended by the mark of its user, and
// completes that end. down, and the first result, is the error of a coordinator that does
// not respond: the session is then served without the mark. Any other error is that of
// Load.
func (k *Keeper) checkMark(ctx context.Context, r, newest *Record, down error) (error, error) {
	var mark *userMark
	var err error
	if down == nil {
		mark, err = k.userMark(ctx, newest.UserID)
	} else { // the request has waited long enough
		mark = k.knownMark(newest.UserID)
	}
	why := mark.endReason(newest, k.cfg.MaxSessions > 0)
	if why != "" {
		// The known mark may be older than the session. Without the newest mark, the
		// session is neither served nor ended.
		if err = cmp.Or(err, down); err == nil {
			why, err = k.newestEndReason(ctx, newest)
		}
		if err != nil {
			return nil, err
		}
	}
	if why != "" {
		_ = k.finish(ctx, k.ledger(r), why, nil)
		return down, &Error{Ended: why}
	}
	if err != nil && !k.servesWithout(ctx, err) {
		return nil, err
	}
	return cmp.Or(down, err), nil
}

// servesWithout reports whether a session is served from its cookies after err, the error of
// a read of the coordinator for a request.
func (k *Keeper) servesWithout(ctx context.Context, err error) bool {
	// A record that does not open may be the mark of an end. If the client has disconnected,
	// the coordinator may work: otherwise a client could use a session that has ended, by
	// disconnecting at once.
	return !k.cfg.Stored && !errors.Is(err, ErrCorrupt) && ctx.Err() == nil
}

// loadVisitor is Load for a visitor's session in a cookie. The cookie has the only copy.
func (k *Keeper) loadVisitor(r *Record, now time.Time) (newest *Record, down, err error) {
	if why := k.expired(r, now); why != "" {
		return nil, nil, &Error{Ended: why}
	}
	return r, nil, nil
}

// CreateVisitor stores the new session of a visitor. If another call has stored it, the
// error is [ErrExists]. Other errors have not been reported.
func (k *Keeper) CreateVisitor(ctx context.Context, r *Record) (*Record, error) {
	r.version = newVersion()
	l := k.ledger(r)
	err := l.put(ctx, r, 0)
	if err == nil {
		return r, nil
	}
	switch got, readErr := l.read(ctx); {
	case readErr != nil:
		return nil, err
	case got.version == r.version: // only the response was lost
		return r, nil
	}
	return nil, ErrExists
}

// ErrExists is returned by [Keeper.CreateVisitor].
var ErrExists = errors.New("the session exists")

// withCookies returns the coordinator's record of a cookie session, completed with the data
// of the state cookie: the values, and the time of the last use. cookies is the state in
// the cookies.
func (k *Keeper) withCookies(ctx context.Context, l *ledger, r, cookies *Record) *Record {
	// A record with a refresh under way is not changed, because the write would compete
	// with the writes of the lease's holder.
	if r.version != 0 && r.Pair.Gen == cookies.Pair.Gen && !r.shown && !r.busy() {
		k.acknowledge(ctx, l, r)
	}
	// r may be in the cache, which other requests share, so the change is made to a copy.
	c := *r
	c.Values, c.LastSeen = cookies.Values, cookies.LastSeen
	return &c
}

// acknowledge records that a browser has sent the newest generation. From now on the record
// is only kept for late requests, for Config.Grace (rule 5). If the write fails, the record
// is kept longer.
func (k *Keeper) acknowledge(ctx context.Context, l *ledger, r *Record) {
	_, _ = l.update(ctx, func(q *Record) error {
		// The record may have expired in the meantime. The write would create it again.
		if q.version == 0 || q.Pair.Gen != r.Pair.Gen || q.shown || q.busy() {
			return errChanged
		}
		q.shown = true
		return nil
	})
}

// Newest returns the newest record of a session, or nil if only the cookies have
// its state. Other requests and processes may have written to it since r was
// loaded. The errors are those of Load.
func (k *Keeper) Newest(ctx context.Context, r *Record) (*Record, error) {
	l := k.ledger(r)
	newest, err := l.read(ctx)
	if newest == l.base {
		newest = nil
	}
	return newest, err
}

// Create stores a new session. replaced is the session that it replaces, or nil. A cookie
// session has nothing to store. The error is an [*Error] or [ErrTooMany].
func (k *Keeper) Create(ctx context.Context, r, replaced *Record) error {
	ctx = context.WithoutCancel(ctx) // a canceled write would leave it unknown whether the session exists
	var before string
	if replaced != nil {
		before = replaced.Key
	}
	// The record has the value of the user's mark, so the session joins before it is stored.
	displaced, err := k.join(ctx, r, before)
	switch {
	case errors.Is(err, ErrTooMany):
		return err
	case err != nil:
		return k.Report(ctx, r, err)
	}
	if k.cfg.Stored {
		if err := k.storeNew(ctx, r); err != nil {
			k.leave(ctx, r, displaced)
			return k.Report(ctx, r, err)
		}
	}
	k.displace(ctx, r, displaced)
	return nil
}

// storeNew stores the record of a new session.
func (k *Keeper) storeNew(ctx context.Context, r *Record) error {
	r.version = newVersion()
	l := k.ledger(r)
	// The previous version 0 says that there is no record yet: the ID is new.
	err := l.put(ctx, r, 0)
	if err == nil {
		return nil
	}
	if got, readErr := l.read(ctx); readErr == nil && got.version == r.version {
		return nil // only the response was lost
	}
	return err
}

// Update applies change to the newest state of a stored session and stores it.
// The error is that of change, an [*Error] if the session has ended, or an error
// that Update has not reported. Update may call change several times.
func (k *Keeper) Update(ctx context.Context, r *Record, change func(*Record) error) (*Record, error) {
	return k.ledger(r).update(ctx, change)
}

// Report reports an error of the store or of a record, and returns the error for the
// request. If the request was canceled, the store has not failed.
func (k *Keeper) Report(ctx context.Context, r *Record, err error) error {
	name := EventStoreUnavailable
	if errors.Is(err, ErrCorrupt) {
		name = EventRecordCorrupt
	}
	if !errors.Is(err, context.Canceled) {
		k.event(ctx, slog.LevelError, r, Event{Name: name, Err: err})
	}
	return &Error{RetryAfter: time.Second, Err: err}
}
