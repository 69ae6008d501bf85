package dashboard_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func testHealth(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	sent := b.cookieHeader()
	for _, path := range []string{"/healthz", "/readyz"} {
		for _, a := range []*answer{b.get(path), b.page(path), b.do("GET", path, "", "Authorization", "Bearer x")} {
			a.is(200)
			if a.header.Get("Set-Cookie") != "" || a.header.Get("Vary") != "" {
				t.Errorf("%s touches the session: %v", path, a.header)
			}
		}
	}
	if b.cookieHeader() != sent {
		t.Error("the cookies have changed")
	}
	if a := b.get("/readyz"); a.object()["store"] != "ok" || a.object()["auth"] != "ok" || len(a.object()) != 2 {
		t.Errorf("/readyz says %s", a.body)
	}

	// Down, and back, are seen within little more than a second; an answer
	// that is refused is not one that fails.
	says := func(status int, auth string) func() bool {
		return func() bool {
			a := b.get("/readyz")
			return a.status == status && a.object()["auth"] == auth && a.object()["store"] == "ok"
		}
	}
	for _, fault := range []authtest.Fault{{Status: 500}, {Status: 502, Body: "<h1>Bad gateway</h1>"}, {Deliver: authtest.Reset}, {Deliver: authtest.Close}} {
		s.auth.Inject(authtest.Healthz, fault)
		eventually(t, "the service is seen to be down", says(503, "down"))
		b.get("/healthz").is(200)
		s.auth.Clear()
		eventually(t, "the service is seen to be back", says(200, "ok"))
	}
	s.auth.Inject(authtest.Healthz, authtest.Fault{Status: 404})
	time.Sleep(1100 * time.Millisecond) // longer than it is remembered
	if !says(200, "ok")() {
		t.Error("a service that answers 404 is said to be down")
	}
	s.auth.Clear()

	// However often it is asked, it asks once a second.
	asked, began := s.auth.Requests(authtest.Healthz), time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				b.get("/readyz").is(200)
			}
		})
	}
	wg.Wait()
	if n, most := s.auth.Requests(authtest.Healthz)-asked, int(time.Since(began)/time.Second)+1; n > most {
		t.Errorf("the service was asked %d times in %v", n, time.Since(began))
	}
}

// An auth service that is not there does not keep the program from starting.
func testStartsWithoutAuthService(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{}, "AUTH_URL=http://127.0.0.1:1")
	b := s.browser(t)
	b.page("/").isPage(200)
	b.page("/login").isPage(200)
	b.get("/api/me").problem(401, "unauthenticated")
	if a := b.get("/readyz").is(503); a.object()["auth"] != "down" || a.object()["store"] != "ok" {
		t.Errorf("/readyz says %s", a.body)
	}
	b.postForm("/login", "email", viewer, "password", password).isPage(503)
	b.postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`).problem(503, "auth_unavailable")
}

// What the service's answer to a login means.
func testLoginFaults(t *testing.T, tt target) {
	faults := []struct {
		name   string
		fault  authtest.Fault
		status int
		code   string
	}{
		{"500", authtest.Fault{Status: 500}, 503, "auth_unavailable"},
		{"503", authtest.Fault{Status: 503}, 503, "auth_unavailable"},
		{"429", authtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, 503, "auth_unavailable"},
		{"closed", authtest.Fault{Deliver: authtest.Close}, 503, "auth_unavailable"},
		{"reset", authtest.Fault{Deliver: authtest.Reset}, 503, "auth_unavailable"},
		{"too slow", authtest.Fault{Deliver: authtest.Hang}, 503, "auth_unavailable"},
		{"redirect", authtest.Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, 502, "auth_invalid_answer"},
		{"HTML", authtest.Fault{Status: 200, Body: "<h1>Welcome</h1>"}, 502, "auth_invalid_answer"},
		{"no tokens", authtest.Fault{CarryOut: true, Edit: authtest.DropTokens}, 502, "auth_invalid_answer"},
		{"no JWT", authtest.Fault{CarryOut: true, Edit: authtest.SpoilAccessToken}, 502, "auth_invalid_answer"},
		{"cut", authtest.Fault{CarryOut: true, Edit: authtest.Truncate}, 502, "auth_invalid_answer"},
		{"too large", authtest.Fault{CarryOut: true, Edit: authtest.Enlarge}, 502, "auth_invalid_answer"},
		{"cut connection", authtest.Fault{CarryOut: true, Deliver: authtest.HalfThenClose}, 502, "auth_invalid_answer"},
		{"bare 400", authtest.Fault{Status: 400, Body: `{"statusCode":400,"error":"Bad Request"}`}, 401, "invalid_credentials"},
	}
	s := start(t, tt, authtest.Options{}, "AUTH_TIMEOUT=2s")
	b := s.signedIn(t, admin)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			defer s.auth.Clear()
			s.auth.Inject(authtest.Login, f.fault)
			began := time.Now()
			page := b.postForm("/login", "email", viewer, "password", password).isPage(f.status)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			json := b.postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`)
			json.problem(f.status, f.code)
			for _, a := range []*answer{page, json} {
				if len(a.header.Values("Set-Cookie")) > 0 {
					t.Error("a cookie was set")
				}
			}
			if f.name == "429" && json.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After is %q", json.header.Get("Retry-After"))
			}
		})
	}
	b.page("/admin").isPage(200) // the session from before goes on
	s.auth.Clear()
	b.postForm("/login", "email", viewer, "password", password).is(303)
}

