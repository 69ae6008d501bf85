package middleware_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/internal/testkit/forge"
	"github.com/synmetrix/session/middleware"
)

var (
	bearerSecret = []byte(strings.Repeat("0123456789abcdef", 4))
	bearerKey    = sync.OnceValue(func() *rsa.PrivateKey {
		key, _ := rsa.GenerateKey(rand.Reader, 2048)
		return key
	})
)

// withVerifier is for newApp.
func withVerifier(t *testing.T, cfg verify.Config) func(*session.Config) {
	t.Helper()
	v, err := verify.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *session.Config) { c.Verifier = v }
}

// isRejected fails the test unless the response refuses a bearer token.
func (r response) isRejected(t *testing.T, what string) {
	t.Helper()
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(r.body), &p)
	if r.StatusCode != 401 || p.Code != "unauthenticated" || r.Header.Get("Www-Authenticate") != `Bearer error="invalid_token"` || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("%s: status %d, header %v: %.200s", what, r.StatusCode, r.Header, r.body)
	}
}

// No forged token passes a guard, whatever keys the verifier has.
func TestForgedBearers(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(&bearerKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	tokens := forge.Tokens(bearerSecret, bearerKey())
	delete(tokens, "line break") // no client can send it
	delete(tokens, "space")      // net/http removes it
	now := time.Now().Unix()
	hs := func(claims string, at int64) string {
		payload := strings.Replace(forge.Payload, `"exp":4102444800,"iat":1700000000`, fmt.Sprintf(claims, at), 1)
		return forge.Sign("HS256", bearerSecret, forge.Header("HS256"), payload)
	}
	tokens["expired"], tokens["not yet valid"] = hs(`"exp":%d`, now-40), hs(`"exp":4102444800,"nbf":%d`, now+600)
	good := []string{hs(`"exp":%d`, now-5), hs(`"exp":4102444800,"nbf":%d`, now+5), forge.Sign("HS512", bearerSecret, forge.Header("HS512"), forge.Payload)}
	genuine := forge.Sign("RS256", bearerKey(), forge.Header("RS256"), forge.Payload)

	for name, cfg := range map[string]verify.Config{
		"secret": {Secrets: [][]byte{bearerSecret}}, "public key": {PublicKeys: public}, "both": {Secrets: [][]byte{bearerSecret}, PublicKeys: public},
	} {
		a := newApp(t, withVerifier(t, cfg))
		a.mux.Handle("/user", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, session.FromContext(r.Context()).UserID())
		})))
		b := a.browser()
		for what, token := range tokens {
			got := b.get("/user", "Authorization", "Bearer "+token)
			if what == "1 MB" && got.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
				continue
			}
			got.isRejected(t, name+", "+what)
		}
		for _, token := range append(good, genuine) {
			got := b.get("/user", "Authorization", "Bearer "+token)
			if accepted := cfg.Secrets != nil && token != genuine || cfg.PublicKeys != nil && token == genuine; !accepted {
				got.isRejected(t, name)
			} else if got.is(t, 200, "").has(t, "Cache-Control", "no-store"); got.body != "u" {
				t.Errorf("%s: user %q", name, got.body)
			}
		}
	}
}

