// Package bearer_test sends bearer tokens to an app over HTTP. The app verifies them with
// the JWKS of an auth service that changes its keys and fails.
package bearer_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/internal/testkit/forge"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// rsaKeys are the keys of the tests: two of the service, and an attacker's.
var rsaKeys = sync.OnceValue(func() [3]*rsa.PrivateKey {
	var keys [3]*rsa.PrivateKey
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// site is an app, and the service that publishes its keys.
type site struct {
	t       *testing.T
	app     *httptest.Server
	keys    *httptest.Server
	fetches atomic.Int64
	publish atomic.Pointer[http.HandlerFunc]
}

func newSite(t *testing.T, cfg jwks.Config) *site {
	s := &site{t: t}
	s.keys = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.publish.Load())(w, r)
	}))
	t.Cleanup(s.keys.Close)
	cfg.URL = s.keys.URL
	source, err := jwks.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := verify.New(verify.Config{Source: source})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(s.keys.URL), Keys: []session.SecretKey{session.GenerateKey()},
		Verifier: verifier, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	s.app = httptest.NewServer(middleware.Sessions(m)(middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, session.FromContext(r.Context()).UserID())
	}))))
	s.app.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(s.app.Close)
	return s
}

// serves sets the response of the service.
func (s *site) serves(h http.HandlerFunc) { s.publish.Store(&h) }

// publishes sets the keys that the service publishes, by their IDs.
func (s *site) publishes(keys map[string]*rsa.PrivateKey) {
	var list []map[string]string
	for kid, key := range keys {
		list = append(list, map[string]string{
			"kty": "RSA", "kid": kid, "alg": "RS256", "e": b64(big.NewInt(int64(key.E)).Bytes()), "n": b64(key.N.Bytes()),
		})
	}
	text, _ := json.Marshal(map[string]any{"keys": list})
	s.serves(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token returns a token of the user "u".
func token(kid string, key *rsa.PrivateKey, more ...string) string {
	if kid != "" {
		id, _ := json.Marshal(kid)
		more = append(more, `,"kid":`+string(id))
	}
	return forge.Sign("RS256", key, forge.Header("RS256", more...), forge.Payload)
}

// get sends a request with a bearer token and returns the status.
func (s *site) get(token string) int {
	s.t.Helper()
	req, _ := http.NewRequest("GET", s.app.URL, http.NoBody)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := s.app.Client().Do(req)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	challenge, retry := res.Header.Get("WWW-Authenticate"), res.Header.Get("Retry-After")
	switch {
	case res.StatusCode == 200 && string(body) != "u",
		res.StatusCode == 401 && challenge != `Bearer error="invalid_token"`,
		res.StatusCode == 503 && (retry == "" || !strings.Contains(string(body), "session_unavailable")):
		s.t.Errorf("status %d, %v, %s", res.StatusCode, res.Header, body)
	}
	return res.StatusCode
}

func (s *site) is(what, token string, status int) {
	s.t.Helper()
	if got := s.get(token); got != status {
		s.t.Errorf("%s: status %d, want %d", what, got, status)
	}
}

// Forged tokens are rejected, and the app sends no request to the addresses in them.
func TestForged(t *testing.T) {
	k := rsaKeys()
	s := newSite(t, jwks.Config{})
	s.publishes(map[string]*rsa.PrivateKey{"a": k[0], "b": k[1]})
	var called atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		called.Add(1)
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","n":%q}]}`, b64(k[2].N.Bytes()))
	}))
	defer evil.Close()
	jwk := fmt.Sprintf(`,"jwk":{"kty":"RSA","kid":"a","e":"AQAB","n":%q}`, b64(k[2].N.Bytes()))
	s.is("genuine", token("a", k[0]), 200)
	for what, forged := range map[string]string{
		"attacker's key": token("a", k[2]), "key of another kid": token("b", k[0]), "no kid": token("", k[2]),
		"path in kid": token("../../a", k[2]), "address in kid": token(evil.URL, k[2]), "unknown kid": token("c", k[0]),
		"jku": token("a", k[2], `,"jku":"`+evil.URL+`"`), "x5u": token("a", k[2], `,"x5u":"`+evil.URL+`"`), "jwk": token("a", k[2], jwk),
	} {
		s.is(what, forged, 401)
	}
	for what, forged := range forge.Tokens([]byte(strings.Repeat("0123456789abcdef", 4)), k[0]) {
		if what == "line break" || what == "1 MB" { // not sent by net/http, and refused by it
			continue
		}
		s.is(what, forged, 401)
	}
	if called.Load() != 0 {
		t.Error("the app has sent a request to an address in a token")
	}
}

