package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenSize bounds an access token before anything of it is parsed. It is
// far above what fits any HTTP header.
const maxTokenSize = 64 << 10

// Claims is what an access token says about its user. It comes from the token
// alone; nothing in it is checked against the auth service again before the
// next refresh.
type Claims struct {
	// UserID identifies the user at the auth service. It is never empty in
	// the claims of a session.
	UserID string

	// AllowedRoles are the roles that the user may act in. Roles are compared
	// byte by byte.
	AllowedRoles []string

	// DefaultRole is the role that the user acts in unless another is asked
	// for. It may be empty.
	DefaultRole string

	// IssuedAt and ExpiresAt are the token's iat and exp (RFC 7519), by the
	// clock of the auth service. IssuedAt is zero if the token has no iat.
	IssuedAt, ExpiresAt time.Time

	roleErr error // see Err

	namespace map[string]json.RawMessage
}

// Err returns why AllowedRoles or DefaultRole is empty although the token seems
// to have a claim for it, nil if they were read.
func (c Claims) Err() error { return c.roleErr }

// Size is about how many bytes the claims take in memory, for caches.
func (c Claims) Size() int {
	const perRole, perClaim = 32, 160 // headers of strings and slices, a place in a map
	n := len(c.UserID) + len(c.DefaultRole)
	for _, role := range c.AllowedRoles {
		n += perRole + len(role)
	}
	for name, raw := range c.namespace {
		n += perClaim + len(name) + cap(raw)
	}
	return n
}

// Get decodes the claim of the token's namespace with the given name into v,
// as encoding/json does. It reports false if the namespace has no such claim.
//
// If no claim has exactly that name, Get decodes the claim whose name differs
// in case only. Several such claims are an error.
func (c Claims) Get(name string, v any) (bool, error) {
	_, raw, err := c.find(name)
	if err != nil {
		return true, fmt.Errorf("auth: claim %q comes in several cases", name)
	}
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("auth: claim %q: %w", name, err)
	}
	return true, nil
}

// Names returns the names of the claims in the token's namespace, sorted.
func (c Claims) Names() []string {
	names := make([]string, 0, len(c.namespace))
	for name := range c.namespace {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ClaimNames says where in an access token the claims are. The zero value
// reads the tokens of Hasura's auth services.
type ClaimNames struct {
	// Namespaces are the top-level claims that may hold the others, an object
	// or that object as a JSON string (Hasura's claims_format
	// stringified_json). The first that the token has is read. The empty
	// string stands for the token's top level.
	// Default: "hasura", "https://hasura.io/jwt/claims".
	Namespaces []string

	// UserID, AllowedRoles and DefaultRole are the names under which the
	// namespace may have these claims; the first that it has is read. If it has
	// none of them, the first that it has in another case is read, unless
	// several claims differ from that name in case only.
	// Default: "x-hasura-user-id" or "user_id"; "x-hasura-allowed-roles" or
	// "allowed_roles"; "x-hasura-default-role" or "default_role".
	UserID, AllowedRoles, DefaultRole []string
}

// The default names; they are never modified.
var (
	defaultNamespaces   = []string{"hasura", "https://hasura.io/jwt/claims"}
	defaultUserID       = []string{"x-hasura-user-id", "user_id"}
	defaultAllowedRoles = []string{"x-hasura-allowed-roles", "allowed_roles"}
	defaultDefaultRole  = []string{"x-hasura-default-role", "default_role"}
)

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

// ParseClaims reads the claims of an access token without checking its
// signature: only a token that has come straight from the auth service may be
// read this way.
//
// The token must be a JWT of at most 64 KiB with an exp after its iat and a
// user ID; everything else may be missing. A claim for the allowed roles that
// is not an array of strings, or comes in several cases, gives no role at all.
func ParseClaims(accessToken string, names ClaimNames) (Claims, error) {
	c, err := parseClaims(accessToken, names.withDefaults())
	if err != nil {
		return Claims{}, fmt.Errorf("auth: %w: %w", ErrInvalidToken, err)
	}
	return c, nil
}

// The errors of parseClaims name the claim and what is wrong with it and never
// quote the token: golang-jwt's and encoding/json's own texts may.
func parseClaims(token string, names ClaimNames) (Claims, error) {
	if len(token) > maxTokenSize {
		return Claims{}, fmt.Errorf("longer than %d bytes", maxTokenSize)
	}
	var all rawClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &all); err != nil {
		return Claims{}, errors.New("not a JSON Web Token")
	}
	var c Claims
	var err error
	if c.ExpiresAt, err = all.date("exp"); err != nil {
		return Claims{}, err
	}
	if c.ExpiresAt.IsZero() {
		return Claims{}, errors.New("no claim exp")
	}
	if c.IssuedAt, err = all.date("iat"); err != nil {
		return Claims{}, err
	}
	if !c.IssuedAt.IsZero() && !c.IssuedAt.Before(c.ExpiresAt) {
		return Claims{}, errors.New("claim exp is not after claim iat")
	}
	if c.namespace, err = all.namespace(names.Namespaces); err != nil {
		return Claims{}, err
	}
	if c.UserID, err = c.text(names.UserID); err != nil {
		return Claims{}, err
	}
	if c.UserID == "" {
		return Claims{}, fmt.Errorf("no claim %s", strings.Join(names.UserID, " or "))
	}
	// A role of another type is no role, and no reason to reject the user.
	c.DefaultRole, c.roleErr = c.text(names.DefaultRole)
	roles, err := c.roles(names.AllowedRoles)
	if err != nil {
		c.roleErr = err
	}
	c.AllowedRoles = roles
	return c, nil
}

// find returns the claim of the first of names that the namespace has, and that
// name. A claim with exactly one of the names comes before one in another case.
// The claim is nil if there is none.
func (c Claims) find(names ...string) (string, json.RawMessage, error) {
	for _, name := range names {
		if raw, ok := c.namespace[name]; ok {
			return name, raw, nil
		}
	}
	for _, name := range names {
		var found json.RawMessage
		for other, raw := range c.namespace {
			if !strings.EqualFold(name, other) {
				continue
			}
			if found != nil {
				return name, nil, fmt.Errorf("claim %s comes in several cases", name)
			}
			found = raw
		}
		if found != nil {
			return name, found, nil
		}
	}
	return "", nil, nil
}

func (c Claims) text(names []string) (string, error) {
	name, raw, err := c.find(names...)
	if raw == nil {
		return "", err
	}
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", fmt.Errorf("claim %s is not a string", name)
	}
	return *s, nil
}

