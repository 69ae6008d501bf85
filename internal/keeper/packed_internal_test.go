package keeper

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth"
)

// packable returns a session with roles, whose claims were read.
func packable(t testing.TB, roles ...string) *Record {
	t.Helper()
	r := testRecord()
	r.ended, r.all = "", false
	payload := fmt.Sprintf(`{"exp":4102444800,"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["%s"]}}`, r.UserID, strings.Join(roles, `","`))
	token := "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	claims, err := auth.ParseClaims(token, auth.ClaimNames{})
	if err != nil {
		t.Fatal(err)
	}
	r.Pair.SetTokens(auth.Tokens{AccessToken: token, RefreshToken: r.Pair.tokens.RefreshToken})
	r.Pair.SetClaims(&claims)
	return r
}

func decoded(t testing.TB, b []byte, r *Record, names namesHash) *Record {
	t.Helper()
	got, err := decodeFromMemory(b, r.ID, r.Key, names)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A record in memory has its roles without the claims, and its claims and tokens when they
// are needed.
func TestPacked(t *testing.T) {
	r := packable(t, "user", "admin")
	b := r.encodeForMemory(3)
	got := decoded(t, b, r, 3)
	if got.Pair.packed == nil || got.Pair.Claims != nil {
		t.Fatal("the tokens were decoded")
	}
	for role, want := range map[string]bool{"user": true, "admin": true, "": false, "adm": false, "admins": false, "user\x05admin": false} {
		if got.Pair.HasRole(role) != want {
			t.Errorf("role %q: %v", role, !want)
		}
	}
	if got.Pair.Tokens() != r.Pair.Tokens() {
		t.Error("other tokens")
	}
	claims, err := got.Pair.packed.readClaims(auth.ClaimNames{})
	if err != nil || claims.UserID != r.UserID || !reflect.DeepEqual(claims.AllowedRoles, r.Pair.Claims.AllowedRoles) {
		t.Errorf("claims %+v, %v", claims, err)
	}
	if again, _ := got.Pair.packed.readClaims(auth.ClaimNames{}); again != claims {
		t.Error("the claims were read twice")
	}
	if !bytes.Equal(got.encodeForMemory(3), b) {
		t.Error("a second encoding differs")
	}
	if text := fmt.Sprintf("%v %+v %#v", *got, got, got.Pair); strings.Contains(text, "eyJ") || strings.Contains(text, r.UserID+`"`) {
		t.Errorf("printed: %s", text)
	}
}

// A new refresh token keeps the access token, the roles and the claims.
func TestPackedWithRefreshToken(t *testing.T) {
	r := packable(t, "admin")
	got := decoded(t, r.encodeForMemory(4), r, 4)
	before := got.Clone()
	got.Pair.setRefreshToken("next")
	if want := (auth.Tokens{AccessToken: r.Pair.tokens.AccessToken, RefreshToken: "next"}); got.Pair.Tokens() != want || !got.Pair.HasRole("admin") {
		t.Error("other tokens or roles")
	}
	if before.Pair.Tokens() != r.Pair.Tokens() {
		t.Error("a copy has changed")
	}
	got = decoded(t, got.encodeForMemory(4), r, 4)
	if got.Pair.Tokens().RefreshToken != "next" || !got.Pair.HasRole("admin") {
		t.Error("decoded: other tokens or roles")
	}
}

// Roles that a Keeper with other names has read are not used, and claims that cannot be
// packed are read from the token.
func TestNotPacked(t *testing.T) {
	r := packable(t, "admin")
	if got := decoded(t, r.encodeForMemory(1), r, 2); got.Pair.packed != nil || got.Pair.HasRole("admin") || got.Pair.Tokens() != r.Pair.Tokens() {
		t.Error("the roles of other names are used")
	}
	many := packable(t, strings.Fields(strings.Repeat("role ", manyRoles))...)
	long := packable(t, strings.Repeat("r", 128))
	other := packable(t, "admin")
	other.UserID = "another user"
	for what, r := range map[string]*Record{"many roles": many, "a long role": long, "another user's claims": other} {
		if got := decoded(t, r.encodeForMemory(4), r, 4); got.Pair.packed != nil || got.Pair.Tokens() != r.Pair.Tokens() {
			t.Errorf("%s: packed", what)
		}
	}
	a, b := auth.ClaimNames{UserID: []string{"a"}}, auth.ClaimNames{UserID: []string{"b"}}
	if hashOf(a) == hashOf(b) {
		t.Error("names are mixed up")
	}
}

// Whatever decodes from memory can be used, and encoded again.
func FuzzDecodeFromMemory(f *testing.F) {
	r := packable(f, "user", "admin")
	f.Add(r.encodeForMemory(4))
	f.Add(r.encodeForMemory(1))
	f.Add(testRecord().encodeForMemory(4))
	f.Add((&Record{ended: EndedByLogout}).encodeForMemory(4))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, err := decodeFromMemory(b, r.ID, r.Key, 4)
		if err != nil {
			return
		}
		_, _, _ = got.Pair.HasRole("admin"), got.Pair.Tokens(), got.Memory()
		again := got.encodeForMemory(4)
		if !bytes.Equal(decoded(t, again, r, 4).encodeForMemory(4), again) {
			t.Fatal("the encoding of a record decodes to another record")
		}
		if got.Pair.packed != nil && !bytes.Equal(again, b) {
			t.Fatal("another encoding than that of the record was accepted")
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
	})
}
