// Package leaks_test runs the dashboard and an auth service as processes, uses all
// features, and searches their output, pages and files for secrets.
package leaks_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "dashboard", "authserver") }

// The accounts of the auth service.
const (
	admin  = "admin@example.com"
	viewer = "viewer@example.com"
	mfa    = "mfa@example.com"

	password   = "correct horse battery staple"
	totpSecret = "JBSWY3DPEHPK3PXP"

	accessLife = 2 * time.Second
)

// target is a store, a framework and a log format.
type target struct {
	name, format string
	env          []string // DIR is replaced by a directory of the test
}

var targets = []target{
	{"cookie", "text", []string{"STORE=cookie"}},
	{"memory", "json", []string{"STORE=memory"}},
	{"sqlite", "text", []string{"STORE=sqlite:DIR/sessions.db"}},
	{"coordinator", "json", []string{"COORDINATOR=sqlite:DIR/sessions.db"}},
	{"echo", "text", []string{"FRAMEWORK=echo"}},
	{"gin", "json", []string{"FRAMEWORK=gin"}},
	{"echo5", "text", []string{"FRAMEWORK=echo5"}},
}

// TestEverydayUse sends the requests of users and of visitors who are not signed in.
func TestEverydayUse(t *testing.T) {
	t.Parallel()
	for i, tt := range targets {
		if !scale.Turn(i, 3) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			auth := proc.Start(t, "authserver", []string{"ACCESS_LIFE=" + accessLife.String()})
			s := start(t, tt, auth.URL, "AUTH_TIMEOUT=1m", "STORE_TIMEOUT=1m") // for busy machines
			s.everydayUse(t)
			s.strangeRequests(t)
			s.strangeCookies(t)
			s.upstream(t)
			// The auth service prints accounts and e-mails to standard output, for its
			// operator.
			auth.Signal(syscall.SIGTERM)
			auth.Wait()
			s.search(t, "standard error of the auth service", auth.Stderr())
			s.finish(t, "access token", "refresh token", "password", "ticket", "TOTP secret", "key", "cookie", "session ID", "secret of a visitor")
		})
	}
}

// TestFaults makes the auth service respond to every call with each fault.
func TestFaults(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		name  string
		test  func(*site, *testing.T)
		kinds []string // kinds of secrets that only this case has
	}{
		{"logout", (*site).faultsAtLogout, nil},
		{"refresh", (*site).faultsAtRefresh, nil},
		{"login", (*site).faultsAtLogin, []string{"ticket"}},
		{"code", (*site).faultsAtCode, []string{"ticket"}},
	} {
		for j, tt := range targets[:2] {
			if !scale.CI() && !scale.Turn(i+j, 2) {
				continue
			}
			t.Run(c.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				auth := authtest.NewServer(t, authtest.Options{
					PasswordCost: -1,
					AccessLife:   accessLife,
					Lax:          true, // a fault must not spoil the session of the next one
					Accounts: []authtest.Account{
						{Email: admin, Password: password, Roles: []string{"user", "admin"}},
						{Email: viewer, Password: password},
						{Email: mfa, Password: password, TOTPSecret: totpSecret},
					},
				})
				s := start(t, tt, auth.URL, "AUTH_TIMEOUT=5s")
				s.signedIn(t, admin).form("/logout").is(t, 303)
				s.signedIn(t, admin) // a fault returns the tokens of this user
				c.test(s, t)
				s.finish(t, append(c.kinds, "access token", "refresh token", "password", "key", "cookie", "session ID")...)
			})
		}
	}
}

func (s *site) everydayUse(t *testing.T) {
	visitor := s.guest(t)
	for _, path := range []string{"/", "/login", "/dashboard", "/admin", "/api/me", "/healthz", "/readyz", "/nothing"} {
		visitor.page(path)
	}
	visitor.form("/login", "email", admin, "password", "wrong horse battery staple").is(t, 401)
	visitor.form("/login", "email", "stranger@example.com", "password", "password of no user at all").is(t, 401)
	visitor.json("/login", `{"email":"`+admin+`","password":"another wrong password"}`).is(t, 401)

	two := s.guest(t)
	two.form("/login", "email", mfa, "password", password).is(t, 303)
	two.page("/login/mfa").is(t, 200)
	two.form("/login/mfa", "code", "000000").is(t, 401)
	two.form("/login/mfa", "code", code(t, time.Now())).is(t, 303)
	two.page("/dashboard").is(t, 200)

	one := s.signedIn(t, admin)
	other := s.guest(t)
	other.json("/login", `{"email":"`+admin+`","password":"`+password+`"}`).is(t, 200)
	one.send("PUT", "/api/prefs/theme", `"dark"`, "Content-Type", "application/json").is(t, 204)
	one.page("/api/events?n=4&every=700ms").is(t, 200) // with a refresh meanwhile
	for _, path := range []string{"/", "/dashboard", "/reports", "/admin", "/login", "/api/me", "/api/prefs"} {
		one.page(path).is(t, 200)
	}
	s.signedIn(t, viewer).page("/admin").is(t, 403)
	two.form("/logout").is(t, 303)
	one.form("/logout", "all", "true").is(t, 303)
	other.page("/api/me")
}

