package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// Key is a key that verifies tokens, with the algorithms that fit it. Make one with
// [NewKey]. A Key prints without the key.
type Key struct {
	key        any // as golang-jwt expects it
	algorithms []string
}

// Format prints a text without the key for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("verify.Key" + redacted)) }

// The limits of RSA keys, in bits. Shorter keys can be broken, and the time of a check
// grows with the length.
const (
	minRSA = 2048
	maxRSA = 8192
)

// The algorithms of the kinds of keys. A token is only verified with an algorithm that
// fits the key (RFC 8725, section 3.1).
var (
	rsaAlgorithms     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	ecdsaAlgorithms   = map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}
	ed25519Algorithms = []string{"EdDSA"}
	publicAlgorithms  = slices.Concat(rsaAlgorithms, []string{"ES256", "ES384", "ES512"}, ed25519Algorithms)
	secretAlgorithms  = []struct {
		name string
		size int // the least size of the secret (RFC 7518, section 3.2)
	}{{"HS256", 32}, {"HS384", 48}, {"HS512", 64}}
)

// isPublic reports whether an algorithm uses public keys.
func isPublic(algorithm string) bool { return slices.Contains(publicAlgorithms, algorithm) }

// isKnown reports whether some key may fit an algorithm.
func isKnown(algorithm string) bool {
	for _, a := range secretAlgorithms {
		if a.name == algorithm {
			return true
		}
	}
	return isPublic(algorithm)
}

// NewKey returns a Key for a public key of one of the kinds that [Config] describes.
// algorithm is the only algorithm of the key; if it is empty, all algorithms that fit the
// key are accepted. NewKey fails if the key is weak, or does not fit the algorithm.
func NewKey(public crypto.PublicKey, algorithm string) (Key, error) {
	k := Key{key: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p == nil || p.N == nil {
			return Key{}, errNoKey
		}
		if bits := p.N.BitLen(); bits < minRSA || bits > maxRSA {
			return Key{}, fmt.Errorf("an RSA key has %d bits; %d to %d are allowed", bits, minRSA, maxRSA)
		}
		if p.E < 3 || p.E%2 == 0 {
			return Key{}, errors.New("the exponent of an RSA key is invalid")
		}
		k.algorithms = rsaAlgorithms
	case *ecdsa.PublicKey:
		if p == nil {
			return Key{}, errNoKey
		}
		name, ok := ecdsaAlgorithms[p.Curve]
		if !ok {
			return Key{}, errors.New("the curve of an ECDSA key is not P-256, P-384 or P-521")
		}
		if _, err := p.ECDH(); err != nil {
			return Key{}, errors.New("an ECDSA key is not a point on its curve")
		}
		k.algorithms = []string{name}
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return Key{}, errors.New("an Ed25519 key has the wrong size")
		}
		k.algorithms = ed25519Algorithms
	default:
		return Key{}, errNoKey
	}
	if algorithm != "" {
		if !slices.Contains(k.algorithms, algorithm) {
			return Key{}, errors.New("the algorithm of a key does not fit it")
		}
		k.algorithms = []string{algorithm}
	}
	return k, nil
}

var errNoKey = errors.New("a key is not a public RSA, ECDSA or Ed25519 key")

// minDistinct is the least number of different bytes in a secret. A random secret of 32
// bytes has about 30.
const minDistinct = 8

// secretKey returns the Key for a shared secret. Its error continues a sentence.
func secretKey(secret []byte) (Key, error) {
	var seen [256]bool
	distinct := 0
	for _, b := range secret {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	least := secretAlgorithms[0].size
	switch {
	case len(secret) < least:
		return Key{}, fmt.Errorf("has %d bytes, at least %d are needed", len(secret), least)
	case bytes.HasPrefix(bytes.TrimSpace(secret), []byte("-----BEGIN ")):
		// An attacker who knows a public key could sign tokens with it as a secret.
		return Key{}, errors.New("is a key in PEM; set PublicKeys instead")
	case distinct < minDistinct:
		return Key{}, errors.New("has few different bytes")
	}
	k := Key{key: bytes.Clone(secret)}
	for _, a := range secretAlgorithms {
		if len(secret) >= a.size {
			k.algorithms = append(k.algorithms, a.name)
		}
	}
	return k, nil
}

// maxPEM bounds the text that parsePEM parses.
const maxPEM = 1 << 20

// parsePEM returns the public keys in a text.
func parsePEM(text []byte) ([]Key, error) {
	if len(text) > maxPEM {
		return nil, fmt.Errorf("it has more than %d bytes", maxPEM)
	}
	var keys []Key
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("it is not PEM, or has other text after the last block")
		}
		public, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", len(keys)+1, err)
		}
		k, err := NewKey(public, "")
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", len(keys)+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parseBlock returns the public key in a block of PEM. The errors of crypto/x509 may quote
// parts of it.
func parseBlock(block *pem.Block) (public crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		return nil, errors.New("PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE is needed")
	}
	if err != nil {
		return nil, errors.New("it cannot be parsed")
	}
	return public, nil
}
