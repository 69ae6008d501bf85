// Package telemetry_test tests package telemetry with whole apps and with Prometheus.
package telemetry_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
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
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
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
	*webapp.App
	store   *testkit.FailingStore
	metrics *httptest.Server
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

func newSite(t testing.TB) *site {
	t.Helper()
	sessions := memstore.New()
	s := &site{store: &testkit.FailingStore{Store: sessions}}
	reg, tel := exposed(t)
	s.App = webapp.New(t, authtest.Options{Accounts: []authtest.Account{
		{Email: "admin@example.com", Password: webapp.Password, Roles: []string{"user", "admin"}},
		{Email: "user@example.com", Password: webapp.Password},
	}}, func(c *session.Config) {
		c.Store = countedStore{s.store, sessions}
		*c = tel.Instrument(*c)
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, s.Manager)
	mux.Handle("GET /me", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(middleware.Me)))
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
		if err := session.FromContext(r.Context()).Refresh(r.Context()); err != nil {
			middleware.Refuse(w, r, err)
		}
	})
	s.Serve(middleware.Sessions(s.Manager)(mux), false)
	s.metrics = httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	t.Cleanup(s.metrics.Close)
	return s
}

func (s *site) signIn(email string) *webapp.Browser {
	s.T.Helper()
	b := s.Browser()
	b.SignIn(email)
	return b
}

// scrape reads the metrics over HTTP.
func (s *site) scrape() map[string]float64 {
	s.T.Helper()
	resp, err := http.Get(s.metrics.URL)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	return parse(s.T, resp.Body)
}
