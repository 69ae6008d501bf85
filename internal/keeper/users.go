package keeper

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session/internal/cache"
	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

// The mark of a user applies to all sessions of the user (rule 10): it ends sessions, and
// makes their tokens due for refresh. One write is enough for any number of sessions, in
// cookies or in the store.
//
//	EndUser      ends all sessions of the user
//	RefreshUser  makes the tokens of all sessions due
//	join         adds a new session, to which the mark does not apply
//	Used         records the use of a session, if the number of sessions is limited
//
// A process reads the mark of a user at most once in userMarkAge. Its own changes take
// effect at once. With a longer age there would be fewer reads, but other processes would
// serve ended sessions for longer.
const userMarkAge = 2 * time.Second

// userMark is the mark of a user.
type userMark struct {
	// ends changes when all sessions of the user end. A session copies the value at its
	// start, so clocks are not compared. Zero means that it has never changed.
	ends    uint64
	endedAt time.Time
	kept    string // the key of a session that did not end, or empty

	// roles grows when the tokens of all sessions must be refreshed. A pair of tokens has
	// the value from the time before its refresh. Values are ordered, so that a process with
	// an older mark does not refresh tokens again that another process has refreshed.
	roles uint64

	// members are the sessions of the user, if Config.MaxSessions limits them. The list is
	// complete only if capped is set, because a session may be older than the limit. An
	// empty list then means that the user has no session.
	members []member
	capped  bool

	// A mark under the key of an older secret has version 0, too: the next write creates it
	// under the key of the newest secret, where it is read first.
	seq     uint64 // counts the writes of the mark; see readUserMark
	version uint64 // in the store; 0 if it has no mark of the user
}

// member is a session of a user.
type member struct {
	key       string
	used, end time.Time // its last use, and the end of its lifetime
}

// Special values of Record.Ends.
const (
	neverEnded = 0 // the user had no mark
	// unknownEnds is the value of a session that began while the mark could not be read.
	// Only the time of its start shows whether the mark applies to it.
	unknownEnds = 1
)

// newEnds returns a random value for ends, other than old. The value is short, because a
// full coordinator has room only for marks of a few bytes.
func newEnds(old uint64) uint64 {
	for {
		if v := uint64(rand.Uint32()); v > unknownEnds && v != old {
			return v
		}
	}
}

// newRoles returns a value for roles that is higher than old. The mark may have expired
// while sessions have its value, so the value begins with the time.
func newRoles(old uint64, now time.Time) uint64 { return max(old+1, uint64(max(now.Unix(), 0))) }

// endReason returns the reason why the mark ends the session of r, or "" if it does not.
func (m *userMark) endReason(r *Record, limited bool) Reason {
	// The first case also applies if the mark has expired: the sessions that it ended have
	// reached their lifetime before. In the second case, a session with unknownEnds has
	// ended unless it has certainly begun after the mark: it is safer to end one session
	// too many than to accept one that the mark ends.
	switch {
	case m.ends == neverEnded || m.ends == r.Ends || m.kept == r.Key:
	case r.Ends != unknownEnds || !r.Created.After(m.endedAt.Add(clockSlack)):
		return endedByStore
	}
	if limited && m.capped && r.Actor == nil && !slices.ContainsFunc(m.members, func(o member) bool { return o.key == r.Key }) {
		return endedByLimit
	}
	return ""
}

// users has the marks that this process has read.
type users struct {
	marks    *cache.Cache[knownMark] // by the ID of the user
	lifetime time.Duration           // of a session; a mark is not needed for longer
	now      func() time.Time

	// writes counts the writes of this process to the marks of all users. A write of
	// another user's mark may keep a state from being remembered, which costs one more
	// read. Code that holds the lock may take the lock of marks.
	mu     sync.Mutex
	writes uint64
}

// knownMark is a mark with the time of its read.
type knownMark struct {
	*userMark
	at time.Time
}

// size returns about how many bytes of memory the entry of a user takes.
func (m knownMark) size(userID string) int { return 256 + len(userID) + 160*len(m.members) }

// note remembers a mark. writes is the number of writes before it was read: an older
// state must not replace one that this process has written.
func (u *users) note(userID string, m knownMark, writes uint64) {
	// For example, a read begins, EndUser writes the mark in this process, and then the
	// read returns the previous state. Without the check, ended sessions would be accepted
	// again for userMarkAge.
	end := u.end()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writes == writes {
		u.put(userID, m, end)
	}
}

// noteWrite remembers m, which this process has written. writes is the number of writes
// before the read of the state that m has replaced. If there were other writes, one of them
// may be newer than m, and the next request reads the mark.
func (u *users) noteWrite(userID string, m *userMark, writes uint64) {
	known, end := knownMark{userMark: m, at: time.Now()}, u.end()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writes != writes {
		known.at = time.Time{}
	}
	u.writes++
	u.put(userID, known, end)
}

