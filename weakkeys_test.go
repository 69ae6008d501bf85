package session_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/synmetrix/session"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// weakKeys are secrets that have the size of good ones, as base64 text.
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

// A key that can be guessed is refused, with the way to make a good one.
func TestWeakKeys(t *testing.T) {
	for what, text := range weakKeys() {
		k, err := session.ParseKey(text)
		if err == nil || k != (session.SecretKey{}) {
			t.Errorf("%s: parsed", what)
			continue
		}
		if !strings.HasPrefix(err.Error(), "session: key ") || !strings.HasSuffix(err.Error(), "make one with: openssl rand -base64 32") {
			t.Errorf("%s: %q does not say how to make a good key", what, err)
		}
		quotes(t, what, err.Error(), strings.TrimSpace(text))
		keys, err := session.ParseKeys(session.GenerateKey().Encode() + "," + text)
		if err == nil || keys != nil || !strings.HasPrefix(err.Error(), "session: key 2: ") {
			t.Errorf("%s, second in a list: %v", what, err)
		}
	}
	if _, err := session.ParseKey(hex.EncodeToString(random(32))); err == nil || !strings.Contains(err.Error(), "hexadecimal") {
		t.Errorf("hexadecimal text: %v", err)
	}
}

// Keys that look odd, and are random all the same, are accepted.
func TestStrongKeys(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for what, text := range map[string]string{
		"with a run of zeros":      b64(append(make([]byte, 8), random(24)...)),
		"text of random letters":   b64([]byte(b64(random(32)))),
		"32 bytes and a known end": b64(append(random(32), "0123456789abcdef"...)),
		"4096 bytes":               b64(random(4096)),
		"a fixed one":              "q2VZ1s1cYAkhV0TWnC8IvLZ4u2h0cHfJ3m7Xv0Q9w1E=",
	} {
		if _, err := session.ParseKey(text); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := 32; n < 32+64; n++ {
		for range 1000 {
			if _, err := session.ParseKey(b64(random(n))); err != nil {
				t.Fatalf("%d random bytes: %v", n, err)
			}
		}
	}
}

func ExampleParseKey() {
	_, err := session.ParseKey(strings.Repeat("password", 8))
	fmt.Println(err)
	// Output: session: key is a repetition of one part; make one with: openssl rand -base64 32
}
