package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// write writes a file into a directory of the test, and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

var keys = session.GenerateKey().Encode()

func TestConfigTest(t *testing.T) {
	const good = "auth_url: https://auth.example.org\nupstreams:\n  - url: http://127.0.0.1:3000\n"
	for _, tt := range []struct {
		name, config string
		env          []string
		want         []string // in the errors; none: the configuration is valid
	}{
		{"the least", good, []string{"SESSION_KEYS", keys}, nil},
		{"a file with the keys", good, []string{"SESSION_KEYS_FILE", write(t, "keys", keys+"\n")}, nil},
		{"no keys", good, nil, []string{"SESSION_KEYS is required"}},
		{"a key in place of its file", good, []string{"SESSION_KEYS_FILE", keys}, []string{"SESSION_KEYS_FILE cannot be read"}},
		{"a password in place of its file", good + "session: {store: postgres}\n", []string{"SESSION_KEYS", keys, "STORE_DSN_FILE", "postgres://u:x-secret@h/d"}, []string{"STORE_DSN_FILE cannot be read"}},
		{"a certificate in place of its file", good + "tls: {key: x-secret, certificate: x-secret}\n", []string{"SESSION_KEYS", keys}, []string{"tls cannot be loaded"}},
		{"public keys in place of their file", good + "jwt: {public_keys: x-secret}\n", []string{"SESSION_KEYS", keys}, []string{"jwt.public_keys cannot be read"}},
		{"bad keys", good, []string{"SESSION_KEYS", "c2VjcmV0"}, []string{"SESSION_KEYS must be"}},
		{"keys twice", good, []string{"SESSION_KEYS", keys, "SESSION_KEYS_FILE", "x"}, []string{"SESSION_KEYS and SESSION_KEYS_FILE"}},
		{"an empty file", "", []string{"SESSION_KEYS", keys}, []string{"is empty"}},
		{"an unknown field", good + "upstream: x-secret\n", []string{"SESSION_KEYS", keys}, []string{`gateway.yaml: [4:1] unknown field "upstream"`}},
		{"an unknown field inside", good + "    rolls: [x]\n", []string{"SESSION_KEYS", keys}, []string{`[4:5] unknown field "rolls"`}},
		{"a field twice", good + "auth_url: https://x-secret.example\n", []string{"SESSION_KEYS", keys}, []string{"[4:1]", "auth_url"}},
		{"a wrong type", good + "session: {max_sessions: x-secret}\n", []string{"SESSION_KEYS", keys}, []string{"[4:"}},
		{"a tag of another type", good + "    roles: !!str x-secret\n", []string{"SESSION_KEYS", keys}, []string{"gateway.yaml cannot be parsed"}},
		{"durations", good + "    timeout: none\nsession: {lifetime: x-secret, idle_timeout: none, max_token_age: none, refresh_before: -1s}\nstop_timeout: 5\n", []string{"SESSION_KEYS", keys},
			[]string{"session.lifetime must be a positive duration", "session.idle_timeout must", "session.refresh_before must", "stop_timeout must"}},
		{"two documents", good + "---\nlisten: x\n", []string{"SESSION_KEYS", keys}, []string{"more than one document"}},
		{"several errors", "listen: '8080'\nauth_url: x-secret\nlog: {level: loud}\nsession: {store: oracle}\ntrusted_proxies: [x-secret]\npages: {features: [x-secret], home: //x-secret}\n" +
			"upstreams:\n  - url: ftp://x-secret@host\n  - path: x-secret\n    url: http://h\n    headers: [x-secret]\n",
			nil, []string{"listen must", "auth_url must", "log.level must", "session.store must", "trusted_proxies[0] must", "pages.features[0] must", "pages.home must", "SESSION_KEYS is required", "upstreams[0].url must", "upstreams[1].path must", "upstreams[1].headers must"}},
		{"an address without a password", good + "session: {store: postgres}\n", []string{"SESSION_KEYS", keys}, []string{"STORE_DSN is required"}},
		{"an address that is none", good + "session: {store: redis}\n", []string{"SESSION_KEYS", keys, "STORE_DSN", "x-secret"}, []string{"STORE_DSN must"}},
		{"postgres", good + "session: {store: postgres}\n", []string{"SESSION_KEYS", keys, "STORE_DSN", "postgres://u:x-secret@h/d"}, nil},
		{"mysql", good + "session: {store: mysql}\n", []string{"SESSION_KEYS", keys, "STORE_DSN", "u:x-secret@tcp(h:3306)/d"}, nil},
		{"redis", good + "session: {store: redis}\n", []string{"SESSION_KEYS", keys, "STORE_DSN", "redis://u:x-secret@h:6379/0"}, nil},
		{"an address of another store", good, []string{"SESSION_KEYS", keys, "STORE_DSN", "x-secret"}, []string{"STORE_DSN is for"}},
		{"sqlite without a file", good + "session: {store: sqlite}\n", []string{"SESSION_KEYS", keys}, []string{"session.file is"}},
		{"lifetimes", good + "session: {lifetime: 1h, idle_timeout: 2h}\n", []string{"SESSION_KEYS", keys}, []string{"session.lifetime is 1h"}},
		{"the default path of the pages", good + "pages: {path: /}\n", []string{"SESSION_KEYS", keys}, nil},
		{"a path of the pages with a slash", good + "pages: {path: /_session/}\n", []string{"SESSION_KEYS", keys}, nil},
		{"a path of the pages", good + "pages: {path: /_session}\n", []string{"SESSION_KEYS", keys}, nil},
		{"auth_request with cookies", good + "auth_request: {headers: [user]}\nadmin: :0\ntrusted_proxies: [127.0.0.1]\n", []string{"SESSION_KEYS", keys}, []string{"auth_request needs sessions in a store"}},
		{"auth_request without proxies", good + "auth_request: {}\nsession: {store: memory}\n", []string{"SESSION_KEYS", keys}, []string{"auth_request needs admin", "auth_request needs trusted_proxies"}},
		{"no upstream", "auth_url: https://auth.example.org\n", []string{"SESSION_KEYS", keys}, []string{"upstreams is required"}},
		{"auth_request alone", "auth_url: https://auth.example.org\nadmin: 127.0.0.1:0\nauth_request: {}\ntrusted_proxies: [127.0.0.1]\nsession: {store: memory}\n", []string{"SESSION_KEYS", keys}, nil},
		{"bearer tokens", good + "jwt: {jwks_url: https://auth.example.org/auth/jwks, issuer: x}\n", []string{"SESSION_KEYS", keys}, nil},
		{"bearer tokens by a shared secret", good, []string{"SESSION_KEYS", keys, "JWT_KEY", session.GenerateKey().Encode()}, nil},
		{"a weak secret", good, []string{"SESSION_KEYS", keys, "JWT_KEY", "x-secret"}, []string{"JWT_KEY must"}},
		{"two verifiers", good + "jwt: {jwks_url: https://auth.example.org/auth/jwks, public_keys: x}\n", []string{"SESSION_KEYS", keys}, []string{"jwt has more than one"}},
		{"an address of no keys", good + "jwt: {jwks_url: x-secret}\n", []string{"SESSION_KEYS", keys}, []string{"jwt.jwks_url must"}},
		{"a file of no keys", good + "jwt: {public_keys: " + write(t, "public.pem", "x-secret") + "}\n", []string{"SESSION_KEYS", keys}, []string{"jwt.public_keys must"}},
		{"an issuer alone", good + "jwt: {issuer: x}\n", []string{"SESSION_KEYS", keys}, []string{"jwt needs"}},
		{"half of a certificate", good + "tls: {key: x}\n", []string{"SESSION_KEYS", keys}, []string{"tls needs both"}},
		{"no certificate", good + "tls: {key: x, certificate: x}\n", []string{"SESSION_KEYS", keys}, []string{"tls cannot be loaded"}},
		{"base_path", good + "base_path: app\n", []string{"SESSION_KEYS", keys}, []string{"base_path must"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), []string{"-config", write(t, "gateway.yaml", tt.config), "-config-test"}, environment(tt.env...), &stdout, &stderr)
			if want := map[bool]int{true: 0, false: 2}[tt.want == nil]; status != want || (status == 0) != (stderr.Len() == 0) {
				t.Errorf("status %d, want %d: %s", status, want, &stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is missing in: %s", want, &stderr)
				}
			}
			if strings.Contains(stderr.String(), "x-secret") || strings.Contains(stderr.String(), keys) {
				t.Errorf("the errors quote a value: %s", &stderr)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-help"}, environment(), &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "SESSION_KEYS") {
		t.Errorf("%d %s", status, &stdout)
	}
	for _, args := range [][]string{{"x"}, {"-x"}, {"-config", "/nonexistent"}} {
		stderr.Reset()
		if status := run(t.Context(), args, environment(), &stdout, &stderr); status != 2 || stderr.Len() == 0 {
			t.Errorf("%q: %d %s", args, status, &stderr)
		}
	}
}

// certificate makes a certificate for 127.0.0.1, and returns its files and a pool with
// it.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return write(t, "tls.crt", string(cert)), write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))), pool
}

