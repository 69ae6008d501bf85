package outcomes_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// TestRefreshFaults injects every fault at a refresh, with an access token that is still
// valid and one that has expired, in both kinds of sessions.
func TestRefreshFaults(t *testing.T) {
	t.Parallel()
	for _, f := range append(slices.Clone(faults), anothersTokens) {
		for _, kind := range kindsFor(f.name, 2) {
			for _, age := range []time.Duration{inWindow, expired} {
				name := f.name + "/" + kind + "/good token"
				if age == expired {
					name = f.name + "/" + kind + "/expired token"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					refreshFault(t, f, kind, age == inWindow)
				})
			}
		}
	}
}

func refreshFault(t *testing.T, f fault, kind string, good bool) {
	timeout := tooLong
	if f.slow || f.refresh == lost {
		timeout = shortTimeout // a second rejection takes effect after that time
	}
	s := newSite(t, kind, withTimeout(timeout))
	b := s.signedIn(user)
	ends := b.get("/me").is(http.StatusOK, "").leavesCookies().tokenEnds()
	held := maps.Clone(b.cookies)
	s.auth.Inject(authtest.Refresh, f.Fault)
	if good {
		s.clock.advance(inWindow)
	} else {
		s.clock.advance(expired)
	}

	// gone is the first response without the session.
	gone := func() (a response) {
		until(t, "the session is over", func() bool {
			a = b.get("/me")
			return a.status != http.StatusOK
		})
		return a
	}
	switch f.refresh {
	case renewed:
		// With a valid token, a request waits for a refresh for a second at most.
		var a response
		until(t, "the token is refreshed", func() bool {
			a = b.get("/me").is(http.StatusOK, "")
			return a.tokenEnds().After(ends)
		})
		s.isRenewed(b, a, ends)
		s.refreshed(1)
		return
	case refusal:
		b.isGone(held, gone(), "refresh_refused")
		s.refreshed(1)
		return
	case stranger:
		b.isGone(held, gone(), "refresh_other_user")
		s.refreshed(1)
		// All tokens are revoked, except those of the new login.
		until(t, "the tokens are revoked", func() bool { return len(s.auth.LiveTokens(user)) == 1 })
		return
	}

	// The fault continues.
	if good {
		b.get("/me").is(http.StatusOK, "")
	} else {
		b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
	}
	s.journal.wait(t, 1, failures...) // the refresh goes on for longer than the request
	if f.refresh == halfway && !s.stored {
		// The next successful response delivers the new refresh token to the browser.
		if a := b.get("/static"); !good && !slices.Equal(a.renewed, []string{"__Host-session"}) || len(a.expired) != 0 {
			t.Errorf("cookies set: %q, expired: %q", a.renewed, a.expired)
		}
	}
	s.outage(b, good, ends)
	s.refreshed(1)
	if failed := s.journal.of(failures...); len(failed) != 1 || failed[0].RetryAfter < 187*time.Millisecond {
		t.Errorf("the events are %+v", failed)
	}

	// The fault has ended.
	if f.refresh == lost {
		until(t, "the token is rotated", func() bool { return s.auth.Refreshes() == 1 })
	}
	s.auth.Clear()
	s.clock.advance(max(f.hold, 313*time.Millisecond))
	// A flight lands a moment after its event. Until then a request with a valid token
	// starts no other refresh.
	var a response
	until(t, "the service is called once more", func() bool {
		a = b.get("/me")
		return s.auth.Requests(authtest.Refresh) == 2
	})
	if f.refresh == lost {
		s.isLost(b, held, a)
		return
	}
	// With a valid token, a request waits for a refresh for a second at most.
	until(t, "the token is refreshed", func() bool {
		if !a.tokenEnds().After(ends) {
			a = b.get("/me").is(http.StatusOK, "")
		}
		return a.tokenEnds().After(ends)
	})
	s.isRenewed(b, a, ends)
	s.refreshed(2)
	if n := s.auth.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	s.clock.advance(accessLife)
	s.isRenewed(b, b.get("/me"), a.tokenEnds())
}

// refreshed checks how often the service was called for a refresh.
func (s *site) refreshed(n int) {
	s.t.Helper()
	if got := s.auth.Requests(authtest.Refresh); got != n {
		s.t.Errorf("the service was called %d times, want %d", got, n)
	}
}

