package session_test

import (
	"encoding/base64"
	"fmt"

	"github.com/synmetrix/session/auth"
)

// Tokens have the user's ID and roles at the top level, under other names than
// Hasura's. Set these names in Config.Claims.
func ExampleParseClaims() {
	names := auth.ClaimNames{
		Namespaces:   []string{""},
		UserID:       []string{"sub"},
		AllowedRoles: []string{"groups"},
		DefaultRole:  []string{"main_group"},
	}
	b64 := base64.RawURLEncoding.EncodeToString
	token := b64([]byte(`{"alg":"ES256"}`)) + "." +
		b64([]byte(`{"sub":"u-17","exp":1800000000,"groups":["staff","admin"],"main_group":"staff","org":"acme"}`)) + "." +
		b64([]byte("signature"))

	claims, err := auth.ParseClaims(token, names)
	fmt.Println(claims.UserID, claims.AllowedRoles, claims.DefaultRole, err)
	var org string
	found, err := claims.Get("org", &org)
	fmt.Println(found, org, err)

	// A string in place of an array is not a role.
	token = b64([]byte(`{"alg":"ES256"}`)) + "." + b64([]byte(`{"sub":"u-17","exp":1800000000,"groups":"admin"}`)) + "."
	claims, err = auth.ParseClaims(token, names)
	fmt.Println(claims.UserID, claims.AllowedRoles, err)
	// Output:
	// u-17 [staff admin] staff <nil>
	// true acme <nil>
	// u-17 [] <nil>
}
