package seal

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

// Encoder writes an encoding, which grows in B.
type Encoder struct{ B []byte }

// Uint writes a number.
func (e *Encoder) Uint(v uint64) { e.B = binary.AppendUvarint(e.B, v) }

// Raw writes bytes without their number.
func (e *Encoder) Raw(b []byte) { e.B = append(e.B, b...) }

// Bytes writes bytes and their number.
func (e *Encoder) Bytes(b []byte) { e.Uint(uint64(len(b))); e.Raw(b) }

// Text writes a string and its length.
func (e *Encoder) Text(s string) { e.Uint(uint64(len(s))); e.B = append(e.B, s...) }

// Bool writes a truth value.
func (e *Encoder) Bool(v bool) {
	if v {
		e.Uint(1)
	} else {
		e.Uint(0)
	}
}

// Time writes a time in milliseconds; the zero time is 0.
func (e *Encoder) Time(t time.Time) {
	if t.IsZero() {
		e.Uint(0)
		return
	}
	e.Uint(uint64(max(t.UnixMilli(), 1)))
}

// Tokens are base64 or hexadecimal inside. Sealing pays for base64 of its own,
// so they are stored as the bytes that they stand for, if that restores them
// exactly.
const (
	tokenAsText = iota
	tokenAsJWT
	tokenAsUUID
)

// Token writes a token in its shortest form.
func (e *Encoder) Token(s string) {
	if parts, ok := splitJWT(s); ok {
		e.Uint(tokenAsJWT)
		for _, p := range parts {
			e.Bytes(p)
		}
		return
	}
	if b, ok := parseUUID(s); ok {
		e.Uint(tokenAsUUID)
		e.Raw(b[:])
		return
	}
	e.Uint(tokenAsText)
	e.Text(s)
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

// Decoder reads what an Encoder wrote. After anything else all further values
// are zero, and Done reports false.
type Decoder struct {
	b   []byte
	bad bool
}

// NewDecoder returns a Decoder of b, which must not be modified afterwards.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Fail makes what follows fail.
func (d *Decoder) Fail() { d.bad, d.b = true, nil }

// Done reports whether everything was read, and was good.
func (d *Decoder) Done() bool { return !d.bad && len(d.b) == 0 }

// Uint reads a number.
func (d *Decoder) Uint() uint64 {
	v, n := binary.Uvarint(d.b)
	// A longer encoding of the same number is not one of ours.
	if n <= 0 || n != len(binary.AppendUvarint(nil, v)) {
		d.Fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Take reads n bytes, which are not copied.
func (d *Decoder) Take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.Fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// Bytes reads bytes, which are not copied.
func (d *Decoder) Bytes() []byte { return d.Take(d.Uint()) }

// Text reads a string.
func (d *Decoder) Text() string { return string(d.Bytes()) }

// Bool reads a truth value.
func (d *Decoder) Bool() bool {
	v := d.Uint()
	if v > 1 {
		d.Fail()
	}
	return v == 1
}

// Time reads a time.
func (d *Decoder) Time() time.Time {
	v := d.Uint()
	switch {
	case v == 0:
		return time.Time{}
	case v > math.MaxInt64/2:
		d.Fail()
		return time.Time{}
	}
	return time.UnixMilli(int64(v))
}

// Token reads a token.
func (d *Decoder) Token() string {
	switch d.Uint() {
	case tokenAsText:
		s := d.Text()
		if _, ok := splitJWT(s); ok {
			d.Fail() // there is a shorter form
		}
		if _, ok := parseUUID(s); ok {
			d.Fail()
		}
		return s
	case tokenAsJWT:
		var segs [3]string
		for i := range segs {
			segs[i] = base64.RawURLEncoding.EncodeToString(d.Bytes())
		}
		return segs[0] + "." + segs[1] + "." + segs[2]
	case tokenAsUUID:
		var b [16]byte
		copy(b[:], d.Take(uint64(len(b))))
		return formatUUID(b)
	}
	d.Fail()
	return ""
}

// Duration writes a duration in milliseconds.
func (e *Encoder) Duration(v time.Duration) { e.Uint(uint64(v / time.Millisecond)) }

// Duration reads a duration.
func (d *Decoder) Duration() time.Duration {
	v := d.Uint()
	if v > math.MaxInt64/uint64(time.Millisecond) {
		d.Fail()
		return 0
	}
	return time.Duration(v) * time.Millisecond
}

// Count reads a number that is at most limit.
func (d *Decoder) Count(limit uint64) int {
	v := d.Uint()
	if v > limit {
		d.Fail()
		return 0
	}
	return int(v)
}

// Bad reports whether anything could not be read.
func (d *Decoder) Bad() bool { return d.bad }
