package authtest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/authtest"
)

// The JWT byte by byte, with the lifetime that Synmetrix sets.
func TestAccessToken(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 30, 44, 987654321, time.UTC)
	c := serve(t, authtest.Options{
		Now:        func() time.Time { return now },
		Secret:     []byte("0123456789abcdef0123456789abcdef"),
		AccessLife: 180 * time.Hour, // the setting of Synmetrix: 10800 minutes
	})
	ada, _ := c.srv.Account("ada@example.com")
	resp := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`)
	s := resp.session()
	if s.ExpiresIn != 648000000 {
		t.Errorf("jwt_expires_in is %d, want milliseconds", s.ExpiresIn)
	}
	header, payload := decode(t, s.JWT)
	if header != `{"alg":"HS256"}` {
		t.Errorf("header is %s", header)
	}
	want := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user","admin"],"x-hasura-default-role":"user"},`+
		`"sub":%q,"iss":"nhost","iat":%d,"exp":%d}`, ada.ID, ada.ID, now.Unix(), now.Unix()+648000)
	if payload != want {
		t.Errorf("payload is\n%s, want\n%s", payload, want)
	}
	if _, err := jwt.Parse(s.JWT, func(*jwt.Token) (any, error) { return c.srv.Secret(), nil },
		jwt.WithTimeFunc(c.srv.Now)); err != nil {
		t.Errorf("the token is invalid: %v", err)
	}

	// Two tokens issued in the same second are equal.
	again := c.refresh(s.RefreshToken).session().JWT
	if again != s.JWT {
		t.Error("two tokens within one second differ")
	}
	c.srv.Advance(-900 * time.Millisecond)
	if earlier, _ := c.login("ada@example.com"); earlier != s.JWT {
		t.Error("two tokens from the ends of one second differ")
	}
	c.srv.Advance(900*time.Millisecond + time.Second)
	if later, _ := c.login("ada@example.com"); later == s.JWT {
		t.Error("a token of the next second is the same")
	}
	c.srv.Advance(-time.Second)
	if signedIn, _ := c.srv.SignIn("ada@example.com"); signedIn != s.JWT {
		t.Error("the token of SignIn differs from that of a login")
	}
}

// The tokens of a registration, a login, a refresh and a second factor have the same
// payload, with HS256 and with RS256.
func TestAccessTokenOfEachEndpoint(t *testing.T) {
	for alg, opts := range map[string]authtest.Options{"HS256": {}, "RS256": {RSAKey: rsaKey()}} {
		t.Run(alg, func(t *testing.T) {
			c := serve(t, opts)
			same := func(name, user string, resp *response) {
				t.Helper()
				account, _ := c.srv.Account(user)
				iat := c.srv.Now().Unix()
				want := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user"},`+
					`"sub":%q,"iss":"nhost","iat":%d,"exp":%d}`, account.ID, account.ID, iat, iat+900)
				header, payload := decode(t, jwtOf(resp))
				if payload != want {
					t.Errorf("%s: payload is\n%s, want\n%s", name, payload, want)
				}
				if !strings.HasPrefix(header, `{"alg":"`+alg+`"`) || strings.Contains(header, "kid") != (alg == "RS256") {
					t.Errorf("%s: header is %s", name, header)
				}
			}
			const bob = "bob@example.com"
			login := c.post("/auth/login", `{"email":"bob@example.com","password":"`+password+`","cookie":false}`)
			same("login", bob, login)
			same("login, cookie mode", bob, c.post("/auth/login", `{"email":"bob@example.com","password":"`+password+`"}`))
			refresh := c.refresh(login.session().RefreshToken)
			same("refresh", bob, refresh)
			same("refresh, cookie", bob, c.get("/auth/token/refresh", "Cookie: refresh_token="+refresh.session().RefreshToken))
			same("register", "new@example.com", c.post(registerPath, `{"email":"new@example.com","password":"secret"}`))
			same("MFA", "mfa@example.com", c.post("/auth/mfa/totp", `{"ticket":"`+c.ticket()+`","code":"`+c.code(0)+`"}`))
		})
	}
}

