package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTokenSize bounds the access tokens that are parsed. Tokens in HTTP headers are far
// smaller.
const maxTokenSize = 64 << 10

// Claims are the claims of an access token about its user. They come only from the
// token. A change at the auth service, such as new roles, takes effect with the next
// refresh.
type Claims struct {
	// UserID identifies the user at the auth service. It is never empty in the
	// claims of a session.
	UserID string

	// AllowedRoles are the roles that the user may act in. Roles are compared
	// byte by byte.
	AllowedRoles []string

	// DefaultRole is the role that the user acts in unless a request names
	// another. It may be empty.
	DefaultRole string

	// IssuedAt and ExpiresAt are the token's iat and exp (RFC 7519), by the
	// clock of the auth service. IssuedAt is zero if the token has no iat.
	IssuedAt, ExpiresAt time.Time

	// NotBefore is the token's nbf (RFC 7519), zero if the token has none. An nbf that is
	// not a date counts as the year 9999. Only the times of bearer tokens are compared with
	// a clock; see [Verifier].
	NotBefore time.Time

	// AuthenticatedAt is the token's auth_time (OpenID Connect): when the user entered
	// the credentials. It is zero if the token has none. An auth_time that is not a date
	// counts as the year 1970.
	AuthenticatedAt time.Time

	roleErr error // see Err

	namespace []claim // all claims of the namespace, for Get; their names are different
	shared    int     // the size of the text that they share; 0 if each has a separate text
	borrowed  bool    // the caller of ParsePayload has that text
}

// Err returns an error if AllowedRoles or DefaultRole could not be read, although the token
// seems to have a claim for it.
func (c Claims) Err() error { return c.roleErr }

// Size estimates how many bytes the claims take in memory, for caches, without the payload
// of [ParsePayload].
func (c Claims) Size() int {
	const perText = 16 // the header of a string, and the most that the allocator adds to a short one
	n, texts := 2*perText*len(c.namespace), 0
	for _, claim := range c.namespace {
		texts += perText + len(claim.name) + len(claim.raw)
	}
	if c.borrowed {
		return n + perText*len(c.AllowedRoles)
	}
	n += max(texts, c.shared) + len(c.UserID) + len(c.DefaultRole)
	for _, role := range c.AllowedRoles {
		n += 2*perText + len(role)
	}
	return n
}

// Get decodes the claim with the given name in the token's namespace into v, as
// json.Unmarshal does. It returns false if the namespace has no such claim.
//
// If no claim has exactly this name, Get decodes a claim whose name differs only in
// case. It is an error if several claims do.
func (c Claims) Get(name string, v any) (bool, error) {
	_, raw, err := c.find(name)
	if err != nil {
		return true, fmt.Errorf("auth: claim %q occurs several times, in different capitalization", name)
	}
	if raw == "" {
		return false, nil
	}
	if err := json.Unmarshal([]byte(raw), v); err != nil {
		return true, fmt.Errorf("auth: claim %q: %w", name, err)
	}
	return true, nil
}

// Names returns the names of the claims in the token's namespace, sorted.
func (c Claims) Names() []string {
	names := make([]string, 0, len(c.namespace))
	for _, claim := range c.namespace {
		names = append(names, claim.name)
	}
	slices.Sort(names)
	return names
}

// ClaimNames names the claims of an access token that [ParseClaims] reads. The zero
// value fits the tokens of Hasura's auth services.
type ClaimNames struct {
	// Namespaces are the names of top-level claims that may contain the others:
	// as an object, or as a string that contains the object's JSON (Hasura's
	// claims_format stringified_json). The first that the token has is read. The
	// empty string means the top level of the token.
	// Default (empty): "hasura", "https://hasura.io/jwt/claims".
	Namespaces []string

	// UserID, AllowedRoles and DefaultRole are the names that these claims may
	// have in the namespace. The first that the namespace has is read. If the
	// namespace has none of these names, case is ignored. Several claims that match
	// one name only when case is ignored are an error.
	// Default (empty): "x-hasura-user-id", "user_id"; "x-hasura-allowed-roles",
	// "allowed_roles"; "x-hasura-default-role", "default_role".
	UserID, AllowedRoles, DefaultRole []string
}

// The default names; they are never modified.
var (
	defaultNamespaces   = []string{"hasura", "https://hasura.io/jwt/claims"}
	defaultUserID       = []string{"x-hasura-user-id", "user_id"}
	defaultAllowedRoles = []string{"x-hasura-allowed-roles", "allowed_roles"}
	defaultDefaultRole  = []string{"x-hasura-default-role", "default_role"}
)

