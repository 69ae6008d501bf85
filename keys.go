package session

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unique"
)

// minKeySize is the least number of bytes of a [SecretKey].
const minKeySize = 32

// SecretKey is a secret from which a [Manager] derives what it seals cookies and
// records with. It is at least 32 bytes from a secure random source. A SecretKey
// prints, logs and marshals without its secret; only Encode gives it away.
//
// The zero SecretKey is not usable.
type SecretKey struct {
	// A handle, since fmt prints what is in the unexported fields of others, and
	// asks no method of theirs: of a handle it knows but an address.
	secret unique.Handle[string]
}

func newSecretKey(secret []byte) SecretKey { return SecretKey{unique.Make(string(secret))} }

// value returns the secret, empty for the zero SecretKey.
func (k SecretKey) value() string {
	if k == (SecretKey{}) {
		return ""
	}
	return k.secret.Value()
}

// GenerateKey returns a new SecretKey of 32 bytes from crypto/rand.
func GenerateKey() SecretKey {
	var b [minKeySize]byte
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(b[:])
	return newSecretKey(b[:])
}

// ParseKey reads a SecretKey from its base64 text (RFC 4648, standard or URL-safe
// alphabet, with or without padding), as Encode writes it and as
// "openssl rand -base64 32" does. It refuses a secret that is shorter than 32
// bytes, and one that can be guessed: hexadecimal text, a repeated word, a
// sequence, or a few different bytes. The error says how to make a good one.
func ParseKey(text string) (SecretKey, error) {
	k, err := parseKey(text)
	if err != nil {
		return SecretKey{}, fmt.Errorf("session: %w", err)
	}
	return k, nil
}

func parseKey(text string) (SecretKey, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's error would quote a position in the secret.
		return SecretKey{}, badKey("is not base64")
	}
	k := newSecretKey(b)
	if err := k.validate(); err != nil {
		return SecretKey{}, err
	}
	return k, nil
}

// badKey says what is wrong with a key, and how to make a good one.
func badKey(format string, args ...any) error {
	return fmt.Errorf("key "+format+"; make one with: openssl rand -base64 32", args...)
}

// ParseKeys reads a comma-separated list of keys, the newest first, as
// ParseKey reads one.
func ParseKeys(text string) ([]SecretKey, error) {
	var keys []SecretKey
	for i, part := range strings.Split(text, ",") {
		k, err := parseKey(part)
		if err != nil {
			return nil, fmt.Errorf("session: key %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	if err := validateKeys(keys); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return keys, nil
}

// Encode returns the secret as URL-safe base64 without padding, for a
// configuration. The text is as secret as the key.
func (k SecretKey) Encode() string { return base64.RawURLEncoding.EncodeToString([]byte(k.value())) }

func (k SecretKey) validate() error {
	secret := k.value()
	switch {
	case secret == "":
		return badKey("is empty")
	case len(secret) < minKeySize:
		return badKey("has %d bytes, at least %d are needed", len(secret), minKeySize)
	}
	// What people type shows in the bytes or in the text that they are read
	// from. All these checks together refuse a random key with a probability
	// of less than 2^-66. Most of that is hexadecimal text: 42 characters, each
	// one of 22 among 64, and a last one of 6 among 16.
	text := k.Encode()
	switch {
	case strings.Trim(text, "0123456789abcdefABCDEF") == "":
		return badKey("is hexadecimal text: read as base64, a third of its bits can be predicted")
	case repeats(secret) || repeats(text):
		return badKey("is a repetition of one part")
	case counts(secret) || counts(text):
		return badKey("is a sequence")
	case distinct(secret) < minDistinctBytes || distinct(text) < minDistinctChars:
		return badKey("has few different bytes")
	}
	return nil
}

// repeats reports whether s is one part repeated: twice or more, the last time
// cut perhaps.
func repeats(s string) bool {
	for period := 1; period <= len(s)/2; period++ {
		if s[period:] == s[:len(s)-period] {
			return true
		}
	}
	return false
}

// counts reports whether s mostly counts up or down, as "abcdef" does: half of
// its steps from one byte to the next are as large as the step before.
func counts(s string) bool {
	same := 0
	for i := 2; i < len(s); i++ {
		if s[i]-s[i-1] == s[i-1]-s[i-2] {
			same++
		}
	}
	return same >= (len(s)-2)/2
}

// Of 32 random bytes 30 are different, of the 43 characters of their text 31.
// Fewer different ones than these have a probability of 2^-74 and 2^-76.
const (
	minDistinctBytes = 13
	minDistinctChars = 11
)

func distinct(s string) int {
	var seen [256]bool
	n := 0
	for i := range len(s) {
		if !seen[s[i]] {
			seen[s[i]] = true
			n++
		}
	}
	return n
}

func validateKeys(keys []SecretKey) error {
	if len(keys) == 0 {
		return errors.New("at least one key is needed")
	}
	seen := make(map[SecretKey]bool, len(keys))
	for i, k := range keys {
		if err := k.validate(); err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		if seen[k] {
			return fmt.Errorf("key %d is a repetition", i+1)
		}
		seen[k] = true
	}
	return nil
}

// String returns a text without the secret.
func (k SecretKey) String() string { return "session.SecretKey" + redacted }

// GoString returns a text without the secret.
func (k SecretKey) GoString() string { return k.String() }

// Format keeps the secret out of every fmt verb.
func (k SecretKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue returns a value without the secret.
func (k SecretKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the secret.
func (k SecretKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
