package leaks_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session/tests/internal/leaks"
)

func logged(args ...any) string {
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("event", args...)
	slog.New(slog.NewTextHandler(&b, nil)).Info("event", args...)
	return b.String()
}

// A secret is found in every encoding.
func TestSearchFinds(t *testing.T) {
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	for _, secret := range []string{
		"correct horse battery staple",
		"pä$$wörd & <more> \"of\" \\ it\n",
		"3c20645f-6716-4b2d-8f0e-0a8b4a3d9f11",
		"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI",
		string(id),
	} {
		var s leaks.Secrets
		s.Add("the secret", secret)
		inJSON, err := json.Marshal(map[string]string{"password": secret})
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"as it is":          "token is " + secret + ".",
			"in a log":          logged("error", fmt.Errorf("no token %s", secret)),
			"quoted":            fmt.Sprintf("%q", secret),
			"quoted in ASCII":   fmt.Sprintf("%+q", secret),
			"in JSON":           string(inJSON),
			"in an address":     (&url.URL{Scheme: "http", Host: "h", RawQuery: url.Values{"refresh_token": {secret}}.Encode()}).String(),
			"in a path":         "/" + url.PathEscape(secret),
			"in hex":            hex.EncodeToString([]byte(secret)),
			"in upper-case hex": fmt.Sprintf("%X", secret),
			"as bytes":          fmt.Sprint([]byte(secret)),
			"in base64":         base64.StdEncoding.EncodeToString([]byte("a" + secret)),
			"in base64url":      base64.RawURLEncoding.EncodeToString([]byte("ab" + secret + "c")),
			"its beginning":     secret[:16] + "...",
			"its end":           "..." + secret[len(secret)-16:],
		} {
			// Its random bytes are at another position.
			if found := s.Search("line one\n" + text + "\nline three"); len(found) != 1 || !strings.HasPrefix(found[0], "the secret: ") {
				t.Errorf("%q %s is not found in %q: %q", secret, name, text, found)
			}
		}
		if found := s.Search("\x00" + strings.Repeat("\xfe\xff", 20)); found != nil {
			t.Errorf("it is found in other bytes: %q", found)
		}
		if found := s.Search(logged("session", "5f4dcc3b5aa765d6", "user", "328ddebf-6a1c-4a7e-9d0b-0f2f64f4f3a5", "a", "correct", "b", "horse")); found != nil {
			t.Errorf("it is found where it is not: %q", found)
		}
	}
}

func TestJWT(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE3NjcyMjU2MDB9.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4"
	var s leaks.Secrets
	s.AddJWT("a token", token)
	s.AddJWT("none", "opaque")
	parts := strings.Split(token, ".")
	if found := s.Search(parts[0]); found != nil {
		t.Errorf("the header counts as a secret: %q", found)
	}
	for _, part := range parts[1:] {
		if found := s.Search("x" + part); len(found) != 1 {
			t.Errorf("%s: %q", part, found)
		}
	}
	if n := s.Len(); len(n) != 1 || n["a token"] != 1 {
		t.Errorf("the secrets are %v", n)
	}
}
