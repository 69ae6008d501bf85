package outcomes_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// expiredSession is a site with a session whose access token has expired, and
// whose service responds to every refresh with a fault.
func expiredSession(t *testing.T, kind string, f authtest.Fault) (*site, *browser) {
	t.Helper()
	s := newSite(t, kind)
	b := s.signedIn(user)
	s.clock.advance(expired)
	s.auth.Inject(authtest.Refresh, f)
	return s, b
}

// tries sends requests without a pause while the clock advances in steps, until the
// service is called once more. It returns how long that took by the clock.
func (s *site) tries(b *browser, step, limit time.Duration) time.Duration {
	s.t.Helper()
	before := s.auth.Requests(authtest.Refresh)
	for waited := time.Duration(0); waited <= limit; waited += step {
		a := b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
		if s.auth.Requests(authtest.Refresh) > before {
			return waited
		}
		if left := time.Duration(a.retryAfter()) * time.Second; left > limit-waited+2*time.Second {
			s.t.Errorf("Retry-After: %v, %v after the last try", left, waited)
		}
		s.clock.advance(step)
	}
	s.t.Fatalf("not called again within %v", limit)
	return 0
}

// While a service is down it is called after 0.25 s, 0.5 s and so on up to 10 s, each
// varied by a quarter, however many requests the user sends.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, b := expiredSession(t, kind, authtest.Fault{Status: http.StatusServiceUnavailable})
			b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable")
			s.refreshed(1)
			want := 250 * time.Millisecond
			for i := range 10 {
				step := want / 50
				got := s.tries(b, step, 2*want)
				if got < want*3/4-step || got > want*5/4+step {
					t.Errorf("try %d came after %v, want %v, a quarter more or less", i+2, got, want)
				}
				want = min(2*want, 10*time.Second)
			}
			s.refreshed(11)
			// The first success ends the pauses.
			s.auth.Clear()
			s.clock.advance(13 * time.Second)
			b.get("/me").is(http.StatusOK, "")
			s.auth.Inject(authtest.Refresh, authtest.Fault{Status: http.StatusServiceUnavailable})
			s.clock.advance(expired)
			b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable")
			if got := s.tries(b, 5*time.Millisecond, time.Second); got > 320*time.Millisecond {
				t.Errorf("the pauses have not started again: %v", got)
			}
		})
	}
}

// Sessions that fail together do not retry together.
func TestBackoffIsJittered(t *testing.T) {
	t.Parallel()
	s := newSite(t, "memory")
	const sessions = 20
	var browsers []*browser
	for range sessions {
		browsers = append(browsers, s.signedIn(user))
	}
	s.clock.advance(expired)
	s.auth.Inject(authtest.Refresh, authtest.Fault{Status: http.StatusServiceUnavailable})
	pauses := map[time.Duration]bool{}
	for i, b := range browsers {
		b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable")
		pause := s.journal.wait(t, i+1, failures...)[i].RetryAfter
		if pause < 187*time.Millisecond || pause > 313*time.Millisecond {
			t.Errorf("a pause of %v", pause)
		}
		pauses[pause.Round(time.Millisecond)] = true
	}
	if len(pauses) < sessions/2 {
		t.Errorf("%d sessions have %d different pauses", sessions, len(pauses))
	}
}

// Any number of requests at the same time cause one attempt.
func TestOneTryForAll(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, b := expiredSession(t, kind, authtest.Fault{Status: http.StatusServiceUnavailable, Delay: 50 * time.Millisecond})
			for round := range 3 {
				var waits []func() response
				for range 30 {
					one := &browser{s, b.cookies}
					waits = append(waits, one.start("/me"))
				}
				for _, wait := range waits {
					wait().is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
				}
				s.refreshed(round + 1)
				s.clock.advance(5 * time.Second)
			}
		})
	}
}

// The service's Retry-After is obeyed, up to a minute.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{503, "7", 7 * time.Second},
		{503, "60", time.Minute},
		{503, "600", time.Minute},
		{503, "99999999999", 250 * time.Millisecond}, // too many seconds to be meant
		{503, "0", time.Second},
		{503, "-5", 250 * time.Millisecond},
		{503, "soon", 250 * time.Millisecond},
		{503, "Wed, 21 Oct 2015 07:28:00 GMT", time.Second},
		{500, "3", 3 * time.Second},
		{404, "3", 3 * time.Second},
	} {
		for _, kind := range kindsFor(tt.header, 1) {
			t.Run(fmt.Sprintf("%d/%s/%s", tt.status, tt.header, kind), func(t *testing.T) {
				t.Parallel()
				f := own(tt.status, "")
				f.Header = http.Header{"Retry-After": {tt.header}}
				s, b := expiredSession(t, kind, f)
				a := b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable")
				if got := a.retryAfter(); got > int(max(tt.want, time.Second)/time.Second) || got < int(tt.want/time.Second) {
					t.Errorf("Retry-After: %d, want %v", got, tt.want)
				}
				step := max(tt.want/50, 10*time.Millisecond)
				got := s.tries(b, step, 2*tt.want)
				if got < tt.want*3/4-step || got > tt.want*5/4+step || tt.want >= time.Second && (got < tt.want-step || got > tt.want+step) {
					t.Errorf("called again after %v, want %v", got, tt.want)
				}
			})
		}
	}
}

