package jwks_test

import (
	"strings"
	"testing"

	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
)

// A Verifier returns the warnings of its source.
func TestWarnings(t *testing.T) {
	for url, want := range map[string]bool{
		"https://auth.example.org/auth/jwks":    false,
		"http://localhost:3000/auth/jwks":       false,
		"http://127.1.2.3/auth/jwks":            false,
		"http://auth.example.org/auth/jwks":     true,
		"http://localhost.example.org/jwks":     true,
		"http://user.example.org/jwks?key=word": true,
	} {
		keys, err := jwks.New(jwks.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		v, err := verify.New(verify.Config{Source: keys})
		if err != nil {
			t.Fatal(err)
		}
		got := v.Warnings()
		if (len(got) == 1) != want || strings.Contains(strings.Join(got, ""), "example") {
			t.Errorf("%s: %q", url, got)
		}
	}
}
