package keeper

import (
	"context"
	"log/slog"
	"slices"

	"github.com/synmetrix/session/store"
)

// This file ends all sessions of a user, or all except one, and makes the tokens of all
// sessions due for refresh. users.go has the mark, by which it does so (rule 10).

// EndUser ends all sessions of a user: at once in this process, and within userMarkAge in
// others.
func (k *Keeper) EndUser(ctx context.Context, userID string) error {
	_, err := k.endUser(ctx, userID, nil, func(ctx context.Context) error {
		return k.removeSessions(ctx, userID, "", endedByStore)
	})
	return err
}

// EndOthers ends all sessions of the user of r except that of r. The error is an [*Error]
// if the session of r has ended, or an error of the store that EndOthers has not reported.
func (k *Keeper) EndOthers(ctx context.Context, r *Record) error {
	removed, err := k.endUser(ctx, r.UserID, r, func(ctx context.Context) error {
		// If this process can open the session, it also revokes the tokens. The store has
		// the owner of the record even if the record does not open.
		return k.eachEnded(ctx, r, func(rec store.Record) error { return k.endElsewhere(ctx, rec, r.UserID) })
	})
	if err == nil {
		waitFor(removed, logoutPatience)
	}
	return err
}

// endUser is EndUser with a session that continues: kept is its state, or nil. remove
// removes the records of stored sessions, which the mark has already ended. endUser returns
// a channel that is closed after remove.
func (k *Keeper) endUser(ctx context.Context, userID string, kept *Record, remove func(context.Context) error) (removed <-chan struct{}, err error) {
	// The user may close the browser after the click. The sessions must still end.
	ctx = context.WithoutCancel(ctx)
	var ends uint64
	var keptKey string
	if kept != nil {
		keptKey = kept.Key
	}
	err = k.changeUserMark(ctx, userID, func(m *userMark) error {
		// A session that has ended must not end the others, and thereby become valid again.
		// A request may have loaded it before its end, or in a process that knows an older
		// mark.
		if kept != nil {
			if why := m.endReason(kept, k.cfg.MaxSessions > 0); why != "" {
				return &Error{Ended: why}
			}
		}
		// Choose the value once. If the response to the first write is lost, a session may
		// begin with this value before the second write. Another value would end that
		// session.
		if ends == 0 {
			ends = newEnds(m.ends)
		}
		m.ends, m.endedAt, m.kept = ends, k.now(), keptKey
		m.members = slices.DeleteFunc(m.members, func(o member) bool { return o.key != keptKey })
		return nil
	})
	if err != nil {
		return nil, err
	}
	k.endings.announceUser(userID, keptKey)
	done := make(chan struct{})
	if !k.cfg.Stored {
		close(done)
		return done, nil
	}
	// The mark was written before the removal. If the process dies in between, the sessions
	// have ended, but a process that has not read the mark serves them for userMarkAge.
	k.background(func() {
		defer close(done)
		for failures := 1; ; failures++ {
			err := remove(k.ctx)
			if err == nil || !k.pauseRevocation(k.backoff(failures, err)) {
				return
			}
		}
	})
	return done, nil
}

// removeSessions removes the stored sessions of a user, except the one with the key own.
// why is the reason to report.
//
// It does not revoke their tokens. If the user has signed out everywhere, one call of the
// service revokes all of them. Otherwise the tokens can be read only with the cookies of
// their browsers. For a store in memory, which is not sealed, removeSessions does not
// revoke them either.
func (k *Keeper) removeSessions(ctx context.Context, userID, own string, why Reason) error {
	return k.eachEnded(ctx, &Record{Key: own, SignIn: SignIn{UserID: userID}}, func(rec store.Record) error {
		if err := k.store.Delete(ctx, rec.Key); err != nil {
			return err
		}
		k.event(ctx, slog.LevelInfo, &Record{Key: rec.Key, SignIn: SignIn{UserID: userID}}, Event{Name: EventSessionEnded, Reason: string(why)})
		return nil
	})
}

// eachEnded is eachOther for the sessions that the mark of the user has ended. Other
// sessions have begun since.
func (k *Keeper) eachEnded(ctx context.Context, r *Record, f func(store.Record) error) error {
	var mark *userMark
	return k.eachOther(ctx, r, func(rec store.Record) (err error) {
		if mark == nil { // it must be newer than the list
			if mark, err = k.newestUserMark(ctx, r.UserID); err != nil {
				return err
			}
		}
		if d, ok := k.describe(rec, r.UserID); ok && mark.endReason(&d, k.cfg.MaxSessions > 0) == "" {
			return nil
		}
		return f(rec)
	})
}

// RefreshUser makes the tokens of all sessions of a user due for refresh.
func (k *Keeper) RefreshUser(ctx context.Context, userID string) error {
	var last *userMark
	return k.changeUserMark(context.WithoutCancel(ctx), userID, func(m *userMark) error {
		// The last write may have succeeded although its response was lost. A higher value
		// would make tokens due again that were refreshed in between.
		if last == nil || m.version != last.version {
			m.roles = newRoles(m.roles, k.now())
		}
		last = m
		return nil
	})
}