// end returns when a mark that is remembered now is no longer needed. It must be called
// before the lock: the app's clock may be slow.
func (u *users) end() time.Time { return u.now().Add(u.lifetime) }

func (u *users) put(userID string, m knownMark, end time.Time) {
	userID = strings.Clone(userID) // it may be part of the claims of a token
	u.marks.Put(userID, m, m.size(userID), end)
}

// writeCount returns the number of writes, for note. It must be called before the read.
func (u *users) writeCount() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.writes
}

// noMark is the mark of users who have none. It is never modified.
var noMark userMark

// userMark returns the mark of a user, at most userMarkAge old. If the read fails, it
// returns the error and the known mark, which may be older, or an empty mark.
func (k *Keeper) userMark(ctx context.Context, userID string) (*userMark, error) {
	known, ok := k.users.marks.Get(userID)
	if ok && time.Since(known.at) < userMarkAge {
		return known.userMark, nil
	}
	// The age of the mark counts from the start of the read, which may be slow.
	at, writes := time.Now(), k.users.writeCount()
	m, err := k.readUserMark(ctx, userID)
	if err != nil {
		// The caller decides whether an older mark is enough.
		if ok {
			return known.userMark, err
		}
		return &noMark, err
	}
	k.noteRead(userID, m, at, writes)
	return m, nil
}

// noteRead remembers m, which was read at the time at. writes is that of users.note.
func (k *Keeper) noteRead(userID string, m *userMark, at time.Time, writes uint64) {
	if m.ends == neverEnded && m.roles == 0 && !m.capped {
		m = &noMark // most users have none, and share it
	}
	k.users.note(userID, knownMark{userMark: m, at: at}, writes)
}

// youngMark returns the mark of a user if this process has read it within userMarkAge.
func (k *Keeper) youngMark(userID string) (*userMark, bool) {
	known, ok := k.users.marks.Get(userID)
	if !ok || time.Since(known.at) >= userMarkAge {
		return nil, false
	}
	return known.userMark, true
}

// knownMark returns the mark of a user that this process knows, of any age, or an empty
// one.
func (k *Keeper) knownMark(userID string) *userMark {
	if known, ok := k.users.marks.Get(userID); ok {
		return known.userMark
	}
	return &noMark
}

// rolesChanged reports whether the tokens of r must be refreshed, as far as this process
// knows.
func (k *Keeper) rolesChanged(r *Record) bool {
	return k.rolesMark(r) > r.Pair.Roles
}

// rolesMark returns the newest known value of userMark.roles, for the user of r.
func (k *Keeper) rolesMark(r *Record) uint64 {
	if known, ok := k.users.marks.Get(r.UserID); ok {
		return max(known.roles, r.Pair.Roles)
	}
	return r.Pair.Roles
}

// newestEndReason is endReason for the newest mark in the store. The mark that this process
// knows may be older than the session, which may have begun in another process.
func (k *Keeper) newestEndReason(ctx context.Context, r *Record) (Reason, error) {
	m, err := k.newestUserMark(ctx, r.UserID)
	if err != nil {
		return "", err
	}
	return m.endReason(r, k.cfg.MaxSessions > 0), nil
}

// newestUserMark returns the newest mark in the store. A store may read from a cache. But a
// write succeeds only if it replaces the newest state, and a read after a conflict is
// newer.
func (k *Keeper) newestUserMark(ctx context.Context, userID string) (*userMark, error) {
	at, writes := time.Now(), k.users.writeCount()
	m, err := k.readUserMark(ctx, userID)
	switch {
	case err != nil || k.cfg.Private:
		return m, err
	case m.version == 0:
		k.noteRead(userID, m, at, writes) // saves the next request a read
		return m, nil
	}
	prev := m.version
	m.version = newVersion()
	err = k.putUserMark(ctx, userID, m, prev)
	if errors.Is(err, store.ErrConflict) {
		return k.readUserMark(ctx, userID)
	}
	if err != nil {
		return nil, err
	}
	k.users.noteWrite(userID, m, writes)
	return m, nil
}