// strangeRequests have secrets in unusual places.
func (s *site) strangeRequests(t *testing.T) {
	g := s.signedIn(t, viewer)
	secret := func() string { return s.visitorSecret() }
	for _, path := range []string{"/", "/callback", "/login", "/dashboard", "/nothing", "/api/me", "/api/nothing"} {
		g.page(path + "?refresh_token=" + secret() + "&password=" + secret())
	}
	for _, body := range []string{
		`{"email":"` + viewer + `","password":["` + secret() + `"]}`,
		`{"email":"` + viewer + `","password":{"` + secret() + `":1}}`,
		`{"email":["` + secret() + `"],"password":"x"}`,
		`{"password":"` + secret() + `"}`,
		`{"password":"` + secret(),
		`"` + secret() + `"`,
		`{"email":"` + viewer + `","password":"` + secret() + strings.Repeat("x", 70<<10) + `"}`,
	} {
		if a := g.json("/login", body); a.status < 400 || a.status > 499 {
			t.Errorf("%.60s: status %d", body, a.status)
		}
	}
	for _, contentType := range []string{"text/plain", "multipart/form-data; boundary=" + secret(), "application/json; charset=" + secret()} {
		g.send("POST", "/login", "password="+secret(), "Content-Type", contentType)
	}
	g.form("/login/mfa", "code", secret())
	for _, scheme := range []string{"Bearer ", "bearer ", "Basic ", ""} {
		g.send("GET", "/api/me", "", "Authorization", scheme+secret())
	}
	g.send("POST", "/logout", "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").is(t, 403)
	g.send("PUT", "/api/prefs/"+secret(), secret(), "Content-Type", "application/json")
}

// strangeCookies are changed cookies of the app.
func (s *site) strangeCookies(t *testing.T) {
	good := s.signedIn(t, viewer).cookies()
	for i := range good {
		name, value := good[i].Name, good[i].Value
		for _, bent := range []string{
			value[:len(value)-1], value[1:], value[:20], value + value, "2." + value[:4] + "." + value, value + "=", strings.ToUpper(value),
		} {
			g := s.guest(t)
			var pairs []string
			for j, c := range good {
				if j != i {
					pairs = append(pairs, c.Name+"="+c.Value)
				}
			}
			g.send("GET", "/api/me", "", "Cookie", strings.Join(append(pairs, name+"="+bent), "; "))
			g.send("GET", "/api/me", "", "Cookie", strings.Repeat(name+"="+bent+"; ", 50))
			g.send("GET", "/api/me", "", "Cookie", name+"-mfa="+bent+"; "+name+"-1="+value)
		}
	}
}

// upstream calls an API that fails or returns the token in unusual places.
func (s *site) upstream(t *testing.T) {
	g := s.signedIn(t, viewer)
	for _, way := range []string{"good", "401", "500", "no HTTP", "no header", "redirect", "switch", "reset"} {
		s.api.Store(way)
		g.page("/api/upstream")
	}
}

// each runs do with every fault of the calls of a path, until a call has the fault: there
// may be no call, because an access token that has just expired is not sent.
func (s *site) each(t *testing.T, path string, do func(t *testing.T, f *fault)) {
	for i := range faults {
		f := &faults[i]
		s.wire.set(path, f)
		for tries := 0; tries < 10 && s.wire.struck() == 0; tries++ {
			do(t, f)
		}
		if s.wire.struck() == 0 {
			t.Errorf("%s: no call of %s has met it", f.name, path)
		}
		s.wire.set("", nil)
	}
}

