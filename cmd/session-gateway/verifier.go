package main

import (
	"strings"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
)

// verifier returns the Verifier for the signatures of tokens, or nil if none is configured:
// bearer tokens are then rejected.
func (r *reader) verifier(f jwtFile) auth.Verifier {
	cfg := verify.Config{Issuer: f.Issuer, Audience: f.Audience}
	key := r.secret("JWT_KEY")
	sources := 0
	if key != "" {
		sources++
		cfg.Secrets = [][]byte{[]byte(key)}
	}
	if f.JWKSURL != "" {
		sources++
		keys, err := jwks.New(jwks.Config{URL: f.JWKSURL})
		if err != nil {
			r.fail("jwt.jwks_url", "must be an http or https address without a user or a fragment")
			return nil
		}
		cfg.Source = keys
	}
	if f.PublicKeys != "" {
		sources++
		text, err := readBounded(f.PublicKeys)
		if err != nil && sources == 1 {
			r.fail("jwt.public_keys", "cannot be read: %w", withoutPath(err))
			return nil
		}
		cfg.PublicKeys = text
	}
	switch {
	case sources > 1:
		r.fail("jwt", "has more than one of JWT_KEY, jwks_url and public_keys")
		return nil
	case sources == 0:
		if f != (jwtFile{}) {
			r.fail("jwt", "needs jwks_url, public_keys or the variable JWT_KEY")
		}
		return nil
	}
	v, err := verify.New(cfg)
	if err != nil {
		field := "jwt"
		if key != "" {
			field = "JWT_KEY"
		} else if f.PublicKeys != "" {
			field = "jwt.public_keys"
		}
		_, why, _ := strings.Cut(err.Error(), "is invalid: ")
		r.fail(field, "must be keys that can verify tokens: %s", why)
		return nil
	}
	return v
}