// outage checks that the session is served while its token is valid, and is
// unavailable after that. Its cookies stay in both cases, and pages that need no
// session are served.
func (s *site) outage(b *browser, good bool, ends time.Time) {
	s.t.Helper()
	before := len(b.cookies)
	for _, path := range []string{"/me", "/analysts"} {
		if good {
			if got := b.get(path).is(http.StatusOK, "").leavesCookies().tokenEnds(); !got.Equal(ends) {
				s.t.Errorf("the token ends at %v, want %v", got, ends)
			}
			b.open(path).is(http.StatusOK, "").leavesCookies()
			b.post(path, `{}`).is(http.StatusOK, "").leavesCookies()
			continue
		}
		b.get(path).is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
		b.post(path, `{}`).is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
		page := b.open(path).is(http.StatusServiceUnavailable, "").leavesCookies()
		if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			s.t.Errorf("the response to a navigation is %s", page.header.Get("Content-Type"))
		}
	}
	if good {
		b.get("/admins").is(http.StatusForbidden, "forbidden").leavesCookies()
	} else {
		b.get("/admins").is(http.StatusServiceUnavailable, "session_unavailable").leavesCookies()
	}
	for _, path := range []string{"/public", "/static", "/login"} {
		b.open(path).is(http.StatusOK, "").leavesCookies()
	}
	if len(b.cookies) != before {
		s.t.Errorf("%d cookies, want %d", len(b.cookies), before)
	}
}

// isRenewed checks a response with a new token, and the following responses.
func (s *site) isRenewed(b *browser, a response, before time.Time) {
	s.t.Helper()
	if got := a.is(http.StatusOK, "").tokenEnds(); got.Sub(s.clock.now().Add(accessLife)).Abs() > time.Second || !got.After(before) {
		s.t.Errorf("the token ends at %v, want a whole life from %v", got, s.clock.now())
	}
	if slices.Contains(a.renewed, "__Host-session") == s.stored || len(a.expired) != 0 {
		s.t.Errorf("cookies set: %q, expired: %q", a.renewed, a.expired)
	}
	n := s.auth.Requests(authtest.Refresh)
	for range 3 {
		b.get("/me").is(http.StatusOK, "").leavesCookies()
	}
	s.refreshed(n)
	if n := len(s.auth.LiveTokens(user)); n != 1 {
		s.t.Errorf("%d refresh tokens are alive, want 1", n)
	}
	if n := len(s.journal.of(session.EventSessionEnded)); n != 0 {
		s.t.Errorf("%d sessions have ended", n)
	}
}

// isGone checks that no user is signed in, that the response deletes the browser's
// cookies, and that an event has the reason.
func (b *browser) isGone(held map[string]string, a response, reason string) {
	b.t.Helper()
	if a.is(http.StatusUnauthorized, "unauthenticated"); len(a.expired) != len(held) || len(a.renewed) != 0 {
		b.t.Errorf("cookies set: %q, expired: %q, want %d expired", a.renewed, a.expired, len(held))
	}
	b.get("/me").is(http.StatusUnauthorized, "unauthenticated").leavesCookies()
	// Requests that were sent before arrive late.
	late := &browser{b.site, maps.Clone(held)}
	if a := late.open("/me").is(http.StatusSeeOther, ""); len(a.expired) != len(held) || a.header.Get("Location") != "/login?return_to=%2Fme" {
		b.t.Errorf("a navigation: expired: %q, Location: %s", a.expired, a.header.Get("Location"))
	}
	b.get("/public").is(http.StatusOK, "").leavesCookies()
	ended := b.journal.wait(b.t, 1, session.EventSessionEnded)
	if len(ended) != 1 || ended[0].Reason != reason || ended[0].Session == "" {
		b.t.Errorf("ended: %+v, want once, by %s", ended, reason)
	}
	// A new sign-in works.
	b.auth.Clear()
	b.login(user).is(http.StatusOK, "")
	b.get("/me").is(http.StatusOK, "").leavesCookies()
}

// isLost checks that a token whose response was lost is sent once more, with the response
// a, and that the session then ends.
func (s *site) isLost(b *browser, held map[string]string, a response) {
	s.t.Helper()
	s.journal.wait(s.t, 1, session.EventSessionEnded)
	if len(a.expired) == 0 {
		// The token was still valid when this request arrived.
		a = b.get("/me")
	}
	b.isGone(held, a, "refresh_outcome_unknown")
	s.refreshed(2)
	if n := s.auth.Reuses(); n != 1 {
		s.t.Errorf("%d second uses of a token, want the one", n)
	}
}

// until waits for an event in the background.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(tooLong); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %v", what, tooLong)
		}
	}
}
