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
// "openssl rand -base64 32" does.
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
		return SecretKey{}, errors.New("key is not base64")
	}
	k := newSecretKey(b)
	return k, k.validate()
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
	switch secret := k.value(); {
	case secret == "":
		return errors.New("key is empty")
	case len(secret) < minKeySize:
		return fmt.Errorf("key has %d bytes, at least %d are needed", len(secret), minKeySize)
	case strings.Trim(secret, secret[:1]) == "":
		return errors.New("key repeats a single byte; it must be random")
	}
	return nil
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
