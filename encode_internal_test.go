package session

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is decoded was encoded: nothing else is, whatever comes in. It is
// tested inside the package, since a seal is around all of it.

func testRecord() *record {
	now := time.UnixMilli(1_700_000_000_123)
	id := newSessionID()
	return &record{
		id:      id,
		key:     id.key(),
		userID:  "328ddebf-1234-4abc-8def-0123456789ab",
		created: now,
		pair: pair{
			gen:     7,
			tokens:  Tokens{AccessToken: "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", RefreshToken: "3c20645f-6716-4abc-8def-0123456789ab"},
			expires: now.Add(time.Hour),
			life:    time.Hour,
		},
		lease:    lease{nonce: 1 << 63, beat: 3},
		unknown:  true,
		failures: 4,
		retryAt:  now.Add(time.Second),
		shown:    true,
		ended:    endedByLogout,
		values:   map[string][]byte{"a": []byte(`"b"`), "theme": {}},
		lastSeen: now,
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := testRecord()
	id, key, full := r.id, r.key, r.encode()
	f.Add(full)
	f.Add((&record{key: key}).encode())
	f.Add((&record{key: key, userID: "u", pair: pair{tokens: Tokens{AccessToken: "opaque", RefreshToken: strings.Repeat("x", 300)}}}).encode())
	for i := 1; i < len(full); i += 37 {
		f.Add(full[:i])
	}
	f.Add(append(bytes.Clone(full), 0))
	f.Add(testRecord().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r, err := decodeRecord(b, id, key)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if r != nil {
				t.Fatal("a record beside an error")
			}
			return
		}
		again, err := decodeRecord(r.encode(), id, key)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("decoded again: %v", err)
		}
		if len(r.encode()) > len(b) {
			t.Fatal("the encoding has grown")
		}
	})
}

func FuzzDecodeCookies(f *testing.F) {
	r := testRecord()
	f.Add(encodeTokens(r))
	f.Add(encodeState(r))
	f.Add(encodeTokens(&record{}))
	f.Add(encodeState(&record{}))
	f.Add(r.id[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := decodeTokens(b); ok {
			if again, ok := decodeTokens(encodeTokens(r)); !ok || !reflect.DeepEqual(r, again) {
				t.Fatal("tokens decoded again are others")
			}
		}
		if r, ok := decodeState(b); ok {
			again, ok := decodeState(encodeState(r))
			if !ok || !reflect.DeepEqual(r, again) {
				t.Fatal("a state decoded again is another")
			}
			if len(encodeState(r)) > stateSize(r.values) {
				t.Fatal("a state is larger than was foretold")
			}
		}
		if r, ok := decodeID(b); ok != (len(b) == len(sessionID{})) || ok && !bytes.Equal(r.id[:], b) {
			t.Fatal("an ID of another length, or another ID")
		}
	})
}

// A sealed text comes back from the chunks that it was cut into, whatever
// stands beside them, and what does not fit together is never joined.
func FuzzJoinChunks(f *testing.F) {
	f.Add(100, "")
	f.Add(9000, "__Host-session=garbage; __Host-session-1=x")
	f.Add(9000, "__Host-session=3.AAAA.x; __Host-session-1=AAAA.y; __Host-session-2=AAAA.z")
	f.Add(15_000, "__Host-session=2.AAAA.x; __Host-session-1=AAAA.y; __Host-session-1=BBBB.y")
	f.Add(4100, "__Host-session=99.; __Host-session=-1.AAAA.; __Host-session=2.AAAA; __Host-session-1=AAAA")
	f.Add(5000, "__Host-session=2..; ;;==; __Host-session-1; __Host-session-9=x")
	j := newJar(Cookie{}, 1)
	secret := newSecret(GenerateKey())
	f.Fuzz(func(t *testing.T, size int, garbage string) {
		if size < 0 || !j.fits(size) || strings.Count(garbage, j.prefix) > maxPresented/2 {
			return
		}
		sealed, err := seal(secret.cookies, purposeTokens, j.tokens[0], make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != sealedSize(size) {
			t.Fatalf("%d bytes sealed, want %d", len(sealed), sealedSize(size))
		}
		h := http.Header{}
		if err := j.set(h, j.tokens, sealed, time.Hour, func(string) bool { return false }); err != nil {
			t.Fatal(err)
		}
		var pairs []string
		for _, line := range h["Set-Cookie"] {
			if len(line) > maxSetCookie {
				t.Fatalf("a Set-Cookie of %d bytes", len(line))
			}
			pair, _, _ := strings.Cut(line, ";")
			pairs = append(pairs, pair)
		}
		genuine := strings.Join(pairs, "; ")
		for _, header := range []string{genuine, garbage + ";" + genuine, garbage} {
			presented := j.read(http.Header{"Cookie": {header}})
			found, opened, tries := false, 0, 0
			for value := range presented.candidates(j.tokens, j.room, j.budget) {
				if opened += len(value); tries > 0 && opened > j.budget {
					t.Fatalf("%d bytes to open in %d tries", opened, tries)
				}
				tries++
				found = found || value == sealed
			}
			if want := header != garbage; found != want && !strings.Contains(garbage, pairs[0]) {
				t.Fatalf("found: %v, want %v, among %q", found, want, garbage)
			}
		}
	})
}
