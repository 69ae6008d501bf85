// Package imports_test checks which packages an app compiles, and that imports point
// downwards only.
package imports_test

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/synmetrix/session"

// own returns packages of this module by their paths in it.
func own(paths ...string) []string {
	all := []string{module}
	for _, p := range paths {
		all = append(all, module+"/"+p)
	}
	return all
}

// base are the packages of this module that the root and package synmetrix may import.
var base = own("auth", "internal/cache", "internal/cookies", "internal/deadline", "internal/guard", "internal/keeper", "internal/loopback", "internal/nostore", "internal/pacing", "internal/seal", "internal/throttle", "store", "store/memstore")

// libraries are the packages of other modules that an app may compile.
var libraries = []string{"github.com/golang-jwt/jwt/v5", "github.com/gorilla/securecookie"}

// notInApps are packages of the standard library for tests, for certain programs, or for
// stores.
var notInApps = []string{"database/sql", "expvar", "flag", "net/http/httptest", "net/http/pprof", "os/exec", "plugin", "testing"}

// An app compiles only the listed packages. New ones must be added here on purpose.
func TestWhatAnAppCompiles(t *testing.T) {
	for _, tt := range []struct {
		packages []string
		allowed  []string
	}{
		{own(), nil},
		{own("middleware"), own("middleware")},
		{own("synmetrix"), own("synmetrix")},
		{own("middleware", "synmetrix"), own("middleware", "synmetrix")},
		{own("auth/verify"), own("auth/verify")},
	} {
		t.Run(strings.Join(tt.packages, " "), func(t *testing.T) {
			standard, others := dependencies(t, tt.packages...)
			for _, p := range others {
				if !within(p, libraries) && !slices.Contains(base, p) && !slices.Contains(tt.allowed, p) {
					t.Errorf("%s is compiled", p)
				}
			}
			for _, p := range standard {
				if slices.ContainsFunc(notInApps, func(not string) bool { return p == not || strings.HasPrefix(p, not+"/") }) {
					t.Errorf("%s is compiled", p)
				}
			}
			for _, p := range tt.packages {
				if !slices.Contains(others, p) {
					t.Errorf("%s is not among what was listed: the test shows nothing", p)
				}
			}
		})
	}
}

func within(p string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return p == prefix || strings.HasPrefix(p, strings.TrimSuffix(prefix, "/")+"/")
	})
}

// dependencies returns all packages that these packages compile, outside of the workspace
// as for an app.
func dependencies(t *testing.T, packages ...string) (standard, others []string) {
	t.Helper()
	args := append([]string{"list", "-deps", "-f", "{{.Standard}} {{.ImportPath}}"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	for line := range strings.Lines(string(out)) {
		isStandard, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if isStandard == "true" {
			standard = append(standard, path)
		} else {
			others = append(others, path)
		}
	}
	return standard, others
}
