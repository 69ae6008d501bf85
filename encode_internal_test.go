package session

import (
	"bytes"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
)

// What is decoded was encoded: nothing else is, whatever comes in. It is
// tested inside the package, since a seal is around all of it.

func testRecord() *Record {
	now := time.UnixMilli(1_700_000_000_123)
	id := NewID()
	return &Record{
		ID:      id,
		Key:     id.Key(),
		UserID:  "328ddebf-1234-4abc-8def-0123456789ab",
		Created: now,
		Pair: Pair{
			Gen:     7,
			Tokens:  auth.Tokens{AccessToken: "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", RefreshToken: "3c20645f-6716-4abc-8def-0123456789ab"},
			Expires: now.Add(time.Hour),
			Life:    time.Hour,
		},
		lease:    lease{nonce: 1 << 63, beat: 3, claim: true},
		unknown:  1 << 62,
		failures: 4,
		retryAt:  now.Add(time.Second),
		shown:    true,
		ended:    EndedByLogout,
		all:      true,
		Values:   map[string][]byte{"a": []byte(`"b"`), "theme": {}},
		LastSeen: now,
	}
}

// There is one encoding of a record, and it is that of one session.
func TestDecodeRecordRefuses(t *testing.T) {
	r := testRecord()
	good := r.encode()
	got, err := decodeRecord(good, r.ID, r.Key)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("decoded: %v\n%+v, want\n%+v", err, got, r)
	}
	other := testRecord()
	if _, err := decodeRecord(good, other.ID, other.Key); err == nil {
		t.Error("the record of another session was decoded")
	}
	for i := range good {
		if _, err := decodeRecord(good[:i], r.ID, r.Key); err == nil {
			t.Errorf("decoded from the first %d of %d bytes", i, len(good))
		}
	}
	for what, b := range map[string][]byte{
		"a byte more":    append(bytes.Clone(good), 0),
		"another format": append([]byte{recordFormat + 1}, good[1:]...),
		"nothing":        nil,
	} {
		if _, err := decodeRecord(b, r.ID, r.Key); err == nil {
			t.Errorf("%s: decoded", what)
		}
	}
}

// What no encoder writes is refused, each piece of it.
func TestDecoderRefuses(t *testing.T) {
	written := func(write func(e *encoder)) []byte {
		var e encoder
		write(&e)
		return e.b
	}
	names := func(list ...string) []byte {
		return written(func(e *encoder) {
			e.uint(uint64(len(list)))
			for _, name := range list {
				e.text(name)
				e.text("v")
			}
		})
	}
	asText := func(token string) []byte {
		return written(func(e *encoder) { e.uint(tokenAsText); e.text(token) })
	}
	for _, tt := range []struct {
		what string
		b    []byte
		read func(d *decoder)
	}{
		{"no number", nil, func(d *decoder) { d.uint() }},
		{"a number in more bytes than it needs", []byte{0x81, 0}, func(d *decoder) { d.uint() }},
		{"a number that is cut", []byte{0x81}, func(d *decoder) { d.uint() }},
		{"a number over 64 bits", bytes.Repeat([]byte{0xff}, 11), func(d *decoder) { d.uint() }},
		{"a truth of 2", []byte{2}, func(d *decoder) { d.bool() }},
		{"a text that is cut", []byte{3, 'a', 'b'}, func(d *decoder) { d.text() }},
		{"a text of 2^63 bytes", written(func(e *encoder) { e.uint(1 << 63) }), func(d *decoder) { d.text() }},
		{"a time without end", written(func(e *encoder) { e.uint(math.MaxInt64) }), func(d *decoder) { d.time() }},
		{"a duration without end", written(func(e *encoder) { e.uint(math.MaxUint64) }), func(d *decoder) { d.duration() }},
		{"too many failures", written(func(e *encoder) { e.uint(1<<30 + 1) }), func(d *decoder) { d.count(1 << 30) }},
		{"a token of no kind", []byte{3, 0}, func(d *decoder) { d.token() }},
		{"a JWT as text", asText("e30.e30.c2ln"), func(d *decoder) { d.token() }},
		{"a UUID as text", asText("3c20645f-6716-4abc-8def-0123456789ab"), func(d *decoder) { d.token() }},
		{"a UUID that is cut", append([]byte{tokenAsUUID}, make([]byte, 15)...), func(d *decoder) { d.token() }},
		{"a JWT that is cut", []byte{tokenAsJWT, 1, 'a', 1, 'b'}, func(d *decoder) { d.token() }},
		{"names out of order", names("b", "a"), func(d *decoder) { d.values() }},
		{"a name twice", names("a", "a"), func(d *decoder) { d.values() }},
		{"too many values", written(func(e *encoder) { e.uint(maxValues + 1) }), func(d *decoder) { d.values() }},
		{"fewer values than said", names("a")[:1], func(d *decoder) { d.values() }},
	} {
		d := decoder{b: tt.b}
		if tt.read(&d); !d.bad || d.done() {
			t.Errorf("%s was read", tt.what)
		}
	}
	d := decoder{b: names("a", "b")}
	if v := d.values(); !d.done() || len(v) != 2 {
		t.Errorf("two values in order were not read: %v", v)
	}
}

// What was sealed for one purpose and name opens for no other.
func TestSealPurposes(t *testing.T) {
	s := newSecret(GenerateKey())
	purposes := []string{purposeTokens, purposeState, purposeID, purposeMFA, purposeRecord, purposeMeta}
	for _, purpose := range purposes {
		sealed, err := seal(s.cookies, purpose, "name", []byte("plain"))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range purposes {
			for _, name := range []string{"name", "name2", ""} {
				plain, ok := open(s.cookies, other, name, sealed)
				if want := other == purpose && name == "name"; ok != want || ok && string(plain) != "plain" {
					t.Errorf("sealed for %s, opens for %s and %q: %v", purpose, other, name, ok)
				}
			}
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := testRecord()
	id, key, full := r.ID, r.Key, r.encode()
	f.Add(full)
	f.Add((&Record{Key: key}).encode())
	f.Add((&Record{Key: key, UserID: "u", Pair: Pair{Tokens: auth.Tokens{AccessToken: "opaque", RefreshToken: strings.Repeat("x", 300)}}}).encode())
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
		if !bytes.Equal(r.encode(), b) {
			t.Fatal("decoded from what is not its encoding")
		}
	})
}

func FuzzDecodeCookies(f *testing.F) {
	r := testRecord()
	f.Add(encodeTokens(r))
	f.Add(encodeState(r))
	f.Add(encodeTokens(&Record{}))
	f.Add(encodeState(&Record{}))
	f.Add(r.ID[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := decodeTokens(b); ok && !bytes.Equal(encodeTokens(r), b) {
			t.Fatal("tokens decoded from what is not their encoding")
		}
		if r, ok := decodeState(b); ok {
			if !bytes.Equal(encodeState(r), b) {
				t.Fatal("a state decoded from what is not its encoding")
			}
			if len(b) > stateSize(r.Values) {
				t.Fatal("a state is larger than was foretold")
			}
		}
		if r, ok := decodeID(b); ok != (len(b) == len(ID{})) || ok && !bytes.Equal(r.ID[:], b) {
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
	j.authentic = func(string, string, []string) bool { return true }
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
			for value := range presented.candidates(j, purposeTokens, j.tokens) {
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
