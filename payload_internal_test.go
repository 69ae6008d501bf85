package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

func FuzzDecodeCookies(f *testing.F) {
	r := keeper.NewRecord(keeper.Pair{Expires: time.UnixMilli(1_700_003_600_000), Life: time.Hour, Claims: &auth.Claims{UserID: "328ddebf-1234-4abc-8def-0123456789ab"}}, time.UnixMilli(1_700_000_000_123))
	r.Pair.SetTokens(auth.Tokens{
		AccessToken: "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", RefreshToken: "3c20645f-6716-4abc-8def-0123456789ab",
	})
	r.Values = map[string][]byte{"a": []byte(`"b"`), "theme": {}}
	tokens := func(r *keeper.Record) []byte { return encoded(encodeTokens, r) }
	state := func(r *keeper.Record) []byte { return encoded(encodeState, r) }
	f.Add(tokens(r))
	f.Add(state(r))
	f.Add(tokens(&keeper.Record{}))
	f.Add(state(&keeper.Record{}))
	f.Add(r.ID[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := decodeTokens(string(b)); ok {
			if !bytes.Equal(tokens(&c.record), b) {
				t.Fatal("tokens decoded from what is not their encoding")
			}
			if len(b) > c.record.Memory() {
				t.Fatal("tokens take less memory than their encoding") // see Manager.create
			}
		}
		if c, ok := decodeState(string(b)); ok {
			var id keeper.ID
			copy(id[:], c.session[:])
			if !bytes.Equal(state(&keeper.Record{ID: id, LastSeen: c.lastSeen, Values: c.values}), b) {
				t.Fatal("a state decoded from what is not its encoding")
			}
			if len(b) > stateSize(c.values) {
				t.Fatal("a state is larger than stateSize")
			}
		}
		if c, ok := decodeID(string(b)); ok != (len(b) == len(keeper.ID{})) || ok && !bytes.Equal(c.record.ID[:], b) {
			t.Fatal("an ID of another length, or another ID")
		}
	})
}

func encoded(encode func(*seal.Encoder, *keeper.Record), r *keeper.Record) []byte {
	var e seal.Encoder
	encode(&e, r)
	return e.B
}