// readUserMark reads the mark of a user from the store. It returns an empty mark if there
// is none. The version is that of the record under the key of the newest secret.
func (k *Keeper) readUserMark(ctx context.Context, userID string) (*userMark, error) {
	// While secrets are rotated, processes write marks under different keys. The last
	// written mark has the highest number.
	newest, version := &userMark{}, uint64(0)
	for i, s := range k.cfg.Secrets {
		m, err := k.readUserMarkOf(ctx, s, userID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if i == 0 {
			version = m.version
		}
		if i == 0 || m.seq > newest.seq || newest.version == 0 {
			newest = m
		}
	}
	newest.version = version
	return newest, nil
}

// readUserMarkOf reads the mark of a user that was written with the secret s.
func (k *Keeper) readUserMarkOf(ctx context.Context, s seal.Secret, userID string) (*userMark, error) {
	key := s.User(userID)
	rec, err := k.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	plain, ok := "", k.cfg.Private
	if ok {
		plain = string(rec.Data)
	} else if plain, ok = s.Users.OpenBytes(seal.User, key, rec.Data); !ok {
		// The seal is bound to the key, so the mark of another user does not open here.
		return nil, &corruptError{rec.Version}
	}
	m, ok := decodeUserMark(plain)
	if !ok || rec.Key != key {
		return nil, &corruptError{rec.Version}
	}
	m.version = rec.Version
	return m, nil
}

// changeUserMark applies change to the mark of a user and stores it. change may be called
// several times, and must have the same effect each time, because the write may have
// succeeded despite an error.
func (k *Keeper) changeUserMark(ctx context.Context, userID string, change func(*userMark) error) error {
	lost, conflicts, poll := 0, 0, time.Millisecond
	for {
		writes := k.users.writeCount()
		m, err := k.readUserMark(ctx, userID)
		if err != nil {
			return err
		}
		// This is the loop of ledger.swap (rule 4), for a mark that may not exist yet.
		// Without the swap, a sign-in and an end of all sessions at the same time could
		// overwrite each other's change.
		prev := m.version
		if err := change(m); err != nil {
			return err
		}
		m.version = newVersion()
		if !k.cfg.Private { // the memory of the process has one secret, and small marks
			m.seq++
		}
		switch err = k.putUserMark(ctx, userID, m, prev); {
		case err == nil:
			k.users.noteWrite(userID, m, writes)
			return nil
		case errors.Is(err, store.ErrConflict):
			if conflicts++; conflicts > maxConflicts || ctx.Err() != nil {
				return err
			}
			k.pause(ctx, &poll)
		case errors.Is(err, store.ErrFull):
			// The mark was not written, and another attempt would not help.
			return err
		default:
			if lost++; lost > maxLostPuts || ctx.Err() != nil {
				return err
			}
		}
	}
}

// putUserMark stores m if the stored version is prev, under the key of the newest secret.
func (k *Keeper) putUserMark(ctx context.Context, userID string, m *userMark, prev uint64) error {
	s := k.cfg.Secrets[0]
	// The mark applies to sessions that began before now. At this time all of them have
	// reached their lifetime, so the mark is no longer needed.
	end := k.now().Add(k.cfg.Lifetime + clockSlack)
	rec := store.Record{Key: s.User(userID), Version: m.version, ExpiresAt: end, Data: m.encode()}
	if !k.cfg.Private {
		rec.Data = s.Users.SealBytes(seal.User, rec.Key, rec.Data)
	}
	return k.store.Put(ctx, rec, prev)
}

// userFormat is the format of a mark.
const userFormat = 1

// encode returns the encoding of m, without the version.
func (m *userMark) encode() []byte {
	var e seal.Encoder
	e.Uint(userFormat)
	e.Uint(m.ends)
	e.Time(m.endedAt)
	encodeKey(&e, m.kept)
	e.Uint(m.roles)
	e.Uint(m.seq)
	if !m.capped {
		e.Uint(0)
		return e.B
	}
	e.Uint(1 + uint64(len(m.members)))
	for _, o := range m.members {
		encodeKey(&e, o.key)
		e.Time(o.used)
		e.Time(o.end)
	}
	return e.B
}

// decodeUserMark decodes the result of encode. It rejects a list longer than MaxMembers and
// a session that is being replaced.
func decodeUserMark(b string) (*userMark, bool) {
	d := seal.NewDecoder(b)
	if d.Uint() != userFormat {
		return nil, false
	}
	m := &userMark{ends: d.Uint(), endedAt: d.Time(), kept: decodeKey(d), roles: d.Uint(), seq: d.Uint()}
	n := d.Count(1 + MaxMembers + 1)
	m.capped = n > 0
	for ; n > 1 && !d.Bad(); n-- {
		m.members = append(m.members, member{decodeKey(d), d.Time(), d.Time()})
	}
	return m, d.Done()
}

// encodeKey writes the key of a record, or an empty text, in half of its length.
func encodeKey(e *seal.Encoder, key string) {
	b, _ := hex.DecodeString(key) // ID.Key returns valid hexadecimal text
	e.Bytes(b)
}

// decodeKey reads the output of encodeKey. A key is a SHA-256 hash, so it is as long as an
// ID.
func decodeKey(d *seal.Decoder) string {
	b := d.Text()
	if len(b) != 0 && len(b) != len(ID{}) {
		d.Fail()
		return ""
	}
	return hex.EncodeToString([]byte(b))
}
