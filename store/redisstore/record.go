package redisstore

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/synmetrix/session/store"
)

// A record is stored as: the format, the version in 8 bytes, the owner and the key with
// their lengths in one byte each, ExpiresAt in milliseconds in 8 bytes, the length of Meta
// in 4 bytes, Meta, Data. Numbers are big-endian. The scripts read the part up to the
// owner.

// format is the beginning of all values of this store.
const format = "s1"

const (
	versionEnd = len(format) + 8
	prefixMax  = versionEnd + 1 + store.MaxName // the part that scripts read
)

// errValue reports a value under a record's key that is not a record. Another program wrote
// it, or it was damaged.
var errValue = errors.New("the stored value is not a session record")

// errForeign reports a record with another key or owner than the call's. Such a record would
// sign a visitor in as another user.
var errForeign = errors.New("the server returned a record of another call")

// encode returns the value of a valid record.
func encode(rec store.Record) string {
	b := make([]byte, 0, prefixMax+1+len(rec.Key)+8+4+len(rec.Meta)+len(rec.Data))
	b = append(b, prefix(rec.Version)...)
	b = append(append(b, byte(len(rec.Owner))), rec.Owner...)
	b = append(append(b, byte(len(rec.Key))), rec.Key...)
	b = binary.BigEndian.AppendUint64(b, uint64(millis(rec.ExpiresAt)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(rec.Meta)))
	b = append(b, rec.Meta...)
	return string(append(b, rec.Data...))
}

// prefix returns the beginning of the values of a version.
func prefix(version uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(format), version))
}

// state is the part of a stored record that the scripts return. It is zero if there is no
// record.
type state struct {
	version uint64
	owner   string
}

// parsePrefix parses the beginning of a value, which must have at least the part up to the
// owner. It returns the rest.
func parsePrefix(s string) (st state, rest string, ok bool) {
	if len(s) <= versionEnd || s[:len(format)] != format {
		return state{}, "", false
	}
	st.version = binary.BigEndian.Uint64([]byte(s[len(format):versionEnd]))
	st.owner, rest, ok = cutName(s[versionEnd:])
	return st, rest, ok && st.version != 0
}

// cutName cuts off a name with its length.
func cutName(s string) (name, rest string, ok bool) {
	if s == "" || len(s) < 1+int(s[0]) || s[0] > store.MaxName {
		return "", "", false
	}
	return s[1 : 1+s[0]], s[1+s[0]:], true
}

// decode parses the value of a record, which is given as text and as bytes. The record shares
// their memory, which must not change.
func decode(text string, value []byte) (store.Record, error) {
	st, rest, ok := parsePrefix(text)
	if !ok {
		return store.Record{}, errValue
	}
	key, rest, ok := cutName(rest)
	at := len(text) - len(rest)
	if !ok || len(value) < at+12 {
		return store.Record{}, errValue
	}
	expires := int64(binary.BigEndian.Uint64(value[at:]))
	metaLen := uint64(binary.BigEndian.Uint32(value[at+8:]))
	body := value[at+12:]
	if metaLen > uint64(len(body)) {
		return store.Record{}, errValue
	}
	rec := store.Record{
		Key:       key,
		Owner:     st.owner,
		Version:   st.version,
		Meta:      body[:metaLen:metaLen],
		Data:      body[metaLen:len(body):len(body)],
		ExpiresAt: time.UnixMilli(expires),
	}
	if rec.Validate() != nil {
		return store.Record{}, errValue
	}
	return rec, nil
}

// millis returns t in Unix milliseconds, rounded up.
func millis(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}

// expiry returns the time at which the server removes a record: its ExpiresAt, limited to
// times that the server accepts.
func expiry(t time.Time) int64 {
	const least, most = 1, 253_402_300_800_000 // 1970, and the year 10000
	switch {
	case t.Before(time.UnixMilli(least)):
		return least
	case t.After(time.UnixMilli(most)):
		return most
	}
	return millis(t)
}
