package auth_test

import (
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth"
)

// For any token, ParseClaims returns the claims of a user, or an error that does not
// quote the token.
func FuzzParseClaims(f *testing.F) {
	for _, payload := range []string{
		`{"exp":2,"iat":1,"hasura":{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a","b"],"x-hasura-default-role":"a"}}`,
		`{"exp":2,"https://hasura.io/jwt/claims":"{\"x-hasura-user-id\":\"u\",\"x-hasura-allowed-roles\":[]}"}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":"a","default_role":null}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":["a",null]}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":[["a"]]}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":{"0":"a"}}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":["\ud800"]}}`,
		`{"exp":1e400,"iat":-1,"hasura":null}`,
		`{"exp":"2","hasura":[]}`,
		`{"exp":9007199254740993,"hasura":{"user_id":""}}`,
		`{"exp":253402300799.9,"iat":0.5,"hasura":{"user_id":"u"}}`,
		`{"EXP":2,"Hasura":{"user_id":"u"}}`,
		`{"exp":2,"exp":1,"hasura":{"user_id":"u"},"hasura":{"user_id":"v"}}`,
		`[]`, `null`, `"x"`, `{`, ``, strings.Repeat("[", 10_000),
	} {
		f.Add(`{"alg":"HS256"}`, payload)
	}
	f.Add(`{"alg":"none"}`, `{}`)
	f.Add(`{"alg":1,"crit":["b64"],"b64":false}`, `{}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		b64 := base64.RawURLEncoding.EncodeToString
		comparePayload(t, b64([]byte(`{"alg":"HS256"}`))+"."+b64([]byte(payload))+".c2ln", payload)
		for _, token := range []string{b64([]byte(header)) + "." + b64([]byte(payload)) + ".c2ln", header + "." + payload + ".c2ln", payload} {
			for _, names := range []auth.ClaimNames{{}, {Namespaces: []string{""}, UserID: []string{"sub", "user_id"}}} {
				c, err := auth.ParseClaims(token, names)
				if err != nil {
					if !errors.Is(err, auth.ErrInvalidToken) {
						t.Errorf("%v is not ErrInvalidToken", err)
					}
					if len(token) > 8 && strings.Contains(err.Error(), token) || c.UserID != "" || c.AllowedRoles != nil {
						t.Errorf("the error quotes the token, or comes with claims: %v", err)
					}
					continue
				}
				if c.UserID == "" || c.ExpiresAt.IsZero() || !c.IssuedAt.IsZero() && !c.IssuedAt.Before(c.ExpiresAt) {
					t.Errorf("claims %+v", c)
				}
				for _, role := range append([]string{c.DefaultRole}, c.AllowedRoles...) {
					if !strings.Contains(payload, "\\") && !strings.Contains(strings.ToValidUTF8(payload, "\uFFFD"), role) {
						t.Errorf("the role %q is not in the token", role)
					}
				}
				for _, name := range c.Names() {
					var v any
					if ok, err := c.Get(name, &v); !ok || err != nil {
						t.Errorf("claim %q: %v", name, err)
					}
				}
			}
		}
	})
}

// comparePayload compares ParsePayload with ParseClaims for a token with this payload.
func comparePayload(t *testing.T, token, payload string) {
	t.Helper()
	if len(payload) > 40<<10 {
		return // the two count the bytes of different texts
	}
	for _, names := range []auth.ClaimNames{{}, {Namespaces: []string{""}, UserID: []string{"sub", "user_id"}}} {
		want, wantErr := auth.ParseClaims(token, names)
		got, err := auth.ParsePayload(payload, names)
		if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%q: %v, want %v", payload, err, wantErr)
		}
		if (got.Err() == nil) != (want.Err() == nil) || !slices.Equal(got.Names(), want.Names()) {
			t.Errorf("%q: claims %q (%v), want %q (%v)", payload, got.Names(), got.Err(), want.Names(), want.Err())
		}
		for _, name := range want.Names() {
			var a, b any
			if _, err := got.Get(name, &a); err != nil {
				t.Errorf("%q: claim %q: %v", payload, name, err)
			}
			_, _ = want.Get(name, &b)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%q: claim %q is %v, want %v", payload, name, a, b)
			}
		}
		fields := func(c auth.Claims) []any {
			return []any{c.UserID, c.AllowedRoles, c.DefaultRole, c.IssuedAt, c.ExpiresAt, c.NotBefore, c.AuthenticatedAt}
		}
		if !reflect.DeepEqual(fields(got), fields(want)) {
			t.Errorf("%q: %v, want %v", payload, fields(got), fields(want))
		}
	}
}