// The program from its start to its stop, over TLS, with sessions in SQLite.
func TestRun(t *testing.T) {
	auth := authtest.NewServer(t, authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{{Email: "admin@example.com", Password: "correct horse", Roles: []string{"admin"}}}})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Roles"))
	}))
	defer upstream.Close()
	certFile, keyFile, pool := certificate(t)
	config := write(t, "gateway.yaml", `
listen: 127.0.0.1:0
admin: 127.0.0.1:0
tls: {certificate: `+certFile+`, key: `+keyFile+`}
auth_url: `+auth.URL+`
session: {store: sqlite, file: `+filepath.Join(t.TempDir(), "sessions db?.sqlite")+`}
upstreams:
  - path: /
    url: `+upstream.URL+`
    roles: [admin]
    headers: [roles]
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stdoutWriter := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"-config", config}, environment("SESSION_KEYS", keys), stdoutWriter, &stderr)
		stdoutWriter.Close()
	}()
	lines := bufio.NewScanner(stdout)
	var adminURL, siteURL string
	for siteURL == "" && lines.Scan() {
		if u, ok := strings.CutPrefix(lines.Text(), "admin on "); ok {
			adminURL = u
		}
		siteURL, _ = strings.CutPrefix(lines.Text(), "listening on ")
		if !strings.HasPrefix(lines.Text(), "listening on ") {
			siteURL = ""
		}
	}
	if adminURL == "" || !strings.HasPrefix(siteURL, "https://127.0.0.1:") {
		t.Fatalf("%q %q %s", adminURL, siteURL, &stderr)
	}
	siteURL = strings.Replace(siteURL, "127.0.0.1", "localhost", 1)

	jar, _ := cookiejar.New(nil)
	client := &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(address string) (*http.Response, string) {
		res, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res, string(body)
	}
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"auth":"ok","store":"ok"}`} {
		if res, body := get(adminURL + path); res.StatusCode != 200 || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	if res, body := get(adminURL + "/metrics"); res.StatusCode != 200 || !strings.Contains(body, "session_") {
		t.Errorf("/metrics: %d %.300s", res.StatusCode, body)
	}
	if res, _ := get(siteURL); res.StatusCode != 401 || res.ProtoMajor != 2 {
		t.Errorf("%d %s", res.StatusCode, res.Proto)
	}
	res, err := client.PostForm(siteURL+"/login", url.Values{"email": {"admin@example.com"}, "password": {"correct horse"}})
	if err != nil || res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Set-Cookie"), "__Host-gateway=") {
		t.Fatal(err, res)
	}
	res.Body.Close()
	if res, body := get(siteURL); res.StatusCode != 200 || body != "admin,user" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	stream, err := client.Get(siteURL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	auth.Close()
	cancel() // with a stream that is open
	if got := <-status; got != 0 {
		t.Errorf("status %d: %s", got, &stderr)
	}
}

// readyz reports an outage, and calls the services once for many requests.
func TestReadiness(t *testing.T) {
	calls := make(chan struct{}, 100)
	down := func(context.Context) error { calls <- struct{}{}; return io.EOF }
	up := func(context.Context) error { return nil }
	h := newAdmin(down, up, http.NotFoundHandler())
	for range 20 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code != 503 || strings.TrimSpace(w.Body.String()) != `{"auth":"down","store":"ok"}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if len(calls) > 10 {
		t.Errorf("%d calls", len(calls))
	}
}
