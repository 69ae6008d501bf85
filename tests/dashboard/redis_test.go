package dashboard_test

import (
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// STORE may be the address of a server with TLS, of a node of a cluster, or of a
// Sentinel.
func TestRedisAddresses(t *testing.T) {
	t.Parallel()
	const secret = "the-password-of-the-server"
	for name, open := range map[string]func(*testing.T) (address string, env []string){
		"TLS": func(t *testing.T) (string, []string) {
			address, certificate := dbtest.RedisTLS(t, secret)
			return address, []string{"SSL_CERT_FILE=" + certificate}
		},
		"cluster": func(t *testing.T) (string, []string) { return "redis://" + dbtest.RedisCluster(t)[0], nil },
		"Sentinel": func(t *testing.T) (string, []string) {
			addr, set, _ := dbtest.RedisSentinel(t)
			return "redis://" + addr + "?master_set=" + set, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, env := open(t)
			s := start(t, target{framework: "nethttp", store: address}, authtest.Options{}, append(env, "STORE_TIMEOUT=20s")...)
			s.secrets.Add("password of the server", secret)
			s.browser(t).get("/readyz").is(200)
			b := s.signedIn(t, viewer)
			b.put("theme", `"dark"`).is(204)
			if got := b.get("/api/prefs").is(200).object()["theme"]; got != "dark" {
				t.Errorf("theme %v", got)
			}
			b.postForm("/logout", "all", "true").is(303)
			b.get("/api/me").is(401)
		})
	}
}

// If the server loses all data, users sign in again, and the log has the reason.
func TestRedisLosesAllData(t *testing.T) {
	t.Parallel()
	server := dbtest.Redis(t)
	client := server.Client(t)
	for _, framework := range three(1) {
		t.Run(framework, func(t *testing.T) {
			s := start(t, target{framework: framework, store: server.URL}, authtest.Options{})
			b := s.signedIn(t, viewer)
			b.page("/dashboard").isPage(200)
			if err := client.Do(t.Context(), client.B().Flushall().Build()).Error(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the session is gone", func() bool { return b.get("/api/me").status != 200 })
			b.get("/api/me").is(401)
			b.page("/dashboard").is(303)
			b.postForm("/login", "email", viewer, "password", password).is(303)
			b.page("/dashboard").isPage(200)
			if !strings.Contains(s.Stderr(), "msg=cookie_refused") {
				t.Error("the log has no reason")
			}
		})
	}
}
