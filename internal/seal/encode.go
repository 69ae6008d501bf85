package seal

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"time"
)

// The encoding is written by hand. It must be short, because cookies are limited. And
// its decoder must accept exactly what the encoder writes: each value has one encoding.
// General formats such as JSON do not have that property.

// Encoder appends an encoding to B.
type Encoder struct{ B []byte }

// Uint writes a number.
func (e *Encoder) Uint(v uint64) { e.B = binary.AppendUvarint(e.B, v) }

// Raw writes bytes without their length, which the decoder has to know.
func (e *Encoder) Raw(b []byte) { e.B = append(e.B, b...) }

// Bytes writes bytes and their length.
func (e *Encoder) Bytes(b []byte) { e.Uint(uint64(len(b))); e.Raw(b) }

// Text writes a string and its length.
func (e *Encoder) Text(s string) { e.Uint(uint64(len(s))); e.B = append(e.B, s...) }

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) {
	if v {
		e.Uint(1)
	} else {
		e.Uint(0)
	}
}

// Time writes a time in milliseconds since 1970. The zero time is 0. Times before 1970
// are written as the first millisecond after it.
func (e *Encoder) Time(t time.Time) {
	if t.IsZero() {
		e.Uint(0)
		return
	}
	e.Uint(uint64(max(t.UnixMilli(), 1)))
}

// Duration writes a duration in milliseconds.
func (e *Encoder) Duration(v time.Duration) { e.Uint(uint64(v / time.Millisecond)) }

// The forms of a token. Most tokens are JWTs or UUIDs, which are base64 or hexadecimal
// texts. A seal is base64, too, and would encode them a second time. So the encoding
// has the bytes that such a text stands for, if these restore the text exactly.
const (
	tokenAsText = iota
	tokenAsJWT  // three segments in base64
	tokenAsUUID // 16 bytes in hexadecimal
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

// splitJWT returns the decoded segments of a JWT. ok is false if encoding them again
// would not restore s.
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

// parseUUID returns the bytes of a UUID. ok is false if formatUUID would not restore s,
// such as one with upper-case letters.
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

// Decoder reads an encoding that an Encoder has written. If it meets anything else, it
// returns zero values from then on, and Done returns false. So a caller reads all
// values and checks once.
type Decoder struct {
	b   []byte // what is not read yet
	bad bool   // the input was rejected
}

// NewDecoder returns a Decoder of b, which must not be modified afterwards.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Fail rejects the input. The caller has read a value that it does not accept.
func (d *Decoder) Fail() { d.bad, d.b = true, nil }

// Done reports whether the whole input was read and accepted.
func (d *Decoder) Done() bool { return !d.bad && len(d.b) == 0 }

// Bad reports whether the input was rejected.
func (d *Decoder) Bad() bool { return d.bad }

// Uint reads a number.
func (d *Decoder) Uint() uint64 {
	v, n := binary.Uvarint(d.b)
	// A number can be encoded in more bytes than needed. No Encoder does that.
	if n <= 0 || n != len(binary.AppendUvarint(nil, v)) {
		d.Fail()
		return 0
	}
	d.b = d.b[n:]
	return v
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

// Take reads n bytes. It does not copy them.
func (d *Decoder) Take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.Fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// Bytes reads bytes and their length. It does not copy them.
func (d *Decoder) Bytes() []byte { return d.Take(d.Uint()) }

// Text reads a string.
func (d *Decoder) Text() string { return string(d.Bytes()) }

// Bool reads a boolean.
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

// Duration reads a duration.
func (d *Decoder) Duration() time.Duration {
	v := d.Uint()
	if v > math.MaxInt64/uint64(time.Millisecond) {
		d.Fail()
		return 0
	}
	return time.Duration(v) * time.Millisecond
}

// Token reads a token.
func (d *Decoder) Token() string {
	switch d.Uint() {
	case tokenAsText:
		s := d.Text()
		if _, ok := splitJWT(s); ok {
			d.Fail() // the encoder uses the shorter form
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
