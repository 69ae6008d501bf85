package keeper

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

// This file lists the stored sessions of a user, and ends sessions other than that of the
// request.
//
// The data for the list is in the record's Meta, sealed with the configured secret. Data
// cannot be listed, because it opens only with the session's own cookie.
// Records in the memory of the process are not sealed and have no Meta.

// Device describes the client that started a session.
type Device struct {
	Addr      netip.Addr // of the client; zero: unknown
	UserAgent string     // of the client, at most maxUserAgent bytes
}

const (
	maxUserAgent = 256  // bytes
	maxHeader    = 1024 // the part of a User-Agent field that is read, in bytes
)

// NewDevice returns a Device for the address and the User-Agent field of a request. It cuts
// the field, and removes characters that are not printable, because users read the field in
// a list.
func NewDevice(addr netip.Addr, userAgent string) Device {
	if len(userAgent) > maxUserAgent || !isPrintableASCII(userAgent) {
		userAgent = cleanUserAgent(userAgent)
	}
	// The field may be part of a large header.
	return Device{Addr: addr.Unmap().WithZone(""), UserAgent: strings.Clone(userAgent)}
}

// isPrintableASCII reports whether text needs no cleaning. Most User-Agent fields do not.
func isPrintableASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func cleanUserAgent(userAgent string) string {
	// The first cut limits the work for a long field, the second the size in the store. The
	// second cut may split a character, which is then removed.
	clean := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, userAgent[:min(len(userAgent), maxHeader)])
	return strings.ToValidUTF8(clean[:min(len(clean), maxUserAgent)], "")
}

// Listed describes a session in the list of its user.
type Listed struct {
	Handle            string // identifies the session in this list; see [Handle]
	Created, LastSeen time.Time
	Device            Device
	Current           bool // the session of the request
}

// maxListed limits the length of a list.
const maxListed = 1000

// ErrNotListed is returned by EndListed if the user has no session with the handle.
var ErrNotListed = errors.New("the user has no such session")

