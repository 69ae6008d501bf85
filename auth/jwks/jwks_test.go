package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
)

var rsaKeys = sync.OnceValue(func() [3]*rsa.PrivateKey {
	var keys [3]*rsa.PrivateKey
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// service is an auth service that publishes keys.
type service struct {
	*httptest.Server
	fetches atomic.Int64
	handler atomic.Pointer[http.HandlerFunc]
}

func newService(t *testing.T, body string) *service {
	s := &service{}
	s.publish(body)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.handler.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) serve(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *service) publish(body string) {
	s.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

// jwk returns the JSON of a key. Without an alg, its member is left out.
func jwk(kid, alg string, key any) string {
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func jwksOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func sign(alg, kid string, key any) string {
	b64 := base64.RawURLEncoding.EncodeToString
	header := map[string]string{"alg": alg}
	if kid != "" {
		header["kid"] = kid
	}
	h, _ := json.Marshal(header)
	signed := b64(h) + "." + b64([]byte(`{"exp":4102444800}`))
	sig, err := jwt.GetSigningMethod(alg).Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(sig)
}

func newVerifier(t *testing.T, cfg jwks.Config) auth.Verifier {
	t.Helper()
	keys, err := jwks.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{Source: keys})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check verifies a token. want is "accepted", "rejected" or "outage".
func check(t *testing.T, v auth.Verifier, what, token, want string) {
	t.Helper()
	got, err := "accepted", v.Verify(t.Context(), token)
	switch {
	case errors.Is(err, auth.ErrInvalidToken):
		got = "rejected"
	case err != nil:
		got = "outage"
	}
	if got != want {
		t.Errorf("%s: %s (%v), want %s", what, got, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "http:") || strings.Contains(err.Error(), token)) {
		t.Errorf("%s: the error has the address or the token: %v", what, err)
	}
}

func TestKindsOfKeys(t *testing.T) {
	r := rsaKeys()
	ec := map[string]*ecdsa.PrivateKey{}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		ec[alg], _ = ecdsa.GenerateKey(curve, rand.Reader)
	}
	public, ed, _ := ed25519.GenerateKey(rand.Reader)
	s := newService(t, jwksOf(
		jwk("rs", "RS256", &r[0].PublicKey), jwk("any", "", &r[1].PublicKey), jwk("ed", "EdDSA", public),
		jwk("ES256", "", &ec["ES256"].PublicKey), jwk("ES384", "ES384", &ec["ES384"].PublicKey), jwk("ES512", "", &ec["ES512"].PublicKey),
	))
	v := newVerifier(t, jwks.Config{URL: s.URL})
	for _, tt := range []struct {
		alg, kid string
		key      any
		want     string
	}{
		{"RS256", "rs", r[0], "accepted"},
		{"PS256", "rs", r[0], "rejected"},
		{"PS512", "any", r[1], "accepted"},
		{"RS256", "any", r[0], "rejected"},
		{"RS256", "rs", r[2], "rejected"},
		{"EdDSA", "ed", ed, "accepted"},
		{"ES256", "ES256", ec["ES256"], "accepted"},
		{"ES384", "ES384", ec["ES384"], "accepted"},
		{"ES512", "ES512", ec["ES512"], "accepted"},
		{"RS256", "", r[0], "accepted"}, // all keys are tried
		{"RS256", "", r[2], "rejected"},
		{"HS256", "rs", []byte(strings.Repeat("k", 32)), "rejected"},
		{"HS256", "rs", r[0].N.Bytes(), "rejected"},
	} {
		check(t, v, tt.alg+" "+tt.kid, sign(tt.alg, tt.kid, tt.key), tt.want)
	}
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

// Keys that must not be used are ignored, and a set without any other is an outage.
func TestUnusableKeys(t *testing.T) {
	r := rsaKeys()
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	with := func(member string) string {
		return strings.Replace(jwk("k", "", &r[0].PublicKey), "{", "{"+member+",", 1)
	}
	unusable := map[string]string{
		"weak":        jwk("k", "", &short.PublicKey),
		"private":     jwk("k", "", r[0]),
		"symmetric":   jwk("k", "", []byte(strings.Repeat("secret", 10))),
		"encryption":  with(`"use":"enc"`),
		"operations":  with(`"key_ops":["encrypt"]`),
		"other alg":   with(`"alg":"ES256"`),
		"HMAC":        with(`"alg":"HS256"`),
		"none":        with(`"alg":"none"`),
		"unknown kty": `{"kty":"XYZ","kid":"k"}`,
		"no kty":      `{"kid":"k"}`,
		"X25519":      `{"kty":"OKP","crv":"X25519","x":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `","kid":"k"}`,
		"off curve":   `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","kid":"k"}`,
		"no modulus":  `{"kty":"RSA","e":"AQAB","kid":"k"}`,
		"even e":      `{"kty":"RSA","e":"AQAA","n":"` + base64.RawURLEncoding.EncodeToString(r[0].N.Bytes()) + `","kid":"k"}`,
		"kid number":  strings.Replace(jwk("k", "", &r[0].PublicKey), `"k"`, `1`, 1),
		"not a key":   `"k"`,
		"null":        `null`,
	}
	good := jwk("good", "", &r[1].PublicKey)
	for name, key := range unusable {
		s := newService(t, jwksOf(key))
		check(t, newVerifier(t, jwks.Config{URL: s.URL}), name+" alone", sign("RS256", "k", r[0]), "outage")
		s = newService(t, jwksOf(key, good))
		v := newVerifier(t, jwks.Config{URL: s.URL})
		check(t, v, name+", the good one", sign("RS256", "good", r[1]), "accepted")
		check(t, v, name, sign("RS256", "k", r[0]), "rejected")
		check(t, v, name+" as HMAC", sign("HS256", "k", []byte(strings.Repeat("secret", 10))), "rejected")
	}
	// The members that the real service leaves out.
	for _, member := range []string{`"use":"sig"`, `"key_ops":["verify"]`, `"alg":"RS256"`, `"other":1`} {
		s := newService(t, jwksOf(with(member)))
		check(t, newVerifier(t, jwks.Config{URL: s.URL}), member, sign("RS256", "k", r[0]), "accepted")
	}
}

// A response that is not a usable JWKS is an outage at first. Later the keys stay as they
// are.
func TestOutages(t *testing.T) {
	r := rsaKeys()
	old, next := jwksOf(jwk("old", "", &r[0].PublicKey)), jwksOf(jwk("next", "", &r[1].PublicKey))
	release := make(chan struct{})
	t.Cleanup(func() { close(release) }) // after the parallel tests
	outages := map[string]http.HandlerFunc{
		"empty set":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no keys":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) },
		"empty body": func(http.ResponseWriter, *http.Request) {},
		"HTML":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"cut":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(next[:len(next)-2])) },
		"404":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, next, 404) },
		"500":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, next, 500) },
		"501": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"statusCode":501}`, http.StatusNotImplemented)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				_, _ = w.Write([]byte(next))
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"wrong length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write([]byte(next))
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		},
		"10 MB": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"x":"` + strings.Repeat("x", 10<<20) + `",` + next[1:]))
		},
		"many keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(jwksOf(strings.Split(strings.Repeat(jwk("next", "", &r[1].PublicKey)+"\n", 101), "\n")[:101]...)))
		},
	}
	for name, handler := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, old)
			s.serve(handler)
			cfg := jwks.Config{URL: s.URL, Timeout: 5 * time.Second, MaxAge: time.Nanosecond}
			if name == "slow" {
				cfg.Timeout = time.Second // also holds for the keys that arrive, on a busy machine
			}
			check(t, newVerifier(t, cfg), "from the start", sign("RS256", "old", r[0]), "outage")

			s.publish(old)
			v := newVerifier(t, cfg)
			check(t, v, "before", sign("RS256", "old", r[0]), "accepted")
			s.serve(handler)
			check(t, v, "unknown key", sign("RS256", "next", r[1]), "outage")
			check(t, v, "known key", sign("RS256", "old", r[0]), "accepted")
			check(t, v, "forged with a known key ID", sign("RS256", "old", r[1]), "rejected")
			check(t, v, "unknown key again", sign("RS256", "next", r[1]), "outage")
		})
	}
	s := newService(t, old)
	s.Close()
	check(t, newVerifier(t, jwks.Config{URL: s.URL}), "refused connection", sign("RS256", "old", r[0]), "outage")
}

