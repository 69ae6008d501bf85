package verify_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/internal/testkit/forge"
)

// keys are the keys of the tests, made once.
var keys = sync.OnceValue(func() (k struct {
	secret, other    []byte
	rsa, rsa2, short *rsa.PrivateKey
	p224             *ecdsa.PrivateKey
	ec               map[string]*ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}) {
	k.secret, k.other = random(64), random(64)
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.rsa2, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.short, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.p224, _ = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	k.ec = map[string]*ecdsa.PrivateKey{}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k.ec[name], _ = ecdsa.GenerateKey(curve, rand.Reader)
	}
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

const payload = forge.Payload

var (
	sign   = forge.Sign
	header = forge.Header
)

func publicPEM(t testing.TB, public ...crypto.PublicKey) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range public {
		der, err := x509.MarshalPKIXPublicKey(p)
		if err != nil {
			t.Fatal(err)
		}
		_ = pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return b.Bytes()
}

func newVerifier(t testing.TB, cfg verify.Config) *verify.Verifier {
	t.Helper()
	v, err := verify.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each kind of key accepts its own algorithms and no other.
func TestAlgorithms(t *testing.T) {
	k := keys()
	signers := map[string]any{
		"HS256": k.secret, "HS384": k.secret, "HS512": k.secret,
		"RS256": k.rsa, "RS384": k.rsa, "RS512": k.rsa, "PS256": k.rsa, "PS384": k.rsa, "PS512": k.rsa,
		"ES256": k.ec["ES256"], "ES384": k.ec["ES384"], "ES512": k.ec["ES512"], "EdDSA": k.ed,
	}
	verifiers := map[string]struct {
		cfg      verify.Config
		accepted string
	}{
		"64 bytes": {verify.Config{Secrets: [][]byte{k.other, k.secret}}, "HS256 HS384 HS512"},
		"RSA":      {verify.Config{PublicKeys: publicPEM(t, &k.rsa2.PublicKey, &k.rsa.PublicKey)}, "RS256 RS384 RS512 PS256 PS384 PS512"},
		"P-256":    {verify.Config{PublicKeys: publicPEM(t, &k.ec["ES256"].PublicKey)}, "ES256"},
		"P-384":    {verify.Config{PublicKeys: publicPEM(t, &k.ec["ES384"].PublicKey)}, "ES384"},
		"P-521":    {verify.Config{PublicKeys: publicPEM(t, &k.ec["ES512"].PublicKey)}, "ES512"},
		"Ed25519":  {verify.Config{PublicKeys: publicPEM(t, k.ed.Public())}, "EdDSA"},
		"both":     {verify.Config{Secrets: [][]byte{k.secret}, PublicKeys: publicPEM(t, k.ed.Public())}, "HS256 HS384 HS512 EdDSA"},
	}
	for name, tt := range verifiers {
		v := newVerifier(t, tt.cfg)
		for algorithm, key := range signers {
			err := v.Verify(t.Context(), sign(algorithm, key, header(algorithm, `,"typ":"JWT"`), payload))
			accepted := strings.Contains(tt.accepted+" ", algorithm+" ")
			if accepted && err != nil || !accepted && !errors.Is(err, auth.ErrInvalidToken) {
				t.Errorf("%s: %s: %v", name, algorithm, err)
			}
		}
	}
	// The size of the secret limits the algorithm.
	for size, accepted := range map[int]string{32: "HS256", 47: "HS256", 48: "HS256 HS384", 63: "HS256 HS384", 64: "HS256 HS384 HS512"} {
		v := newVerifier(t, verify.Config{Secrets: [][]byte{k.secret[:size]}})
		for _, algorithm := range []string{"HS256", "HS384", "HS512"} {
			err := v.Verify(t.Context(), sign(algorithm, k.secret[:size], header(algorithm), payload))
			if (err == nil) != strings.Contains(accepted, algorithm) {
				t.Errorf("%d bytes: %s: %v", size, algorithm, err)
			}
		}
	}
}

// forged are tokens that no verifier of the tests may accept.
func forged() map[string]string { return forge.Tokens(keys().secret, keys().rsa) }

func TestForged(t *testing.T) {
	k := keys()
	verifiers := map[string]*verify.Verifier{
		"secret": newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}}),
		"public": newVerifier(t, verify.Config{PublicKeys: publicPEM(t, &k.rsa.PublicKey)}),
		"both":   newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}, PublicKeys: publicPEM(t, &k.rsa.PublicKey)}),
	}
	for name, v := range verifiers {
		for what, token := range forged() {
			err := v.Verify(t.Context(), token)
			if !errors.Is(err, auth.ErrInvalidToken) {
				t.Errorf("%s: %s: %v", name, what, err)
				continue
			}
			if part := strings.Split(token, ".")[0]; len(part) > 8 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: %s: the error quotes the token: %v", name, what, err)
			}
		}
	}
}

