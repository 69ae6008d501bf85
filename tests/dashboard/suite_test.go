package dashboard_test

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

// target is a framework and a place of sessions. The program must respond in the same way
// with every target.
type target struct {
	framework string
	store     string   // the word or the address in STORE
	env       []string // further settings
}

// inCookies reports whether the whole session is in cookies.
func (tt target) inCookies() bool { return tt.store == "cookie" }

var frameworks = []string{"nethttp", "echo", "gin", "echo5"}

// three returns the frameworks with one of the two versions of Echo, which n selects, or
// all of them in CI.
func three(n int) []string {
	if scale.CI() {
		return frameworks
	}
	return []string{"nethttp", []string{"echo", "echo5"}[n%2], "gin"}
}

// place is a store or a coordinator. open returns a function that makes its address, for
// one program after the other.
type place struct {
	name string
	open func(*testing.T) (address func(*testing.T) string)
}

var places = []place{
	{"cookie", named("cookie")},
	{"memory", named("memory")},
	{"sqlite", func(*testing.T) func(*testing.T) string {
		return func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }
	}},
	{"postgres", on(dbtest.Postgres)},
	{"mysql", on(dbtest.MariaDB)},
	{"redis", on(dbtest.Redis)},
	{coordinator, on(dbtest.Postgres)},
	{redisCoordinator, on(dbtest.Redis)},
}

// coordinator keeps sessions in cookies and has a database as coordinator.
// redisCoordinator has a Redis server in place of the database.
const (
	coordinator      = "coordinator"
	redisCoordinator = "redis coordinator"
)

func named(address string) func(*testing.T) func(*testing.T) string {
	return func(*testing.T) func(*testing.T) string {
		return func(*testing.T) string { return address }
	}
}

// on returns a place on a server that all programs share, as several apps may share one.
func on(start func(testing.TB) *dbtest.Server) func(*testing.T) func(*testing.T) string {
	return func(t *testing.T) func(*testing.T) string {
		server := start(t)
		return func(*testing.T) string { return server.URL }
	}
}

// isDatabase reports whether the program needs a database or a Redis server.
func (p place) isDatabase() bool { return p.name != "cookie" && p.name != "memory" }

// target returns the target of a framework with sessions at an address.
func (p place) target(framework, address string) target {
	tt := target{framework: framework, store: address}
	if p.name == coordinator || p.name == redisCoordinator {
		tt.store, tt.env = "cookie", []string{"COORDINATOR=" + address}
	}
	if p.isDatabase() {
		tt.env = append(tt.env, "STORE_TIMEOUT=20s") // a busy machine must not cause an outage
	}
	return tt
}

// suite has the tests that every target must pass.
var suite = []struct {
	name string
	test func(*testing.T, target)
}{
	{"pages by role", testPagesByRole},
	{"forms", testForms},
	{"methods", testMethods},
	{"headers", testHeaders},
	{"me", testMe},
	{"bearer", testBearer},
	{"verified bearer", testVerifiedBearer},
	{"bearers of a public key", testBearersOfPublicKey},
	{"bearers of a JWKS", testBearersOfJWKS},

	{"login", testLogin},
	{"login input", testLoginInput},
	{"login again", testLoginAgain},
	{"second factor", testSecondFactor},
	{"second factor keeps session", testSecondFactorKeepsSession},
	{"logout", testLogout},
	{"cross-site", testCrossSite},
	{"base path", testBasePath},
	{"sessions", testSessions},

	{"register verify", testRegisterVerify},
	{"register direct", testRegisterDirect},
	{"register off", testRegisterOff},
	{"magic link", testMagicLink},
	{"callback", testCallback},
	{"password", testPassword},
	{"password reset", testPasswordReset},
	{"email change", testEmailChange},
	{"second factor setup", testSecondFactorSetup},
	{"account deletion", testAccountDeletion},
	{"limits", testLimits},

	{"prefs", testPrefs},
	{"pref limits", testPrefLimits},
	{"prefs too large", testPrefsTooLarge},
	{"upstream", testUpstream},
	{"events", testEvents},
	{"events after logout", testEventsAfterLogout},
	{"events at the stop", testEventsAtTheStop},

	{"theme and messages", testThemeAndMessages},
	{"note", testNote},
	{"acting", testActing},

	{"cookie attributes", testCookieAttributes},
	{"refresh before", testRefreshBefore},

	{"health", testHealth},
	{"starts without auth service", testStartsWithoutAuthService},
	{"SIGTERM", testSIGTERM},
	{"SIGTERM while refreshing", testSIGTERMWhileRefreshing},
}

// runs reports whether test k of the suite runs in place i under framework j.
// LONG=1 runs all. Otherwise a test runs under one framework in each place: by default
// with cookies and in one of the other places, in CI in about a third of them.
func runs(i, j, k int) bool {
	turn := (i+j+k)%len(frameworks) == 0
	switch {
	case scale.Long():
		return true
	case scale.CI():
		return turn && (i == 0 || (i+k)%3 == 0)
	}
	return turn && (i == 0 || i == 1+k%(len(places)-1))
}

// TestEverywhere runs the suite with each store under each framework.
func TestEverywhere(t *testing.T) {
	t.Parallel()
	for i, p := range places {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			address := p.open(t)
			for j, framework := range frameworks {
				t.Run(framework, func(t *testing.T) {
					t.Parallel()
					for k, c := range suite {
						if !runs(i, j, k) {
							continue
						}
						t.Run(c.name, func(t *testing.T) {
							t.Parallel()
							c.test(t, p.target(framework, address(t)))
						})
					}
				})
			}
		})
	}
}

// The programs under test have the newest versions of the frameworks, or with LOWEST=1
// the lowest that the library supports.
func TestFrameworks(t *testing.T) {
	files := []string{"../go.mod"}
	if proc.Lowest() {
		files = []string{"../../go.mod", "../../adapters/sessionecho5/go.mod"}
	}
	want := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		mod, err := modfile.Parse(file, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range mod.Require {
			for _, framework := range []string{"/echo/v4", "/echo/v5", "/gin"} {
				if strings.HasSuffix(r.Mod.Path, framework) {
					want[r.Mod.Path] = r.Mod.Version
				}
			}
		}
	}
	if len(want) != 3 {
		t.Errorf("found %v, want three frameworks", want)
	}
	info, err := buildinfo.ReadFile(proc.Command("dashboard", nil).Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range info.Deps {
		if w, ok := want[dep.Path]; ok {
			if dep.Version != w {
				t.Errorf("%s is %s, want %s", dep.Path, dep.Version, w)
			}
			delete(want, dep.Path)
		}
	}
	if len(want) > 0 {
		t.Errorf("not in the program: %v", want)
	}
}
