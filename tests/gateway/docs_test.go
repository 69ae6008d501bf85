package gateway_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	fronts "github.com/synmetrix/session/tests/internal/front"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/gateway.md contains the files that these tests run, and every setting.
func TestDocs(t *testing.T) {
	t.Parallel()
	page := read(t, "../../docs/gateway.md")
	for _, name := range []string{"gateway.yaml", "gateway-auth.yaml", "nginx.conf", "nginx-auth.conf", "Caddyfile", "Caddyfile-auth"} {
		if !strings.Contains(page, "\n"+strings.TrimSpace(read(t, deploy+"/"+name))+"\n```") {
			t.Errorf("docs/gateway.md does not have the text of %s", name)
		}
	}
	if lines := strings.Count(read(t, deploy+"/gateway.yaml"), "\n"); lines > 15 {
		t.Errorf("the configuration has %d lines", lines)
	}
	settings := regexp.MustCompile(`yaml:"(\w+)"`).FindAllStringSubmatch(read(t, "../../cmd/session-gateway/file.go"), -1)
	if len(settings) < 30 {
		t.Fatalf("%d settings", len(settings))
	}
	for _, s := range settings {
		if !regexp.MustCompile("`(\\w+\\.)*\\.?" + s[1] + "[`.]").MatchString(page) {
			t.Errorf("docs/gateway.md does not describe %s", s[1])
		}
	}
}

// systemd accepts the unit.
func TestUnit(t *testing.T) {
	t.Parallel()
	program := fronts.LookFor(t, "systemd-analyze")
	// The program in the unit is not installed here.
	unit := fronts.Write(t, "session-gateway.service", deployed(t, "session-gateway.service", "/usr/local/bin/session-gateway", "/bin/true"))
	out, err := exec.CommandContext(t.Context(), program, "verify", unit).CombinedOutput()
	if err != nil || strings.Contains(string(out), "session-gateway.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The program needs no libraries of the system.
func TestStatic(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "session-gateway")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "-ldflags=-s -w", "github.com/synmetrix/session/cmd/session-gateway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux") // an ELF file on every system
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%q %v", libraries, err)
	}
}
