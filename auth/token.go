package auth

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
)

// golang-jwt and encoding/json define which tokens are accepted, and which claims they
// have. Together they need several microseconds and dozens of allocations for a token, at
// each login, each refresh and each cookie that is new to a process. So scanToken reads
// usual tokens, and leaves all others to readToken: those with escapes, fractions, names
// that occur twice, an unknown header, and all invalid tokens. FuzzScan compares the two.

// claim is a claim of a token. raw is its value in JSON.
type claim struct{ name, raw string }

// usualClaims is a number of claims that most tokens do not exceed.
const usualClaims = 16

// readToken returns the claims of a JWT, in any order. Their names are different.
func readToken(token string) ([]claim, error) {
	var all rawClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &all); err != nil {
		return nil, err
	}
	header, _, _ := strings.Cut(token, ".")
	knownHeaders.add(header)
	return claimsOf(all), nil
}

func claimsOf(m map[string]json.RawMessage) []claim {
	claims := make([]claim, 0, len(m))
	for name, raw := range m {
		claims = append(claims, claim{name, string(raw)})
	}
	return claims
}

// rawClaims is the payload of a JWT. The parser requires the methods of jwt.Claims
// and uses them only for validation, which ParseUnverified omits.
type rawClaims map[string]json.RawMessage

func (rawClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (rawClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (rawClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (rawClaims) GetIssuer() (string, error)                   { return "", nil }
func (rawClaims) GetSubject() (string, error)                  { return "", nil }
func (rawClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// scanToken is readToken for usual tokens, but appends the claims to dst. They share one
// text of the given size.
func scanToken(dst []claim, token string) (claims []claim, size int, ok bool) {
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || !knownHeaders.has(header) {
		return nil, 0, false
	}
	var room [1024]byte // enough for most tokens
	if _, err := base64.RawURLEncoding.AppendDecode(room[:0], []byte(signature)); err != nil {
		return nil, 0, false
	}
	b, err := base64.RawURLEncoding.AppendDecode(room[:0], []byte(payload))
	if err != nil {
		return nil, 0, false
	}
	claims, ok = scanObject(dst, string(b))
	return claims, len(b), ok
}

// headerList has encoded headers of tokens that golang-jwt has accepted. A service has one
// header for each of its keys, so a short list is enough.
type headerList struct{ list atomic.Pointer[[]string] }

var knownHeaders headerList

// The limits of a headerList.
const (
	maxHeaders    = 8
	maxHeaderSize = 512
)

func (h *headerList) has(header string) bool {
	list := h.list.Load()
	return list != nil && slices.Contains(*list, header)
}

func (h *headerList) add(header string) {
	if len(header) > maxHeaderSize || h.has(header) {
		return
	}
	list := []string{strings.Clone(header)}
	if old := h.list.Load(); old != nil {
		list = append(list, (*old)[:min(len(*old), maxHeaders-1)]...)
	}
	h.list.Store(&list) // a concurrent add may be lost, until the next token
}
