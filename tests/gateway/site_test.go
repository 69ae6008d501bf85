// Package gateway_test tests the program session-gateway as it is deployed: with its
// configuration files, behind nginx and Caddy.
package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	fronts "github.com/synmetrix/session/tests/internal/front"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "cmd/session-gateway") }

const (
	deploy   = "../../cmd/session-gateway/deploy"
	origin   = fronts.Origin
	password = "correct horse battery staple"
	admin    = "admin@example.com"
	viewer   = "viewer@example.com"
)

// patience is how long a test waits for an event that should happen at once.
const patience = fronts.Patience

// service is the service behind the proxies. It has no sessions.
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

// deployed returns a file of the deployment with other addresses and files.
func deployed(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	return fronts.Edited(t, filepath.Join(deploy, name), pairs...)
}

// program is the gateway as a process.
type program struct {
	addr, admin string // host:port
}

// startGateway starts the gateway with a configuration file of the deployment. env is its
// environment, with new keys by default.
func startGateway(t *testing.T, config string, env ...string) program {
	t.Helper()
	if env == nil {
		env = []string{"SESSION_KEYS=" + session.GenerateKey().Encode()}
	}
	p := proc.Start(t, "session-gateway", env, "-config", fronts.Write(t, "gateway.yaml", config))
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

// front is the proxy to which browsers connect for the site's origin.
type front struct{ *fronts.Front }

// nginx starts nginx with a configuration of the deployment.
func nginx(t *testing.T, name string, pairs ...string) *front {
	t.Helper()
	return &front{fronts.Nginx(t, filepath.Join(deploy, name), pairs...)}
}

// caddy starts Caddy with a configuration of the deployment.
func caddy(t *testing.T, name string, pairs ...string) *front {
	t.Helper()
	return &front{fronts.Caddy(t, filepath.Join(deploy, name), pairs...)}
}

// signIn signs in by the form at the path.
func (f *front) signIn(email, path string) *http.Client {
	f.T.Helper()
	client := f.Browser()
	form := url.Values{"email": {email}, "password": {password}, "return_to": {"/x"}}
	res, body := f.Do(client, "POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/x" {
		f.T.Fatalf("sign-in of %s: %d %q %.300s", email, res.StatusCode, res.Header.Get("Location"), body)
	}
	return client
}

// get returns the request that the service received.
func (f *front) get(client *http.Client, path string, fields ...string) received {
	f.T.Helper()
	res, body := f.Do(client, "GET", path, "", fields...)
	var got received
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Method == "" {
		f.T.Fatalf("%s: %d %v: %.300s", path, res.StatusCode, err, body)
	}
	return got
}
