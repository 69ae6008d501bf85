package session_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// parseKey parses a text with one key.
func parseKey(text string) (session.SecretKey, error) {
	keys, err := session.ParseKeys(text)
	if err != nil {
		return session.SecretKey{}, err
	}
	return keys[0], nil
}

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
		k, err := parseKey(text)
		if err != nil || k.Encode() != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The output of "openssl rand -base64 32".
	padded := base64.StdEncoding.EncodeToString(secret[:32])
	if k, err := parseKey(padded + "\n"); err != nil || k.Encode() != strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(padded) {
		t.Errorf("with padding: %v", err)
	}
}

func TestParseKeyRejects(t *testing.T) {
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
		k, err := parseKey(text)
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
		again, err := parseKey(k.Encode())
		if err != nil || again != k || len(k.Encode()) != 43 || seen[k.Encode()] {
			t.Fatalf("a key of %d characters (%v), seen before: %v", len(k.Encode()), err, seen[k.Encode()])
		}
		seen[k.Encode()] = true
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// weakKeys are secrets of sufficient length in base64 that can be guessed.
func weakKeys() map[string]string {
	b64 := base64.StdEncoding.EncodeToString
	lower := "abcdefghijklmnopqrstuvwxyz"
	upper := strings.ToUpper(lower)
	counting := make([]byte, 64)
	for i := range counting {
		counting[i] = byte(3 * i)
	}
	return map[string]string{
		"a byte repeated":           b64(bytes.Repeat([]byte{7}, 32)),
		"a word repeated":           b64([]byte(strings.Repeat("password", 4))),
		"a word repeated and cut":   b64([]byte(strings.Repeat("password1", 4)[:35])),
		"a word repeated as text":   strings.Repeat("password", 6),
		"a short word as text":      strings.Repeat("admin", 10)[:48],
		"a long word as text":       strings.Repeat("correcthorse", 4),
		"16 random bytes twice":     b64(bytes.Repeat(random(16), 2)),
		"a word and a digit":        b64([]byte("passwordpasswordpasswordpassword1")),
		"hexadecimal":               hex.EncodeToString(random(32)),
		"hexadecimal, long":         hex.EncodeToString(random(64)),
		"hexadecimal, in capitals":  strings.ToUpper(hex.EncodeToString(random(32))),
		"decimal":                   "31415926535897932384626433832795028841971693",
		"few bytes":                 b64([]byte("a long line of bananas and on and on")),
		"two bytes":                 b64(bytes.Replace(bytes.Repeat([]byte{0}, 40), []byte{0, 0, 0}, []byte{0, 1, 0}, 5)),
		"few characters":            "secretseriestreesecretstressterserestsecrets",
		"counting":                  b64(counting),
		"counting down":             b64([]byte("~}|{zyxwvutsrqponmlkjihgfedcba`_^]\\")),
		"the alphabet":              b64([]byte(lower + upper)),
		"the alphabet as text":      (upper + lower)[:44],
		"digits and the alphabet":   b64([]byte("0123456789" + lower)),
		"an alphabet, backwards":    "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJI",
		"a repeated sequence":       b64([]byte("0123456789abcdef0123456789abcdef")),
		"zeros and a few bytes":     b64(append(make([]byte, 40), 1, 2, 3, 4, 5)),
		"a hexadecimal key, padded": hex.EncodeToString(random(32)) + "\n",
	}
}

// A key that can be guessed is rejected, and the error says how to make a key.
func TestWeakKeys(t *testing.T) {
	for what, text := range weakKeys() {
		k, err := parseKey(text)
		if err == nil || k != (session.SecretKey{}) {
			t.Errorf("%s: parsed", what)
			continue
		}
		if !strings.HasPrefix(err.Error(), "session: key ") || !strings.HasSuffix(err.Error(), "make one with: openssl rand -base64 32") {
			t.Errorf("%s: %q does not say how to make a good key", what, err)
		}
		quotes(t, what, err.Error(), strings.TrimSpace(text))
		keys, err := session.ParseKeys(session.GenerateKey().Encode() + "," + text)
		if err == nil || keys != nil || !strings.HasPrefix(err.Error(), "session: key 2 ") {
			t.Errorf("%s, second in a list: %v", what, err)
		}
	}
	if _, err := parseKey(hex.EncodeToString(random(32))); err == nil || !strings.Contains(err.Error(), "hexadecimal") {
		t.Errorf("hexadecimal text: %v", err)
	}
}

// Random keys are accepted, even if they look regular.
func TestStrongKeys(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for what, text := range map[string]string{
		"with a run of zeros":      b64(append(make([]byte, 8), random(24)...)),
		"text of random letters":   b64([]byte(b64(random(32)))),
		"32 bytes and a known end": b64(append(random(32), "0123456789abcdef"...)),
		"4096 bytes":               b64(random(4096)),
		"a fixed one":              "q2VZ1s1cYAkhV0TWnC8IvLZ4u2h0cHfJ3m7Xv0Q9w1E=",
	} {
		if _, err := parseKey(text); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := 32; n < 32+64; n++ {
		for range 1000 {
			if _, err := parseKey(b64(random(n))); err != nil {
				t.Fatalf("%d random bytes: %v", n, err)
			}
		}
	}
}

func ExampleParseKeys_weak() {
	_, err := session.ParseKeys(strings.Repeat("password", 8))
	fmt.Println(err)
	// Output: session: key 1 is a repetition of one part; make one with: openssl rand -base64 32
}

// During a key rotation, a process seals a cookie again that another process has sealed,
// each time the browser changes the process. The session stays the same.
func TestKeysAreRolledOverProcesses(t *testing.T) {
	keys := []session.SecretKey{session.GenerateKey(), session.GenerateKey()}
	turned := slices.Clone(keys)
	slices.Reverse(turned)
	for _, stored := range []bool{true, false} {
		shared := struct{ store.Store }{memstore.New()}
		process := func(keys []session.SecretKey) *app {
			return newApp(t, func(cfg *session.Config) {
				cfg.Keys = keys
				cfg.Now = nil
				if stored {
					cfg.Store = shared
				} else {
					cfg.Coordinator = shared
				}
			})
		}
		before, after := process(keys), process(turned)
		b := before.signedIn()
		for i := range 6 {
			b.app = []*app{after, before}[i%2]
			b.is(true)
			if len(b.last.Values("Set-Cookie")) == 0 {
				t.Errorf("stored %v, visit %d: the cookie was not sealed again", stored, i)
			}
		}
	}
}
