package authtest

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// variables returns the claims of a user: for access tokens, where the names have a
// prefix, and for the identity cookie.
func (s *Server) variables(a *account, prefix string) object {
	role := a.DefaultRole
	roles := slices.Clone(a.Roles)
	if !slices.Contains(roles, role) {
		roles = append(roles, role)
	}
	o := object{
		{prefix + "user-id", a.ID},
		{prefix + "allowed-roles", roles},
		{prefix + "default-role", role},
	}
	for _, name := range s.opts.CustomFields {
		value := a.Fields[name]
		if _, ok := value.(string); !ok {
			value = string(marshal(value))
		}
		o = append(o, member{prefix + kebab(name), value})
	}
	return o
}

// kebab converts avatar_url and avatarUrl to avatar-url.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r == '_' || r == ' ':
			b.WriteByte('-')
		case unicode.IsUpper(r) && i > 0:
			b.WriteByte('-')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// sign issues an access token. Tokens for the same user in the same second are equal.
func (s *Server) sign(a *account) string {
	iat := s.Now().Unix()
	payload := object{
		{s.opts.Namespace, s.variables(a, "x-hasura-")},
		{"sub", a.ID},
		{"iss", "nhost"},
		{"iat", iat},
		{"exp", iat + int64(s.opts.AccessLife/time.Second)},
	}
	// The jwt package would add typ to the header and sort the claims. The service
	// does neither.
	var method jwt.SigningMethod = jwt.SigningMethodHS256
	header, key := object{{"alg", "HS256"}}, any(s.opts.Secret)
	if s.opts.RSAKey != nil {
		method = jwt.SigningMethodRS256
		header, key = object{{"alg", "RS256"}, {"kid", s.kid}}, s.opts.RSAKey
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(marshal(header)) + "." + enc.EncodeToString(marshal(payload))
	signature, err := method.Sign(text, key)
	if err != nil {
		panic("authtest: signing: " + err.Error()) // New has checked the key
	}
	return text + "." + enc.EncodeToString(signature)
}

// verify returns the claims of the access token in an Authorization header. The
// scheme may be missing, but is case-sensitive.
func (s *Server) verify(authorization string) (map[string]any, bool) {
	raw := strings.Replace(authorization, "Bearer ", "", 1)
	if raw == "" {
		return nil, false
	}
	methods, key := []string{"HS256", "HS384", "HS512"}, any(s.opts.Secret)
	if s.opts.RSAKey != nil {
		methods, key = []string{"RS256"}, &s.opts.RSAKey.PublicKey
	}
	token, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods(methods), jwt.WithTimeFunc(s.Now))
	if err != nil {
		return nil, false
	}
	claims, ok := token.Claims.(jwt.MapClaims)[s.opts.Namespace].(map[string]any)
	return claims, ok
}

// jwks handles GET /auth/jwks, which returns the public key of RS256.
func jwks(c *call) *Response {
	s := c.server
	if s.opts.RSAKey == nil {
		return failure(http.StatusNotImplemented, "JWKS is not implemented on this server.")
	}
	n, e := components(&s.opts.RSAKey.PublicKey)
	key := object{{"e", e}, {"n", n}, {"kty", "RSA"}, {"kid", s.kid}, {"alg", "RS256"}, {"use", "sig"}}
	for _, name := range s.opts.JWKSWithout {
		key = key.without(name)
	}
	return ok(object{{"keys", []object{key}}})
}

// thumbprint returns the key ID by RFC 7638.
func thumbprint(key *rsa.PublicKey) string {
	n, e := components(key)
	sum := sha256.Sum256(marshal(object{{"e", e}, {"kty", "RSA"}, {"n", n}}))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func components(key *rsa.PublicKey) (n, e string) {
	enc := base64.RawURLEncoding
	return enc.EncodeToString(key.N.Bytes()), enc.EncodeToString(big.NewInt(int64(key.E)).Bytes())
}
