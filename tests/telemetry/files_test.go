package telemetry_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// needs skips the test if a program is not installed, or fails it if all tests must run.
func needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if scale.CI() {
		t.Fatalf("%s is not installed (Debian package prometheus)", program)
	}
	t.Skipf("%s is not installed (Debian package prometheus)", program)
}

func promtool(t testing.TB, input string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

// TestPromtool checks the alert rules with promtool, runs their tests, and checks the
// names of the metrics.
func TestPromtool(t *testing.T) {
	t.Parallel()
	needs(t, "promtool")
	promtool(t, "", "check", "rules", filepath.Join(root, "telemetry", "alerts.yml"))
	promtool(t, "", "test", "rules", filepath.Join(root, "telemetry", "alerts_test.yml"))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(everything(t), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	promtool(t, w.Body.String(), "check", "metrics")
}

var (
	exprLine  = regexp.MustCompile(`(?m)^\s+expr: (?:\|\n((?:\s{10,}.*\n)+)|(.*)\n)`)
	metric    = regexp.MustCompile(`\bsessions?_[a-z_]+[a-z]`)
	selection = regexp.MustCompile(`\b(sessions?_[a-z_]+)\{([^}]*)\}`)
	matcher   = regexp.MustCompile(`(\w+)=~?"([^"]*)"`)
	suffix    = regexp.MustCompile(`_(bucket|count|sum)$`)
	alertName = regexp.MustCompile(`(?m)^\s+- alert: (\w+)$`)
)

// alertExprs returns the expressions of the alert rules.
func alertExprs(t testing.TB) []string {
	t.Helper()
	text := read(t, "telemetry/alerts.yml")
	var all []string
	for _, m := range exprLine.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+m[2])
	}
	if n := len(alertName.FindAllString(text, -1)); n < 10 || n != len(all) {
		t.Fatalf("%d expressions for %d alerts", len(all), n)
	}
	return all
}

// panel is a panel of a dashboard of Grafana.
type panel struct {
	ID      int
	Type    string
	Title   string
	Targets []struct{ Expr string }
}

func grafana(t testing.TB) []panel {
	t.Helper()
	var dashboard struct {
		Title  string
		Panels []panel
	}
	if err := json.Unmarshal([]byte(read(t, "telemetry/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || len(dashboard.Panels) < 10 {
		t.Fatalf("%q with %d panels", dashboard.Title, len(dashboard.Panels))
	}
	return dashboard.Panels
}

// TestNames checks that alert rules and the dashboard use metrics and values of labels
// that exist, and that the dashboard shows every metric.
func TestNames(t *testing.T) {
	t.Parallel()
	known := families(t)
	series := keys(samples(t, everything(t)))
	shown := map[string]bool{}
	check := func(where, expr string) {
		names := metric.FindAllString(strings.NewReplacer(`"session_started"`, "").Replace(expr), -1)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		for _, name := range names {
			name = suffix.ReplaceAllString(name, "")
			shown[name] = shown[name] || where == "grafana.json"
			if !slices.Contains(known, name) {
				t.Errorf("%s: %s does not exist", where, name)
			}
		}
		for _, s := range selection.FindAllStringSubmatch(expr, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if m[1] == "job" || m[1] == "instance" {
					continue
				}
				for value := range strings.SplitSeq(m[2], "|") {
					label := fmt.Sprintf("%s=%q", m[1], value)
					if !slices.ContainsFunc(series, func(one string) bool { return strings.HasPrefix(one, s[1]) && strings.Contains(one, label) }) {
						t.Errorf("%s: %s never has %s", where, s[1], label)
					}
				}
			}
		}
	}
	for _, expr := range alertExprs(t) {
		check("alerts.yml", expr)
	}
	ids := map[int]bool{}
	for _, p := range grafana(t) {
		if ids[p.ID] || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %d, %q, has a number of another one, no title or no target", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			check("grafana.json", target.Expr)
		}
	}
	for _, name := range known {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// TestQueries parses the queries of the dashboard with promtool.
func TestQueries(t *testing.T) {
	t.Parallel()
	needs(t, "promtool")
	variables := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, p := range grafana(t) {
		for _, target := range p.Targets {
			fmt.Fprintf(&rules, "  - record: query%d\n    expr: %q\n", n, variables.Replace(target.Expr))
			n++
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// TestPage checks that docs/telemetry.md has a row for each metric and each alert.
func TestPage(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/telemetry.md")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)(?:\\{[\\w, ]+\\})?` \\|").FindAllStringSubmatch(text, -1) {
		rows[m[1]] = true
	}
	names := families(t)
	for _, m := range alertName.FindAllStringSubmatch(read(t, "telemetry/alerts.yml"), -1) {
		names = append(names, m[1])
	}
	for _, name := range names {
		if !rows[name] {
			t.Errorf("no row describes %s", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		if strings.HasPrefix(name, "session") || strings.HasPrefix(name, "Session") {
			t.Errorf("a row describes %s, which does not exist", name)
		}
	}
}
