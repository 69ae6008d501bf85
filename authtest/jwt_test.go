package authtest_test

import (
	"bytes"
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

func TestAccessToken(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 30, 44, 987654321, time.UTC)
	c := serve(t, authtest.Options{
		Now:        func() time.Time { return now },
		Secret:     []byte("0123456789abcdef0123456789abcdef"),
		AccessLife: 180 * time.Hour, // what Synmetrix sets: 10800 minutes
	})
	ada, _ := c.srv.Account("ada@example.com")
	a := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`)
	s := a.session()
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
		t.Errorf("it does not verify: %v", err)
	}

	// Two within one second are the same to the byte.
	again := c.refresh(s.RefreshToken).session().JWT
	if again != s.JWT {
		t.Error("two tokens within one second differ")
	}
	c.srv.Advance(time.Second)
	if later, _ := c.login("ada@example.com"); later == s.JWT {
		t.Error("a token of the next second is the same")
	}
	c.srv.Advance(-time.Second)
	if signedIn, _ := c.srv.SignIn("ada@example.com"); signedIn != s.JWT {
		t.Error("SignIn issues another token than login")
	}
}

// Register, login, refresh and MFA give the same payload, and so does RS256.
func TestAccessTokenEverywhere(t *testing.T) {
	for alg, opts := range map[string]authtest.Options{"HS256": {}, "RS256": {RSAKey: rsaKey()}} {
		t.Run(alg, func(t *testing.T) {
			c := serve(t, opts)
			same := func(name, user string, a *answer) {
				t.Helper()
				account, _ := c.srv.Account(user)
				iat := c.srv.Now().Unix()
				want := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user"},`+
					`"sub":%q,"iss":"nhost","iat":%d,"exp":%d}`, account.ID, account.ID, iat, iat+900)
				header, payload := decode(t, jwtOf(a))
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
	a := c.post("/auth/login", `{"email":"eve@example.com","password":"`+password+`","cookie":false}`)
	_, payload := decode(t, a.session().JWT)
	// A default role outside the roles is added to them, and every field is a
	// string, null too.
	want := `{"https://hasura.io/jwt/claims":{"x-hasura-user-id":"328ddebf-0000-4000-8000-000000000001",` +
		`"x-hasura-allowed-roles":["editor","reader"],"x-hasura-default-role":"reader",` +
		`"x-hasura-avatar-url":"null","x-hasura-nick-name":"Eve & co","x-hasura-tags":"3"},`
	if !containsAll(payload, want) {
		t.Errorf("payload is %s, want %s…", payload, want)
	}
	if !containsAll(a.body, `"email":"eve@example.com","avatar_url":null}`) {
		t.Errorf("body is %s, want an avatar_url in it", a.body)
	}
}

func TestVerify(t *testing.T) {
	c := serve(t, authtest.Options{Secret: []byte("0123456789abcdef0123456789abcdef")})
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
	none := token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"hasura": hasura})
	tests := []struct {
		name, token string
		good        bool
	}{
		{"whole", token(jwt.SigningMethodHS256, c.srv.Secret(), jwt.MapClaims{"hasura": hasura, "exp": now + 60}), true},
		{"another issuer", token(jwt.SigningMethodHS256, c.srv.Secret(), jwt.MapClaims{"hasura": hasura, "iss": "x"}), true},
		{"no exp", token(jwt.SigningMethodHS256, c.srv.Secret(), jwt.MapClaims{"hasura": hasura}), true},
		{"expired", token(jwt.SigningMethodHS256, c.srv.Secret(), jwt.MapClaims{"hasura": hasura, "exp": now - 60}), false},
		{"no namespace", token(jwt.SigningMethodHS256, c.srv.Secret(), jwt.MapClaims{"exp": now + 60}), false},
		{"another key", token(jwt.SigningMethodHS256, []byte("another"), jwt.MapClaims{"hasura": hasura}), false},
		{"alg none", none, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := (&conn{t, c.srv, c.http}).post("/auth/token/revoke", "", bearer(tt.token))
			if tt.good {
				a.is(204)
			} else {
				a.says(401, "Not logged in")
			}
		})
	}
}

// rsaKey is the same for all tests: to make one takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestJWKS(t *testing.T) {
	c := serve(t)
	c.get("/auth/jwks").says(501, "JWKS is not implemented on this server.")

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
			a := c.get("/auth/jwks")
			want := `{"keys":[{"e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(rsaKey().N.Bytes()) +
				`","kty":"RSA","kid":"` + kid + `"` + tt.end
			if a.status != 200 || a.body != want {
				t.Errorf("answer is %d %s, want %s", a.status, a.body, want)
			}
			if got := a.header.Get("Cache-Control"); !strings.HasPrefix(got, "no-store") {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
}

func TestRS256(t *testing.T) {
	c := serve(t, authtest.Options{RSAKey: rsaKey()})
	if c.srv.Secret() != nil {
		t.Error("there is a secret beside the RSA key")
	}
	access, _ := c.login("ada@example.com")
	c.post("/auth/token/revoke", "", bearer(access)).is(204)

	a := c.get("/auth/jwks")
	var set struct {
		Keys []struct{ E, N, Kty, Kid, Alg, Use string }
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set); err != nil || a.status != 200 || len(set.Keys) != 1 {
		t.Fatalf("key set is %d %s (%v)", a.status, a.body, err)
	}
	k := set.Keys[0]
	if k.Kty != "RSA" || k.Alg != "RS256" || k.Use != "sig" || k.E != "AQAB" || len(k.Kid) != 43 {
		t.Errorf("key is %+v", k)
	}
	header, _ := decode(t, access)
	if want := `{"alg":"RS256","kid":"` + k.Kid + `"}`; header != want {
		t.Errorf("header is %s, want %s", header, want)
	}
	n, _ := base64.RawURLEncoding.DecodeString(k.N)
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	if _, err := jwt.Parse(access, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
		t.Errorf("a token does not verify against the set: %v", err)
	}

	// The public key is no HMAC secret.
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{n, der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		forged, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"hasura": map[string]any{"x-hasura-user-id": uuid4}}).
			SignedString(secret)
		c.post("/auth/token/revoke", "", bearer(forged)).says(401, "Not logged in")
	}
}
