package redisstore

import (
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
)

func TestPrefixMax(t *testing.T) {
	for _, want := range []string{"GETRANGE', KEYS[1], 0, 138)", "sub(old, 1, 11 + ", "byte(old, 11)"} {
		if !strings.Contains(readOld, want) {
			t.Errorf("%q is not in the scripts", want)
		}
	}
	if prefixMax != 139 || versionEnd != 10 || format != "s1" {
		t.Errorf("the scripts have other numbers than %d, %d and %q", prefixMax, versionEnd, format)
	}
}

// FuzzDecode decodes any value. What is a record is encoded as it was.
func FuzzDecode(f *testing.F) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, rec := range []store.Record{
		{Key: "k", Version: 1, ExpiresAt: at},
		{Key: "key", Owner: "owner", Version: 1 << 63, Data: []byte("data"), Meta: []byte("meta"), ExpiresAt: at},
		{Key: strings.Repeat("k", 128), Owner: strings.Repeat("o", 128), Version: 7, Data: make([]byte, 300), ExpiresAt: at},
	} {
		f.Add([]byte(encode(rec)))
	}
	for _, s := range []string{"", "s1", "s2", "s1\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01k", "s1\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01k" + strings.Repeat("\x00", 12)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := decode(string(value), value)
		if err != nil {
			return
		}
		if again := encode(rec); again != string(value) {
			t.Fatalf("%q was decoded, and encoded as %q", value, again)
		}
		st, _, ok := parsePrefix(string(value[:min(len(value), prefixMax)]))
		if !ok || st.version != rec.Version || st.owner != rec.Owner {
			t.Fatalf("%q: the scripts see %v", value, st)
		}
	})
}
