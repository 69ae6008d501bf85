// Package leaks searches texts for secrets and for pieces of them, in the forms
// that they take on their way into a log.
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

// piece is the length of the pieces of secrets that are searched for. Less than
// that other texts may have in common with a secret: a time, for example, is in
// every token.
const piece = 16

// Secrets are what must not be found. The zero value has none. It is safe for
// concurrent use.
type Secrets struct {
	mu    sync.Mutex
	whats map[string]string // what a secret is
}

// Add adds a secret. One that is shorter than 8 bytes, as a one-time code is, is
// left out: any text may have it by chance.
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

// AddJWT adds a JSON Web Token, except its header, which is no secret: all
// tokens of a service have the same.
func (s *Secrets) AddJWT(what, token string) {
	_, rest, ok := strings.Cut(token, ".")
	if ok {
		s.Add(what, rest)
	}
}

// AddSealed adds a value that gorilla/securecookie has made, except what it
// begins with: the time, in the clear.
func (s *Secrets) AddSealed(what, value string) {
	const clear = len("MTc5NTQ2NDEzM3wx") // "1795464133|", and a bit of the rest
	s.Add(what, value[min(clear, len(value)):])
}

// Len returns how many different secrets have been added, by what they are.
func (s *Secrets) Len() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, what := range s.whats {
		n[what]++
	}
	return n
}

// Search returns, for each secret that is in the text, whole or in part, what
// it is and the place where it was found.
func (s *Secrets) Search(text string) []string {
	// How letters are written matters in none of the forms that are searched
	// for, or else makes the search too careful.
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

// search returns where a form of the secret, or a piece of one, is in the text,
// or -1.
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

// lower is strings.ToLower for ASCII; it leaves bytes alone that are no text.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// forms returns a secret as it is and as it is after what is usually done to
// texts and bytes.
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
	// Where a secret begins in what is encoded decides how it looks.
	for skip := range 3 {
		rest := secret[skip:]
		rest = rest[:len(rest)-len(rest)%3]
		list = append(list, base64.RawStdEncoding.EncodeToString([]byte(rest)), base64.RawURLEncoding.EncodeToString([]byte(rest)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// decimal is how fmt writes bytes, and others do with commas.
func decimal(secret, separator string) string {
	var b strings.Builder
	for i := range len(secret) {
		b.WriteString(strconv.Itoa(int(secret[i])) + separator)
	}
	return b.String()
}
