package session_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/synmetrix/session"
)

func TestParseKey(t *testing.T) {
	secret := random(33)
	copy(secret, "\xfb\xff\xbf") // with + and / in base64
	want := base64.RawURLEncoding.EncodeToString(secret)
	for what, text := range map[string]string{
		"standard":             base64.StdEncoding.EncodeToString(secret),
		"standard, no padding": base64.RawStdEncoding.EncodeToString(secret),
		"URL":                  base64.URLEncoding.EncodeToString(secret),
		"spaces around":        " \t" + base64.URLEncoding.EncodeToString(secret) + " \r\n",
	} {
		k, err := session.ParseKey(text)
		if err != nil || k.Encode() != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	// As "openssl rand -base64 32" writes it.
	padded := base64.StdEncoding.EncodeToString(secret[:32])
	if k, err := session.ParseKey(padded + "\n"); err != nil || k.Encode() != strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(padded) {
		t.Errorf("with padding: %v", err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	secret := random(32)
	for what, text := range map[string]string{
		"empty":             "",
		"spaces":            "   ",
		"padding":           "====",
		"31 bytes":          b64(secret[:31]),
		"all zero":          b64(make([]byte, 32)),
		"all zero and long": b64(make([]byte, 64)),
		"all alike":         b64([]byte(strings.Repeat("a", 32))),
		"not base64":        "correct horse battery staple, twice over",
		"two alphabets' +":  b64(secret) + "!",
		"stray bits":        b64(secret)[:42] + "9",
		"a hex digit short": b64(secret)[:41],
		"two keys":          b64(secret) + "," + b64(secret),
	} {
		k, err := session.ParseKey(text)
		if err == nil || k != (session.SecretKey{}) {
			t.Errorf("%s: parsed (%v)", what, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "session: ") {
			t.Errorf("%s: %q", what, err)
		}
		quotes(t, what, err.Error(), text)
	}
}

// quotes checks that a message has no piece of a secret in it.
func quotes(t *testing.T, what, message, secret string) {
	t.Helper()
	for i := 0; i+8 <= len(secret); i++ {
		if piece := secret[i : i+8]; strings.TrimSpace(piece) != "" && strings.Contains(message, piece) {
			t.Errorf("%s: %q quotes the secret", what, message)
			return
		}
	}
}

func TestParseKeys(t *testing.T) {
	k1, k2 := session.GenerateKey(), session.GenerateKey()
	keys, err := session.ParseKeys(k1.Encode() + ", " + k2.Encode())
	if err != nil || len(keys) != 2 || keys[0] != k1 || keys[1] != k2 {
		t.Errorf("%d keys (%v), want both in their order", len(keys), err)
	}
	for what, text := range map[string]string{
		"none":                                   "",
		"a comma":                                ",",
		"an empty last":                          k1.Encode() + ",",
		"an empty first":                         "," + k1.Encode(),
		"a repetition":                           k1.Encode() + "," + k1.Encode(),
		"a repetition that is written otherwise": k1.Encode() + "," + k1.Encode() + "=",
		"a short second":                         k1.Encode() + "," + k2.Encode()[:20],
	} {
		keys, err := session.ParseKeys(text)
		if err == nil || keys != nil {
			t.Errorf("%s: %d keys", what, len(keys))
			continue
		}
		if !strings.HasPrefix(err.Error(), "session: key ") {
			t.Errorf("%s: %q does not say which key", what, err)
		}
		quotes(t, what, err.Error(), text)
	}
}

func TestGenerateKey(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		k := session.GenerateKey()
		again, err := session.ParseKey(k.Encode())
		if err != nil || again != k || len(k.Encode()) != 43 || seen[k.Encode()] {
			t.Fatalf("a key of %d characters (%v), seen before: %v", len(k.Encode()), err, seen[k.Encode()])
		}
		seen[k.Encode()] = true
	}
}
