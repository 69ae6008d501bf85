package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
)

const (
	admin    = "ada@example.com"
	member   = "grace@example.com"
	password = "correct horse"
)

// account is a user of the auth service. The tokens are prepared, because making
// them is the work of the service and not of the app.
type account struct {
	userID string
	roles  []string
	tokens auth.Tokens
}

var accounts = map[string]account{
	admin:  newAccount("6f8b3f2e-6d6a-4f0e-9a3b-0c9a55b7a2d1", time.Now().Add(24*time.Hour), "user", "admin"),
	member: newAccount("0d7d7c0e-51f2-4d67-8f0f-3f2b3d2f6a10", time.Now().Add(24*time.Hour), "user"),
}

// newAccount returns an account with an access token (HS256) as the auth service issues
// it. With two roles it has 417 bytes.
func newAccount(userID string, expires time.Time, roles ...string) account {
	access, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "auth.internal.example",
		"sub": userID,
		"iat": expires.Add(-24 * time.Hour).Unix(),
		"exp": expires.Unix(),
		"hasura": map[string]any{
			"x-hasura-user-id":       userID,
			"x-hasura-allowed-roles": roles,
			"x-hasura-default-role":  roles[0],
		},
	}).SignedString([]byte("the auth service's own secret, of 32 bytes or more"))
	if err != nil {
		panic(err)
	}
	return account{userID, roles, auth.Tokens{AccessToken: access, RefreshToken: "b7e1c0de-3c5c-4b8e-8f0a-7f4b0d0b9d3c"}}
}

// lookUp compares the password without hashing, because hashing takes much longer than
// everything else.
func lookUp(email, pass string) (account, bool) {
	a, ok := accounts[email]
	return a, ok && pass == password
}

// claimedBy returns the account of a login request.
func claimedBy(r *http.Request) (account, bool) {
	return lookUp(r.PostFormValue("email"), r.PostFormValue("password"))
}

// keep stores in a session the values that the app needs.
func (a account) keep(put func(name string, value any)) {
	put("user", a.userID)
	put("roles", a.roles)
	put("access", a.tokens.AccessToken)
	put("refresh", a.tokens.RefreshToken)
}

func loginForm(email, pass string) string {
	return "email=" + strings.ReplaceAll(email, "@", "%40") + "&password=" + strings.ReplaceAll(pass, " ", "+")
}
