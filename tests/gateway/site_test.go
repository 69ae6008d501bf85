// Package gateway_test drives the program session-gateway as it is deployed: by its
// configuration files, behind nginx and Caddy.
package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "cmd/session-gateway") }

const (
	deploy   = "../../cmd/session-gateway/deploy"
	origin   = "https://app.example.org" // in the configuration files
	password = "correct horse battery staple"
	admin    = "admin@example.com"
	viewer   = "viewer@example.com"
)

// patience is how long a test waits for what should happen at once.
const patience = 2 * time.Minute

// service is what the proxies protect. It knows nothing of sessions.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
}

// received is a request as the service received it.
type received struct {
	Method, Host, URI, Body string
	Header                  http.Header
}

func newService(t *testing.T) *service {
	s := &service{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(received{r.Method, r.Host, r.RequestURI, string(body), r.Header})
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, []byte(r.Header.Get("X-Forwarded-Roles")+": "+string(text))) != nil {
				return
			}
		}
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// reached returns how many requests have reached the service.
func (s *service) reached() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// newAuth starts the auth service.
func newAuth(t *testing.T, accounts ...authtest.Account) *authtest.Server {
	return authtest.NewServer(t, authtest.Options{PasswordCost: -1, Accounts: append(accounts,
		authtest.Account{Email: admin, Password: password, Roles: []string{"user", "admin"}},
		authtest.Account{Email: viewer, Password: password},
	)})
}

// deployed returns a file of the deployment with other addresses and files. pairs are
// alternating texts of the file and what replaces them.
func deployed(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("%s does not have %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(text))
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// program is the gateway as a process.
type program struct {
	addr, admin string // host:port
}

// startGateway starts the gateway with a configuration file of the deployment.
func startGateway(t *testing.T, config string) program {
	t.Helper()
	p := proc.Start(t, "session-gateway", []string{"SESSION_KEYS=" + session.GenerateKey().Encode()}, "-config", write(t, "gateway.yaml", config))
	g := program{addr: strings.TrimPrefix(p.URL, "http://")}
	for _, line := range p.Stdout() {
		if rest, ok := strings.CutPrefix(line, "admin on http://"); ok {
			g.admin = rest
		}
	}
	return g
}

// configuration returns a configuration file of the deployment for a test.
func configuration(t *testing.T, name, auth string, pairs ...string) string {
	t.Helper()
	return deployed(t, name, append([]string{
		"127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:8081", "127.0.0.1:0", "https://app.synmetrix.org", auth,
		"/var/lib/session-gateway", t.TempDir(),
	}, pairs...)...)
}

// certificate makes a throw-away certificate for the site.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"app.example.org"}, IsCA: true, BasicConstraintsValid: true}
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

// front is what browsers connect to for the site's origin.
type front struct {
	t    *testing.T
	addr string // host:port
	pool *x509.CertPool
}

// transport returns a transport that connects to the front.
func (f *front) transport() *http.Transport {
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.addr)
		},
	}
}

// browser returns a client that keeps cookies and follows no redirects.
func (f *front) browser() *http.Client {
	jar, _ := cookiejar.New(nil)
	transport := f.transport()
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Jar: jar, Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request and returns the response with its body.
func (f *front) do(client *http.Client, method, path, body string, fields ...string) (*http.Response, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, origin+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return res, string(text)
}

// signIn signs in by the form at the path.
func (f *front) signIn(email, path string) *http.Client {
	f.t.Helper()
	client := f.browser()
	form := url.Values{"email": {email}, "password": {password}, "return_to": {"/x"}}
	res, body := f.do(client, "POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/x" {
		f.t.Fatalf("sign-in of %s: %d %q %.300s", email, res.StatusCode, res.Header.Get("Location"), body)
	}
	return client
}

// get returns the request that the service received.
func (f *front) get(client *http.Client, path string, fields ...string) received {
	f.t.Helper()
	res, body := f.do(client, "GET", path, "", fields...)
	var got received
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Method == "" {
		f.t.Fatalf("%s: %d %v: %.300s", path, res.StatusCode, err, body)
	}
	return got
}
