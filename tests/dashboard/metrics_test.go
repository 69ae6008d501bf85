package dashboard_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

// TestMetrics reads the metrics at their separate address. The public address must not
// serve the metrics, and their address must not serve anything else.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for i, framework := range frameworks {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			s := start(t, target{framework: framework, store: []string{"memory", "cookie"}[i%2]}, authtest.Options{}, "METRICS=127.0.0.1:0")
			b := s.signedIn(t, viewer)
			b.get("/api/me").is(200)
			b.get("/metrics").is(404)
			b.postForm("/login", "email", viewer, "password", "wrong").is(401)

			address := ""
			for _, line := range s.Stdout() {
				if at, ok := strings.CutPrefix(line, "metrics on "); ok {
					address = at
				}
			}
			if lines := s.Stdout(); !strings.HasPrefix(address, "http://127.0.0.1:") || !strings.HasPrefix(lines[len(lines)-1], "listening on ") {
				t.Fatalf("standard output: %q", lines)
			}
			get := func(method, url string) (int, string, http.Header) {
				t.Helper()
				req, err := http.NewRequest(method, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(body), resp.Header
			}
			status, text, header := get("GET", address)
			if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || header.Get("Set-Cookie") != "" {
				t.Errorf("status %d, header %v", status, header)
			}
			for _, want := range []string{
				"\nsessions_started_total 1\n",
				"\nsession_sign_ins_total{result=\"refused\"} 1\n",
				"\nsession_auth_call_duration_seconds_count{op=\"login\",result=\"ok\"} 1\n",
				"\ngo_goroutines ",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
			if strings.Contains(text, "\nsessions_live 1\n") == s.target.inCookies() {
				t.Error("the number of live sessions must be known with a store, and only then")
			}
			for _, found := range s.secrets.Search(text) {
				t.Errorf("in the metrics: %s", found)
			}
			if strings.Contains(text, viewer) {
				t.Error("the metrics name a user")
			}
			base := strings.TrimSuffix(address, "/metrics")
			for _, path := range []string{"/", "/login", "/api/me", "/healthz", "/metrics/", "/debug/pprof/"} {
				if status, _, _ := get("GET", base+path); status != 404 {
					t.Errorf("GET %s at the address of the metrics: %d", path, status)
				}
			}
			if status, _, _ := get("POST", address); status != 405 {
				t.Errorf("POST: %d", status)
			}
		})
	}
}

// If either of the two ports is in use, the program ends.
func TestMetricsPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	status, stdout, stderr := proc.Run(t, "dashboard", []string{"ADDR=127.0.0.1:0", "METRICS=" + l.Addr().String()})
	if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "in use") || stdout != "" {
		t.Errorf("exit status %d, %q and %q, want 1 and one line", status, stdout, stderr)
	}
}
