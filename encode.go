package session

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"time"
)

// What is sealed is encoded by hand: a session has a dozen fields, its size in
// a cookie counts, and a decoder that reads lengths itself can refuse every
// input that the encoder does not write.

type encoder struct{ b []byte }

func (e *encoder) uint(v uint64)  { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) raw(b []byte)   { e.b = append(e.b, b...) }
func (e *encoder) bytes(b []byte) { e.uint(uint64(len(b))); e.raw(b) }
func (e *encoder) text(s string)  { e.uint(uint64(len(s))); e.b = append(e.b, s...) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

// time has a resolution of milliseconds; the zero time is 0.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.uint(0)
		return
	}
	e.uint(uint64(max(t.UnixMilli(), 1)))
}

// Tokens are base64 or hexadecimal inside. Sealing pays for base64 of its own,
// so they are stored as the bytes that they stand for, if that restores them
// exactly.
const (
	tokenAsText = iota
	tokenAsJWT
	tokenAsUUID
)

func (e *encoder) token(s string) {
	if parts, ok := splitJWT(s); ok {
		e.uint(tokenAsJWT)
		for _, p := range parts {
			e.bytes(p)
		}
		return
	}
	if b, ok := parseUUID(s); ok {
		e.uint(tokenAsUUID)
		e.raw(b[:])
		return
	}
	e.uint(tokenAsText)
	e.text(s)
}

func splitJWT(s string) (parts [3][]byte, ok bool) {
	if strings.Count(s, ".") != 2 {
		return parts, false
	}
	for i, seg := range strings.Split(s, ".") {
		b, err := base64.RawURLEncoding.DecodeString(seg)
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != seg {
			return parts, false
		}
		parts[i] = b
	}
	return parts, true
}

func parseUUID(s string) (b [16]byte, ok bool) {
	if len(s) != 36 {
		return b, false
	}
	n, err := hex.Decode(b[:], []byte(strings.ReplaceAll(s, "-", "")))
	return b, err == nil && n == len(b) && formatUUID(b) == s
}

func formatUUID(b [16]byte) string {
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// decoder reads what an encoder wrote. After anything else bad is set and all
// further values are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

// done reports whether everything was read, and was good.
func (d *decoder) done() bool { return !d.bad && len(d.b) == 0 }

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	// A longer encoding of the same number is not one of ours.
	if n <= 0 || n != len(binary.AppendUvarint(nil, v)) {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) bytes() []byte { return d.take(d.uint()) }
func (d *decoder) text() string  { return string(d.bytes()) }

func (d *decoder) bool() bool {
	v := d.uint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) time() time.Time {
	v := d.uint()
	switch {
	case v == 0:
		return time.Time{}
	case v > math.MaxInt64/2:
		d.fail()
		return time.Time{}
	}
	return time.UnixMilli(int64(v))
}

func (d *decoder) token() string {
	switch d.uint() {
	case tokenAsText:
		s := d.text()
		if _, ok := splitJWT(s); ok {
			d.fail() // there is a shorter form
		}
		if _, ok := parseUUID(s); ok {
			d.fail()
		}
		return s
	case tokenAsJWT:
		var segs [3]string
		for i := range segs {
			segs[i] = base64.RawURLEncoding.EncodeToString(d.bytes())
		}
		return segs[0] + "." + segs[1] + "." + segs[2]
	case tokenAsUUID:
		var b [16]byte
		copy(b[:], d.take(uint64(len(b))))
		return formatUUID(b)
	}
	d.fail()
	return ""
}