// Nobody is signed out by an outage: while the access token lives nothing is
// noticed, then it is 503, and when the service is back the session goes on.
func testOutage(t *testing.T, tt target) {
	faults := []struct {
		name  string
		fault authtest.Fault
	}{
		{"500", authtest.Fault{Status: 500}},
		{"bare 400", authtest.Fault{Status: 400, Body: `{"statusCode":400,"error":"Bad Request"}`}},
		{"404", authtest.Fault{Status: 404, Body: `{"statusCode":404,"error":"Not Found","message":"Not Found"}`}},
		{"HTML with 401", authtest.Fault{Status: 401, Body: "<h1>Unauthorized</h1>"}},
		{"redirect", authtest.Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}},
		{"reset", authtest.Fault{Deliver: authtest.Reset}},
		{"hang", authtest.Fault{Deliver: authtest.Hang}},
		{"no tokens", authtest.Fault{Edit: func(a *authtest.Answer) { a.Status, a.Body = 200, []byte(`{}`) }, Status: 200}},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt, authtest.Options{AccessLife: 3 * time.Second}, "AUTH_TIMEOUT=2s")
			b := s.signedIn(t, admin)
			b.put("theme", `"dark"`).is(204)
			sent := b.cookieHeader()
			s.auth.Inject(authtest.Refresh, f.fault)
			b.page("/admin").isPage(200)
			eventually(t, "the token expires", func() bool {
				a := b.get("/api/me")
				if a.status == 200 {
					return false
				}
				a.problem(503, "session_unavailable")
				return true
			})
			// Every form of it, the cookies as they were.
			for _, a := range []*answer{b.page("/admin"), b.page("/dashboard")} {
				a.isPage(503)
				if a.header.Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", a.what)
				}
				if len(a.header.Values("Set-Cookie")) > 0 {
					t.Errorf("%s: cookies were set", a.what)
				}
			}
			b.get("/dashboard").problem(503, "session_unavailable")
			b.put("theme", `"light"`).problem(503, "session_unavailable")
			// The start page says so, and not that anybody is signed in or out.
			page := b.page("/").isPage(200)
			if !strings.Contains(page.body, "cannot be reached") {
				t.Error("the start page does not say so")
			}
			for _, untrue := range []string{"Nobody is signed in", "Nothing is lost", "Sign in", "Welcome back"} {
				if strings.Contains(page.body, untrue) {
					t.Errorf("the start page says %q", untrue)
				}
			}
			if got := b.get("/").is(200).object(); got["session_unavailable"] != true {
				t.Errorf("the start page as JSON: %v", got)
			}
			if got := b.get("/login").is(200).object(); got["session_unavailable"] != true {
				t.Errorf("the login page as JSON: %v", got)
			}
			if b.cookieHeader() != sent {
				t.Error("the cookies have changed")
			}
			s.auth.Clear()
			eventually(t, "the session goes on", func() bool { return b.get("/api/me").status == 200 })
			if b.get("/api/prefs").object()["theme"] != "dark" {
				t.Error("its values are lost")
			}
			if s.auth.Reuses() > 0 {
				t.Errorf("%d refresh tokens were used twice", s.auth.Reuses())
			}
		})
	}
}

