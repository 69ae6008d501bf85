package synmetrix_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"testing"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

func TestSetAuthorization(t *testing.T) {
	t.Parallel()
	h := http.Header{"Accept": {"*/*"}}
	synmetrix.SetAuthorization(h, "a.b.c")
	if got := h.Get("Authorization"); got != "Bearer a.b.c" {
		t.Errorf("Authorization = %q", got)
	}
	synmetrix.SetAuthorization(h, "d.e.f")
	if got := h.Values("Authorization"); len(got) != 1 || got[0] != "Bearer d.e.f" {
		t.Errorf("Authorization = %q", got)
	}
	synmetrix.SetAuthorization(h, "")
	if _, ok := h["Authorization"]; ok || len(h) != 1 {
		t.Errorf("header = %v", h)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	c := synmetrix.NewClient("https://app.example/base/")
	if got, want := c.JWKSURL(), "https://app.example/base/auth/jwks"; got != want {
		t.Errorf("JWKSURL = %q, want %q", got, want)
	}
	if got, want := c.ProviderURL("github"), "https://app.example/base/auth/providers/github"; got != want {
		t.Errorf("ProviderURL = %q, want %q", got, want)
	}
	if got, want := c.ProviderURL("../x?y"), "https://app.example/base/auth/providers/..%2Fx%3Fy"; got != want {
		t.Errorf("ProviderURL = %q, want %q", got, want)
	}
	if got, want := c.String(), "synmetrix.Client(https://app.example/base)"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	unusable := synmetrix.NewClient("app.example")
	if unusable.JWKSURL() != "" || unusable.ProviderURL("github") != "" {
		t.Error("a client with an invalid base URL returns addresses")
	}
}

// get requests an address as an app or a browser would.
func get(t *testing.T, address string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestJWKSURL(t *testing.T) {
	t.Parallel()
	t.Run("shared secret", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, authtest.Options{})
		status, body := get(t, b.JWKSURL())
		if want := `{"statusCode":501,"error":"Not Implemented","message":"JWKS is not implemented on this server."}`; status != 501 || body != want {
			t.Errorf("response %d %s, want 501 %s", status, body, want)
		}
	})
	t.Run("public key", func(t *testing.T) {
		t.Parallel()
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, authtest.Options{RSAKey: private})
		status, body := get(t, b.JWKSURL())
		var set struct {
			Keys []struct{ Kid, Kty, N, E string }
		}
		if err := json.Unmarshal([]byte(body), &set); err != nil || status != 200 || len(set.Keys) != 1 {
			t.Fatalf("response %d %s, error %v", status, body, err)
		}
		key := set.Keys[0]
		number := func(encoded string) *big.Int {
			raw, err := base64.RawURLEncoding.DecodeString(encoded)
			b.ok(err)
			return new(big.Int).SetBytes(raw)
		}
		public := &rsa.PublicKey{N: number(key.N), E: int(number(key.E).Int64())}
		tokens, err := b.Login(b.ctx, email, password)
		b.ok(err)
		token, err := gojwt.Parse(tokens.AccessToken, func(*gojwt.Token) (any, error) { return public, nil }, gojwt.WithValidMethods([]string{"RS256"}))
		if err != nil || token.Header["kid"] != key.Kid || key.Kty != "RSA" {
			t.Errorf("key %s does not verify a token signed with key %v: %v", key.Kid, token.Header["kid"], err)
		}
	})
}

// The service reports different errors for a provider that is not configured and
// for one that does not exist.
func TestProviderURL(t *testing.T) {
	t.Parallel()
	b := newBench(t, authtest.Options{})
	for provider, want := range map[string]string{
		"github":  `{"statusCode":500,"error":"Internal Server Error","message":"` + serverError + `"}`,
		"unknown": `{"statusCode":404,"error":"Not Found","message":"Not Found"}`,
	} {
		if _, body := get(t, b.ProviderURL(provider)); body != want {
			t.Errorf("%s: response %s, want %s", provider, body, want)
		}
	}
}

func TestWithClientAddr(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	c := newClient(t, srv.URL)
	for _, test := range []struct {
		addr netip.Addr
		want string
	}{
		{netip.Addr{}, ""},
		{netip.MustParseAddr("192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("::ffff:192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("2001:db8::1"), "2001:db8::1"},
		{netip.MustParseAddr("fe80::1%eth0"), "fe80::1"},
	} {
		if _, err := c.Refresh(synmetrix.WithClientAddr(testContext(t), test.addr), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
			t.Fatal(err)
		}
		seen := srv.requests()
		if got := seen[len(seen)-1].req.Header.Get("X-Forwarded-For"); got != test.want {
			t.Errorf("%v: X-Forwarded-For is %q, want %q", test.addr, got, test.want)
		}
	}
}
