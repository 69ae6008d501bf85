package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proxy"
)

// If the database does not respond, no user is signed out, and all frameworks
// respond alike.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	servers := map[string]func(testing.TB) *dbtest.Server{
		"postgres": dbtest.Postgres, coordinator: dbtest.Postgres, "redis": dbtest.Redis, redisCoordinator: dbtest.Redis,
	}
	for kind, open := range servers {
		server := open(t)
		for name, fault := range map[string]proxy.Fault{"down": {Down: true}, "silent": {Hang: true}} {
			if fault.Hang && !scale.CI() {
				continue // tests/replicas and the root test databases that do not respond
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				frameworks := three(len(kind))
				transcripts := make([][]string, len(frameworks))
				t.Run("frameworks", func(t *testing.T) {
					for i, framework := range frameworks {
						t.Run(framework, func(t *testing.T) {
							t.Parallel()
							between := proxy.New(t, "tcp", server.Proxy.Addr())
							address := strings.ReplaceAll(server.URL, server.Proxy.Addr(), between.Addr())
							transcripts[i] = storeDown(t, place{name: kind}.target(framework, address), between, fault)
						})
					}
				})
				if t.Failed() {
					return
				}
				want := transcripts[0]
				for i, got := range transcripts {
					if len(got) != len(want) {
						t.Errorf("%s: %d responses, want %d", frameworks[i], len(got), len(want))
						continue
					}
					for j := range got {
						if got[j] != want[j] {
							t.Errorf("%s differs\n%s\n\n%s:\n%s", frameworks[i], want[j], frameworks[i], got[j])
						}
					}
				}
			})
		}
	}
}

// storeDown stops the database for a while, and returns the responses meanwhile.
func storeDown(t *testing.T, tt target, between *proxy.Proxy, fault proxy.Fault) (transcript []string) {
	known := accounts()
	for i := range known {
		known[i].ID = "00000000-0000-4000-8000-00000000000" + string(rune('0'+i))
	}
	var env []string
	if fault.Hang {
		env = append(env, "STORE_TIMEOUT=2s") // nearly every request waits for it
	}
	s := start(t, tt, authtest.Options{Accounts: known}, env...)
	b, other := s.signedIn(t, viewer), s.signedIn(t, admin)
	saves := func() bool { return b.put("theme", `"dark"`).status == http.StatusNoContent }
	eventually(t, "a value is saved", saves)
	cookies := b.cookieHeader()
	between.Set(fault)
	record := func(a *response) *response {
		t.Helper()
		transcript = append(transcript, a.transcript())
		return a
	}

	// Pages that need no session are served. If the session cannot be determined, pages
	// that need one are not, and the cookies stay.
	for _, path := range []string{"/", "/login", "/nowhere"} {
		record(b.page(path)).isPage(map[bool]int{true: 404, false: 200}[path == "/nowhere"])
		record(s.browser(t).page(path))
	}
	record(s.browser(t).page("/dashboard")).is(303)
	b.get("/healthz").is(200)
	eventually(t, "the database is seen to be down", func() bool {
		a := b.get("/readyz")
		return a.status == 503 && a.body == `{"store":"down","auth":"ok"}`
	})
	if tt.inCookies() {
		record(b.page("/dashboard")).isPage(200)
		b.get("/api/me").is(200)
		record(b.get("/api/prefs")).is(200)
		record(b.put("theme", `"light"`)).problem(503, "session_unavailable")
	} else {
		if a := record(b.page("/dashboard")).isPage(503); a.header.Get("Retry-After") == "" {
			t.Error("there is no Retry-After")
		}
		for _, a := range []*response{b.get("/dashboard"), b.get("/api/me"), b.get("/api/upstream"), b.get("/api/events"), b.put("theme", `"light"`)} {
			record(a).problem(503, "session_unavailable")
		}
	}
	// A logout fails meanwhile.
	record(other.postForm("/logout")).isPage(503)
	record(other.postJSON("/logout", `{"all":true}`)).problem(503, "session_unavailable")
	for _, a := range transcript {
		if strings.Contains(a, "Set-Cookie") {
			t.Errorf("a cookie was set\n%s", a)
		}
	}

	// A login needs the store, but not the coordinator: a new cookie session has no
	// record there.
	credentials := `{"email":"` + analyst + `","password":"` + password + `"}`
	if in := s.browser(t).postJSON("/login", credentials); tt.inCookies() {
		in.is(200)
	} else {
		record(in).problem(503, "session_unavailable")
		record(s.browser(t).postForm("/login", "email", analyst, "password", password)).isPage(503)
		eventually(t, "the tokens are revoked", func() bool { return len(s.auth.LiveTokens(analyst)) == 0 })
	}

	between.Set(proxy.Fault{})
	eventually(t, "the session goes on", func() bool {
		a := b.get("/api/prefs")
		return a.status == http.StatusOK && a.object()["theme"] == "dark"
	})
	if b.cookieHeader() != cookies && !tt.inCookies() {
		t.Error("the cookies have changed")
	}
	// After slow failures, the store is not called for half a second. Values in cookies
	// are served meanwhile, but not requests that need the coordinator.
	eventually(t, "a value is saved again", saves)
	eventually(t, "the user is signed out", func() bool { return other.postForm("/logout").status == http.StatusSeeOther })
	eventually(t, "the tokens are revoked", func() bool { return len(s.auth.LiveTokens(admin)) == 0 })
	return transcript
}
