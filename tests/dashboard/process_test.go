package dashboard_test

import (
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/proc"
)

// Without settings, the program starts its own auth service and prints its accounts
// before it listens.
func TestAlone(t *testing.T) {
	t.Parallel()
	p := proc.Start(t, "dashboard", []string{"COOKIE_INSECURE=true", proc.Patient})
	lines := p.Stdout()
	if last := lines[len(lines)-1]; last != "listening on "+p.URL {
		t.Errorf("the last line is %q", last)
	}
	printed := strings.Join(lines, "\n")
	for _, want := range []string{admin, analyst, viewer, mfa, password, totpSecret} {
		if !strings.Contains(printed, want) {
			t.Errorf("%s is not announced", want)
		}
	}
	eventually(t, "it warns of keys that end with it", func() bool {
		return strings.Contains(p.Stderr(), "SESSION_KEYS") && strings.Contains(p.Stderr(), "WARN")
	})
	s := &site{Process: p, t: t}
	for _, test := range []struct {
		email  string
		opened []string
	}{
		{admin, []string{"/dashboard", "/reports", "/admin"}},
		{analyst, []string{"/dashboard", "/reports"}},
		{viewer, []string{"/dashboard"}},
		{mfa, []string{"/dashboard"}},
	} {
		b := s.browser(t)
		to := b.postForm("/login", "email", test.email, "password", password).is(303).location()
		if to == "/login/mfa" {
			b.postForm(to, "code", code(t, time.Now())).leadsTo("/")
		}
		for _, path := range []string{"/dashboard", "/reports", "/admin"} {
			status := 403
			if slices.Contains(test.opened, path) {
				status = 200
			}
			b.page(path).isPage(status)
		}
	}
	if b := s.browser(t); b.get("/readyz").is(200).object()["auth"] != "ok" {
		t.Error("its own auth service is not ready")
	}
	if now := p.Stdout(); len(now) != len(lines) {
		t.Errorf("after it listens it prints %q", now[len(lines):])
	}
}

// With AUTH_URL the program prints only its address, and no secret.
func TestWithAuthURL(t *testing.T) {
	t.Parallel()
	auth := proc.Start(t, "authserver", []string{"ACCESS_LIFE=2s"})
	for _, url := range []string{auth.URL, auth.URL + "/"} {
		s := &site{t: t, Process: proc.Start(t, "dashboard", []string{"AUTH_URL=" + url, "SESSION_KEYS=" + keyA, "COOKIE_INSECURE=true", proc.Patient})}
		if lines := s.Stdout(); len(lines) != 1 || lines[0] != "listening on "+s.URL {
			t.Errorf("it prints %q", lines)
		}
		s.signedIn(t, admin).page("/admin").isPage(200)
		s.Signal(syscall.SIGTERM)
		status, log := s.Wait(), s.Stderr()
		if status != 0 || strings.Count(log, "WARN") != 1 || !strings.Contains(log, "msg=unsafe_setting setting=Config.Cookie.Insecure ") {
			t.Errorf("exit status %d, and it complains of more than the cookies: %q", status, log)
		}
	}
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	for i, format := range []string{"text", "json"} {
		for j, level := range []string{"debug", "info", "warn", "error"} {
			if i != j%2 && !scale.Long() {
				continue
			}
			t.Run(format+"/"+level, func(t *testing.T) {
				t.Parallel()
				testLogFormat(t, format, level)
			})
		}
	}
}

func testLogFormat(t *testing.T, format, level string) {
	s := start(t, target{framework: "nethttp", store: "cookie"}, authtest.Options{}, "LOG_FORMAT="+format, "LOG_LEVEL="+level)
	s.signedIn(t, viewer)
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	log := s.Stderr()
	for word, shown := range map[string]bool{
		"DEBUG":           level == "debug",
		"session_started": level == "debug" || level == "info",
		"SESSION_KEYS":    level != "error",
	} {
		if strings.Contains(log, word) != shown {
			t.Errorf("%s is to be in the log: %v\n%s", word, shown, log)
		}
	}
	for line := range strings.Lines(log) {
		if json.Valid([]byte(line)) != (format == "json") {
			t.Errorf("%q", line)
		}
	}
}

