package jwks_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
)

func Example() {
	// An auth service that publishes a key.
	private := ed25519.NewKeyFromSeed([]byte("a seed of a private key: 32 bytes"[:32]))
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		x := base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026","use":"sig","x":%q}]}`, x)
	}))
	defer service.Close()

	keys, err := jwks.New(jwks.Config{URL: service.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := verify.New(verify.Config{Source: keys}) // for session.Config.Verifier
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, kid := range []string{"2026", "2025"} {
		t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"exp": 1767225600})
		t.Header["kid"] = kid
		token, _ := t.SignedString(private)
		fmt.Println(verifier.Verify(context.Background(), token))
	}
	// Output:
	// <nil>
	// verify: invalid access token: no key has signed it with its algorithm
}
