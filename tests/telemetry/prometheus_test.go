package telemetry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/tests/internal/port"
)

// patience is how long the test waits for Prometheus, on a machine that may be busy.
const patience = 3 * time.Minute

// prometheusServer is a Prometheus server in a separate process.
type prometheusServer struct {
	t      *testing.T
	url    string
	output *os.File
}

// startPrometheus starts a server that scrapes the metrics of an app and evaluates rules.
func startPrometheus(t *testing.T, target, rules string) *prometheusServer {
	t.Helper()
	needs(t, "prometheus")
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	config := write("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}
rule_files: [%s]
scrape_configs:
- job_name: app
  static_configs: [{targets: [%q]}]
`, write("alerts.yml", rules), target))
	addr := "127.0.0.1:" + port.Free(t)
	p := &prometheusServer{t: t, url: "http://" + addr}
	var err error
	if p.output, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
		p.output.Close()
	})
	return p
}

// get reads the data of the API into data. It returns false while the server does not
// respond.
func (p *prometheusServer) get(path string, data any) bool {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return false
	}
	response := struct{ Data any }{data}
	if err := json.Unmarshal(body, &response); err != nil {
		p.t.Fatalf("%s: %v\n%s", path, err, body)
	}
	return true
}

// eventually waits until ok returns true.
func (p *prometheusServer) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			text, _ := os.ReadFile(p.output.Name())
			p.t.Fatalf("not in time: %s\n%s", what, text)
		}
	}
}

// value returns the value of a query that has one result.
func (p *prometheusServer) value(query string) string {
	p.t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	if !p.get("/api/v1/query?query="+url.QueryEscape(query), &data) || len(data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(data.Result[0].Value[1])
}

// firing returns the names of the alerts that fire.
func (p *prometheusServer) firing() map[string]bool {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	p.get("/api/v1/alerts", &data)
	names := map[string]bool{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
		}
	}
	return names
}

// TestPrometheus scrapes an app with a real Prometheus. An alert of alerts.yml fires
// after the store goes down, and others after the auth service goes down.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	// The windows and waits of the rules are too long for a test.
	rules := regexp.MustCompile(`\[\d+[mh]\]`).ReplaceAllString(read(t, "telemetry/alerts.yml"), "[20s]")
	rules = regexp.MustCompile(`for: \d+[mh]`).ReplaceAllString(rules, "for: 1s")
	p := startPrometheus(t, strings.TrimPrefix(s.metrics.URL, "http://"), rules)
	user := s.signIn("user@example.com")
	p.eventually("a sign-in is scraped", func() bool { return p.value("sessions_started_total") == "1" })
	p.eventually("the live sessions are scraped", func() bool { return p.value("sessions_live") == "1" })
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.eventually("all rules are evaluated", func() bool {
		ready := p.get("/api/v1/rules", &data) && len(data.Groups) == 1
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				ready = ready && r.Health == "ok"
			}
		}
		return ready
	})
	p.eventually("no alert fires while all is well", func() bool { return len(p.firing()) == 0 })

	s.store.Down.Store(true)
	p.eventually("the alert of the store fires", func() bool {
		user.Get("/me").Is(503)
		return p.firing()["SessionStoreUnavailable"]
	})
	s.store.Down.Store(false)
	if p.firing()["SessionAuthFailing"] {
		t.Error("the alert of the auth service fires, too")
	}

	s.Auth.Inject(authtest.Login, authtest.Fault{Status: 503})
	p.eventually("the alert of the auth service fires", func() bool {
		s.Browser().Submit("/login", "email", "user@example.com", "password", webapp.Password).Is(503)
		return p.firing()["SessionAuthFailing"]
	})
	s.Auth.Clear()
	if firing := p.firing(); firing["SessionTokensLost"] || firing["SessionOtherUser"] || firing["SessionMetricsAbsent"] {
		t.Errorf("alerts fire without a cause: %v", firing)
	}
}
