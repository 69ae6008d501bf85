package memstore

import (
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
)

// Two keys with the same hash have separate records, in every order of their removal.
func TestSameHash(t *testing.T) {
	a, b := strings.Repeat("a", usualKey), strings.Repeat("b", usualKey)
	for _, first := range []string{a, b} {
		s := New()
		sh, hash := s.shard(a)
		for _, key := range []string{a, b} {
			rec := store.Record{Key: key, Owner: "owner", Version: 1, Data: []byte(key), ExpiresAt: time.Now().Add(time.Hour)}
			if err := s.insert(sh, hash, rec); err != nil {
				t.Fatal(err)
			}
		}
		has := func(key string) bool {
			n := sh.find(key, hash)
			return n != nil && n.keyOf() == key && string(n.rec.Data) == key
		}
		if !has(a) || !has(b) {
			t.Fatal("a record is missing or mixed up")
		}
		second := strings.Trim(a+b, first[:1])
		s.remove(sh.find(first, hash))
		if has(first) || !has(second) || s.Len() != 1 {
			t.Error("the wrong record was removed")
		}
		s.remove(sh.find(second, hash))
		if has(second) || s.Len() != 0 || len(sh.nodes)+len(sh.others)+len(sh.due) > 0 {
			t.Error("a removed record is left")
		}
	}
}