// A rotation is noticed at once, and the set is replaced, not merged.
func TestRotation(t *testing.T) {
	r := rsaKeys()
	s := newService(t, jwksOf(jwk("a", "", &r[0].PublicKey)))
	v := newVerifier(t, jwks.Config{URL: s.URL})
	check(t, v, "first", sign("RS256", "a", r[0]), "accepted")
	s.publish(jwksOf(jwk("a", "", &r[0].PublicKey), jwk("b", "", &r[1].PublicKey)))
	check(t, v, "added", sign("RS256", "b", r[1]), "accepted")
	check(t, v, "still there", sign("RS256", "a", r[0]), "accepted")
	s.publish(jwksOf(jwk("c", "", &r[2].PublicKey)))
	check(t, v, "replaced", sign("RS256", "c", r[2]), "accepted")
	check(t, v, "withdrawn", sign("RS256", "a", r[0]), "rejected")
	check(t, v, "withdrawn, without a key ID", sign("RS256", "", r[1]), "rejected")
	if n := s.fetches.Load(); n != 4 { // the withdrawn key ID was unknown, too
		t.Errorf("%d fetches, want 4", n)
	}
}

// Any number of unknown key IDs causes one fetch.
func TestUnknownKeyIDs(t *testing.T) {
	r := rsaKeys()
	s := newService(t, jwksOf(jwk("a", "", &r[0].PublicKey)))
	v := newVerifier(t, jwks.Config{URL: s.URL})
	check(t, v, "known", sign("RS256", "a", r[0]), "accepted")
	forged := sign("RS256", "x", r[1])
	_, rest, _ := strings.Cut(forged, ".")
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","kid":"x%d"}`, i))
			check(t, v, "unknown", header+"."+rest, "rejected")
		})
	}
	wg.Wait()
	check(t, v, "known, meanwhile", sign("RS256", "a", r[0]), "accepted")
	if n := s.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want the first and one for all unknown IDs", n)
	}
}

