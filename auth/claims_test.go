package auth_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
)

// jwtOf returns a token with the given payload.
func jwtOf(payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload)) + "." + b64(make([]byte, 32))
}

// hasura returns a payload with the given namespace.
func hasura(namespace string) string { return `{"iat":100,"exp":200,"hasura":` + namespace + `}` }

func TestParseClaims(t *testing.T) {
	roles := func(value string) string {
		return hasura(`{"x-hasura-user-id":"u","x-hasura-allowed-roles":` + value + `}`)
	}
	id := func(value string) string { return hasura(`{"x-hasura-user-id":` + value + `}`) }
	dates := func(iat, exp string) string { return `{"iat":` + iat + `,"exp":` + exp + `,"hasura":{"user_id":"u"}}` }
	long := strings.Repeat("r", 40_000)
	tests := []struct {
		name, payload string
		wrong         string // part of the error
		roles         []string
		defaultRole   string
		unreadable    bool // Err returns an error
	}{
		{name: "Hasura's names", payload: hasura(`{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a","b"],"x-hasura-default-role":"b"}`), roles: []string{"a", "b"}, defaultRole: "b"},
		{name: "the other spelling", payload: hasura(`{"user_id":"u","allowed_roles":["a"],"default_role":"a"}`), roles: []string{"a"}, defaultRole: "a"},
		{name: "both spellings", payload: hasura(`{"x-hasura-user-id":"u","user_id":"v","x-hasura-allowed-roles":["a"],"allowed_roles":["b"],"x-hasura-default-role":"a","default_role":"b"}`), roles: []string{"a"}, defaultRole: "a"},
		{name: "Hasura's own namespace", payload: `{"exp":2,"https://hasura.io/jwt/claims":{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a"]}}`, roles: []string{"a"}},
		{name: "both namespaces", payload: `{"exp":2,"https://hasura.io/jwt/claims":{"user_id":"v","allowed_roles":["b"]},"hasura":{"user_id":"u","allowed_roles":["a"]}}`, roles: []string{"a"}},
		{name: "as a string", payload: hasura(`"{\"x-hasura-user-id\":\"u\",\"x-hasura-allowed-roles\":[\"a\"]}"`), roles: []string{"a"}},
		{name: "namespace in another case", payload: `{"exp":2,"Hasura":{"user_id":"u"}}`, wrong: "no claim hasura"},
		{name: "names in another case", payload: hasura(`{"X-Hasura-User-Id":"u","X-Hasura-Allowed-Roles":["a","B"],"X-HASURA-DEFAULT-ROLE":"B"}`), roles: []string{"a", "B"}, defaultRole: "B"},
		{name: "the other spelling in another case", payload: hasura(`{"User_ID":"u","Allowed_Roles":["a"],"Default_Role":"a"}`), roles: []string{"a"}, defaultRole: "a"},
		{name: "names in the right and in another case", payload: hasura(`{"X-Hasura-User-Id":"v","x-hasura-user-id":"u","X-Hasura-Allowed-Roles":["b"],"x-hasura-allowed-roles":["a"]}`), roles: []string{"a"}},
		{name: "the other spelling is exact", payload: hasura(`{"X-Hasura-User-Id":"v","user_id":"u","X-Hasura-Allowed-Roles":["b"],"allowed_roles":["a"]}`), roles: []string{"a"}},
		{name: "a user in two other cases", payload: hasura(`{"X-Hasura-User-Id":"u","X-HASURA-USER-ID":"u"}`), wrong: "claim x-hasura-user-id occurs several times"},
		{name: "roles in two other cases", payload: hasura(`{"user_id":"u","X-Hasura-Allowed-Roles":["a"],"X-HASURA-ALLOWED-ROLES":["a"]}`), unreadable: true},
		{name: "a name that is only similar", payload: hasura(`{"user_id":"u","x_hasura_allowed_roles":["a"],"x-hasura-allowed-roles ":["a"]}`), unreadable: true},
		{name: "a name twice", payload: `{"exp":2,"hasura":{"user_id":"v"},"hasura":{"user_id":"u"}}`},

		// Roles.
		{name: "no roles", payload: id(`"u"`)},
		{name: "an empty list", payload: roles(`[]`), roles: []string{}},
		{name: "roles that differ little", payload: roles(`["admin","Admin","admin ","","admin"]`), roles: []string{"admin", "Admin", "admin ", "", "admin"}},
		{name: "a string for roles", payload: roles(`"admin"`), unreadable: true},
		{name: "a list in a string", payload: roles(`"[\"admin\"]"`), unreadable: true},
		{name: "Postgres' list", payload: roles(`"{admin}"`), unreadable: true},
		{name: "null for roles", payload: roles(`null`), unreadable: true},
		{name: "a number for roles", payload: roles(`7`), unreadable: true},
		{name: "true for roles", payload: roles(`true`), unreadable: true},
		{name: "an object for roles", payload: roles(`{"0":"admin"}`), unreadable: true},
		{name: "a list in a list", payload: roles(`[["admin"]]`), unreadable: true},
		{name: "null in the list", payload: roles(`["admin",null]`), unreadable: true},
		{name: "nothing but null in the list", payload: roles(`[null]`), unreadable: true},
		{name: "a number in the list", payload: roles(`["admin",1]`), unreadable: true},
		{name: "an object in the list", payload: roles(`["admin",{}]`), unreadable: true},
		{name: "a default role of another type", payload: hasura(`{"user_id":"u","allowed_roles":["a"],"default_role":["a"]}`), roles: []string{"a"}, unreadable: true},
		{name: "a default role that is null", payload: hasura(`{"user_id":"u","allowed_roles":["a"],"default_role":null}`), roles: []string{"a"}, unreadable: true},
		{name: "a default role in two other cases", payload: hasura(`{"user_id":"u","allowed_roles":["a"],"Default_Role":"a","DEFAULT_ROLE":"a"}`), roles: []string{"a"}, unreadable: true},
		{name: "a default role that is none of the roles", payload: hasura(`{"user_id":"u","allowed_roles":["a"],"default_role":"b"}`), roles: []string{"a"}, defaultRole: "b"},

		// The user.
		{name: "no user", payload: hasura(`{"x-hasura-allowed-roles":["admin"]}`), wrong: "no claim x-hasura-user-id or user_id"},
		{name: "an empty user", payload: id(`""`), wrong: "no claim x-hasura-user-id or user_id"},
		{name: "a user that is null", payload: id(`null`), wrong: "claim x-hasura-user-id is not a string"},
		{name: "a user that is a number", payload: id(`7`), wrong: "claim x-hasura-user-id is not a string"},
		{name: "a user that is a list", payload: id(`["u"]`), wrong: "claim x-hasura-user-id is not a string"},
		{name: "only a subject", payload: `{"exp":2,"sub":"u","hasura":{}}`, wrong: "no claim x-hasura-user-id or user_id"},

		// The namespace.
		{name: "no namespace", payload: `{"exp":2,"sub":"u"}`, wrong: "no claim hasura or https://hasura.io/jwt/claims"},
		{name: "a namespace that is null", payload: hasura(`null`), wrong: "claim hasura is not an object"},
		{name: "a namespace that is a list", payload: hasura(`["u"]`), wrong: "claim hasura is not an object"},
		{name: "a namespace that is a number", payload: hasura(`1`), wrong: "claim hasura is not an object"},
		{name: "a string that holds no object", payload: hasura(`"u"`), wrong: "claim hasura is not an object"},
		{name: "a string that holds a string", payload: hasura(`"\"{}\""`), wrong: "claim hasura is not an object"},

		// Dates.
		{name: "no expiry", payload: `{"hasura":{"user_id":"u"}}`, wrong: "no claim exp"},
		{name: "no issue", payload: `{"exp":2,"hasura":{"user_id":"u"}}`},
		{name: "fractions", payload: dates("100.5", "100.75")},
		{name: "expires at issue", payload: dates("100", "100"), wrong: "claim exp is not after claim iat"},
		{name: "expires before issue", payload: dates("101", "100"), wrong: "claim exp is not after claim iat"},
		{name: "an expiry in a string", payload: dates("1", `"200"`), wrong: "claim exp is not a date"},
		{name: "an expiry that is null", payload: dates("1", "null"), wrong: "claim exp is not a date"},
		{name: "an expiry that is zero", payload: dates("1", "0"), wrong: "claim exp is not a date"},
		{name: "a negative expiry", payload: dates("1", "-1"), wrong: "claim exp is not a date"},
		{name: "an expiry in milliseconds", payload: dates("1", "1795444244000"), wrong: "claim exp is not a date"},
		{name: "a huge expiry", payload: dates("1", "1e300"), wrong: "claim exp is not a date"},
		{name: "an expiry beyond numbers", payload: dates("1", "1e999"), wrong: "claim exp is not a date"},
		{name: "the last date", payload: dates("1", "253402300799")},
		{name: "a negative issue", payload: dates("-1", "200"), wrong: "claim iat is not a date"},
		{name: "an issue in a string", payload: dates(`"1"`, "200"), wrong: "claim iat is not a date"},

		// The token.
		{name: "no object", payload: `["u"]`, wrong: "not a JSON Web Token"},
		{name: "null", payload: `null`, wrong: "no claim exp"},
		{name: "no JSON", payload: `{"exp":2`, wrong: "not a JSON Web Token"},
		{name: "empty payload", payload: ``, wrong: "not a JSON Web Token"},
		{name: "below the size limit", payload: hasura(`{"user_id":"u","allowed_roles":["` + long + `"]}`), roles: []string{long}},
		{name: "above the size limit", payload: hasura(`{"user_id":"u","allowed_roles":["` + long + long + `"]}`), wrong: "longer than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := jwtOf(tt.payload)
			c, err := auth.ParseClaims(token, auth.ClaimNames{})
			if tt.wrong != "" {
				if !errors.Is(err, auth.ErrInvalidToken) || !strings.Contains(err.Error(), tt.wrong) || c.UserID != "" || c.AllowedRoles != nil {
					t.Errorf("%+v, error %v; want %q", c, err, tt.wrong)
				}
				return
			}
			if err != nil || c.UserID != "u" || !slices.Equal(c.AllowedRoles, tt.roles) || c.DefaultRole != tt.defaultRole {
				t.Errorf("user %q, roles %.80q, default %q, error %v", c.UserID, c.AllowedRoles, c.DefaultRole, err)
			}
			if (c.Err() != nil) != tt.unreadable {
				t.Errorf("Err = %v, unreadable: %v", c.Err(), tt.unreadable)
			}
		})
	}

	// The size limit is exact.
	fits := jwtOf(hasura(`{"user_id":"u"}`))
	for _, size := range []int{64 << 10, 64<<10 + 1} {
		token := fits + strings.Repeat("A", size-len(fits))
		if _, err := auth.ParseClaims(token, auth.ClaimNames{}); (err == nil) != (size <= 64<<10) {
			t.Errorf("a token of %d bytes: %v", size, err)
		}
	}
	for _, token := range []string{"", ".", "..", "a.b.c", fits[:strings.LastIndex(fits, ".")], fits + ".x", " " + fits, strings.Replace(fits, ".", ".=", 1)} {
		if _, err := auth.ParseClaims(token, auth.ClaimNames{}); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%.20q: %v", token, err)
		}
	}
	c, err := auth.ParseClaims(jwtOf(dates("100.5", "253402300799")), auth.ClaimNames{})
	if err != nil || !c.IssuedAt.Equal(time.Unix(100, 5e8)) || !c.ExpiresAt.Equal(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("issued at %v, expires at %v, error %v", c.IssuedAt, c.ExpiresAt, err)
	}
}

