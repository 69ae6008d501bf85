package verify

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// token is a JWT that is parsed except for its payload, which must not be used before the
// signature was checked.
type token struct {
	algorithm string // an algorithm that is known
	keyID     string
	signed    string // the part of the token that is signed
	payload   string // encoded
	signature []byte
}

// base64url is the encoding of the parts of a token. With Strict, and the check for line
// breaks in decode, a token has only one spelling.
var base64url = base64.RawURLEncoding.Strict()

func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return base64url.DecodeString(part)
}

// parse parses a token and checks its header. Its errors never quote the token.
func parse(text string) (token, error) {
	if len(text) > maxToken {
		return token{}, fmt.Errorf("longer than %d bytes", maxToken)
	}
	signed, signature, ok := cutLast(text)
	header, payload, ok2 := strings.Cut(signed, ".")
	if !ok || !ok2 || strings.Contains(payload, ".") {
		return token{}, errors.New("not a signed JSON Web Token")
	}
	if len(header) > maxHeader {
		return token{}, fmt.Errorf("the header is longer than %d bytes", maxHeader)
	}
	t := token{signed: signed, payload: payload}
	var err error
	if t.signature, err = decode(signature); err != nil {
		return token{}, errors.New("the signature is not base64url")
	}
	fields, err := object(header)
	if err != nil {
		return token{}, fmt.Errorf("the header is %w", err)
	}
	if err := t.readHeader(fields); err != nil {
		return token{}, err
	}
	return t, nil
}

// cutLast cuts the last part off a token.
func cutLast(text string) (before, last string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// readHeader reads the header. Extensions that change the meaning of the token are
// rejected. All other unknown fields are ignored, among them keys and addresses of keys.
func (t *token) readHeader(fields map[string]json.RawMessage) error {
	for _, name := range []string{"crit", "b64", "cty", "enc", "zip"} {
		if _, ok := fields[name]; ok {
			return fmt.Errorf("the header has %s", name)
		}
	}
	var ok bool
	if t.algorithm, ok = text(fields["alg"]); !ok || !isKnown(t.algorithm) {
		return errors.New("the algorithm is not accepted")
	}
	if raw, has := fields["kid"]; has {
		if t.keyID, ok = text(raw); !ok || t.keyID == "" || len(t.keyID) > maxKeyID {
			return errors.New("the key ID is invalid")
		}
	}
	if raw, has := fields["typ"]; has {
		// A token of another type is for another purpose (RFC 8725, section 3.11).
		typ, _ := text(raw)
		typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
		if typ != "jwt" && typ != "at+jwt" {
			return errors.New("the type is not that of an access token")
		}
	}
	return nil
}

// maxDate is the largest date that package auth reads.
const maxDate = 253402300799 // 9999-12-31T23:59:59Z

// checkPayload checks the claims that decide whether the token is meant for this app, and
// the form of its dates.
func (t token) checkPayload(issuer, audience string) error {
	claims, err := object(t.payload)
	if err != nil {
		return fmt.Errorf("the payload is %w", err)
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		raw, has := claims[name]
		if !has && name != "exp" {
			continue
		}
		// JSON allows no leading zero and no plus sign.
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < 0 || n > maxDate {
			return fmt.Errorf("claim %s is not a whole number of seconds", name)
		}
	}
	if issuer != "" {
		if iss, ok := text(claims["iss"]); !ok || iss != issuer {
			return errors.New("claim iss is that of another issuer")
		}
	}
	if audience != "" && !isFor(claims["aud"], audience) {
		return errors.New("claim aud is that of another audience")
	}
	// Hasura's claims may be JSON in a string.
	for _, raw := range claims {
		if inner, ok := text(raw); ok && strings.HasPrefix(strings.TrimSpace(inner), "{") && json.Valid([]byte(inner)) && !uniqueNames([]byte(inner)) {
			return errors.New("the JSON of a claim has a name twice, or is nested too deep")
		}
	}
	return nil
}

// isFor reports whether the claim aud is, or contains, an audience.
func isFor(raw json.RawMessage, audience string) bool {
	if one, ok := text(raw); ok {
		return one == audience
	}
	var several []*string
	if json.Unmarshal(raw, &several) != nil || slices.Contains(several, nil) {
		return false
	}
	return slices.ContainsFunc(several, func(s *string) bool { return *s == audience })
}

// text returns a JSON string. It reports false if raw is something else.
func text(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}
