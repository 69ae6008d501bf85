// Package load puts load on the example dashboard over real sockets. By default the counts
// are small: the tests check that every request succeeds. With LONG=1 they are large
// enough for the figures, which the tests print as tables.
package load

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "dashboard") }

const (
	user     = "admin@example.com"
	password = "correct horse battery staple"
)

// startService starts an auth service whose access tokens live for life.
func startService(t *testing.T, life time.Duration) *authtest.Server {
	t.Helper()
	return authtest.NewServer(t, authtest.Options{
		Accounts:     []authtest.Account{{Email: user, Password: password, Roles: []string{"user", "admin"}}},
		AccessLife:   life,
		PasswordCost: -1,
	})
}

// startDashboard starts the program with an auth service.
func startDashboard(t *testing.T, service *authtest.Server, env ...string) *proc.Process {
	t.Helper()
	return proc.Start(t, "dashboard", append([]string{
		"AUTH_URL=" + service.URL,
		"COOKIE_INSECURE=true", // the test's browsers use plain HTTP
		"LOG_LEVEL=warn",
		"AUTH_TIMEOUT=1m", "STORE_TIMEOUT=20s", // a busy machine is no outage
	}, env...))
}

// ofProcess returns a file of a process in /proc. Only Linux has these files. The servers of
// the tests need Linux, too; see package dbtest.
func ofProcess(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// memory returns the current and the highest resident memory of a process, in MiB.
func memory(t *testing.T, p *proc.Process) (now, most float64) {
	t.Helper()
	text := ofProcess(t, p.Pid(), "status")
	read := func(name string) float64 {
		_, rest, _ := strings.Cut(text, "\n"+name+":")
		line, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n / 1024
	}
	return read("VmRSS"), read("VmHWM")
}

// cpuTime returns the CPU time of a process.
func cpuTime(t *testing.T, p *proc.Process) time.Duration {
	t.Helper()
	_, rest, _ := strings.Cut(ofProcess(t, p.Pid(), "stat"), ") ") // the fields from the third on
	fields := strings.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	var sum time.Duration
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// percentile returns the value that the share p of durations does not exceed. It sorts
// durations.
func percentile(durations []time.Duration, p float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	return durations[min(int(float64(len(durations))*p), len(durations)-1)]
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

// table prints rows as Markdown. The first row is the heading.
func table(t *testing.T, rows [][]string) {
	t.Helper()
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "\n| %s |", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("\n" + strings.Repeat("|---", len(row)) + "|")
		}
	}
	t.Log(b.String())
}

var page = http.Header{
	"Accept":          {"text/html,application/xhtml+xml,*/*;q=0.8"},
	"Accept-Language": {"en-US,en;q=0.5"},
	"Sec-Fetch-Dest":  {"document"},
	"Sec-Fetch-Mode":  {"navigate"},
	"Sec-Fetch-Site":  {"none"},
	"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
}