// Only a list of strings has roles.
func TestBearerRolesOfEveryShape(t *testing.T) {
	a := newApp(t, withVerifier(t, verify.Config{Secrets: [][]byte{bearerSecret}}))
	a.mux.Handle("/admin", middleware.RequireRole("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	b := a.browser()
	for roles, status := range map[string]int{
		`["admin"]`: 200, `["x","admin"]`: 200, `["\u0061dmin"]`: 200,
		`"admin"`: 403, `"[\"admin\"]"`: 403, `null`: 403, `true`: 403, `1`: 403, `{"admin":true}`: 403, `{"0":"admin"}`: 403, `[["admin"]]`: 403,
		`["admin",null]`: 403, `["admin",1]`: 403, `["Admin"]`: 403, `["admin "]`: 403, `["admin\u0000"]`: 403, `["admin,x"]`: 403, `[]`: 403, `[{}]`: 403,
	} {
		token := forge.Sign("HS256", bearerSecret, forge.Header("HS256"), strings.Replace(forge.Payload, `["user"]`, roles, 1))
		if got := b.get("/admin", "Authorization", "Bearer "+token); got.StatusCode != status {
			t.Errorf("%s: status %d, want %d", roles, got.StatusCode, status)
		}
	}
}

// The refusals of accepted tokens.
func TestBearerRefusals(t *testing.T) {
	var late struct{ auth.Verifier } // of a service that does not run yet
	a := newApp(t, func(c *session.Config) { c.Verifier = &late })
	v, err := verify.New(verify.Config{Secrets: [][]byte{bearerSecret, a.auth.Secret()}})
	if err != nil {
		t.Fatal(err)
	}
	late.Verifier = v
	noop := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	a.mux.Handle("/user", middleware.RequireUser(noop))
	a.mux.Handle("/admin", middleware.RequireRole("admin")(noop))
	a.mux.Handle("/fresh", middleware.RequireFresh(time.Minute)(noop))
	a.mux.Handle("/me", http.HandlerFunc(middleware.Me))
	a.mux.HandleFunc("/value", func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, session.NewKey[int]("n").Set(session.FromContext(r.Context()), 1))
	})
	b := a.browser()
	b.signIn("admin@example.com")
	bearer := []string{"Authorization", "Bearer " + forge.Sign("HS256", bearerSecret, forge.Header("HS256"), forge.Payload)}
	navigate := append([]string{"Accept", asPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, bearer...)

	b.get("/admin", bearer...).is(t, 403, "forbidden")
	for _, header := range [][]string{bearer, append(bearer, "Hx-Request", "true"), navigate} {
		got := b.get("/fresh", header...).has(t, "Www-Authenticate", `Bearer error="insufficient_user_authentication"`)
		if got.StatusCode != 401 || got.Header.Get("Location") != "" || got.Header.Get("Hx-Redirect") != "" || strings.Contains(got.body, `"login_url"`) {
			t.Errorf("%q: status %d, %v, %.200s", header, got.StatusCode, got.Header, got.body)
		}
	}
	b.get("/fresh", bearer...).is(t, 401, "reauthentication_required")
	b.get("/value", bearer...).is(t, 403, "session_required").has(t, "Www-Authenticate", "").has(t, "Set-Cookie", "")
	b.get("/value", navigate...).isPage(t, 403, "no session")
	b.get("/value", append(navigate, "Accept-Language", "de")...).isPage(t, 403, "keine Sitzung")
	for _, path := range []string{"/login", "/login/mfa"} {
		b.postJSON(path, `{`, bearer...).is(t, 403, "session_required")
	}
	b.get("/login/mfa", bearer...).is(t, 403, "session_required")
	b.get("/login", bearer...).is(t, 200, "")
	b.postJSON("/logout", `{}`, bearer...).isRejected(t, "logout")
	var user struct {
		UserID   string  `json:"user_id"`
		Token    float64 `json:"access_token_expires_at"`
		Session  float64 `json:"session_expires_at"`
		Unused   float64 `json:"session_expires_in"`
		Lifetime float64 `json:"lifetime_expires_in"`
	}
	if err := json.Unmarshal([]byte(b.get("/me?optional=true", bearer...).is(t, 200, "").body), &user); err != nil {
		t.Fatal(err)
	}
	if user.UserID != "u" || user.Token != 4102444800 || user.Session != user.Token || user.Lifetime != user.Unused || user.Unused <= 0 {
		t.Errorf("%+v", user)
	}
	me(t, b, "user", "admin") // the browser is still signed in
	// The origin is not checked.
	b.do("POST", "/user", "", append(bearer, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")...).is(t, 200, "")
}

// verifierFunc is a verifier for tests.
type verifierFunc func() error

func (f verifierFunc) Verify(context.Context, string) error { return f() }

// During an outage of the verifier the token is not rejected, and public pages are
// served.
func TestBearerOutage(t *testing.T) {
	down := errors.New("down")
	a := newApp(t, func(c *session.Config) { c.Verifier = verifierFunc(func() error { return down }) })
	a.mux.Handle("/user", middleware.RequireUser(http.NotFoundHandler()))
	a.mux.HandleFunc("/public", func(http.ResponseWriter, *http.Request) {})
	b := a.browser()
	b.get("/user", "Authorization", "Bearer x").is(t, 503, "session_unavailable").has(t, "Retry-After", "1").has(t, "Www-Authenticate", "")
	b.get("/public", "Authorization", "Bearer x").is(t, 200, "")
	b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`"}`).is(t, 503, "auth_unavailable")
	down = fmt.Errorf("%w: forged", auth.ErrInvalidToken)
	b.get("/user", "Authorization", "Bearer x").isRejected(t, "rejected")
	b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`"}`).is(t, 502, "auth_invalid_answer")
}