// The service's own refusal ends a session, and its cookies.
func testRefusedRefresh(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{AccessLife: time.Second})
	b := s.signedIn(t, viewer)
	s.auth.UpdateAccount(viewer, func(a *authtest.Account) { a.Inactive = true })
	eventually(t, "the session ends", func() bool { return b.get("/api/me").status == 401 })
	b.page("/dashboard").leadsTo("/login?return_to=%2Fdashboard")
	if left := b.cookies(); len(left) > 0 {
		t.Errorf("%d cookies are left", len(left))
	}

	// Roles that are changed at the service count from the next refresh on.
	b = s.signedIn(t, analyst)
	b.page("/reports").isPage(200)
	s.auth.UpdateAccount(analyst, func(a *authtest.Account) { a.Roles = []string{"user"} })
	eventually(t, "the role is gone", func() bool { return b.page("/reports").status == 403 })
	b.page("/dashboard").isPage(200)
}

// A service that is down does not keep anybody from signing out.
func testLogoutWhileDown(t *testing.T, tt target) {
	for _, fault := range []authtest.Fault{{Status: 500}, {Deliver: authtest.Reset}, {Deliver: authtest.Hang}} {
		s := start(t, tt, authtest.Options{}, "AUTH_TIMEOUT=2s")
		for _, all := range []string{"", "true"} {
			s.auth.Clear()
			b := s.signedIn(t, viewer)
			stolen := b.copy()
			s.auth.Inject(authtest.Any, fault)
			if a := b.postForm("/logout", "all", all); all != "" && tt.inCookies() {
				a.isPage(503) // this session is over, those of other browsers may not be
			} else {
				a.leadsTo("/")
			}
			b.get("/api/me").problem(401, "unauthenticated")
			stolen.get("/api/me").problem(401, "unauthenticated")
			if left := b.cookies(); len(left) > 0 {
				t.Errorf("%d cookies are left", len(left))
			}
		}
		s.auth.Clear()
	}
}

// A client that hangs up in the middle of a refresh loses nothing.
func testClientGone(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{AccessLife: time.Second}, "GRACE=1s")
	b := s.signedIn(t, viewer)
	time.Sleep(time.Second) // the token's life
	var gate authtest.Gate
	s.auth.Inject(authtest.Refresh, authtest.Fault{After: &gate, Times: 1})
	req := b.request("GET", "/api/me", nil)
	ctx, hangUp := cancelable()
	gone := make(chan error, 1)
	go func() {
		_, err := b.copy().client.Do(req.WithContext(ctx))
		gone <- err
	}()
	<-gate.Arrived(1)
	hangUp()
	if err := <-gone; err == nil {
		t.Fatal("the client was answered")
	}
	gate.Open()
	eventually(t, "the refresh is carried out", func() bool { return s.auth.Refreshes() == 1 })
	b.get("/api/me").is(200)
	if s.auth.Reuses() > 0 {
		t.Errorf("%d refresh tokens were used twice", s.auth.Reuses())
	}
}

// hanging is an API that lets its callers wait.
func hanging(t *testing.T) (api *upstream, arrived <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 100), make(chan struct{})
	var once sync.Once
	release = func() { once.Do(func() { close(out) }) }
	api = newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		in <- struct{}{}
		<-out
		io.WriteString(w, "done")
	})
	t.Cleanup(release)
	return api, in, release
}
