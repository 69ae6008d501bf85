package imports_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floor lists what packages may import in addition to the standard library: packages of
// this module and others.
type floor struct{ packages, ours, others []string }

// The floors of the modules, as in CONTRIBUTING.md. Imports point downwards only. The
// first floor that lists a package is its own. New packages must be added here.
var floors = []floor{
	{[]string{"internal/deadline", "internal/loopback", "internal/nostore", "internal/pacing"}, nil, nil},
	{[]string{"internal/testkit/scale"}, nil, nil},
	{[]string{"internal/testkit/forge"}, nil, []string{"github.com/golang-jwt/jwt/v5"}},
	{[]string{"store"}, nil, nil},
	{[]string{"store/..."}, []string{"store", "store/internal/..."}, nil},
	{[]string{"auth"}, nil, []string{"github.com/golang-jwt/jwt/v5"}},
	{[]string{"auth/verify"}, []string{"auth"}, []string{"github.com/golang-jwt/jwt/v5"}},
	{[]string{"auth/jwks"}, []string{"auth/verify", "internal/loopback"}, []string{"github.com/go-jose/go-jose/v4"}},
	{[]string{"internal/cache", "internal/cookies"}, nil, nil},
	{[]string{"internal/seal"}, nil, []string{"github.com/gorilla/securecookie"}},
	{[]string{"internal/guard"}, []string{"auth", "store"}, nil},
	{[]string{"internal/keeper"}, []string{"auth", "internal/cache", "internal/deadline", "internal/guard", "internal/pacing", "internal/seal", "store"}, nil},
	{[]string{""}, []string{"auth", "internal/cache", "internal/cookies", "internal/deadline", "internal/guard", "internal/keeper", "internal/nostore", "internal/seal", "internal/throttle", "store", "store/memstore"}, nil},
	{[]string{"internal/throttle"}, []string{"internal/seal", "store"}, nil},
	{[]string{"internal/testkit"}, []string{"", "auth", "store", "store/memstore"}, nil},
	{[]string{"internal/testkit/webapp"}, []string{"", "authtest", "internal/testkit", "synmetrix"}, nil},
	{[]string{"middleware"}, []string{"", "auth", "internal/nostore"}, nil},
	{[]string{"synmetrix"}, []string{"auth", "internal/loopback", "internal/pacing"}, nil},
	{[]string{"authtest"}, nil, []string{"github.com/golang-jwt/jwt/v5", "github.com/pquerna/otp/...", "golang.org/x/crypto/bcrypt"}},
	{[]string{"sessiontest"}, []string{"", "auth"}, []string{"github.com/golang-jwt/jwt/v5"}},
	{[]string{"adapters/internal/adaptertest"}, []string{"", "auth", "auth/verify", "authtest", "internal/testkit/...", "middleware", "sessiontest", "store/..."}, []string{"github.com/pquerna/otp/..."}},
	{[]string{"adapters/sessionecho"}, []string{"", "middleware"}, []string{"github.com/labstack/echo/..."}},
	{[]string{"adapters/sessionecho5"}, []string{"", "middleware"}, []string{"github.com/labstack/echo/..."}},
	{[]string{"cmd/session-gateway/gateway"}, []string{"", "middleware"}, nil},
	{[]string{"cmd/session-gateway"}, []string{"", "auth/...", "cmd/session-gateway/gateway", "middleware", "store/...", "synmetrix", "telemetry"}, []string{"github.com/go-sql-driver/mysql", "github.com/goccy/go-yaml", "github.com/jackc/pgx/v5/...", "github.com/prometheus/client_golang/prometheus/...", "github.com/redis/rueidis", "modernc.org/sqlite"}},
	{[]string{"telemetry"}, []string{"", "auth", "store"}, []string{"github.com/prometheus/client_golang/prometheus", "go.opentelemetry.io/otel/..."}},
	{[]string{"adapters/sessiongin"}, []string{"", "middleware"}, []string{"github.com/gin-gonic/gin/..."}},
}

// testKit are the packages for tests. No program may contain them, or the packages of
// madeForTest.
var (
	testKit     = []string{"adapters/internal/adaptertest", "authtest", "internal/testkit", "internal/testkit/forge", "internal/testkit/scale", "internal/testkit/webapp", "sessiontest", "store/storetest"}
	madeForTest = []string{"testing", "net/http/httptest"}
)

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// list returns the packages of the root module, and of the separate modules sessionecho5,
// jwks, session-gateway and telemetry, without their tests.
func list(t *testing.T) []pkg {
	t.Helper()
	return slices.Concat(listIn(t, "../.."), listIn(t, "../../adapters/sessionecho5"), listIn(t, "../../auth/jwks"), listIn(t, "../../cmd/session-gateway"), listIn(t, "../../telemetry"))
}

func listIn(t *testing.T, dir string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := d.Decode(&p); err {
		case nil:
			packages = append(packages, p)
		case io.EOF:
			return packages
		default:
			t.Fatal(err)
		}
	}
}

// fits reports whether a path is one of the patterns: itself, or below "path/...".
func fits(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, below := strings.CutSuffix(pattern, "/...")
		return path == pattern || below && (path == prefix || strings.HasPrefix(path, prefix+"/"))
	})
}

// ours returns a path without the path of our module.
func ours(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	packages := list(t)
	if len(packages) < 8 {
		t.Fatalf("only %d packages were found", len(packages))
	}
	for _, p := range packages {
		name, _ := ours(p.ImportPath)
		i := slices.IndexFunc(floors, func(f floor) bool { return fits(name, f.packages) })
		if i < 0 {
			t.Errorf("%s has no floor in this test", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			short, own := ours(path)
			switch first, _, _ := strings.Cut(path, "/"); {
			case own && fits(short, floors[i].ours), !own && fits(path, floors[i].others):
			case !own && !strings.Contains(first, "."): // the standard library
			default:
				t.Errorf("%s must not import %s", p.ImportPath, path)
			}
		}
	}
}

// TestNoTestKitInPrograms checks that no package for programs imports the test kit.
func TestNoTestKitInPrograms(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name, _ := ours(p.ImportPath)
		if slices.Contains(testKit, name) {
			continue
		}
		for _, dep := range p.Deps {
			if short, own := ours(dep); own && slices.Contains(testKit, short) || slices.Contains(madeForTest, dep) {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}