func (c Claims) roles(names []string) ([]string, error) {
	name, raw, err := c.find(names...)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, c.misnamed(names)
	}
	// Pointers tell null from "": a null among the roles is no role.
	var ptrs []*string
	if json.Unmarshal(raw, &ptrs) != nil || ptrs == nil || slices.Contains(ptrs, nil) {
		return nil, fmt.Errorf("claim %s is not an array of strings", name)
	}
	roles := make([]string, len(ptrs))
	for i, p := range ptrs {
		roles[i] = *p
	}
	return roles, nil
}

// misnamed returns an error if the namespace has a claim about roles, although
// it has none of the names for the allowed roles: users would have no roles, and
// nobody would know why.
func (c Claims) misnamed(names []string) error {
	for other := range c.namespace {
		if strings.Contains(strings.ToLower(other), "role") {
			return fmt.Errorf("no claim %s, but another claim about roles", strings.Join(names, " or "))
		}
	}
	return nil
}

// rawClaims is a JWT's payload, undecoded. The jwt.Claims methods only serve
// validation, which ParseUnverified leaves out.
type rawClaims map[string]json.RawMessage

func (rawClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (rawClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (rawClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (rawClaims) GetIssuer() (string, error)                   { return "", nil }
func (rawClaims) GetSubject() (string, error)                  { return "", nil }
func (rawClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// maxDate keeps dates in the years that time.Time formats and compares safely.
const maxDate = 253402300799 // 9999-12-31T23:59:59Z

func (a rawClaims) date(name string) (time.Time, error) {
	raw, ok := a[name]
	if !ok {
		return time.Time{}, nil
	}
	var seconds *float64
	if json.Unmarshal(raw, &seconds) != nil || seconds == nil || *seconds <= 0 || *seconds > maxDate {
		return time.Time{}, fmt.Errorf("claim %s is not a date in seconds", name)
	}
	whole, frac := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(frac*1e9)), nil
}

func (a rawClaims) namespace(names []string) (map[string]json.RawMessage, error) {
	for _, name := range names {
		if name == "" {
			return a, nil
		}
		raw, ok := a[name]
		if !ok {
			continue
		}
		var inString string
		if json.Unmarshal(raw, &inString) == nil {
			raw = json.RawMessage(inString)
		}
		var ns map[string]json.RawMessage
		if json.Unmarshal(raw, &ns) != nil || ns == nil {
			return nil, fmt.Errorf("claim %s is not an object", name)
		}
		return ns, nil
	}
	return nil, fmt.Errorf("no claim %s", strings.Join(names, " or "))
}
