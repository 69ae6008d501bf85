package dashboard_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/authtest"
)

const jwtKey = "a shared secret, of the auth service and of this program"

// bearer sends a GET with a bearer token.
func (b *browser) bearer(token, path string) *response {
	b.t.Helper()
	return b.do("GET", path, "", "Authorization", "Bearer "+token)
}

// accepted fails the test unless the token is accepted, or rejected if accepted is false.
func (b *browser) accepted(what, token string, accepted bool) {
	b.t.Helper()
	a := b.bearer(token, "/api/me")
	if accepted {
		a.is(200)
		return
	}
	if a.problem(401, "unauthenticated"); a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` || a.status != 401 {
		b.t.Errorf("%s: status %d, WWW-Authenticate %q", what, a.status, a.header.Get("WWW-Authenticate"))
	}
}

// sign returns a token with this header and payload.
func sign(t *testing.T, method jwt.SigningMethod, key any, header, payload string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := method.Sign(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(signature)
}

// On routes that need no session, the user is that of the client's token.
func testVerifiedBearer(t *testing.T, tt target) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(r.Header.Get("Authorization")[:10]))
	}))
	defer api.Close()
	s := start(t, tt, authtest.Options{Secret: []byte(jwtKey), AccessLife: 5 * time.Minute}, "JWT_KEY="+jwtKey, "UPSTREAM_URL="+api.URL)
	s.secrets.Add("shared secret", jwtKey)
	access, _ := s.auth.SignIn(admin)
	other, _ := s.auth.SignIn(viewer)
	s.secrets.AddJWT("access token", access)
	s.secrets.AddJWT("access token", other)
	b := s.signedIn(t, analyst)

	got := b.bearer(access, "/api/me").is(200).object()
	account, _ := s.auth.Account(admin)
	if got["user_id"] != account.ID || got["access_token_expires_at"] != got["session_expires_at"] {
		t.Errorf("got %v", got)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(access, ".")[1])
	var claims struct{ Exp float64 }
	_ = json.Unmarshal(payload, &claims)
	if got["session_expires_at"] != claims.Exp {
		t.Errorf("expires at %v, want %v", got["session_expires_at"], claims.Exp)
	}
	b.bearer(access, "/admin").is(200)
	b.bearer(other, "/admin").problem(403, "forbidden")
	b.bearer(other, "/dashboard").is(200)
	if a := b.bearer(access, "/"); a.is(200).object()["user_id"] != account.ID {
		t.Errorf("the start page says %s", a.body)
	}
	if a := b.bearer(access, "/api/upstream").is(200); a.body != "Bearer eyJ" {
		t.Errorf("the API got %q", a.body)
	}
	if a := b.bearer(access, "/api/events?n=2&every=1ms").is(200); strings.Count(a.body, "access_token_expires_in") != 2 {
		t.Errorf("events: %q", a.body)
	}
	// These routes need a session.
	b.bearer(access, "/api/prefs").problem(403, "session_required")
	for _, origin := range []string{"same-origin", "cross-site"} {
		b.do("PUT", "/api/prefs/theme", `"dark"`, "Authorization", "Bearer "+access, "Sec-Fetch-Site", origin).problem(403, "session_required")
	}
	b.do("POST", "/login", `{}`, "Content-Type", "application/json", "Authorization", "Bearer "+access).problem(403, "session_required")
	b.do("POST", "/password", `{}`, "Content-Type", "application/json", "Authorization", "Bearer "+access).problem(403, "session_required")
	b.do("POST", "/logout", `{}`, "Content-Type", "application/json", "Authorization", "Bearer "+access).problem(401, "unauthenticated")
	if strings.HasPrefix(tt.store, "memory") {
		b.bearer(access, "/sessions").problem(403, "session_required")
	}
	forgeries(t, b, access)
	if user := b.get("/api/me").is(200).object()["user_id"]; user == account.ID {
		t.Error("the browser is signed in as the bearer")
	}
}

// forgeries sends tokens that must not be accepted.
func forgeries(t *testing.T, b *browser, access string) {
	parts := strings.Split(access, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	good, b64 := string(raw), base64.RawURLEncoding.EncodeToString
	hs := func(header, payload string) string {
		return sign(t, jwt.SigningMethodHS256, []byte(jwtKey), header, payload)
	}
	exp := func(value string) string {
		var claims map[string]json.RawMessage
		_ = json.Unmarshal(raw, &claims)
		delete(claims, "exp")
		delete(claims, "iat") // exp must be after it
		if value != "" {
			claims["exp"] = json.RawMessage("0")
		}
		text, _ := json.Marshal(claims)
		return hs(`{"alg":"HS256"}`, strings.Replace(string(text), `"exp":0`, `"exp":`+value, 1))
	}
	now := time.Now().Unix()
	digits := func(n int64) string { text, _ := json.Marshal(n); return string(text) }
	for what, token := range map[string]string{
		"none": b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "changed": parts[0] + "." + b64(bytes.Replace(raw, []byte("user"), []byte("root"), 1)) + "." + parts[2],
		"other secret": sign(t, jwt.SigningMethodHS256, []byte(strings.ToUpper(jwtKey)), `{"alg":"HS256"}`, good),
		"crit":         hs(`{"alg":"HS256","crit":["x"]}`, good), "b64": hs(`{"alg":"HS256","b64":false}`, good),
		"JWE":         b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..a.b.c",
		"expired":     exp(digits(now - 31)),
		"no exp":      exp(""),
		"exp text":    exp(`"` + digits(now+60) + `"`),
		"exp float":   exp(digits(now+60) + ".5"),
		"exp huge":    exp("1e308"),
		"two exp":     exp(digits(now-60) + `,"exp":` + digits(now+60)),
		"nbf":         exp(digits(now+120) + `,"nbf":` + digits(now+60)),
		"long":        "eyJ" + strings.Repeat("x", 70<<10),
		"nothing":     "",
		"two fields":  access + ", Bearer " + access,
		"two headers": hs(`{"alg":"HS256","alg":"HS256"}`, good),
	} {
		b.accepted(what, token, false)
	}
	b.accepted("accepted with 30 s of leeway", exp(digits(now-5)), true)
	for _, roles := range []string{`"admin"`, `null`, `[["admin"]]`, `["admin",1]`, `{"admin":true}`, `"[\"admin\"]"`} {
		token := hs(`{"alg":"HS256"}`, `{"exp":`+digits(now+60)+`,"hasura":{"x-hasura-user-id":"u","x-hasura-allowed-roles":`+roles+`}}`)
		b.bearer(token, "/admin").problem(403, "forbidden")
	}
	if a, err := b.try(b.request("GET", "/api/me", nil, "Authorization", "Bearer "+strings.Repeat("x", 1<<20))); err == nil && a.status < 400 {
		t.Errorf("1 MB: status %d", a.status)
	}
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	return key
})

func testBearersOfPublicKey(t *testing.T, tt target) {
	key := rsaKey()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	file := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, public, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, tt, authtest.Options{RSAKey: key}, "JWT_PUBLIC_KEY_FILE="+file)
	b := s.signedIn(t, viewer) // the tokens of sessions are verified, too
	access, _ := s.auth.SignIn(viewer)
	s.secrets.AddJWT("access token", access)
	b.accepted("genuine", access, true)
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(access, ".")[1])
	for _, secret := range [][]byte{public, bytes.TrimSpace(public), der, {}} {
		b.accepted("public key as secret", sign(t, jwt.SigningMethodHS256, secret, `{"alg":"HS256"}`, string(payload)), false)
	}
	another, _ := rsa.GenerateKey(rand.Reader, 2048)
	n := base64.RawURLEncoding.EncodeToString(another.N.Bytes())
	for _, header := range []string{
		`{"alg":"RS256"}`, `{"alg":"RS256","kid":"../../dev/null"}`, `{"alg":"RS256","jku":"https://evil.example/jwks"}`,
		`{"alg":"RS256","x5u":"https://evil.example/c"}`, `{"alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":"` + n + `"}}`,
	} {
		b.accepted(header, sign(t, jwt.SigningMethodRS256, another, header, string(payload)), false)
	}
}

// The keys of a JWKS are fetched at the first token, and its outage signs no user out.
func testBearersOfJWKS(t *testing.T, tt target) {
	var service atomic.Pointer[authtest.Server]
	var down atomic.Bool
	var fetches atomic.Int64
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		if down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		service.Load().ServeHTTP(w, r)
	}))
	defer keys.Close()
	s := start(t, tt, authtest.Options{RSAKey: rsaKey(), JWKSWithout: []string{"alg", "use"}}, "JWKS_URL="+keys.URL+"/auth/jwks")
	service.Store(s.auth)
	access, _ := s.auth.SignIn(viewer)
	s.secrets.AddJWT("access token", access)
	b := s.browser(t)
	down.Store(true)
	if a := b.bearer(access, "/api/me"); a.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", a.header)
	} else {
		a.problem(503, "session_unavailable")
	}
	b.postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`).problem(503, "auth_unavailable")
	down.Store(false)
	eventually(t, "the keys are fetched again", func() bool { return b.bearer(access, "/api/me").status == 200 })
	b = s.signedIn(t, viewer)
	before := fetches.Load()
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(access, ".")[1])
	for _, kid := range []string{"a", "b", "../c", "http://d"} {
		b.accepted("unknown key "+kid, sign(t, jwt.SigningMethodRS256, rsaKey(), `{"alg":"RS256","kid":"`+kid+`"}`, string(payload)), false)
	}
	if n := fetches.Load() - before; n > 2 {
		t.Errorf("%d fetches for unknown keys", n)
	}
	down.Store(true)
	b.accepted("known key, while the JWKS is down", access, true)
	b.get("/api/me").is(200)
}
