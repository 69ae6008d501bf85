package authtest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// The production limit of 1000 requests in 15 minutes, and other limits.
func TestRateLimit(t *testing.T) {
	// wantHeaders checks the headers of a response. An empty value means no header.
	wantHeaders := func(t *testing.T, resp *response, limit, remaining, reset string) {
		t.Helper()
		for name, want := range map[string]string{
			"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset,
		} {
			if got := resp.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
	now := time.Date(2026, 11, 23, 14, 30, 44, 987654321, time.UTC)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix()+1, 10) } // the next whole second
	clock := func() time.Time { return now }

	t.Run("the 1001st in 15 min", func(t *testing.T) {
		c := serve(t, authtest.Options{RateLimit: 1000, Now: clock})
		reset := at(15 * time.Minute)
		_, token := c.srv.SignIn("ada@example.com")
		wantHeaders(t, c.refresh(token), "1000", "999", reset) // on every response
		wantHeaders(t, c.get("/nothing").wantError(404, "Not Found"), "1000", "998", reset)
		for range 998 {
			c.get("/version")
		}
		c.srv.Advance(10 * time.Minute)
		for range 2 {
			resp := c.get("/auth/token/refresh?refresh_token="+token).wantError(429, "You are being rate limited.")
			wantHeaders(t, resp, "1000", "0", reset)
			// Retry-After is the whole window, not the rest of it. The service's other
			// headers are missing.
			if got := resp.header.Get("Retry-After"); got != "900" {
				t.Errorf("Retry-After is %s, want 900", got)
			}
			if got := resp.header.Get("Cache-Control") + resp.header.Get("X-Frame-Options"); got != "" {
				t.Errorf("header is %v", resp.header)
			}
		}
		if info, _ := c.srv.Token(token); info.Uses != 1 {
			t.Errorf("the token was used %d times, want once", info.Uses)
		}
		c.srv.Advance(5 * time.Minute)
		wantHeaders(t, c.get("/nothing").wantError(404, "Not Found"), "1000", "999", at(30*time.Minute))
	})
	t.Run("headers on every response", func(t *testing.T) {
		c := serve(t, authtest.Options{RateLimit: 1000, Now: clock})
		access, token := c.srv.SignIn("ada@example.com")
		left := 1000
		for _, r := range []struct {
			method, path, body string
			status             int
		}{
			{"GET", "/auth/token/refresh?refresh_token=" + token, "", 200},
			{"POST", "/auth/token/revoke", "", 204},
			{"OPTIONS", "/auth/login", "", 204},
			{"GET", "/auth/activate?ticket=" + uuid4, "", 302},
			{"POST", "/auth/login", "{", 400},
			{"POST", "/auth/login", "{}", 400},
			{"GET", "/auth/token/refresh", "", 401},
			{"POST", "/auth/jwks", "", 404},
			{"POST", "/auth/delete", "", 500},
			{"GET", "/auth/jwks", "", 501},
			{"HEAD", "/version", "", 200},
		} {
			left--
			resp := c.do(r.method, r.path, r.body, bearer(access))
			if resp.status != r.status {
				t.Errorf("%s %s: %d, want %d", r.method, r.path, resp.status, r.status)
			}
			wantHeaders(t, resp, "1000", strconv.Itoa(left), at(15*time.Minute))
		}
		c.get("/auth/jwks", "Cookie: permission_variables=x").wantBadRequest()
		left -= 2
		wantHeaders(t, c.get("/version"), "1000", strconv.Itoa(left), at(15*time.Minute))
	})
	t.Run("all paths except /healthz", func(t *testing.T) {
		c := serve(t, authtest.Options{RateLimit: 1})
		c.get("/nothing").wantError(404, "Not Found")
		for _, path := range []string{"/version", "/auth/jwks", "/"} {
			c.get(path).wantError(429, "You are being rate limited.")
		}
		for range 2 {
			resp := c.get("/healthz")
			if resp.status != 200 {
				t.Errorf("/healthz is %d", resp.status)
			}
			wantHeaders(t, resp, "", "", "")
		}
	})
	t.Run("MAX_REQUESTS and TIME_FRAME", func(t *testing.T) {
		c := serve(t, authtest.Options{RateLimit: 2, RateWindow: 1500 * time.Millisecond, Now: clock})
		for range 2 {
			c.get("/nothing").wantError(404, "Not Found")
		}
		resp := c.get("/nothing").wantError(429, "You are being rate limited.")
		wantHeaders(t, resp, "2", "0", at(1500*time.Millisecond))
		if got := resp.header.Get("Retry-After"); got != "2" {
			t.Errorf("Retry-After is %s, want 2", got)
		}
	})
	t.Run("another X-Forwarded-For has its own limit", func(t *testing.T) {
		c := serve(t, authtest.Options{RateLimit: 2})
		for range 2 {
			c.get("/nothing").wantError(404, "Not Found")
		}
		c.get("/nothing").wantError(429, "You are being rate limited.")
		// One proxy is trusted: the last entry counts.
		c.get("/nothing", "X-Forwarded-For: 192.0.2.1, 192.0.2.7").wantError(404, "Not Found")
		c.get("/nothing", "X-Forwarded-For: 192.0.2.7").wantError(404, "Not Found")
		c.get("/nothing", "X-Forwarded-For: 192.0.2.7").wantError(429, "You are being rate limited.")
		c.get("/nothing", "X-Forwarded-For: 192.0.2.7, 192.0.2.1").wantError(404, "Not Found")
	})
	t.Run("no limit by default", func(t *testing.T) {
		c := serve(t)
		wantHeaders(t, c.get("/nothing"), "", "", "")
	})
}