// Handle returns the public name of the session of a record. It does not change during
// the session's life. It reveals neither the key nor the session ID.
func Handle(key string) string {
	// 16 bytes are enough: the handle only has to differ from those in the same list. The
	// prefix keeps it different from other hashes of the key.
	sum := sha256.Sum256([]byte("handle " + key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// List returns the stored sessions of the user of r: r first, and then the others, the most
// recently used first. It returns at most maxListed sessions. A record that does not open,
// or that belongs to another user, is not in the list.
func (k *Keeper) List(ctx context.Context, r *Record) ([]Listed, error) {
	// The mark is read from the store. A list must not show sessions that another process
	// has just ended: the records are removed after the mark was written (rule 10).
	mark, err := k.readUserMark(ctx, r.UserID)
	if err != nil {
		return nil, err
	}
	list := []Listed{{Handle(r.Key), r.Created, k.now(), r.Device, true}}
	err = k.eachOther(ctx, r, func(rec store.Record) error {
		if d := k.listed(rec, r.UserID, mark); d != nil {
			list = append(list, Listed{Handle(rec.Key), d.Created, d.LastSeen, d.Device, false})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The handle decides between equal times, so that the order is always the same.
	slices.SortFunc(list[1:], func(a, b Listed) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), strings.Compare(a.Handle, b.Handle))
	})
	return list[:min(len(list), maxListed)], nil
}

// listed returns the data for the list from the record of a session of userID, nil if the
// session is not listed. mark is the mark of the user.
func (k *Keeper) listed(rec store.Record, userID string, mark *userMark) *Record {
	d, ok := k.describe(rec, userID)
	if !ok || k.expired(&d, k.now()) != "" || mark.endReason(&d, k.cfg.MaxSessions > 0) != "" {
		return nil
	}
	return &d
}

// EndListed ends another session of the user of r by its handle. The error is ErrNotListed,
// or an error of the store that EndListed has not reported.
//
// Only the user's own records are searched, so the handle of another user's session
// has no effect.
func (k *Keeper) EndListed(ctx context.Context, r *Record, handle string) error {
	ctx = context.WithoutCancel(ctx)
	mark, err := k.readUserMark(ctx, r.UserID)
	if err != nil {
		return err
	}
	// A session that is not listed counts as not found: it has ended, even if its record
	// still exists. The caller's own session is not among the others and is not found
	// either.
	found := ErrNotListed
	err = k.eachOther(ctx, r, func(rec store.Record) error {
		if Handle(rec.Key) != handle || k.listed(rec, r.UserID, mark) == nil {
			return nil
		}
		found = nil
		return k.endElsewhere(ctx, rec, r.UserID)
	})
	if err != nil {
		return err
	}
	return found
}

// eachOther calls f for the records of the user's other sessions, until f returns an
// error.
func (k *Keeper) eachOther(ctx context.Context, r *Record, f func(store.Record) error) error {
	// A record's owner is a hash keyed with the secret that the record was written with,
	// which may be an older one. The oldest secret is first: a record that is written at
	// the same time moves to the newest secret, and is then in at least one of the two
	// lists.
	seen := map[string]bool{r.Key: true}
	for _, s := range slices.Backward(k.cfg.Secrets) {
		owner := s.Owner(r.UserID)
		records, err := k.store.List(ctx, owner)
		if err != nil {
			return err
		}
		for _, rec := range records {
			// A record that moves between the two calls is in both lists. The owner is
			// checked, because f may delete the record.
			if seen[rec.Key] || rec.Owner != owner {
				continue
			}
			seen[rec.Key] = true
			if err := f(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// endElsewhere ends the session of rec, which belongs to another browser.
//
// If this process has decoded the session before, it can also revoke the tokens. Otherwise
// the record opens only with the other browser's cookie, and the only copy of the tokens is
// deleted with the record.
func (k *Keeper) endElsewhere(ctx context.Context, rec store.Record, userID string) error {
	// A mark is better than a deletion: it keeps the tokens until they are revoked (rule
	// 8), and gives late requests the reason of the end.
	if r := k.openHere(rec); r != nil {
		l := k.ledger(r)
		mark, err := l.end(ctx, EndedElsewhere, false, nil)
		switch {
		case err == nil:
			k.event(ctx, slog.LevelInfo, mark, Event{Name: EventSessionEnded, Reason: string(EndedElsewhere)})
			k.revokeEnded(l, mark, false, true)
			return nil
		case isEnded(err):
			return nil
		}
		// The record no longer opens, or the store fails. Deleting the record also ends the
		// session.
	}
	// A process that has the session in its cache revokes the tokens when it finds that the
	// record was deleted; see revokeGone.
	if err := k.store.Delete(ctx, rec.Key); err != nil {
		return err
	}
	gone := &Record{Key: rec.Key, SignIn: SignIn{UserID: userID}}
	k.endings.announce(rec.Key)
	k.removeMember(ctx, gone)
	k.event(ctx, slog.LevelInfo, gone, Event{Name: EventSessionEnded, Reason: string(EndedElsewhere)})
	return nil
}

// openHere returns the session of rec if this process can open it without the session's
// cookie, nil otherwise.
func (k *Keeper) openHere(rec store.Record) *Record {
	// The state in the cache may be older than the record. Only its session ID is used:
	// with the ID, the ledger reads the newest state.
	if r, ok := k.records.Get(rec.Key); ok && r.ended == "" {
		return r
	}
	if k.cfg.Private { // not sealed
		if r, err := describeFromMemory(rec.Data, rec.Key, k.names); err == nil && r.ended == "" {
			return r
		}
	}
	return nil
}

// revokeGone revokes the tokens of a session whose record another process has deleted,
// because endElsewhere could not open it there. This process may still have the session in
// its cache. err is the error of a read.
func (k *Keeper) revokeGone(l *ledger, err error) {
	var e *Error
	if !errors.As(err, &e) || e.mark != nil || k.cfg.Private {
		return
	}
	// Remove returns the state only once, so one of many late requests revokes the tokens.
	r, ok := k.records.Remove(l.key)
	if !ok || r.ended != "" || k.expired(r, k.now()) != "" {
		return
	}
	// The session may have ended in another way, with its tokens already revoked. The
	// service then rejects them, which is not reported as a failure.
	k.background(func() {
		if err := k.logoutAtService(k.ctx, r.Pair.Tokens(), false); err != nil && !errors.Is(err, auth.ErrRefused) {
			k.revokeTokens(r.Pair.Tokens())
		}
	})
}

const (
	metaFormat = 2
	// maxMeta is the length of the longest encoding: a format, a hash, a number, two
	// times, an address and a User-Agent field, both with their lengths, and a flag.
	maxMeta = 1 + sha256.Size + 3*10 + 1 + 16 + 2 + maxUserAgent + 1
)

// encodeMeta returns the data of r for the list.
func (r *Record) encodeMeta() []byte {
	e := seal.Encoder{B: make([]byte, 0, maxMeta)}
	e.Uint(metaFormat)
	// The hash binds the description to its user. Otherwise a user could see and end a
	// session of another user whose record was moved to this owner in the store.
	user := sha256.Sum256([]byte(r.UserID))
	e.Raw(user[:])
	// A list compares Ends with the user's mark, to leave out sessions that have ended.
	e.Uint(r.Ends)
	e.Time(r.Created)
	e.Time(r.LastSeen)
	r.Device.encode(&e)
	e.Bool(r.Actor != nil) // such a session does not count for a limit
	return e.B
}

// decodeMeta decodes the result of encodeMeta for the session of userID with this key.
func decodeMeta(b string, key, userID string) (r Record, ok bool) {
	d := seal.NewDecoder(b)
	r = Record{Key: key, SignIn: SignIn{UserID: userID}}
	if d.Uint() != metaFormat {
		return r, false
	}
	user := sha256.Sum256([]byte(userID))
	if d.Take(sha256.Size) != string(user[:]) {
		return r, false
	}
	r.Ends = d.Uint()
	r.Created = d.Time()
	r.LastSeen = d.Time()
	r.Device = decodeDevice(d)
	if d.Bool() {
		r.Actor = &Actor{}
	}
	return r, d.Done()
}

func (d Device) encode(e *seal.Encoder) {
	e.Bytes(d.Addr.AsSlice())
	e.Text(d.UserAgent)
}

// decodeDevice reads what [Device.encode] writes.
func decodeDevice(d *seal.Decoder) (device Device) {
	addr := d.Text()
	device.Addr, _ = netip.AddrFromSlice([]byte(addr))
	device.UserAgent = d.Text()
	// AddrFromSlice returns the zero address for a wrong length.
	if len(device.UserAgent) > maxUserAgent || len(device.Addr.AsSlice()) != len(addr) {
		d.Fail()
	}
	return device
}

// describe returns the data for the list from the record of a session of userID. It returns
// false if the record belongs to another user, or if its Meta does not open.
func (k *Keeper) describe(rec store.Record, userID string) (Record, bool) {
	if k.cfg.Private {
		r, err := describeFromMemory(rec.Data, rec.Key, k.names)
		if err != nil {
			return Record{}, false
		}
		return *r, r.ended == "" && r.UserID == userID
	}
	// The length is checked before the text is opened, to limit the work.
	if len(rec.Meta) > seal.BytesSize(maxMeta) {
		return Record{}, false
	}
	for _, s := range k.cfg.Secrets {
		if plain, ok := s.Meta.OpenBytes(seal.Meta, rec.Key, rec.Meta); ok {
			return decodeMeta(plain, rec.Key, userID)
		}
	}
	return Record{}, false
}
