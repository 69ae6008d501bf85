package keeper

import (
	"context"
	"errors"
	"log/slog"
	"slices"
)

// This file limits the sessions of a user. users.go has the mark, which lists them.

// MaxMembers is the highest limit of the sessions of a user.
const MaxMembers = 1000

// ErrTooMany is returned by [Keeper.Create] if the user has Config.MaxSessions sessions and
// Config.RejectOverMax is set.
var ErrTooMany = errors.New("too many sessions of the user")

// join adds r to the sessions of its user, with a value of ends that the user's mark does
// not end. replaced is the key of a session that r replaces, or empty. It does not count for
// the limit, and stays in the list until it ends: the sign-in may still fail. join returns
// the sessions that r has displaced, for displace or leave.
func (k *Keeper) join(ctx context.Context, r *Record, replaced string) (displaced []member, err error) {
	if k.cfg.MaxSessions == 0 || r.Actor != nil { // a session of an actor does not count for the limit
		// Read the mark from the store, because a known mark may be userMarkAge old. If
		// another process has ended all sessions since, a session with the old value would
		// end at once.
		m, err := k.newestUserMark(ctx, r.UserID)
		if err != nil {
			if k.cfg.Stored {
				return nil, err
			}
			r.Ends = unknownEnds // a sign-in does not need the coordinator
			return nil, nil
		}
		r.Ends, r.Pair.Roles = m.ends, m.roles
		return nil, nil
	}
	// With a limit the list must be written, so the sign-in fails if the write fails.
	err = k.changeUserMark(ctx, r.UserID, func(m *userMark) (err error) {
		// An earlier attempt, before a conflict, may have chosen other sessions.
		displaced, err = k.admit(m, r, replaced)
		return err
	})
	return displaced, err
}

// admit adds r to the list of a mark, and removes the sessions that exceed the limit. See
// join.
func (k *Keeper) admit(m *userMark, r *Record, replaced string) (displaced []member, err error) {
	r.Ends, r.Pair.Roles = m.ends, m.roles
	// A session that has reached its lifetime is still in the list if its browser has sent
	// no request since. r is in the list if an earlier attempt succeeded and its response
	// was lost.
	var ending []member // the replaced session
	m.members = slices.DeleteFunc(m.members, func(o member) bool {
		if o.key == replaced {
			ending = []member{o}
		}
		return o.key == r.Key || o.key == replaced || !k.now().Before(o.end)
	})
	slices.SortFunc(m.members, func(a, b member) int { return b.used.Compare(a.used) }) // newest use first
	room := k.cfg.MaxSessions - 1
	if len(m.members) > room {
		// Sessions that have reached their idle timeout make room first. While there is
		// room they stay in the list: after an outage of the coordinator, a session may
		// have been used later than its entry says.
		expired := k.now().Add(-k.cfg.IdleTimeout - k.outageSlack())
		m.members = slices.DeleteFunc(m.members, func(o member) bool { return o.used.Before(expired) })
	}
	if len(m.members) > room {
		if k.cfg.RejectOverMax {
			return nil, ErrTooMany
		}
		displaced = slices.Clone(m.members[room:])
		m.members = m.members[:room]
	}
	m.members, m.capped = append(append(m.members, member{r.Key, k.now(), k.LifetimeEnd(r)}), ending...), true
	return displaced, nil
}

// displace completes the end of the sessions that the new session r has displaced. The write
// of the mark has ended them. displace reports this to Watch, to the list of sessions and to
// the log.
func (k *Keeper) displace(ctx context.Context, r *Record, displaced []member) {
	for _, o := range displaced {
		k.endings.announce(o.key)
		if k.cfg.Stored {
			_ = k.store.Delete(ctx, o.key) // the session has already ended
		}
		k.event(ctx, slog.LevelInfo, &Record{Key: o.key, SignIn: SignIn{UserID: r.UserID}}, Event{Name: EventSessionEnded, Reason: string(endedByLimit)})
	}
}

// leave removes r, which could not be stored, from the sessions of its user, and adds those
// that it has displaced again.
func (k *Keeper) leave(ctx context.Context, r *Record, displaced []member) {
	k.changeMemberSoon(ctx, r, func(m *userMark, i int) {
		m.members = slices.Delete(m.members, i, i+1)
		for _, o := range displaced {
			if len(m.members) < k.cfg.MaxSessions { // there may be other sign-ins since
				m.members = append(m.members, o)
			}
		}
	})
}

// Used records that the session of r was used, if the number of sessions is limited: a
// further sign-in ends the least recently used session. A failure only changes this order.
func (k *Keeper) Used(ctx context.Context, r *Record) {
	_ = k.changeMember(ctx, r, func(m *userMark, i int) { m.members[i].used = later(m.members[i].used, k.now()) })
}

// removeMember removes an ended session from the list of its user's sessions.
func (k *Keeper) removeMember(ctx context.Context, r *Record) {
	k.changeMemberSoon(ctx, r, func(m *userMark, i int) { m.members = slices.Delete(m.members, i, i+1) })
}

// changeMember applies change to the entry i of r in the list of its user's sessions, if
// there is one. It never adds r, because a session that was removed from the list has
// ended. Only a sign-in adds a session.
func (k *Keeper) changeMember(ctx context.Context, r *Record, change func(m *userMark, i int)) error {
	if k.cfg.MaxSessions == 0 || r.UserID == "" {
		return nil
	}
	err := k.changeUserMark(ctx, r.UserID, func(m *userMark) error {
		i := slices.IndexFunc(m.members, func(o member) bool { return o.key == r.Key })
		if i < 0 {
			return errChanged
		}
		change(m, i)
		return nil
	})
	if errors.Is(err, errChanged) {
		return nil
	}
	return err
}

// changeMemberSoon is changeMember, and retries in the background if the store fails: a
// session that is in the list and does not exist keeps the user from signing in if
// RejectOverMax is set.
func (k *Keeper) changeMemberSoon(ctx context.Context, r *Record, change func(m *userMark, i int)) {
	err := k.changeMember(ctx, r, change)
	if err == nil {
		return
	}
	k.background(func() {
		end := k.now().Add(k.cfg.Lifetime) // the entry expires before that
		for failures := 1; !errors.Is(err, ErrCorrupt) && k.now().Before(end) && k.pauseRevocation(k.backoff(failures, err)); failures++ {
			if err = k.changeMember(k.ctx, r, change); err == nil {
				return
			}
		}
	})
}
