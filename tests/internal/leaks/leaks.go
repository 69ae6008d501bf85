// Package leaks searches texts for secrets and for pieces of them, in all forms that a
// log may contain.
package leaks

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// piece is the length of the pieces of secrets that are searched for. Other texts may
// share shorter pieces with a secret: every token contains a time, for example.
const piece = 16

// Secrets are the texts that must not be found. The zero value has none. It is safe for
// concurrent use.
type Secrets struct {
	mu    sync.Mutex
	whats map[string]string // the kinds of the secrets
}

// Add adds a secret. Secrets of less than 8 bytes, such as one-time codes, are left out,
// because any text may contain them by chance.
func (s *Secrets) Add(what, secret string) {
	if len(secret) < 8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whats == nil {
		s.whats = map[string]string{}
	}
	s.whats[secret] = what
}

// AddJWT adds a JSON Web Token without its header. The header is not secret, because all
// tokens of a service have the same one.
func (s *Secrets) AddJWT(what, token string) {
	_, rest, ok := strings.Cut(token, ".")
	if ok {
		s.Add(what, rest)
	}
}

// AddSealed adds a value that gorilla/securecookie has made, without its start, which is
// the time in plain text.
func (s *Secrets) AddSealed(what, value string) {
	const clear = len("MTc5NTQ2NDEzM3wx") // "1795464133|", and a bit of the rest
	s.Add(what, value[min(clear, len(value)):])
}

// Len returns the number of different secrets of each kind.
func (s *Secrets) Len() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, what := range s.whats {
		n[what]++
	}
	return n
}

// Search returns the kind and the place of each secret that is in the text, in whole or
// in part.
func (s *Secrets) Search(text string) []string {
	// The search ignores the case of letters, so it finds all secrets and possibly more.
	text = lower(text)
	at := make(map[string]int, len(text))
	for i := len(text) - piece; i >= 0; i-- {
		at[text[i:i+piece]] = i
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for secret, what := range s.whats {
		if i := search(text, at, secret); i >= 0 {
			found = append(found, fmt.Sprintf("%s: …%q…", what, text[max(0, i-60):min(len(text), i+60)]))
		}
	}
	slices.Sort(found)
	return found
}

// search returns the place of a form of the secret, or of a piece of one, in the text, or
// -1.
func search(text string, at map[string]int, secret string) int {
	for _, form := range forms(secret) {
		form = lower(form)
		if len(form) < piece {
			if i := strings.Index(text, form); i >= 0 {
				return i
			}
			continue
		}
		for j := range len(form) - piece + 1 {
			if i, ok := at[form[j:j+piece]]; ok {
				return i
			}
		}
	}
	return -1
}

// lower is strings.ToLower for ASCII. It does not change other bytes.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// forms returns a secret, unchanged and in the usual encodings of texts and bytes.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	ascii := strconv.QuoteToASCII(secret)
	inJSON, _ := json.Marshal(secret)
	list := []string{
		secret,
		quoted[1 : len(quoted)-1],
		ascii[1 : len(ascii)-1],
		string(inJSON[1 : len(inJSON)-1]),
		url.QueryEscape(secret),
		url.PathEscape(secret),
		hex.EncodeToString([]byte(secret)),
		decimal(secret, " "),
		decimal(secret, ","),
	}
	// The base64 of a secret depends on its position in the encoded data.
	for skip := range 3 {
		rest := secret[skip:]
		rest = rest[:len(rest)-len(rest)%3]
		list = append(list, base64.RawStdEncoding.EncodeToString([]byte(rest)), base64.RawURLEncoding.EncodeToString([]byte(rest)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// decimal returns bytes as fmt prints them, or with commas as other programs do.
func decimal(secret, separator string) string {
	var b strings.Builder
	for i := range len(secret) {
		b.WriteString(strconv.Itoa(int(secret[i])) + separator)
	}
	return b.String()
}
