package dashboard_test

import (
	"io"
	"net/http"
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
		for _, a := range []*response{b.get(path), b.page(path), b.do("GET", path, "", "Authorization", "Bearer x")} {
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

	// Failure and recovery are reported within little more than a second. A rejection
	// is not a failure.
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
	time.Sleep(1100 * time.Millisecond) // longer than the result is cached
	if !says(200, "ok")() {
		t.Error("a service that responds with 404 is said to be down")
	}
	s.auth.Clear()

	// However often /readyz is requested, the service is called once a second.
	before, began := s.auth.Requests(authtest.Healthz), time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if a, err := b.try(b.request("GET", "/readyz", nil)); err != nil || a.status != 200 {
					t.Errorf("/readyz: %+v, error %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	if n, most := s.auth.Requests(authtest.Healthz)-before, int(time.Since(began)/time.Second)+1; n > most {
		t.Errorf("the service was called %d times in %v", n, time.Since(began))
	}
}

// The program starts while the auth service is down.
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

// If a refresh takes longer than its request waits, its tokens are still used. A slow
// auth service signs no user out.
func TestSlowAuthService(t *testing.T) {
	t.Parallel()
	s := start(t, target{framework: "nethttp", store: "cookie"}, authtest.Options{AccessLife: time.Second}, "AUTH_TIMEOUT=5s")
	b := s.signedIn(t, viewer)
	var gate authtest.Gate
	defer gate.Open()
	s.auth.Inject(authtest.Refresh, authtest.Fault{After: &gate, Times: 1})
	eventually(t, "the token expires", func() bool { return b.get("/api/me").status == http.StatusServiceUnavailable })
	gate.Open()
	eventually(t, "the refresh is complete", func() bool {
		a := b.get("/api/me")
		if a.status != http.StatusServiceUnavailable {
			a.is(http.StatusOK)
		}
		return a.status == http.StatusOK
	})
}

// hanging is an API that does not respond.
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
