// Package release_test tests the modules as a module proxy serves them.
package release_test

import (
	"archive/zip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/synmetrix/session/internal/testkit/scale"
)

const (
	rootDir  = "../.."
	rootPath = "github.com/synmetrix/session"
	version  = "v0.99.0" // that the check releases
)

// frameworks must not reach an app that does not use them.
var frameworks = []string{"github.com/labstack/echo", "github.com/gin-gonic/gin"}

// publish writes the root module into a folder that the go command can use as
// a proxy, and returns the folder's URL and the module's zip.
func publish(t *testing.T) (proxy, zipFile string) {
	t.Helper()
	dir := t.TempDir()
	escaped, err := module.EscapePath(rootPath)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("list", version+"\n")
	write(version+".info", `{"Version":"`+version+`","Time":"2026-01-02T03:04:05Z"}`)
	write(version+".mod", read(t, filepath.Join(rootDir, "go.mod")))
	zipFile = filepath.Join(at, version+".zip")
	f, err := os.Create(zipFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := modzip.CreateFromDir(f, module.Version{Path: rootPath, Version: version}, rootDir); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(dir), zipFile
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// consumer is an app of a user of the module, in its own directory.
type consumer struct {
	t   *testing.T
	dir string
	env []string
}

// newConsumer creates a module outside of this work tree, with an empty module cache. Our
// module comes from proxy. Other modules come from this machine's cache or from the proxy
// of the environment.
//
// The checksum database is not used, because it does not have our version. The sums of
// all other modules are compared with ours.
func newConsumer(t *testing.T, proxy string, files ...string) *consumer {
	t.Helper()
	c := &consumer{t: t, dir: t.TempDir(), env: os.Environ()}
	var settings struct{ GOPROXY, GOMODCACHE string }
	if err := json.Unmarshal([]byte(c.run("go", "env", "-json", "GOPROXY", "GOMODCACHE")), &settings); err != nil {
		t.Fatal(err)
	}
	flags := "-mod=mod -modcacherw -buildvcs=false"
	if !scale.CI() { // the build cache may be empty
		flags += " -trimpath" // so that what was compiled in another directory is used again
	}
	c.env = append(c.env,
		"GOWORK=off",
		"GOFLAGS="+flags,
		"GOTOOLCHAIN=local",
		"GOMODCACHE="+t.TempDir(),
		"GOPROXY="+strings.Join([]string{proxy, "file://" + filepath.ToSlash(settings.GOMODCACHE) + "/cache/download", settings.GOPROXY}, ","),
		"GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=", "GOSUMDB=off",
	)
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(read(t, filepath.Join("testdata", "app", name))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.run("go", "mod", "init", "example.org/app")
	c.run("go", "get", rootPath+"@latest")
	c.run("go", "mod", "tidy")
	return c
}

// run runs a command in the app's directory and returns its output.
func (c *consumer) run(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

func parseMod(t *testing.T, file string) *modfile.File {
	t.Helper()
	mod, err := modfile.Parse(file, []byte(read(t, file)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// versions returns the requirements of a go.mod.
func versions(mod *modfile.File) map[string]string {
	v := map[string]string{}
	for _, r := range mod.Require {
		v[r.Mod.Path] = r.Mod.Version
	}
	return v
}

// The modules that an app with the root, middleware and synmetrix compiles, besides the
// standard library.
var compiled = []string{
	"github.com/golang-jwt/jwt/v5",
	"github.com/gorilla/securecookie",
	rootPath,
}

// TestConsumer builds an app like its author.
func TestConsumer(t *testing.T) {
	t.Parallel()
	proxy, _ := publish(t)
	app := newConsumer(t, proxy, "main.go")

	if got, want := app.run("go", "run", "."), "303 /login?return_to=%2Fadmin\n"; got != want {
		t.Errorf("the app says %q, want %q", got, want)
	}

	ours := parseMod(t, filepath.Join(rootDir, "go.mod"))
	theirs := parseMod(t, filepath.Join(app.dir, "go.mod"))
	required := versions(ours)
	for path, v := range versions(theirs) {
		switch {
		case path == rootPath && v == version:
		case !slices.Contains(compiled, path):
			t.Errorf("the app's go.mod requires %s, of which nothing is compiled", path)
		case v != required[path]:
			t.Errorf("the app's go.mod requires %s %s, ours %s", path, v, required[path])
		}
	}
	if len(theirs.Replace) > 0 || theirs.Toolchain != nil {
		t.Errorf("the app's go.mod has been given more than requirements:\n%s", read(t, filepath.Join(app.dir, "go.mod")))
	}
	if len(ours.Replace) > 0 || len(ours.Exclude) > 0 {
		t.Error("the root's go.mod has replacements or exclusions: the builds of other modules would ignore them")
	}

	// The app's go.sum has no sum that our own go.sum does not have.
	sums := strings.Split(read(t, filepath.Join(rootDir, "go.sum")), "\n")
	for line := range strings.Lines(read(t, filepath.Join(app.dir, "go.sum"))) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, rootPath+" ") && !slices.Contains(sums, line) {
			t.Errorf("the app's go.sum has %q, ours has not", line)
		}
	}

	modules := strings.Fields(app.run("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
	slices.Sort(modules)
	if modules = slices.Compact(modules); !slices.Equal(modules, compiled) {
		t.Errorf("the app compiles %q, want %q", modules, compiled)
	}

	// Our module must not raise the version of an app's framework: it requires no more
	// than the root needs itself.
	seen := 0
	for line := range strings.Lines(app.run("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all")) {
		path, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.ContainsFunc(frameworks, func(f string) bool { return strings.HasPrefix(path, f) }) {
			continue
		}
		if seen++; v != required[path] {
			t.Errorf("the app's build list has %s %s, the root's go.mod %q", path, v, required[path])
		}
	}
	if seen != len(frameworks) {
		t.Errorf("%d frameworks are in the app's build list, want %d", seen, len(frameworks))
	}
}

// TestTidy checks that our own go.mod and go.sum contain only what the code requires,
// because every app gets the rest, too.
func TestTidy(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{rootDir, filepath.Join(rootDir, "adapters", "sessionecho5"), filepath.Join(rootDir, "auth", "jwks"), filepath.Join(rootDir, "telemetry")} {
		cmd := exec.CommandContext(t.Context(), "go", "mod", "tidy", "-diff")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", dir, err, out)
		}
	}
}

// TestConsumerTests runs the tests of an app that uses the test kit.
func TestConsumerTests(t *testing.T) {
	t.Parallel()
	proxy, _ := publish(t)
	app := newConsumer(t, proxy, "main.go", "main_test.go")
	app.run("go", "vet", "./...")
	if out := app.run("go", "test", "-v", "./..."); !strings.Contains(out, "--- PASS: TestAdmin") || !strings.Contains(out, "--- PASS: TestLogin") {
		t.Errorf("not all tests ran:\n%s", out)
	}
}

// TestZip checks the archive that users download. It has the tests, too, and 1.25 MiB at most.
func TestZip(t *testing.T) {
	t.Parallel()
	_, file := publish(t)
	if info, err := os.Stat(file); err != nil || info.Size() > 5<<18 {
		t.Errorf("the module's zip is too large: %v, %v", info.Size(), err)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var names []string
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, rootPath+"@"+version+"/")
		if !ok {
			t.Errorf("%s is outside of the module", f.Name)
		}
		names = append(names, name)
		for _, other := range []string{"examples/", "tests/", "benchmarks/", "telemetry/", "cmd/session-gateway/", "store/redisstore/", "adapters/sessionecho5/", "auth/jwks/"} {
			if strings.HasPrefix(name, other) {
				t.Errorf("%s belongs to another module", name)
			}
		}
	}
	for _, want := range []string{"LICENSE", "README.md", "CHANGELOG.md", ".github/SECURITY.md", "go.mod", "session.go", "middleware/pages/layout.html"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
