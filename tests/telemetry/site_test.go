// Package telemetry_test tests package telemetry with whole apps and with Prometheus.
package telemetry_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
	"github.com/synmetrix/session/telemetry"
)

const root = "../.."

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exposed returns a registry with a Telemetry.
func exposed(t testing.TB, opts ...telemetry.Option) (*prometheus.Registry, *telemetry.Telemetry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	tel, err := telemetry.New(reg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return reg, tel
}

// samples returns what a registry serves at /metrics: the values by their series.
func samples(t testing.TB, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("/metrics: %d\n%s", w.Code, w.Body)
	}
	return parse(t, w.Body)
}

func parse(t testing.TB, r io.Reader) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all[line[:i]] = v
	}
	return all
}

// site is an app with its metrics at another address, over HTTP.
type site struct {
	t       testing.TB
	auth    *authtest.Server
	store   *testkit.FailingStore
	app     *httptest.Server
	metrics *httptest.Server
	reg     *prometheus.Registry
	manager *session.Manager
}

// countedStore is a store that may fail and that counts its sessions.
type countedStore struct {
	*testkit.FailingStore
	sessions *memstore.Store
}

func (s countedStore) CountSessions(ctx context.Context) (int, error) {
	if s.Down.Load() {
		return 0, testkit.ErrDown
	}
	return s.sessions.CountSessions(ctx)
}

// password is that of all accounts.
const password = "correct horse battery staple"

func newSite(t testing.TB) *site {
	t.Helper()
	auth, err := authtest.Start(authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{
		{Email: "admin@example.com", Password: password, Roles: []string{"user", "admin"}},
		{Email: "user@example.com", Password: password},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { auth.Close() })
	client := synmetrix.NewClient(auth.URL)
	t.Cleanup(client.CloseIdleConnections)
	sessions := memstore.New()
	s := &site{t: t, auth: auth, store: &testkit.FailingStore{Store: sessions}}
	var tel *telemetry.Telemetry
	s.reg, tel = exposed(t)
	s.manager, err = session.New(tel.Instrument(session.Config{
		Auth: client, Keys: []session.SecretKey{session.GenerateKey()},
		Store: countedStore{s.store, sessions}, Logger: slog.New(slog.DiscardHandler),
	}))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, s.manager)
	mux.Handle("GET /me", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(middleware.Me)))
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		if err := session.FromContext(r.Context()).Refresh(r.Context()); err != nil {
			middleware.Refuse(w, r, err)
		}
	})
	s.app = httptest.NewTLSServer(middleware.Sessions(s.manager)(mux))
	s.metrics = httptest.NewServer(promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{}))
	t.Cleanup(s.metrics.Close)
	t.Cleanup(s.app.Close)
	t.Cleanup(func() { _ = s.manager.Shutdown(context.Background()) }) // a test may have stopped the service
	return s
}

// browser returns a client with its own cookies that follows no redirects.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{
		Transport: s.app.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send sends a request with a form and header fields, which have alternating names and
// values. It checks the status of the response.
func (s *site) send(b *http.Client, want int, method, path string, form url.Values, header ...string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.app.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != want {
		s.t.Errorf("%s %s: status %d, want %d", method, path, resp.StatusCode, want)
	}
}

func (s *site) signIn(email string) *http.Client {
	s.t.Helper()
	b := s.browser()
	s.send(b, 303, "POST", "/login", url.Values{"email": {email}, "password": {password}})
	return b
}

// scrape reads the metrics over HTTP.
func (s *site) scrape() map[string]float64 {
	s.t.Helper()
	resp, err := http.Get(s.metrics.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return parse(s.t, resp.Body)
}
