// Package verify verifies access tokens with shared secrets and public keys, for
// session.Config.Verifier. Module auth/jwks adds keys that are fetched from a URL.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
)

// Config configures a [Verifier]. At least one of Secrets, PublicKeys and Source is
// required. A token is genuine if any of the keys has signed it, so that a key can be
// replaced without rejecting the tokens that the old key has signed.
type Config struct {
	// Secrets are shared secrets, for the algorithms HS256 with at least 32 bytes, HS384
	// with at least 48 and HS512 with at least 64. Shorter secrets are an error. They are
	// not decoded: decode base64 first. At most 16.
	Secrets [][]byte

	// PublicKeys are public keys or certificates in PEM, one after another, at most 16:
	// RSA keys of 2048 to 8192 bits for RS256, RS384, RS512, PS256, PS384 and PS512, keys
	// on the curves P-256, P-384 and P-521 for ES256, ES384 and ES512 respectively, and
	// Ed25519 keys for EdDSA. The dates and issuers of certificates are not checked.
	PublicKeys []byte

	// Source returns further keys by the key ID of a token.
	Source KeySource

	// Issuer is the claim iss that tokens must have. Default (""): not checked.
	Issuer string

	// Audience is a text that the claim aud must be, or must contain if it is an array.
	// Default (""): not checked. Set it if the auth service issues tokens for several
	// apps, or one app could use its users' tokens in another.
	Audience string
}

// KeySource finds public keys. It must be safe for concurrent use.
type KeySource interface {
	// Keys returns the keys that may have signed a token with the key ID kid, which is
	// empty if the token has none. Any client can send any kid. If there is no such key,
	// Keys returns no key and no error, and the token is rejected. An error means that the
	// keys cannot be determined now; the token is then neither accepted nor rejected.
	Keys(ctx context.Context, kid string) ([]Key, error)
}

// Verifier is an [auth.Verifier]. Make one with [New]. It is safe for concurrent use.
//
// A Verifier is strict. It rejects tokens of more than 64 KiB, headers of more than 4 KiB,
// encrypted tokens, tokens with a header field crit, b64, cty or zip or with a typ other
// than JWT and at+jwt, and JSON in which a name occurs twice or that is nested deeper than
// 32 levels. exp is required, and exp, nbf and iat must be whole numbers of seconds. Keys
// and addresses of keys in a token (jwk, jku, x5c, x5u) are ignored. The key ID is used for
// Config.Source only.
type Verifier struct {
	keys     []Key
	source   KeySource
	issuer   string
	audience string
}

// The limits of the work for a token.
const (
	maxToken  = 64 << 10
	maxHeader = 4 << 10 // of the encoded header, which is parsed before the signature is checked
	maxKeyID  = 512
	maxTries  = 16 // keys per token
	maxDepth  = 32 // of nested objects and arrays
)

// New returns a Verifier for cfg. Its error names the field of cfg that is invalid, and
// never contains a key.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{source: cfg.Source, issuer: cfg.Issuer, audience: cfg.Audience}
	for i, secret := range cfg.Secrets {
		k, err := secretKey(secret)
		if err != nil {
			return nil, fmt.Errorf("verify: Config.Secrets is invalid: secret %d %w", i+1, err)
		}
		v.keys = append(v.keys, k)
	}
	public, err := parsePEM(cfg.PublicKeys)
	if err != nil {
		return nil, fmt.Errorf("verify: Config.PublicKeys is invalid: %w", err)
	}
	v.keys = append(v.keys, public...)
	switch {
	case len(cfg.Secrets) > maxTries:
		return nil, fmt.Errorf("verify: Config.Secrets has more than %d secrets", maxTries)
	case len(public) > maxTries:
		return nil, fmt.Errorf("verify: Config.PublicKeys has more than %d keys", maxTries)
	case len(v.keys) == 0 && v.source == nil:
		return nil, errors.New("verify: Config has no key: Secrets, PublicKeys or Source is required")
	}
	return v, nil
}

// Verify implements [auth.Verifier].
func (v *Verifier) Verify(ctx context.Context, accessToken string) error {
	t, err := parse(accessToken)
	if err != nil {
		return rejected(err)
	}
	keys, err := v.candidates(ctx, t)
	if err != nil {
		return fmt.Errorf("verify: the keys are not known: %w", err)
	}
	if !slices.ContainsFunc(keys, t.signedBy) {
		return rejected(errSignature)
	}
	if err := t.checkPayload(v.issuer, v.audience); err != nil {
		return rejected(err)
	}
	return nil
}

// candidates returns the keys that may have signed t and that fit its algorithm.
func (v *Verifier) candidates(ctx context.Context, t token) ([]Key, error) {
	fits := func(keys []Key) []Key {
		var fitting []Key
		for _, k := range keys {
			if slices.Contains(k.algorithms, t.algorithm) && len(fitting) < maxTries {
				fitting = append(fitting, k)
			}
		}
		return fitting
	}
	keys := fits(v.keys)
	if v.source == nil || !isPublic(t.algorithm) {
		return keys, nil
	}
	found, err := v.source.Keys(ctx, t.keyID)
	if err != nil {
		// A key of the Config may have signed the token, so an error of the source does not
		// count yet.
		if slices.ContainsFunc(keys, t.signedBy) {
			return keys, nil
		}
		return nil, err
	}
	return append(keys, fits(found)...), nil
}

// errSignature is the same whether or not there was a key with the token's key ID.
var errSignature = errors.New("no key has signed it with its algorithm")

// rejected returns the error for a token that is not genuine.
func rejected(why error) error { return fmt.Errorf("verify: %w: %w", auth.ErrInvalidToken, why) }

// signedBy reports whether k has signed the token.
func (t token) signedBy(k Key) bool {
	return jwt.GetSigningMethod(t.algorithm).Verify(t.signed, t.signature, k.key) == nil
}

// redacted replaces a secret in text output.
const redacted = "[redacted]"

// Format keeps the secrets out of every fmt verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("verify.Config" + redacted)) }

// LogValue returns a value without the secrets.
func (c Config) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a JSON string without the secrets.
func (c Config) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format keeps the secrets out of every fmt verb.
func (v Verifier) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("verify.Verifier" + redacted))
}