func TestClaimsGet(t *testing.T) {
	c, err := auth.ParseClaims(jwtOf(hasura(`{"user_id":"u","x":{"y":[1]},"z":null}`)), auth.ClaimNames{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Names(); !slices.Equal(got, []string{"user_id", "x", "z"}) {
		t.Errorf("claims %q", got)
	}
	var x struct{ Y []int }
	if ok, err := c.Get("x", &x); !ok || err != nil || !slices.Equal(x.Y, []int{1}) {
		t.Errorf("x: %v, %v, %v", x, ok, err)
	}
	var z *string
	if ok, err := c.Get("z", &z); !ok || err != nil || z != nil {
		t.Errorf("z: %v, %v, %v", z, ok, err)
	}
	// The case of a name does not matter, unless several claims differ in it.
	mixed, err := auth.ParseClaims(jwtOf(hasura(`{"user_id":"u","X-Hasura-Org":1,"org":2,"Org":3,"a-B":4,"A-b":5}`)), auth.ClaimNames{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"x-hasura-org": 1, "X-Hasura-Org": 1, "org": 2, "Org": 3, "a-B": 4} {
		var got int
		if ok, err := mixed.Get(name, &got); !ok || err != nil || got != want {
			t.Errorf("%s: %d (%v, %v), want %d", name, got, ok, err, want)
		}
	}
	if ok, err := mixed.Get("a-b", new(int)); !ok || err == nil || !strings.Contains(err.Error(), `claim "a-b"`) {
		t.Errorf("a-b: %v, %v, want an error", ok, err)
	}
	if ok, err := c.Get("w", &z); ok || err != nil {
		t.Errorf("w: %v, %v", ok, err)
	}
	var n int
	if ok, err := c.Get("x", &n); !ok || err == nil || !strings.Contains(err.Error(), `claim "x"`) {
		t.Errorf("x as a number: %v, %v", ok, err)
	}
	if ok, err := (auth.Claims{}).Get("x", &x); ok || err != nil {
		t.Errorf("of no claims: %v, %v", ok, err)
	}
}
