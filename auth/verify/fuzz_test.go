package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
)

// A token that was not signed with the key is rejected. A token that was signed with it
// is accepted only if package auth can read its expiry.
func FuzzVerify(f *testing.F) {
	for _, token := range forged() {
		if len(token) < 2000 {
			f.Add(token, header("HS256"), payload)
		}
	}
	f.Add("", header("HS256", `,"kid":"a"`), `{"exp":1}`)
	f.Add("a.b.c", `{"alg":"HS256"}`, `{"exp":1,"a":"{\"b\":1}"}`)
	k := keys()
	v := newVerifier(f, verify.Config{Secrets: [][]byte{k.secret}, PublicKeys: publicPEM(f, &k.rsa.PublicKey, k.ed.Public())})
	f.Fuzz(func(t *testing.T, token, header, payload string) {
		if err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("a forged token: %v", err)
		}
		signed := sign("HS256", k.secret, header, payload)
		err := v.Verify(t.Context(), signed)
		if err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("a signed token: %v", err)
		}
		if err != nil && len(payload) > 20 && strings.Contains(err.Error(), payload) {
			t.Errorf("the error quotes the payload: %v", err)
		}
		names := auth.ClaimNames{Namespaces: []string{""}, UserID: []string{"exp"}}
		if _, parsed := auth.ParseClaims(signed, names); err == nil && parsed != nil && !strings.Contains(parsed.Error(), "claim") {
			t.Errorf("accepted, but not read: %v", parsed)
		}
	})
}