// withDefaults returns n with defaults in place of empty lists.
func (n ClaimNames) withDefaults() ClaimNames {
	set := func(names *[]string, defaults []string) {
		if len(*names) == 0 {
			*names = defaults
		}
	}
	set(&n.Namespaces, defaultNamespaces)
	set(&n.UserID, defaultUserID)
	set(&n.AllowedRoles, defaultAllowedRoles)
	set(&n.DefaultRole, defaultDefaultRole)
	return n
}

// ParseClaims reads the claims of an access token. It does not check the signature,
// so the token must come directly from the auth service, or a [Verifier] must have
// accepted it.
//
// The token must be a JWT of at most 64 KiB with a user ID and an exp, which must be
// after its iat. Everything else may be missing. If the claim for the allowed roles
// is not an array of strings, or if several claims match its name when case is ignored,
// the user has no roles, and [Claims.Err] returns the reason.
func ParseClaims(accessToken string, names ClaimNames) (Claims, error) {
	if len(accessToken) > maxTokenSize {
		return Claims{}, fmt.Errorf("auth: %w: longer than %d bytes", ErrInvalidToken, maxTokenSize)
	}
	var room [usualClaims]claim // saves an allocation
	all, size, ok := scanToken(room[:0], accessToken)
	if !ok {
		var err error
		if all, err = readToken(accessToken); err != nil {
			return Claims{}, fmt.Errorf("auth: %w: not a JSON Web Token", ErrInvalidToken)
		}
	}
	return claimsFrom(all, size, names)
}

// ParsePayload is [ParseClaims] for the payload of a token, which the caller has decoded
// from base64. The caller has checked the rest of the token. The claims share the memory of
// payload.
func ParsePayload(payload string, names ClaimNames) (Claims, error) {
	if len(payload) > maxTokenSize {
		return Claims{}, fmt.Errorf("auth: %w: longer than %d bytes", ErrInvalidToken, maxTokenSize)
	}
	var room [usualClaims]claim
	all, ok := scanObject(room[:0], payload)
	if !ok {
		var raw rawClaims
		if json.Unmarshal([]byte(payload), &raw) != nil {
			return Claims{}, fmt.Errorf("auth: %w: not a JSON object", ErrInvalidToken)
		}
		return claimsFrom(claimsOf(raw), 0, names)
	}
	c, err := claimsFrom(all, len(payload), names)
	c.borrowed = c.shared > 0
	return c, err
}

// claimsFrom returns the claims of a token that has all, which share a text of the given
// size. The claims do not share all itself.
func claimsFrom(all []claim, size int, names ClaimNames) (Claims, error) {
	c, err := parseClaims(all, size, names.withDefaults())
	if err != nil {
		return Claims{}, fmt.Errorf("auth: %w: %w", ErrInvalidToken, err)
	}
	return c, nil
}

// parseClaims is claimsFrom with names that are not empty. Its errors name a claim and
// never quote the token; those of golang-jwt and encoding/json may quote it.
func parseClaims(all []claim, size int, names ClaimNames) (Claims, error) {
	c := Claims{shared: size}
	if err := c.readDates(all); err != nil {
		return Claims{}, err
	}
	var err error
	var usual bool
	if c.namespace, usual, err = namespace(all, names.Namespaces); err != nil {
		return Claims{}, err
	}
	if !usual {
		c.shared = 0
	}
	if c.UserID, err = c.text(names.UserID); err != nil {
		return Claims{}, err
	}
	if c.UserID == "" {
		return Claims{}, fmt.Errorf("no claim %s", strings.Join(names.UserID, " or "))
	}
	// Roles that cannot be read give the user no rights, but the user stays signed
	// in: most pages of an app need no role.
	c.DefaultRole, c.roleErr = c.text(names.DefaultRole)
	roles, err := c.roles(names.AllowedRoles)
	if err != nil {
		c.roleErr = err
	}
	c.AllowedRoles = roles
	return c, nil
}

// readDates sets the dates of c. all are the claims of the token.
func (c *Claims) readDates(all []claim) (err error) {
	if c.ExpiresAt, err = date(all, "exp"); err != nil {
		return err
	}
	if c.ExpiresAt.IsZero() {
		return errors.New("no claim exp")
	}
	if c.IssuedAt, err = date(all, "iat"); err != nil {
		return err
	}
	if !c.IssuedAt.IsZero() && !c.IssuedAt.Before(c.ExpiresAt) {
		return errors.New("claim exp is not after claim iat")
	}
	c.NotBefore = dateOr(all, "nbf", time.Unix(maxDate, 0))
	c.AuthenticatedAt = dateOr(all, "auth_time", time.Unix(0, 0))
	return nil
}

// valueOf returns the claim with exactly this name, "" if there is none.
func valueOf(claims []claim, name string) string {
	for i := range claims {
		if claims[i].name == name {
			return claims[i].raw
		}
	}
	return ""
}

