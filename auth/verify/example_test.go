package verify_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
)

// A shared secret is replaced by a new one. Tokens of the old one are accepted until the
// operator removes it.
func Example() {
	newest := []byte("0kq5n8Zc2vHw7yTfR3pLxJ9sBdGmUa4E")
	oldest := []byte("Yt6WbQ1oVnKfXz8RjHs2mLcDp5gEuA7i")
	verifier, err := verify.New(verify.Config{Secrets: [][]byte{newest, oldest}, Audience: "reports"})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims := jwt.MapClaims{"exp": 1767225600, "aud": "reports"}
	for _, secret := range [][]byte{newest, oldest, []byte("an attacker's secret of 32 bytes")} {
		token, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
		err := verifier.Verify(context.Background(), token)
		fmt.Println(err == nil, errors.Is(err, auth.ErrInvalidToken))
	}
	// Output:
	// true false
	// true false
	// false true
}

// A public key, as in a file in PEM.
func Example_publicKey() {
	private := ed25519.NewKeyFromSeed([]byte("a seed of a private key: 32 bytes"[:32]))
	der, _ := x509.MarshalPKIXPublicKey(private.Public())
	file := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

	verifier, err := verify.New(verify.Config{PublicKeys: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, _ := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"exp": 1767225600}).SignedString(private)
	fmt.Println(verifier.Verify(context.Background(), token))

	// The public key is no secret.
	token, _ = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": 1767225600}).SignedString(file)
	fmt.Println(verifier.Verify(context.Background(), token))

	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30."
	fmt.Println(verifier.Verify(context.Background(), unsigned))
	// Output:
	// <nil>
	// verify: invalid access token: no key has signed it with its algorithm
	// verify: invalid access token: the algorithm is not accepted
}