// The first uses share a fetch, which continues if one of them stops waiting.
func TestFirstUse(t *testing.T) {
	r := rsaKeys()
	s := newService(t, "")
	arrived, release := make(chan struct{}), make(chan struct{})
	s.serve(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived) // panics at a second fetch
		<-release
		_, _ = w.Write([]byte(jwksOf(jwk("a", "", &r[0].PublicKey))))
	})
	v := newVerifier(t, jwks.Config{URL: s.URL})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- v.Verify(ctx, sign("RS256", "a", r[0])) }()
	<-arrived
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { check(t, v, "waiting", sign("RS256", "a", r[0]), "accepted") })
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("the one that gave up: %v", err)
	}
	close(release)
	wg.Wait()
}

func TestNewErrors(t *testing.T) {
	for _, cfg := range []jwks.Config{
		{}, {URL: "auth.example.org/jwks"}, {URL: "ftp://a/jwks"}, {URL: "https://user:password@a/jwks"}, {URL: "https:///jwks"}, {URL: "https://a/#x"}, {URL: "%"},
		{URL: "https://a", Timeout: -1}, {URL: "https://a", MaxAge: -1}, {URL: "https://a", MaxAge: time.Hour, MaxStale: time.Minute},
	} {
		if _, err := jwks.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "jwks: Config") || strings.Contains(err.Error(), "password") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