func TestAccessLifeIsWholeSeconds(t *testing.T) {
	c := serve(t, authtest.Options{AccessLife: 2900 * time.Millisecond})
	access, token := c.login("ada@example.com")
	if s := c.refresh(token).session(); s.ExpiresIn != 2000 {
		t.Errorf("jwt_expires_in is %d, want 2000", s.ExpiresIn)
	}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(access, &claims); err != nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) != 2*time.Second {
		t.Errorf("claims are %+v (%v)", claims, err)
	}
}

// JWT_CLAIMS_NAMESPACE and JWT_CUSTOM_FIELDS.
func TestAccessTokenOptions(t *testing.T) {
	c := serve(t, authtest.Options{
		Namespace:    "https://hasura.io/jwt/claims",
		CustomFields: []string{"avatar_url", "nickName", "tags"},
		Accounts: []authtest.Account{{
			ID: "328DDEBF-0000-4000-8000-000000000001", Email: "eve@example.com", Password: password,
			Roles: []string{"editor"}, DefaultRole: "reader",
			Fields: map[string]any{"nickName": "Eve & co", "tags": 3},
		}},
	})
	resp := c.post("/auth/login", `{"email":"eve@example.com","password":"`+password+`","cookie":false}`)
	_, payload := decode(t, resp.session().JWT)
	// The default role is added to the roles if they lack it. Every field becomes a
	// string, also null.
	want := `{"https://hasura.io/jwt/claims":{"x-hasura-user-id":"328ddebf-0000-4000-8000-000000000001",` +
		`"x-hasura-allowed-roles":["editor","reader"],"x-hasura-default-role":"reader",` +
		`"x-hasura-avatar-url":"null","x-hasura-nick-name":"Eve & co","x-hasura-tags":"3"},`
	if !containsAll(payload, want) {
		t.Errorf("payload is %s, want %s…", payload, want)
	}
	if !containsAll(resp.body, `"email":"eve@example.com","avatar_url":null}`) {
		t.Errorf("body is %s, want an avatar_url in it", resp.body)
	}
}

// The service checks the signature of a token, its exp, and that the namespace exists.
func TestVerify(t *testing.T) {
	for alg, tt := range map[string]struct {
		opts   authtest.Options
		method jwt.SigningMethod
		key    any
		other  any
	}{
		"HS256": {authtest.Options{Secret: []byte("0123456789abcdef0123456789abcdef")}, jwt.SigningMethodHS256, []byte("0123456789abcdef0123456789abcdef"), []byte("another")},
		"RS256": {authtest.Options{RSAKey: rsaKey()}, jwt.SigningMethodRS256, rsaKey(), rfcKey()},
	} {
		t.Run(alg, func(t *testing.T) {
			c := serve(t, tt.opts)
			ada, _ := c.srv.Account("ada@example.com")
			token := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
				s, err := jwt.NewWithClaims(method, claims).SignedString(key)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			hasura := map[string]any{"x-hasura-user-id": ada.ID}
			now := c.srv.Now().Unix()
			good := func(claims jwt.MapClaims) string { return token(tt.method, tt.key, claims) }
			whole := good(jwt.MapClaims{"hasura": hasura, "iss": "nhost", "exp": now + 60})
			cut := whole[:strings.LastIndexByte(whole, '.')]
			tests := []struct {
				name, token string
				good        bool
			}{
				{"whole", whole, true},
				{"another issuer", good(jwt.MapClaims{"hasura": hasura, "iss": "x", "exp": now + 60}), true},
				{"no issuer", good(jwt.MapClaims{"hasura": hasura, "exp": now + 60}), true},
				{"no exp", good(jwt.MapClaims{"hasura": hasura}), true},
				{"in its last second", good(jwt.MapClaims{"hasura": hasura, "exp": now + 1}), true},
				{"expired", good(jwt.MapClaims{"hasura": hasura, "exp": now}), false},
				{"no namespace", good(jwt.MapClaims{"exp": now + 60}), false},
				{"another namespace", good(jwt.MapClaims{"https://hasura.io/jwt/claims": hasura, "exp": now + 60}), false},
				{"another key", token(tt.method, tt.other, jwt.MapClaims{"hasura": hasura}), false},
				{"alg none", token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"hasura": hasura}), false},
				{"no signature", cut + ".", false},
				{"two parts", cut, false},
			}
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					resp := (&conn{t, c.srv, c.http}).post("/auth/token/revoke", "", bearer(tt.token))
					if tt.good {
						resp.wantEmpty(204)
					} else {
						resp.wantError(401, "Not logged in")
					}
				})
			}
		})
	}
}