// find returns the first of names that the namespace has, and its claim. Exact matches
// have priority over names in another case. The claim is "" if there is none. Two
// claims that differ from a name only in case are an error: find cannot know which of
// them the service means.
func (c Claims) find(names ...string) (name, raw string, err error) {
	for _, name := range names {
		if raw := valueOf(c.namespace, name); raw != "" {
			return name, raw, nil
		}
	}
	for _, name := range names {
		var found string
		for _, other := range c.namespace {
			if !strings.EqualFold(name, other.name) {
				continue
			}
			if found != "" {
				return name, "", fmt.Errorf("claim %s occurs several times, in different capitalization", name)
			}
			found = other.raw
		}
		if found != "" {
			return name, found, nil
		}
	}
	return "", "", nil
}

// text returns the first of names that the namespace has. It must be a string. text
// returns "" if the namespace has none.
func (c Claims) text(names []string) (string, error) {
	name, raw, err := c.find(names...)
	if raw == "" {
		return "", err
	}
	if s, ok := scanString(raw); ok {
		return s, nil
	}
	var s *string
	if json.Unmarshal([]byte(raw), &s) != nil || s == nil {
		return "", fmt.Errorf("claim %s is not a string", name)
	}
	return *s, nil
}

// roles returns the first of names that the namespace has. It must be an array of
// strings.
func (c Claims) roles(names []string) ([]string, error) {
	name, raw, err := c.find(names...)
	if err != nil {
		return nil, err
	}
	if raw == "" {
		return nil, c.misnamed(names)
	}
	if roles, ok := scanStrings(raw); ok {
		return roles, nil
	}
	// encoding/json decodes null into "", which would be a role. Into a pointer it
	// decodes nil.
	var ptrs []*string
	if json.Unmarshal([]byte(raw), &ptrs) != nil || ptrs == nil || slices.Contains(ptrs, nil) {
		return nil, fmt.Errorf("claim %s is not an array of strings", name)
	}
	roles := make([]string, len(ptrs))
	for i, p := range ptrs {
		roles[i] = *p
	}
	return roles, nil
}

// misnamed returns an error if the namespace has none of names for the allowed roles,
// but another claim about roles. Otherwise users without roles would be the only sign of
// wrong ClaimNames.
func (c Claims) misnamed(names []string) error {
	for _, other := range c.namespace {
		if strings.Contains(strings.ToLower(other.name), "role") {
			return fmt.Errorf("no claim %s, but another claim about roles", strings.Join(names, " or "))
		}
	}
	return nil
}

// maxDate bounds dates to the years that time.Time can format and compare.
const maxDate = 253402300799 // 9999-12-31T23:59:59Z

// date returns the claim name, a number of seconds since 1970 that may have a fraction.
// It returns the zero time if there is no such claim.
func date(claims []claim, name string) (time.Time, error) {
	raw := valueOf(claims, name)
	if raw == "" {
		return time.Time{}, nil
	}
	// A number with a sign or an exponent is left to encoding/json.
	if n, err := strconv.ParseUint(raw, 10, 64); err == nil && 0 < n && n <= maxDate {
		return time.Unix(int64(n), 0), nil
	}
	var seconds *float64
	if json.Unmarshal([]byte(raw), &seconds) != nil || seconds == nil || *seconds <= 0 || *seconds > maxDate {
		return time.Time{}, fmt.Errorf("claim %s is not a date in seconds", name)
	}
	whole, frac := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(frac*1e9)), nil
}

// dateOr is date for a claim that sessions do not need, so that a sign-in does not fail
// because of it. If the claim is not a date, dateOr returns invalid, which must be the safe
// value.
func dateOr(claims []claim, name string, invalid time.Time) time.Time {
	at, err := date(claims, name)
	if err != nil {
		return invalid
	}
	return at
}

// namespace returns the claims of the first of names that a token has. all are the claims
// of the token. A namespace in the wrong format is an error, so that a later name cannot
// replace it silently. usual reports whether the result shares the texts of all.
func namespace(all []claim, names []string) (claims []claim, usual bool, err error) {
	for _, name := range names {
		if name == "" {
			return slices.Clone(all), true, nil // all may be in room that is reused
		}
		raw := valueOf(all, name)
		if raw == "" {
			continue
		}
		var room [usualClaims]claim
		if claims, ok := scanObject(room[:0], raw); ok {
			return slices.Clone(claims), true, nil
		}
		var inString string
		if json.Unmarshal([]byte(raw), &inString) == nil {
			raw = inString
		}
		var ns map[string]json.RawMessage
		if json.Unmarshal([]byte(raw), &ns) != nil || ns == nil {
			return nil, false, fmt.Errorf("claim %s is not an object", name)
		}
		return claimsOf(ns), false, nil
	}
	return nil, false, fmt.Errorf("no claim %s", strings.Join(names, " or "))
}