// The harmless variants of the same tokens are accepted.
func TestAccepted(t *testing.T) {
	k := keys()
	v := newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}})
	for what, token := range map[string]string{
		"plain":           sign("HS256", k.secret, header("HS256"), payload),
		"JWT":             sign("HS256", k.secret, header("HS256", `,"typ":"JWT"`), payload),
		"at+jwt":          sign("HS256", k.secret, header("HS256", `,"typ":"application/AT+JWT"`), payload),
		"kid":             sign("HS256", k.secret, header("HS256", `,"kid":"any"`), payload),
		"jku is ignored":  sign("HS256", k.secret, header("HS256", `,"jku":"https://evil.example"`), payload),
		"expired":         sign("HS256", k.secret, header("HS256"), `{"exp":1,"nbf":0}`),
		"same name apart": sign("HS256", k.secret, header("HS256"), `{"exp":1,"a":{"exp":1,"b":{"exp":2}},"c":[{"exp":1},{"exp":2}],"d":"{\"exp\":1}","e":"{"}`),
	} {
		if err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestIssuerAndAudience(t *testing.T) {
	k := keys()
	v := newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}, Issuer: "https://auth", Audience: "app"})
	for claims, ok := range map[string]bool{
		`"iss":"https://auth","aud":"app"`:        true,
		`"iss":"https://auth","aud":["x","app"]`:  true,
		`"iss":"https://auth","aud":["x"]`:        false,
		`"iss":"https://auth","aud":[]`:           false,
		`"iss":"https://auth","aud":["app",null]`: false,
		`"iss":"https://auth","aud":{"app":true}`: false,
		`"iss":"https://auth","aud":[["app"]]`:    false,
		`"iss":"https://auth","aud":"APP"`:        false,
		`"iss":"https://auth"`:                    false,
		`"aud":"app"`:                             false,
		`"iss":"https://auth/","aud":"app"`:       false,
		`"iss":["https://auth"],"aud":"app"`:      false,
		`"iss":null,"aud":null`:                   false,
	} {
		err := v.Verify(t.Context(), sign("HS256", k.secret, header("HS256"), `{"exp":4102444800,`+claims+`}`))
		if (err == nil) != ok || err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", claims, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	k := keys()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.rsa.PublicKey, k.rsa)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	v := newVerifier(t, verify.Config{PublicKeys: append(cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.rsa2.PublicKey)})...)})
	for _, key := range []*rsa.PrivateKey{k.rsa, k.rsa2} {
		if err := v.Verify(t.Context(), sign("RS256", key, header("RS256"), payload)); err != nil {
			t.Error(err)
		}
	}
	private, _ := x509.MarshalPKCS8PrivateKey(k.rsa)
	for name, tt := range map[string]struct {
		cfg  verify.Config
		want string
	}{
		"nothing":       {verify.Config{}, "has no key"},
		"short secret":  {verify.Config{Secrets: [][]byte{k.secret, k.secret[:31]}}, "secret 2 has 31 bytes"},
		"empty secret":  {verify.Config{Secrets: [][]byte{{}}}, "secret 1 has 0 bytes"},
		"zeros":         {verify.Config{Secrets: [][]byte{make([]byte, 64)}}, "few different"},
		"PEM as secret": {verify.Config{Secrets: [][]byte{publicPEM(t, k.ed.Public())}}, "PublicKeys"},
		"many secrets":  {verify.Config{Secrets: slicesRepeat(k.secret, 17)}, "more than 16"},
		"weak RSA":      {verify.Config{PublicKeys: publicPEM(t, &k.short.PublicKey)}, "1024 bits"},
		"P-224":         {verify.Config{PublicKeys: publicPEM(t, &k.p224.PublicKey)}, "curve"},
		"private key":   {verify.Config{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}, "PUBLIC KEY"},
		"no PEM":        {verify.Config{PublicKeys: []byte("hello")}, "not PEM"},
		"cut PEM":       {verify.Config{PublicKeys: cert[:len(cert)-10]}, "not PEM"},
		"text after":    {verify.Config{PublicKeys: append(bytes.Clone(cert), "x"...)}, "not PEM"},
		"bad DER":       {verify.Config{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})}, "cannot be parsed"},
		"large":         {verify.Config{PublicKeys: bytes.Repeat([]byte("\n"), 1<<20+1)}, "more than"},
	} {
		if _, err := verify.New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func slicesRepeat(b []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = b
	}
	return all
}