func (s *site) faultsAtLogin(t *testing.T) {
	s.each(t, "/auth/login", func(t *testing.T, f *fault) {
		g := s.guest(t)
		g.form("/login", "email", viewer, "password", password)
		g.json("/login", `{"email":"`+mfa+`","password":"`+password+`"}`)
		g.json("/login", `{"email":"`+viewer+`","password":"the wrong password"}`)
	})
}

func (s *site) faultsAtCode(t *testing.T) {
	g := s.guest(t)
	s.each(t, "/auth/mfa/totp", func(t *testing.T, f *fault) {
		s.wire.set("", nil)
		g.form("/login", "email", mfa, "password", password).is(t, 303)
		s.wire.set("/auth/mfa/totp", f)
		g.form("/login/mfa", "code", code(t, time.Now()))
		g.json("/login/mfa", `{"code":"000000"}`)
	})
}

func (s *site) faultsAtRefresh(t *testing.T) {
	guests := map[string]*guest{}
	for _, f := range faults {
		guests[f.name] = s.signedIn(t, viewer)
	}
	time.Sleep(accessLife) // until their tokens have expired
	send := func(f *fault) {
		for range 2 {
			guests[f.name].page("/dashboard")
		}
	}
	limited := faultNamed(t, "rate limited")
	s.each(t, "/auth/token/refresh", func(_ *testing.T, f *fault) {
		if f == limited {
			f = faultNamed(t, "HTML") // the other would close the gate for all
			s.wire.set("/auth/token/refresh", f)
			guests[f.name] = guests[limited.name]
		}
		send(f)
	})
	// Afterwards each browser whose session continues is served, and signs out.
	for _, g := range guests {
		g.page("/api/me")
		g.form("/logout")
	}
	g := s.signedIn(t, viewer)
	time.Sleep(accessLife) // until its token has expired
	s.wire.set("/auth/token/refresh", limited)
	g.page("/dashboard").is(t, 503)
	g.form("/logout").is(t, 303)
	s.wire.set("", nil)
}

func (s *site) faultsAtLogout(t *testing.T) {
	g := s.guest(t)
	limited := faultNamed(t, "rate limited")
	for _, path := range []string{"/auth/logout", "/auth/token/revoke"} {
		s.each(t, path, func(t *testing.T, f *fault) {
			if f == limited {
				s.wire.set(path, faultNamed(t, "HTML")) // the other would close the gate for all
			}
			g.form("/login", "email", viewer, "password", password).is(t, 303)
			if path == "/auth/logout" {
				g.form("/logout").is(t, 303)
				return
			}
			// If the service fails, cookie sessions in other browsers may continue.
			if a := g.form("/logout", "all", "true"); a.status != 303 {
				a.is(t, 503)
			}
		})
	}
}

// finish ends the program and searches all of its output and files. Secrets of each of
// these kinds must have occurred: otherwise the search proves nothing.
func (s *site) finish(t *testing.T, kinds ...string) {
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	log := s.Stderr()
	for _, event := range []string{"session_started", "session_ended", "DEBUG"} {
		if !strings.Contains(log, event) {
			t.Errorf("there is no %s in the log: is all of it here?", event)
		}
	}
	n := s.secrets.Len()
	for _, kind := range kinds {
		if n[kind] == 0 {
			t.Errorf("no %s has come by", kind)
		}
	}
	t.Logf("%d bytes of log, %d of responses; %v", len(log), s.shown.Len(), n)
	s.search(t, "standard error", log)
	s.search(t, "standard output", strings.Join(s.Stdout(), "\n"))
	s.searchShown(t)
	files, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil || len(files) > 0 != strings.Contains(strings.Join(s.target.env, " "), "DIR") {
		t.Errorf("the store's files are %q (%v)", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.search(t, filepath.Base(file), string(content))
	}
}

// search fails the test for each secret that is in a text.
func (s *site) search(t *testing.T, where, text string) {
	t.Helper()
	for _, found := range s.secrets.Search(text) {
		t.Errorf("in %s there is a %s", where, found)
	}
}

// searchShown searches the responses to browsers, except for the cookies, and for the
// secrets that the same browser had sent.
func (s *site) searchShown(t *testing.T) {
	t.Helper()
	found := slices.DeleteFunc(s.secrets.Search(s.shown.String()), func(what string) bool {
		return strings.HasPrefix(what, "secret of a visitor:")
	})
	for _, what := range found {
		t.Errorf("a browser was shown a %s", what)
	}
}