// A thousand unknown key IDs at the same time cause one fetch.
func TestUnknownKeyIDs(t *testing.T) {
	k := rsaKeys()
	s := newSite(t, jwks.Config{})
	s.publishes(map[string]*rsa.PrivateKey{"a": k[0]})
	s.is("genuine", token("a", k[0]), 200)
	before := s.fetches.Load()
	_, rest, _ := strings.Cut(token("a", k[2]), ".")
	var wg sync.WaitGroup
	start := time.Now()
	limit := make(chan struct{}, 50) // sockets
	for i := range 1000 {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			s.is("unknown", b64(fmt.Appendf(nil, `{"alg":"RS256","kid":"k%d"}`, i))+"."+rest, 401)
		})
	}
	wg.Wait()
	// If a slow machine needs more than 5 s for them, there may be a second fetch.
	if n := s.fetches.Load() - before; n < 1 || n > 1+int64(time.Since(start)/(5*time.Second)) {
		t.Errorf("%d fetches in %v, want 1", n, time.Since(start))
	}
	s.is("genuine", token("a", k[0]), 200)
}

// The keys change, and the service fails in several ways.
func TestKeysOfAService(t *testing.T) {
	k := rsaKeys()
	s := newSite(t, jwks.Config{MaxAge: time.Nanosecond, Timeout: 5 * time.Second})
	s.publishes(map[string]*rsa.PrivateKey{"a": k[0]})
	s.is("first", token("a", k[0]), 200)
	s.publishes(map[string]*rsa.PrivateKey{"a": k[0], "b": k[1]})
	s.is("rotated", token("b", k[1]), 200)
	s.is("not withdrawn yet", token("a", k[0]), 200)
	s.publishes(map[string]*rsa.PrivateKey{"b": k[1]})
	// A request may wait for a fetch that began before the withdrawal.
	for deadline := time.Now().Add(time.Minute); s.get(token("a", k[0])) != 401 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.is("withdrawn", token("a", k[0]), 401)

	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for what, fails := range map[string]func(s *site){
		"gone":  func(s *site) { s.keys.CloseClientConnections(); s.keys.Listener.Close() },
		"empty": func(s *site) { s.publishes(nil) },
		"weak":  func(s *site) { s.publishes(map[string]*rsa.PrivateKey{"a": short, "b": short}) },
		"10 MB": func(s *site) {
			s.serves(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"keys":[],"x":"`+strings.Repeat("x", 10<<20)+`"}`)
			})
		},
		"500": func(s *site) { s.serves(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }) },
		"slow": func(s *site) {
			s.serves(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg := jwks.Config{MaxAge: time.Nanosecond, Timeout: 10 * time.Second}
			if what == "slow" {
				cfg.Timeout = 100 * time.Millisecond
			}
			s := newSite(t, cfg)
			s.publishes(map[string]*rsa.PrivateKey{"a": k[0]})
			s.is("before", token("a", k[0]), 200)
			fails(s)
			s.is("unknown key", token("b", k[1]), 503)
			s.is("known key", token("a", k[0]), 200)
			s.is("forged", token("a", k[2]), 401)
			s.is("signed with the weak key", token("a", short), 401)

			s = newSite(t, cfg)
			s.publishes(map[string]*rsa.PrivateKey{"a": k[0]})
			fails(s)
			s.is("from the start", token("a", k[0]), 503)
			s.is("from the start, forged", token("a", k[2]), 503)
		})
	}
}
