package session

import (
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
)

// sealedTokens is a tokens cookie of the size that Hasura's tokens have, and
// what it was sealed with.
func sealedTokens(tb testing.TB) (s secret, plain []byte, sealed string) {
	tb.Helper()
	claims := strings.Repeat("A", 280)
	rec := &Record{ID: NewID(), UserID: "328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11", Created: time.Unix(1_800_000_000, 0)}
	rec.Pair = Pair{
		Gen: 1, Expires: rec.Created.Add(time.Hour), Life: time.Hour,
		Tokens: auth.Tokens{
			AccessToken:  "eyJhbGciOiJIUzI1NiJ9." + claims + "." + strings.Repeat("A", 43),
			RefreshToken: "3c20645f-6716-4d6f-9f0a-0b6c7c5f5a11",
		},
	}
	s = newSecret(GenerateKey())
	plain = encodeTokens(rec)
	sealed, err := seal(s.cookies, purposeTokens, "__Host-session", append([]byte(nil), plain...))
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
		copy(buf, plain) // which is overwritten
		if _, err := seal(s.cookies, purposeTokens, "__Host-session", buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, plain, sealed := sealedTokens(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, ok := open(s.cookies, purposeTokens, "__Host-session", sealed); !ok {
			b.Fatal("it does not open")
		}
	}
}

// BenchmarkRecordSeal is the seal of one session's record, which is derived
// from the secret and the session's ID.
func BenchmarkRecordSeal(b *testing.B) {
	s, _, _ := sealedTokens(b)
	id := NewID()
	b.ReportAllocs()
	for b.Loop() {
		s.recordSeal(id)
	}
}