// rateLimited is the service's response over its limit, with a reset at the time after
// now. Its Retry-After is the whole window, however much of it is left.
func (s *site) rateLimited(reset time.Duration) authtest.Fault {
	f := own(http.StatusTooManyRequests, "You are being rate limited.")
	now := s.clock.now()
	f.Header = http.Header{
		"Retry-After":           {"900"},
		"X-Ratelimit-Limit":     {"1000"},
		"X-Ratelimit-Remaining": {"0"},
		"X-Ratelimit-Reset":     {strconv.FormatInt(now.Truncate(time.Second).Add(reset).Unix(), 10)},
		"Date":                  {now.UTC().Format(http.TimeFormat)},
	}
	return f
}

// A rate limit stops all sessions at once, until the service's reset or for 15 minutes at
// most. Then one call is made, and its response applies to all.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ reset, want time.Duration }{
		{5 * time.Minute, 5 * time.Minute},
		{90 * time.Second, 90 * time.Second},
		{2 * time.Hour, 15 * time.Minute},
		{-time.Hour, time.Second},
	} {
		for _, kind := range kindsFor(tt.reset.String(), 2) {
			t.Run(tt.reset.String()+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind)
				const others = 10
				first := s.signedIn(user)
				var browsers []*browser
				for range others {
					browsers = append(browsers, s.signedIn(user))
				}
				s.clock.advance(expired)
				young := s.signedIn("other@example.com")
				s.auth.Inject(authtest.Refresh, s.rateLimited(tt.reset))
				unavailable := func(b *browser) time.Duration {
					t.Helper()
					a := b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
					return time.Duration(a.retryAfter()) * time.Second
				}
				unavailable(first)
				s.refreshed(1)
				for _, b := range browsers {
					if got := unavailable(b); got > tt.want || got < tt.want-time.Second {
						t.Errorf("Retry-After: %v, want %v", got, tt.want)
					}
				}
				// Sessions that need no refresh are served.
				young.get("/me").is(http.StatusOK, "").leavesCookies()
				s.clock.advance(tt.want - 10*time.Millisecond)
				for _, b := range append(browsers, first) {
					unavailable(b)
				}
				s.refreshed(1)

				// One call is made for all, and exceeds the limit again.
				s.clock.advance(10 * time.Millisecond)
				s.auth.Clear()
				s.auth.Inject(authtest.Refresh, s.rateLimited(tt.reset))
				for _, b := range browsers {
					unavailable(b)
				}
				s.refreshed(2)

				// Then one more call is made, while the others wait for its response.
				s.clock.advance(tt.want)
				s.auth.Clear()
				var gate authtest.Gate
				s.auth.Inject(authtest.Refresh, authtest.Fault{Before: &gate})
				wait := browsers[0].start("/me")
				<-gate.Arrived(1)
				for _, b := range browsers[1:] {
					unavailable(b)
				}
				s.refreshed(3)
				gate.Open()
				wait().is(http.StatusOK, "")
				s.clock.advance(1500 * time.Millisecond)
				for _, b := range append(browsers, first) {
					b.get("/me").is(http.StatusOK, "")
				}
				s.refreshed(3 + others)
				if n := s.auth.Reuses() + len(s.journal.of(session.EventSessionEnded)); n != 0 {
					t.Errorf("%d tokens were used twice or sessions ended", n)
				}
			})
		}
	}
}

// The rate limit of the service itself is obeyed.
func TestRateLimitOfTheService(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		for _, kind := range kindsFor(skew.String(), 2) {
			t.Run(skew.String()+"/"+kind, func(t *testing.T) {
				t.Parallel()
				const limit = 8
				s := newSite(t, kind, func(_ *session.Config, o *authtest.Options) { o.RateLimit, o.RateWindow = limit, 10*time.Minute })
				s.auth.Advance(skew)
				var browsers []*browser
				for range 5 {
					browsers = append(browsers, s.signedIn(user))
				}
				for range 3 { // uses the limit up, in a window that began with the first login
					s.browser().login(user).is(http.StatusOK, "")
				}
				s.browser().login(user).is(http.StatusServiceUnavailable, "auth_unavailable").leavesCookies()

				// In a new window, another program uses the limit up.
				s.clock.advance(expired)
				for range limit {
					resp, err := s.server.Client().Get(s.auth.URL + "/auth/jwks")
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
				}
				over := s.auth.Requests(authtest.Any)
				for _, b := range browsers {
					b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
				}
				if n := s.auth.Requests(authtest.Any) - over; n != 1 {
					t.Errorf("the service was called %d times over its limit, want once", n)
				}
				s.clock.advance(10*time.Minute + time.Second)
				for _, b := range browsers {
					b.get("/me").is(http.StatusOK, "")
				}
				if n := s.auth.Requests(authtest.Any) - over; n != 1+len(browsers) {
					t.Errorf("the service was called %d times, want once over its limit and once for each session", n)
				}
			})
		}
	}
}

// The limit counts every call: after a login over the limit, refreshes pause. Other
// logins are still sent.
func TestRateLimitAtLogin(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind)
			b := s.signedIn(user)
			s.clock.advance(expired)
			s.auth.Inject(authtest.Login, s.rateLimited(5*time.Minute))
			s.browser().login(user).is(http.StatusServiceUnavailable, "auth_unavailable")
			a := b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
			if got := a.retryAfter(); got > 300 || got < 290 {
				t.Errorf("Retry-After: %d, want the service's reset", got)
			}
			s.refreshed(0)
			s.browser().login(user).is(http.StatusServiceUnavailable, "auth_unavailable")
			s.auth.Clear()
			s.browser().login(user).is(http.StatusOK, "")
			s.clock.advance(5 * time.Minute)
			b.get("/me").is(http.StatusOK, "")
			s.refreshed(1)
		})
	}
}
