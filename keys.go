package session

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unique"
)

// minKeySize is the least length of a [SecretKey] in bytes.
const minKeySize = 32

// SecretKey is a secret of at least 32 bytes from a secure random source. A [Manager]
// derives from it the keys that encrypt and authenticate cookies and records. A
// SecretKey prints, logs and marshals without its secret; only Encode returns it.
//
// The zero SecretKey is invalid. Make one with [ParseKeys], [ReadKeys] or [GenerateKey].
type SecretKey struct {
	// fmt prints the unexported fields of a struct without calling their methods,
	// so Format does not protect a SecretKey in an app's own unexported field. fmt
	// prints only the address of a handle. Equal secrets have equal handles.
	secret unique.Handle[string]

	made int64 // the time of creation in Unix seconds; 0 if unknown
}

func newSecretKey(secret []byte) SecretKey {
	return SecretKey{secret: unique.Make(string(secret))}
}

// value returns the secret, "" for the zero SecretKey.
func (k SecretKey) value() string {
	if k == (SecretKey{}) {
		return ""
	}
	return k.secret.Value()
}

// GenerateKey returns a new SecretKey of 32 bytes from crypto/rand.
func GenerateKey() SecretKey {
	var b [minKeySize]byte
	_, _ = rand.Read(b[:]) // never returns an error
	return newSecretKey(b[:])
}

// ParseKeys parses a comma-separated list of keys for Config.Keys, the newest first.
//
// Each key is in base64 (RFC 4648, standard or URL-safe alphabet, with or without padding),
// the format of Encode and of "openssl rand -base64 32". ParseKeys rejects secrets of less
// than 32 bytes, and secrets that can be guessed: hexadecimal text, repetitions, sequences,
// and secrets of few different bytes. The error never contains the text, and says how to
// generate a key.
//
// A key may have the day of its creation and a colon before the base64, as in
// "2026-05-31:…". [New] then logs a warning if the newest key is older than a year.
func ParseKeys(text string) ([]SecretKey, error) {
	var keys []SecretKey
	for i, part := range strings.Split(text, ",") {
		k, err := parseKey(part)
		if err != nil {
			return nil, fmt.Errorf("session: key %d %w", i+1, err)
		}
		keys = append(keys, k)
	}
	if err := validateKeys(keys); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return keys, nil
}

// parseKey parses one key. Its error continues a sentence about the key.
func parseKey(text string) (SecretKey, error) {
	made, text, err := cutDay(text)
	if err != nil {
		return SecretKey{}, err
	}
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's error names a position in the secret.
		return SecretKey{}, badKey("is not base64")
	}
	k := newSecretKey(b)
	if err := k.validate(); err != nil {
		return SecretKey{}, err
	}
	k.made = made
	return k, nil
}

// cutDay returns the day at the start of a key's text in Unix seconds, 0 if there is none,
// and the rest of the text.
func cutDay(text string) (made int64, rest string, err error) {
	day, rest, found := strings.Cut(text, ":") // base64 has no colon
	if !found {
		return 0, text, nil
	}
	t, err := time.Parse(time.DateOnly, strings.TrimSpace(day))
	if err != nil {
		// The parser's error quotes the text, which may be part of the secret.
		return 0, "", badKey("has a colon, but no day such as 2026-05-31 before it")
	}
	return t.Unix(), rest, nil
}

// maxKeyFile bounds the size of a file with keys.
const maxKeyFile = 64 << 10

// ReadKeys reads keys for Config.Keys from a file. Each line is a key in the format that
// [ParseKeys] parses, the newest first. Empty lines, and lines that begin with #, are skipped.
// If the first key has no day, ReadKeys uses the day of the file's last change. The error
// contains no key.
func ReadKeys(file string) ([]SecretKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("session: %w", err)
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("session: the file of keys is larger than %d bytes", maxKeyFile)
	}
	var keys []SecretKey
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("session: line %d: the key %w", n, err)
		}
		keys = append(keys, k)
	}
	if err := validateKeys(keys); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if keys[0].made == 0 {
		keys[0].made = info.ModTime().Unix()
	}
	return keys, nil
}

// badKey returns an error that describes the mistake in a key and how to generate a key. It
// continues a sentence about the key.
func badKey(format string, args ...any) error {
	return fmt.Errorf(format+"; make one with: openssl rand -base64 32", args...)
}

// Encode returns the secret in URL-safe base64 without padding, which ParseKeys
// parses. The text is as secret as the key.
func (k SecretKey) Encode() string { return base64.RawURLEncoding.EncodeToString([]byte(k.value())) }

// validate rejects keys that are too short or can be guessed.
func (k SecretKey) validate() error {
	secret := k.value()
	switch {
	case secret == "":
		return badKey("is empty")
	case len(secret) < minKeySize:
		return badKey("has %d bytes, at least %d are needed", len(secret), minKeySize)
	}
	// A typed key has a pattern in its bytes or in their base64 text. The checks together
	// reject a random key with a probability of less than 2^-66. Most of this is the check
	// for hexadecimal text: each of 42 characters is one of 22 among 64, and the last is
	// one of 6 among 16.
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

// repeats reports whether s is a part of itself repeated, at least twice. The last
// repetition may be incomplete.
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

// On average 30 of 32 random bytes are different, and 31 of the 43 characters of
// their text. The probability of fewer different bytes or characters than these
// constants is 2^-74 and 2^-76.
const (
	minDistinctBytes = 13
	minDistinctChars = 11
)

// distinct returns the number of different bytes in s.
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

// validateKeys checks the keys of a Config.
func validateKeys(keys []SecretKey) error {
	if len(keys) == 0 {
		return errors.New("at least one key is needed")
	}
	seen := make(map[string]bool, len(keys))
	for i, k := range keys {
		if err := k.validate(); err != nil {
			return fmt.Errorf("key %d %w", i+1, err)
		}
		if seen[k.value()] {
			return fmt.Errorf("key %d is a repetition of another key", i+1)
		}
		seen[k.value()] = true
	}
	return nil
}

// String returns a text without the secret.
func (k SecretKey) String() string { return "session.SecretKey" + redacted }

// Format keeps the secret out of every fmt verb.
func (k SecretKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue returns a value without the secret.
func (k SecretKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the secret.
func (k SecretKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