// source is a KeySource for tests.
type source func(kid string) ([]verify.Key, error)

func (s source) Keys(_ context.Context, kid string) ([]verify.Key, error) { return s(kid) }

// A source selects keys by the key ID. During its outage, tokens are neither accepted nor
// rejected.
func TestSource(t *testing.T) {
	k := keys()
	key := func(public crypto.PublicKey, algorithm string) []verify.Key {
		made, err := verify.NewKey(public, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return []verify.Key{made}
	}
	down := errors.New("down")
	v := newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}, Source: source(func(kid string) ([]verify.Key, error) {
		switch kid {
		case "a":
			return key(&k.rsa.PublicKey, "RS256"), nil
		case "b":
			return key(&k.rsa2.PublicKey, ""), nil
		case "down":
			return nil, down
		}
		return nil, nil
	})})
	for _, tt := range []struct {
		algorithm, kid string
		key            any
		want           error
	}{
		{"RS256", "a", k.rsa, nil},
		{"RS512", "a", k.rsa, auth.ErrInvalidToken}, // the key is for RS256 only
		{"RS512", "b", k.rsa2, nil},
		{"RS256", "b", k.rsa, auth.ErrInvalidToken},
		{"RS256", "c", k.rsa, auth.ErrInvalidToken},
		{"RS256", "down", k.rsa, down},
		{"HS256", "down", k.secret, nil},
		{"HS256", "down", k.other, auth.ErrInvalidToken}, // the source has public keys only
	} {
		err := v.Verify(t.Context(), sign(tt.algorithm, tt.key, header(tt.algorithm, `,"kid":"`+tt.kid+`"`), payload))
		if !errors.Is(err, tt.want) || tt.want == down && errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s %s: %v, want %v", tt.algorithm, tt.kid, err, tt.want)
		}
	}
	for _, weak := range []crypto.PublicKey{&k.short.PublicKey, &k.p224.PublicKey, ed25519.PublicKey("short"), k.rsa, k.secret, nil, (*rsa.PublicKey)(nil)} {
		if _, err := verify.NewKey(weak, ""); err == nil {
			t.Errorf("NewKey accepts %T", weak)
		}
	}
	if _, err := verify.NewKey(&k.rsa.PublicKey, "HS256"); err == nil {
		t.Error("NewKey accepts HS256 for an RSA key")
	}
}

// No fmt verb and no encoder prints a secret.
func TestNoSecretInText(t *testing.T) {
	secret := strings.Repeat("correct-horse-", 4)
	cfg := verify.Config{Secrets: [][]byte{[]byte(secret)}}
	v := newVerifier(t, cfg)
	asJSON, _ := json.Marshal([]any{cfg, v})
	text := fmt.Sprintf("%v %+v %#v %s %x %d %v", cfg, v, v, cfg, cfg, v, *v) + string(asJSON)
	for _, form := range []string{secret, fmt.Sprint([]byte(secret)[:8])[1:20], fmt.Sprintf("%x", secret)[:16], base64.StdEncoding.EncodeToString([]byte(secret))[:16]} {
		if strings.Contains(text, form) {
			t.Errorf("%s contains %q", text, form)
		}
	}
}

// A token that is too long is not parsed.
func TestCostOfRejection(t *testing.T) {
	v := newVerifier(t, verify.Config{Secrets: [][]byte{keys().secret}})
	long := strings.Repeat("eyJ", 1<<18) + ".e30." + strings.Repeat("x", 43)
	// Goroutines of earlier tests allocate, too.
	least := math.Inf(1)
	for range 20 {
		least = min(least, testing.AllocsPerRun(10, func() { _ = v.Verify(t.Context(), long) }))
	}
	if least > 10 {
		t.Errorf("a token of %d bytes allocates %v times", len(long), least)
	}
}
