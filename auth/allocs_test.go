//go:build !race

package auth_test

import (
	"testing"

	"github.com/synmetrix/session/auth"
)

// The claims of each user are read at each login, and for each cookie that is new to a
// process. The race detector allocates, too, so this test runs without it.
func TestParseClaimsAllocs(t *testing.T) {
	token := jwtOf(hasura(`{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a","b"],"x-hasura-default-role":"b"}`))
	got := testing.AllocsPerRun(1000, func() {
		if _, err := auth.ParseClaims(token, auth.ClaimNames{}); err != nil {
			t.Fatal(err)
		}
	})
	if want := 3.0; got != want { // the text, the list of claims, the list of roles
		t.Errorf("%v allocations, want %v", got, want)
	}
}