// No request of a visitor can add a line to the log.
func TestLogCannotBeForged(t *testing.T) {
	t.Parallel()
	for _, framework := range three(0) {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			s := start(t, target{framework: framework, store: "cookie"}, authtest.Options{})
			b := s.browser(t)
			const forged = "x\r\ntime=2026-01-01T00:00:00Z level=ERROR msg=forged\x1b[31m\x00"
			b.postForm("/login", "email", forged, "password", forged, "return_to", forged).isPage(401)
			b.postJSON("/login", `{"email":"x\r\nlevel=ERROR msg=forged\u001b[31m\u0000","password":"x"}`).is(401)
			for _, path := range []string{"/%0d%0alevel=ERROR%20msg=forged", "/dashboard%00%1b[31m", "/login?return_to=%0d%0amsg=forged"} {
				_, _ = b.try(b.raw("GET", path, ""))
			}
			b.do("GET", "/dashboard", "", "Cookie", "session=a%0d%0amsg=forged; session-state=x msg=forged").is(401)
			b.do("POST", "/logout", "", "Origin", "https://evil.example msg=forged", "Sec-Fetch-Site", "cross-site").is(403)
			s.auth.Inject(authtest.Login, authtest.Fault{Status: 400, Body: `{"statusCode":400,"error":"Bad Request","message":"\r\nlevel=ERROR msg=forged"}`})
			b.postJSON("/login", `{"email":"a@example.com","password":"x"}`).is(401)
			// The service also sends this response while its own backend is failing.
			s.auth.Clear()
			s.auth.Inject(authtest.Login, authtest.Fault{Status: 400, Body: `{"statusCode":400,"error":"Bad Request"}`})
			b.postJSON("/login", `{"email":"a@example.com","password":"x"}`).is(401)
			eventually(t, "it is logged as unclear", func() bool { return strings.Contains(s.Stderr(), "unclear") })
			for line := range strings.Lines(s.Stderr()) {
				if !strings.HasPrefix(line, "time=") || strings.Contains(line, "msg=forged") || strings.ContainsAny(line, "\r\x1b\x00") {
					t.Errorf("%q", line)
				}
			}
		})
	}
}

// waitUntilClosed waits until the program accepts no new connections.
func (s *site) waitUntilClosed(t *testing.T) {
	t.Helper()
	address, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "no new connections are taken", func() bool {
		conn, err := net.Dial("tcp", address.Host)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// After SIGTERM, running requests are completed, no others are accepted, and the program
// ends with status 0.
func testSIGTERM(t *testing.T, tt target) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		api, arrived, release := hanging(t)
		s := start(t, tt, authtest.Options{}, "UPSTREAM_URL="+api.URL)
		b := s.signedIn(t, viewer)
		responded := make(chan string, 1)
		go func() {
			a, err := b.try(b.request("GET", "/api/upstream", nil))
			if err != nil {
				responded <- err.Error()
				return
			}
			responded <- a.body
		}()
		<-arrived
		s.Signal(sig)
		s.waitUntilClosed(t)
		select {
		case <-s.Exited():
			t.Error("it did not wait for the request that ran")
		default:
		}
		release()
		if got := <-responded; got != "done" {
			t.Errorf("the request that ran has the response %q", got)
		}
		if status := s.Wait(); status != 0 {
			t.Errorf("exit status %d\n%s", status, s.Stderr())
		}
	}
}

// A running refresh is completed, and its tokens are stored, although no request waits
// for it.
func testSIGTERMWhileRefreshing(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{AccessLife: time.Second})
	b := s.signedIn(t, viewer)
	time.Sleep(time.Second) // the life of the token
	var gate authtest.Gate
	s.auth.Inject(authtest.Refresh, authtest.Fault{After: &gate, Times: 1})
	ctx, hangUp := cancelable()
	gone := make(chan error, 1)
	req := b.request("GET", "/api/me", nil)
	go func() {
		_, err := b.client.Do(req.WithContext(ctx))
		gone <- err
	}()
	<-gate.Arrived(1)
	hangUp()
	<-gone
	s.Signal(syscall.SIGTERM)
	s.waitUntilClosed(t)
	gate.Open()
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if log := s.Stderr(); !strings.Contains(log, "session_refreshed") || strings.Contains(log, "refresh_un") {
		t.Errorf("the refresh was not carried to its end:\n%s", log)
	}
}

// Requests that do not end are aborted after ten seconds, and the status is still 0.
func TestSIGTERMWaitsForALimitedTime(t *testing.T) {
	t.Parallel()
	for _, framework := range three(1) {
		t.Run(framework, func(t *testing.T) {
			t.Parallel()
			patientOnlySoLong(t, target{framework: framework, store: "cookie"})
		})
	}
}

func patientOnlySoLong(t *testing.T, tt target) {
	api, arrived, _ := hanging(t)
	s := start(t, tt, authtest.Options{}, "UPSTREAM_URL="+api.URL)
	b := s.signedIn(t, viewer)
	go func() { _, _ = b.try(b.request("GET", "/api/upstream", nil)) }()
	<-arrived
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Errorf("exit status %d\n%s", status, s.Stderr())
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("it took %v, want 10 s", took)
	}
	if log := s.Stderr(); !strings.Contains(log, "requests were aborted") || strings.Contains(log, "refreshes were aborted") {
		t.Errorf("the log says\n%s", log)
	}
}
