package keeper

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
)

// No printed form of a record contains the session's ID or tokens.
func TestRecordsAreRedacted(t *testing.T) {
	r := testRecord()
	for i := range r.ID {
		r.ID[i] = byte('A' + i%2) // a text in the verbs of texts, and the number 65 in the others
	}
	var out bytes.Buffer
	for _, v := range []any{r.ID, &r.ID, *r, r, []ID{r.ID}, map[string]any{"id": r.ID}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("a", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("a", "v", v)
	}
	for _, form := range []string{"ABAB", "4142", "65 66", "0x41, 0x42", "65,66", r.Pair.Tokens().RefreshToken, r.Pair.Tokens().AccessToken} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the output contains %q", form)
		}
	}
}

func testRecord() *Record {
	now := time.UnixMilli(1_700_000_000_123)
	id := NewID()
	return &Record{
		ID:  id,
		Key: id.Key(),
		SignIn: SignIn{
			UserID: "328ddebf-1234-4abc-8def-0123456789ab", Created: now, Ends: 1 << 31,
			Earlier: time.Minute, Lifetime: time.Hour, Transient: true,
		},
		Pair: Pair{
			Gen:     7,
			tokens:  auth.Tokens{AccessToken: "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", RefreshToken: "3c20645f-6716-4abc-8def-0123456789ab"},
			Expires: now.Add(time.Hour),
			Life:    time.Hour,
			User:    &auth.User{Email: "ada@example.com", Name: "Ada", Picture: "https://example.com/ada.png"},
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

// A record has one encoding, which decodes for its own session only.
func TestDecodeRecordRejects(t *testing.T) {
	r := testRecord()
	good := r.encode()
	got, err := decodeRecord(string(good), r.ID, r.Key)
	if err == nil {
		got.Pair.payload = "" // an encoding of the access token
	}
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("decoded: %v\n%+v, want\n%+v", err, got, r)
	}
	other := testRecord()
	if _, err := decodeRecord(string(good), other.ID, other.Key); err == nil {
		t.Error("the record of another session was decoded")
	}
	for i := range good {
		if _, err := decodeRecord(string(good[:i]), r.ID, r.Key); err == nil {
			t.Errorf("decoded from the first %d of %d bytes", i, len(good))
		}
	}
	for what, b := range map[string][]byte{
		"one byte more":  append(bytes.Clone(good), 0),
		"another format": append([]byte{recordFormat + 1}, good[1:]...),
		"nothing":        nil,
	} {
		if _, err := decodeRecord(string(b), r.ID, r.Key); err == nil {
			t.Errorf("%s: decoded", what)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := testRecord()
	id, key, full := r.ID, r.Key, r.encode()
	f.Add(full)
	f.Add((&Record{Key: key}).encode())
	f.Add((&Record{Key: key, SignIn: SignIn{UserID: "u"}, Pair: Pair{tokens: auth.Tokens{AccessToken: "opaque", RefreshToken: strings.Repeat("x", 300)}}}).encode())
	for i := 1; i < len(full); i += 37 {
		f.Add(full[:i])
	}
	f.Add(append(bytes.Clone(full), 0))
	f.Add(testRecord().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r, err := decodeRecord(string(b), id, key)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if r != nil {
				t.Fatal("decodeRecord returned a record and an error")
			}
			return
		}
		if !bytes.Equal(r.encode(), b) {
			t.Fatal("decodeRecord accepted another encoding than that of the record")
		}
	})
}

// A record in the memory of the process has one encoding, too, which has the device.
func TestDecodeFromMemory(t *testing.T) {
	for _, r := range []*Record{testRecord(), {ended: EndedByLogout, Key: "key"}, {Key: "key"}} {
		if r.ended == "" || !r.isShortMark() {
			r.Device = NewDevice(netip.MustParseAddr("2001:db8::1"), "Browser")
		}
		r.Visitor = r.UserID == "" && r.ended == ""
		good := r.encodeForMemory(1)
		got, err := decodeFromMemory(good, r.ID, r.Key, 1)
		if err == nil {
			got.Pair.payload = ""
		}
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("decoded: %v\n%+v, want\n%+v", err, got, r)
		}
		for i := range good {
			if _, err := decodeFromMemory(good[:i], r.ID, r.Key, 1); err == nil {
				t.Errorf("decoded from the first %d of %d bytes", i, len(good))
			}
		}
		if _, err := decodeFromMemory(append(bytes.Clone(good), 0), r.ID, r.Key, 1); err == nil {
			t.Error("one byte more: decoded")
		}
	}
	r := testRecord()
	if _, err := decodeFromMemory(r.encode(), r.ID, r.Key, 1); err == nil {
		t.Error("the encoding for other stores was decoded")
	}
	if _, err := decodeRecord(string(r.encodeForMemory(1)), r.ID, r.Key); err == nil {
		t.Error("another store's record in the encoding for memory was decoded")
	}
}

// DecodeValues rejects what EncodeValues does not write.
func TestDecodeValuesRejects(t *testing.T) {
	names := func(list ...string) []byte {
		return func() []byte {
			var e seal.Encoder
			e.Uint(uint64(len(list)))
			for _, name := range list {
				e.Text(name)
				e.Text("v")
			}
			return e.B
		}()
	}
	for what, b := range map[string][]byte{
		"names out of order":        names("b", "a"),
		"a name twice":              names("a", "a"),
		"fewer values than counted": names("a")[:1],
	} {
		d := seal.NewDecoder(b)
		if DecodeValues(d); !d.Bad() {
			t.Errorf("%s: accepted", what)
		}
	}
	var many seal.Encoder
	many.Uint(MaxValues + 1)
	if d := seal.NewDecoder(many.B); DecodeValues(d) != nil || !d.Bad() {
		t.Error("too many values: accepted")
	}
	d := seal.NewDecoder(names("a", "b"))
	if v := DecodeValues(d); !d.Done() || len(v) != 2 {
		t.Errorf("two values in order were rejected: %v", v)
	}
}
