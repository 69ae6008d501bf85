package seal

import (
	"bytes"
	"math"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// sealedTokens returns a sealed text as long as a tokens cookie with tokens of Hasura's
// size, the bytes in it, and its secret.
func sealedTokens(tb testing.TB) (s Secret, plain []byte, sealed string) {
	tb.Helper()
	s = NewSecret("a secret of 32 bytes or more, as it is configured")
	plain = make([]byte, 370)
	sealed, err := s.Cookies.Seal(Tokens, "__Host-session", append([]byte(nil), plain...))
	if err != nil {
		tb.Fatal(err)
	}
	return s, plain, sealed
}

func BenchmarkSeal(b *testing.B) {
	s, plain, _ := sealedTokens(b)
	buf := make([]byte, len(plain))
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		copy(buf, plain) // Seal overwrites buf
		if _, err := s.Cookies.Seal(Tokens, "__Host-session", buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, plain, sealed := sealedTokens(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, ok := s.Cookies.Open(Tokens, "__Host-session", sealed); !ok {
			b.Fatal("the text does not open")
		}
	}
}

// BenchmarkRecordSeal measures the derivation of the sealer for one session's record.
func BenchmarkRecordSeal(b *testing.B) {
	s, _, _ := sealedTokens(b)
	id := make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		s.Records(id)
	}
}

// A text that was sealed for one purpose and name opens for no other.
func TestSealPurposes(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured")
	purposes := []string{Tokens, State, ID, MFA, Record, Meta}
	for _, purpose := range purposes {
		sealed, err := s.Cookies.Seal(purpose, "name", []byte("plain"))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range purposes {
			for _, name := range []string{"name", "name2", ""} {
				plain, ok := s.Cookies.Open(other, name, sealed)
				if want := other == purpose && name == "name"; ok != want || ok && plain != "plain" {
					t.Errorf("sealed for %s: Open for %s and %q returns %v, want %v", purpose, other, name, ok, want)
				}
			}
		}
	}
}

// The decoder rejects each kind of input that no encoder writes.
func TestDecoderRejects(t *testing.T) {
	written := func(write func(e *Encoder)) []byte {
		var e Encoder
		write(&e)
		return e.B
	}
	asText := func(token string) []byte {
		return written(func(e *Encoder) { e.Uint(tokenAsText); e.Text(token) })
	}
	for _, tt := range []struct {
		what string
		b    []byte
		read func(d *Decoder)
	}{
		{"no number", nil, func(d *Decoder) { d.Uint() }},
		{"a number in more bytes than it needs", []byte{0x81, 0}, func(d *Decoder) { d.Uint() }},
		{"a truncated number", []byte{0x81}, func(d *Decoder) { d.Uint() }},
		{"a number over 64 bits", bytes.Repeat([]byte{0xff}, 11), func(d *Decoder) { d.Uint() }},
		{"a boolean of 2", []byte{2}, func(d *Decoder) { d.Bool() }},
		{"a truncated text", []byte{3, 'a', 'b'}, func(d *Decoder) { d.Text() }},
		{"a text of 2^63 bytes", written(func(e *Encoder) { e.Uint(1 << 63) }), func(d *Decoder) { d.Text() }},
		{"a time out of range", written(func(e *Encoder) { e.Uint(math.MaxInt64) }), func(d *Decoder) { d.Time() }},
		{"a duration out of range", written(func(e *Encoder) { e.Uint(math.MaxUint64) }), func(d *Decoder) { d.Duration() }},
		{"too many failures", written(func(e *Encoder) { e.Uint(1<<30 + 1) }), func(d *Decoder) { d.Count(1 << 30) }},
		{"a token of an unknown form", []byte{4, 0}, func(d *Decoder) { d.Token() }},
		{"a JWT as text", asText("e30.e30.c2ln"), func(d *Decoder) { d.Token() }},
		{"a UUID as text", asText("3c20645f-6716-4abc-8def-0123456789ab"), func(d *Decoder) { d.Token() }},
		{"a truncated UUID", append([]byte{tokenAsUUID}, make([]byte, 15)...), func(d *Decoder) { d.Token() }},
		{"a truncated JWT", []byte{tokenAsJWT, 1, 'a', 1, 'b'}, func(d *Decoder) { d.Token() }},
		{"a JWT without its known header", []byte{tokenWithHeader, 0, 1, 'a'}, func(d *Decoder) { d.Token() }},
		{"an unknown header", []byte{tokenWithHeader, byte(len(headers)), 1, 'a', 1, 'b'}, func(d *Decoder) { d.Token() }},
		{"a known header in full", append([]byte{tokenAsJWT, 15}, `{"alg":"HS256"}`+"\x01a\x01b"...), func(d *Decoder) { d.Token() }},
	} {
		d := NewDecoder(tt.b)
		if tt.read(d); !d.Bad() || d.Done() {
			t.Errorf("%s was accepted", tt.what)
		}
	}
}

// A Decoder restores each token, from one encoding.
func FuzzToken(f *testing.F) {
	for _, token := range []string{
		"", ".", "..", "...", "a.b.c", "e30.e30.c2ln", "e30.e30.", "e30.e30.c2lo", "e30.e30.c2l", "e30.e30.c2k", "e30.e30.c2 n", "e30.e30.c2ln.e30", "e30=.e30.c2ln",
		"e30.e30.AA", "e30.e30.AB", "e30.e30.AQ", "e30.e30.AAA", "e30.e30.AAB", "e30.e30.AAE", "e30.e30.A", "e30.e30.-_", "e30.e30.+/",
		headers[0] + ".e30.c2ln", headers[len(headers)-1] + "..", headers[0], headers[0] + ".",
		"3c20645f-6716-4abc-8def-0123456789ab", "3C20645f-6716-4abc-8def-0123456789ab", "3c20645f-6716-4abc-8def-0123456789a", "3c20645f067164abc-8def-0123456789ab", "3c20645f-6716-4abc-8def-0123456789ag",
	} {
		f.Add(token, []byte(token))
		var e Encoder
		e.Token(token)
		f.Add("", e.B)
	}
	f.Fuzz(func(t *testing.T, token string, b []byte) {
		var e Encoder
		e.Token(token)
		d := NewDecoder(e.B)
		if got := d.Token(); got != token || !d.Done() {
			t.Errorf("%q is restored as %q (%v)", token, got, d.Done())
		}
		d = NewDecoder(b)
		if token := d.Token(); d.Done() {
			var e Encoder
			if e.Token(token); !bytes.Equal(e.B, b) {
				t.Errorf("%q was decoded from %x, but is encoded as %x", token, b, e.B)
			}
		}
	})
}

// golang-jwt accepts the usual headers, so the payload of such a token can be read alone.
func TestHeaders(t *testing.T) {
	for _, header := range headers {
		token := header + ".eyJhIjoxfQ.c2ln"
		if _, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{}); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		var e Encoder
		e.Token(token)
		d := NewDecoder(e.B)
		if got, payload := d.JWT(); got != token || payload != `{"a":1}` || !d.Done() {
			t.Errorf("%q is restored as %q with the payload %q", token, got, payload)
		}
	}
}