// rsaKey is shared by all tests, because generating a key is slow.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rfcKey is the key of the examples in RFC 7517 (A.2) and RFC 7638 (3.1).
var rfcKey = sync.OnceValue(func() *rsa.PrivateKey {
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return new(big.Int).SetBytes(b)
	}
	p := number("83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs")
	q := number("3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk")
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		panic(err)
	}
	return key
})

// The ID of a key is its thumbprint.
func TestKeyID(t *testing.T) {
	const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" // from the RFC
	c := serve(t, authtest.Options{RSAKey: rfcKey()})
	if resp := c.get("/auth/jwks"); !containsAll(resp.body, `"n":"0vx7agoebGcQSuuPiLJXZ`, `"kty":"RSA","kid":"`+kid+`"`) {
		t.Errorf("key set is %s, want a kid of %s", resp.body, kid)
	}
	access, _ := c.login("ada@example.com")
	if header, _ := decode(t, access); header != `{"alg":"RS256","kid":"`+kid+`"}` {
		t.Errorf("header is %s, want a kid of %s", header, kid)
	}
}

// GET /auth/jwks.
func TestJWKS(t *testing.T) {
	c := serve(t)
	c.get("/auth/jwks").wantError(501, "JWKS is not implemented on this server.")

	for name, tt := range map[string]struct {
		without []string
		end     string
	}{
		"generated key":            {nil, `,"alg":"RS256","use":"sig"}]}`},
		"key from JWT_KEY":         {[]string{"use"}, `,"alg":"RS256"}]}`},
		"key file read, restarted": {[]string{"alg", "use"}, `}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, authtest.Options{RSAKey: rsaKey(), JWKSWithout: tt.without})
			access, _ := c.login("ada@example.com")
			header, _ := decode(t, access)
			kid := strings.TrimSuffix(strings.TrimPrefix(header, `{"alg":"RS256","kid":"`), `"}`)
			resp := c.get("/auth/jwks")
			want := `{"keys":[{"e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(rsaKey().N.Bytes()) +
				`","kty":"RSA","kid":"` + kid + `"` + tt.end
			if resp.status != 200 || resp.body != want {
				t.Errorf("response is %d %s, want %s", resp.status, resp.body, want)
			}
		})
	}
}

// Tokens verify with the key set, and the public key cannot be used to forge one.
func TestRS256(t *testing.T) {
	c := serve(t, authtest.Options{RSAKey: rsaKey()})
	if c.srv.Secret() != nil {
		t.Error("the server has a secret although it has an RSA key")
	}
	access, _ := c.login("ada@example.com")
	c.post("/auth/token/revoke", "", bearer(access)).wantEmpty(204)

	resp := c.get("/auth/jwks")
	var set struct {
		Keys []struct{ N string }
	}
	if err := json.Unmarshal([]byte(resp.body), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("key set is %d %s (%v)", resp.status, resp.body, err)
	}
	n, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	if _, err := jwt.Parse(access, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
		t.Errorf("a token does not verify with the key set: %v", err)
	}

	// The service does not accept the public key as an HMAC secret.
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	for _, secret := range [][]byte{
		n, der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		pkcs1, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), {},
	} {
		for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS512} {
			forged, _ := jwt.NewWithClaims(method, jwt.MapClaims{"hasura": map[string]any{"x-hasura-user-id": uuid4}}).
				SignedString(secret)
			c.post("/auth/token/revoke", "", bearer(forged)).wantError(401, "Not logged in")
		}
	}
}
