package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// Roles of an unknown type count as no role, from a login and from a refresh.
// The log reports it, and the user stays signed in.
func TestRolesOfAnUnknownType(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for _, roles := range []any{"admin", nil, 7, map[string]string{"0": "admin"}, []any{"admin", nil}, [][]string{{"admin"}}} {
			for _, atLogin := range []bool{true, false} {
				a := newApp(t, kind)
				a.auth.roles = []string{"admin"}
				if atLogin {
					a.auth.roles = roles
				}
				b := a.signedIn()
				may := func(want error) {
					t.Helper()
					b.visit(func(_ context.Context, s *session.Session) {
						err := s.Authorize(func(s *session.Session) bool { return s.HasRole("admin") })
						if !errors.Is(err, want) || !s.SignedIn() || want != nil && len(s.Roles()) != 0 {
							t.Errorf("%#v at login %v: %v with the roles %q, want %v", roles, atLogin, err, s.Roles(), want)
						}
					})
				}
				if !atLogin {
					may(nil)
					a.auth.roles = roles
					a.clock.Advance(2 * time.Hour)
				}
				may(session.ErrForbidden)
				if n := a.log.count("WARN", session.EventClaimsUnreadable, "x-hasura-allowed-roles"); n != 1 {
					t.Errorf("%#v at login %v: reported %d times", roles, atLogin, n)
				}
			}
		}
	})
}

// If the claim for the roles has another name, the user is signed in without
// roles, and the log reports it.
func TestRolesUnderAnotherName(t *testing.T) {
	for _, tt := range []struct {
		name, namespace string
		says            string // empty: nothing is logged
	}{
		{"another name", `{"user_id":"u","roles":["admin"]}`, "no claim x-hasura-allowed-roles or allowed_roles"},
		{"another name in capitals", `{"user_id":"u","X-Hasura-Roles":["admin"]}`, "no claim x-hasura-allowed-roles or allowed_roles"},
		{"a default role alone", `{"user_id":"u","x-hasura-default-role":"user"}`, "no claim x-hasura-allowed-roles or allowed_roles"},
		{"two cases", `{"user_id":"u","X-Hasura-Allowed-Roles":["admin"],"X-HASURA-ALLOWED-ROLES":["admin"]}`, "x-hasura-allowed-roles occurs several times"},
		{"a service without roles", `{"user_id":"u","x-hasura-org":"o"}`, ""},
		{"an empty list", `{"user_id":"u","allowed_roles":[]}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t)
			b64 := base64.RawURLEncoding.EncodeToString
			token := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(`{"iat":100,"exp":200,"hasura":`+tt.namespace+`}`)) + "." + b64(make([]byte, 32))
			a.visit("", func(ctx context.Context, _ *session.Session) {
				if err := a.Start(ctx, auth.Grant{Tokens: auth.Tokens{AccessToken: token, RefreshToken: "r"}}); err != nil {
					t.Fatal(err)
				}
				s := session.FromContext(ctx)
				if !s.SignedIn() || len(s.Roles()) != 0 {
					t.Errorf("signed in: %v, roles %q", s.SignedIn(), s.Roles())
				}
			})
			if n := a.log.count("WARN", session.EventClaimsUnreadable); (n == 1) != (tt.says != "") || n > 1 {
				t.Errorf("reported %d times", n)
			}
			if tt.says != "" && a.log.count(session.EventClaimsUnreadable, tt.says) == 0 {
				t.Errorf("the log does not say %q", tt.says)
			}
			if a.log.count("admin") != 0 {
				t.Error("the log quotes a role")
			}
		})
	}
}
