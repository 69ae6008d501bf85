// Package forge makes access tokens that must not be accepted, for tests.
package forge

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// Payload is a good payload of the user "u" with the role "user". It expires in the year
// 2100.
const Payload = `{"exp":4102444800,"iat":1700000000,"hasura":{"x-hasura-user-id":"u","x-hasura-allowed-roles":["user"]}}`

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Header returns a header with this algorithm, and more members, each of which begins with
// a comma.
func Header(algorithm string, more ...string) string {
	return `{"alg":"` + algorithm + `"` + strings.Join(more, "") + `}`
}

// Sign returns a token with the header and the payload as they are.
func Sign(algorithm string, key any, header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	signature, err := jwt.GetSigningMethod(algorithm).Sign(signed, key)
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(string(signature))
}

// otherKey is an attacker's key.
var otherKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// Tokens returns tokens by what is wrong with them. A verifier with the secret, the public
// part of key or both must reject all of them. The secret has 64 bytes.
func Tokens(secret []byte, key *rsa.PrivateKey) map[string]string {
	der, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	other := otherKey()
	good := Sign("HS256", secret, Header("HS256"), Payload)
	parts := strings.Split(good, ".")
	hs := func(header, payload string) string { return Sign("HS256", secret, header, payload) }
	with := func(claim string) string {
		return hs(Header("HS256"), strings.Replace(Payload, `"exp":4102444800`, claim, 1))
	}
	rs := func(more string) string { return Sign("RS256", other, Header("RS256", more), Payload) }
	jwk := fmt.Sprintf(`{"kty":"RSA","e":"AQAB","n":%q}`, base64.RawURLEncoding.EncodeToString(other.N.Bytes()))
	f := map[string]string{
		"empty": "", "dots": "..", "one part": parts[0], "two parts": parts[0] + "." + parts[1],
		"five parts":       good + "." + parts[0] + "." + parts[1],
		"no signature":     parts[0] + "." + parts[1] + ".",
		"other signature":  parts[0] + "." + parts[1] + "." + b64(strings.Repeat("x", 32)),
		"cut signature":    good[:len(good)-4],
		"padding":          good + "=",
		"line break":       parts[0] + "." + parts[1] + ".\n" + parts[2],
		"space":            good + " ",
		"other secret":     Sign("HS256", make([]byte, 64), Header("HS256"), Payload),
		"none":             b64(Header("none")) + "." + parts[1] + ".",
		"None":             b64(Header("None")) + "." + parts[1] + ".",
		"nOnE, signed":     b64(Header("nOnE")) + "." + parts[1] + "." + parts[2],
		"hs256":            b64(Header("hs256")) + "." + parts[1] + "." + parts[2],
		"no alg":           hs(`{}`, Payload),
		"alg number":       hs(`{"alg":256}`, Payload),
		"alg list":         hs(`{"alg":["HS256"]}`, Payload),
		"alg null":         hs(`{"alg":null}`, Payload),
		"public as secret": Sign("HS256", public, Header("HS256"), Payload),
		"trimmed public":   Sign("HS256", bytes.TrimSpace(public), Header("HS256"), Payload),
		"DER as secret":    Sign("HS256", der, Header("HS256"), Payload),
		"N as secret":      Sign("HS512", key.N.Bytes(), Header("HS512"), Payload),
		"empty secret":     Sign("HS256", []byte{}, Header("HS256"), Payload),
		"other RSA key":    rs(``),
		"jwk":              rs(`,"jwk":` + jwk),
		"jku":              rs(`,"jku":"https://evil.example/jwks"`),
		"x5u":              rs(`,"x5u":"https://evil.example/cert"`),
		"x5c":              rs(`,"x5c":["` + base64.StdEncoding.EncodeToString(der) + `"]`),
		"path in kid":      rs(`,"kid":"../../../../dev/null"`),
		"kid, no secret":   Sign("HS256", []byte{}, Header("HS256", `,"kid":"/dev/null"`), Payload),
		"query in kid":     rs(`,"kid":"x' UNION SELECT 'key"`),
		"kid number":       hs(Header("HS256", `,"kid":1`), Payload),
		"kid null":         hs(Header("HS256", `,"kid":null`), Payload),
		"kid empty":        hs(Header("HS256", `,"kid":""`), Payload),
		"kid long":         hs(Header("HS256", `,"kid":"`+strings.Repeat("x", 513)+`"`), Payload),
		"crit":             hs(Header("HS256", `,"crit":["exp"]`), Payload),
		"crit empty":       hs(Header("HS256", `,"crit":[]`), Payload),
		"b64 false":        hs(Header("HS256", `,"b64":false,"crit":["b64"]`), Payload),
		"b64 true":         hs(Header("HS256", `,"b64":true`), Payload),
		"zip":              hs(Header("HS256", `,"zip":"DEF"`), Payload),
		"nested":           hs(Header("HS256", `,"cty":"JWT"`), b64(Payload)),
		"cty":              hs(Header("HS256", `,"cty":"JWT"`), Payload),
		"JWE":              b64(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + "." + parts[1] + "." + parts[2] + "." + parts[1] + "." + parts[2],
		"JWE dir":          b64(`{"alg":"dir","enc":"A256GCM"}`) + ".." + parts[1] + "." + parts[2] + "." + parts[2],
		"enc":              hs(Header("HS256", `,"enc":"A256GCM"`), Payload),
		"logout token":     hs(Header("HS256", `,"typ":"logout+jwt"`), Payload),
		"typ number":       hs(Header("HS256", `,"typ":1`), Payload),
		"two alg":          hs(`{"alg":"HS256","alg":"HS256"}`, Payload),
		"two alg, none":    hs(`{"alg":"none","alg":"HS256"}`, Payload),
		"two kid":          hs(`{"alg":"HS256","kid":"a","k\u0069d":"b"}`, Payload),
		"header list":      hs(`["HS256"]`, Payload),
		"header null":      hs(`null`, Payload),
		"header twice":     hs(Header("HS256")+Header("HS256"), Payload),
		"header UTF-8":     hs("{\"alg\":\"HS256\",\"x\":\"\xff\"}", Payload),
		"large header":     hs(Header("HS256", `,"x":"`+strings.Repeat("x", 7000)+`"`), Payload),
		"payload list":     hs(Header("HS256"), `[]`),
		"payload null":     hs(Header("HS256"), `null`),
		"payload text":     hs(Header("HS256"), `x`),
		"payload empty":    hs(Header("HS256"), ``),
		"payload UTF-8":    hs(Header("HS256"), strings.Replace(Payload, `"u"`, "\"\xff\"", 1)),
		"deep":             hs(Header("HS256"), `{"exp":4102444800,"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`),
		"1 MB":             hs(Header("HS256"), strings.Replace(Payload, `"u"`, `"`+strings.Repeat("u", 1<<20)+`"`, 1)),
		"64 KiB":           hs(Header("HS256"), strings.Replace(Payload, `"u"`, `"`+strings.Repeat("u", 48<<10)+`"`, 1)),
		"no exp":           with(`"x":1`),
		"exp, other case":  with(`"EXP":4102444800`),
		"exp text":         with(`"exp":"4102444800"`),
		"exp null":         with(`"exp":null`),
		"exp true":         with(`"exp":true`),
		"exp list":         with(`"exp":[4102444800]`),
		"exp float":        with(`"exp":4102444800.5`),
		"exp .0":           with(`"exp":4102444800.0`),
		"exp exponent":     with(`"exp":4.1024448e9`),
		"exp huge":         with(`"exp":1e400`),
		"exp large":        with(`"exp":99999999999999999999`),
		"exp int64":        with(`"exp":9223372036854775807`),
		"exp in ms":        with(`"exp":4102444800000`),
		"exp negative":     with(`"exp":-1`),
		"two exp":          with(`"exp":1,"exp":4102444800`),
		"nbf text":         with(`"exp":4102444800,"nbf":"0"`),
		"nbf float":        with(`"exp":4102444800,"nbf":1.5`),
		"iat text":         hs(Header("HS256"), strings.Replace(Payload, `"iat":1700000000`, `"iat":"1"`, 1)),
		"two hasura":       with(`"exp":4102444800,"hasura":{"x-hasura-user-id":"v","x-hasura-allowed-roles":["admin"]}`),
		"two roles":        hs(Header("HS256"), strings.Replace(Payload, `:["user"]`, `:["user"],"x-hasura-allowed-roles":["admin"]`, 1)),
		"two in a list":    with(`"exp":4102444800,"a":[[{"b":1,"b":2}]]`),
		"two in text":      hs(Header("HS256"), `{"exp":4102444800,"hasura":"{\"x-hasura-user-id\":\"u\",\"x-hasura-allowed-roles\":[\"a\"],\"x-hasura-allowed-roles\":[\"b\"]}"}`),
	}
	// A second spelling of the last character of the signature.
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if other := good[:len(good)-1] + string(c); other != good {
			f["last character "+string(c)] = other
		}
	}
	return f
}
