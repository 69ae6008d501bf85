package seal

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// The encoding is written by hand. It must be short, because cookies are limited. And
// its decoder must accept exactly what the encoder writes: each value has one encoding.
// General formats such as JSON do not have that property.

// Encoder appends an encoding to B.
type Encoder struct{ B []byte }

// encoders is the pool of Encoders for NewEncoder.
var encoders = sync.Pool{New: func() any { return &Encoder{B: make([]byte, 0, 1024)} }}

// NewEncoder returns an Encoder with an empty B. The caller must call Free when B is no
// longer used.
func NewEncoder() *Encoder { return encoders.Get().(*Encoder) }

// Free clears B, so that no secret stays in memory, and keeps it for another Encoder.
func (e *Encoder) Free() {
	clear(e.B[:cap(e.B)])
	if e.B = e.B[:0]; cap(e.B) <= maxScratch {
		encoders.Put(e)
	}
}

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
	tokenAsText     = iota
	tokenAsJWT      // three segments in base64
	tokenAsUUID     // 16 bytes in hexadecimal
	tokenWithHeader // a JWT with a header of headers, without that header
)

// headers are the encoded headers of the JWTs of many services. Each position is part of
// the encoding.
var headers = [...]string{
	base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)),
}

// Token writes a token in its shortest form.
func (e *Encoder) Token(s string) {
	start := len(e.B)
	if e.jwt(s) {
		return
	}
	e.B = e.B[:start]
	if b, ok := parseUUID(s); ok {
		e.Uint(tokenAsUUID)
		e.Raw(b[:])
		return
	}
	e.Uint(tokenAsText)
	e.Text(s)
}

// jwt writes a token as a JWT. If it returns false, a decoder would not restore s from
// what it has written.
func (e *Encoder) jwt(s string) bool {
	header, rest, _ := strings.Cut(s, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 { // the base64 decoder ignores line breaks
		return false
	}
	if i := slices.Index(headers[:], header); i >= 0 {
		e.Uint(tokenWithHeader)
		e.Uint(uint64(i))
	} else {
		e.Uint(tokenAsJWT)
		ok = e.segment(header)
	}
	return ok && e.segment(payload) && e.segment(signature)
}

// segments are in canonical base64: the unused bits of the last character are zero.
var segments = base64.RawURLEncoding.Strict()

// segment writes the bytes of a segment of a JWT.
func (e *Encoder) segment(s string) bool {
	e.Uint(uint64(segments.DecodedLen(len(s))))
	var err error
	e.B, err = segments.AppendDecode(e.B, []byte(s))
	return err == nil
}

// parseUUID returns the bytes of a UUID. ok is false if appendUUID would not restore s,
// such as one with upper-case letters.
func parseUUID(s string) (b [16]byte, ok bool) {
	if len(s) != uuidSize {
		return b, false
	}
	digits, n := [2 * len(b)]byte{}, 0
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return b, false
			}
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'f':
			digits[n] = c
			n++
		default:
			return b, false
		}
	}
	_, err := hex.Decode(b[:], digits[:])
	return b, err == nil
}

// uuidSize is the length of the text of a UUID.
const uuidSize = 36

// appendUUID appends the text of a UUID of 16 bytes.
func appendUUID(s []byte, b string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(b) {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s = append(s, '-')
		}
		s = append(s, digits[b[i]>>4], digits[b[i]&0xf])
	}
	return s
}

// Decoder reads an encoding that an Encoder has written. If it meets anything else, it
// returns zero values from then on, and Done returns false. So a caller reads all
// values and checks once.
type Decoder struct {
	text   string          // what is not read yet
	bad    bool            // the input was rejected
	tokens strings.Builder // with room for another token, or without any
}

// NewDecoder returns a Decoder of b. Texts share the memory of a string b.
func NewDecoder[T string | []byte](b T) *Decoder { return &Decoder{text: string(b)} }

// Fail rejects the input. The caller has read a value that it does not accept.
func (d *Decoder) Fail() { d.bad, d.text = true, "" }

// Done reports whether the whole input was read and accepted.
func (d *Decoder) Done() bool { return !d.bad && d.text == "" }

// Bad reports whether the input was rejected.
func (d *Decoder) Bad() bool { return d.bad }

// Uint reads a number.
func (d *Decoder) Uint() uint64 {
	// Most numbers have one byte.
	if d.text != "" && d.text[0] < 0x80 {
		v := d.text[0]
		d.text = d.text[1:]
		return uint64(v)
	}
	var room [binary.MaxVarintLen64]byte
	v, n := binary.Uvarint(room[:copy(room[:], d.text)])
	// A number can be encoded in more bytes than needed. No Encoder does that. The last byte
	// is zero then.
	if n <= 0 || n > 1 && room[n-1] == 0 {
		d.Fail()
		return 0
	}
	d.text = d.text[n:]
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

// Take reads n bytes.
func (d *Decoder) Take(n uint64) string {
	if n > uint64(len(d.text)) {
		d.Fail()
		return ""
	}
	s := d.text[:n]
	d.text = d.text[n:]
	return s
}

// Bytes reads bytes and their length. The result is a copy.
func (d *Decoder) Bytes() []byte { return []byte(d.Text()) }

// Text reads a string.
func (d *Decoder) Text() string { return d.Take(d.Uint()) }

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
	token, _ := d.JWT()
	return token
}

// JWT reads a token. If it is a JWT with a usual header, JWT also returns its decoded
// payload, which is part of the input. A usual header names an algorithm of golang-jwt.
func (d *Decoder) JWT() (token, payload string) {
	switch d.Uint() {
	case tokenAsText:
		s := d.Text()
		var e Encoder
		if _, ok := parseUUID(s); ok || e.jwt(s) {
			d.Fail() // the encoder uses the shorter form
		}
		return s, ""
	case tokenAsJWT:
		var room [usualHeader]byte
		header := segments.AppendEncode(room[:0], []byte(d.Text()))
		if slices.Contains(headers[:], string(header)) {
			d.Fail()
		}
		token, _ = d.jwt(string(header))
		return token, ""
	case tokenWithHeader:
		if i := d.Count(uint64(len(headers) - 1)); !d.bad {
			return d.jwt(headers[i])
		}
		return "", ""
	case tokenAsUUID:
		b := d.Take(16)
		if d.bad {
			return "", ""
		}
		var room [uuidSize]byte
		return d.keep(appendUUID(room[:0], b)), ""
	}
	d.Fail()
	return "", ""
}

// The sizes of most JWTs, and of their headers.
const (
	usualJWT    = 1024
	usualHeader = 256
)

// jwt reads the payload and the signature of a JWT.
func (d *Decoder) jwt(header string) (token, payload string) {
	payload, signature := d.Text(), d.Text()
	if d.bad {
		return "", ""
	}
	var room [usualJWT]byte
	b := append(append(room[:0], header...), '.')
	b = append(segments.AppendEncode(b, []byte(payload)), '.')
	return d.keep(segments.AppendEncode(b, []byte(signature))), payload
}

// keep returns a token as a string. A refresh token follows a JWT, and is often a UUID, so
// keep allocates room for both.
func (d *Decoder) keep(token []byte) string {
	if d.tokens.Cap()-d.tokens.Len() < len(token) {
		d.tokens = strings.Builder{}
		room := len(token)
		if room > uuidSize {
			room += uuidSize
		}
		d.tokens.Grow(room)
	}
	start := d.tokens.Len()
	d.tokens.Write(token)
	return d.tokens.String()[start:]
}
