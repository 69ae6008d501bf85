package outcomes_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// The clock of the service may be wrong by an hour, from the start or later: the life of
// an access token counts from its receipt.
func TestServiceClockOff(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		for _, tt := range []struct {
			name  string
			skew  time.Duration
			later bool
		}{
			{"ahead", time.Hour, false}, {"behind", -time.Hour, false},
			{"jumps ahead", time.Hour, true}, {"jumps back", -time.Hour, true},
		} {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind)
				if !tt.later {
					s.auth.Advance(tt.skew)
				}
				b := s.signedIn(user)
				if tt.later {
					s.auth.Advance(tt.skew)
				}
				ends := s.wholeLife(b.get("/me"))
				for cycle := range 4 {
					// Until at most a minute before its expiry, the token is used and not
					// refreshed.
					for range 13 {
						s.clock.advance(time.Minute)
						if got := b.get("/me").is(http.StatusOK, "").leavesCookies().tokenEnds(); !got.Equal(ends) {
							t.Fatalf("the token ends at %v, want %v", got, ends)
						}
					}
					s.refreshed(cycle)
					s.clock.advance(2 * time.Minute)
					ends = s.wholeLife(b.get("/me"))
					for range 5 {
						b.get("/me").is(http.StatusOK, "").leavesCookies()
					}
					s.refreshed(cycle + 1)
				}
				if n := s.auth.Reuses(); n != 0 {
					t.Errorf("%d tokens were used twice", n)
				}
				// All sessions can be ended, whatever the clock of the service is.
				other := s.signedIn(user)
				b.post("/logout", `{"all":true}`).is(http.StatusNoContent, "")
				until(t, "every token is revoked", func() bool { return len(s.auth.LiveTokens(user)) == 0 })
				if s.stored {
					other.get("/me").is(http.StatusUnauthorized, "unauthenticated")
				}
			})
		}
	}
}

// wholeLife checks that the access token of a response has its whole life before
// it, and returns its end.
func (s *site) wholeLife(a response) time.Time {
	s.t.Helper()
	ends := a.is(http.StatusOK, "").tokenEnds()
	if life := ends.Sub(s.clock.now()); life > accessLife || life < accessLife-time.Second {
		s.t.Errorf("the access token lives for %v, want %v", life, accessLife)
	}
	return ends
}

// The app's clock may be set, too: an hour forward is an expiry like any other, and an
// hour back is none.
func TestOwnClockSet(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		for _, jump := range []time.Duration{time.Hour, -time.Hour} {
			t.Run(kind+"/"+jump.String(), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind)
				b := s.signedIn(user)
				s.clock.advance(jump)
				s.auth.Advance(-jump) // the clock of the service does not change
				for range 5 {
					b.get("/me").is(http.StatusOK, "")
				}
				want := 0
				if jump > 0 {
					want = 1
				}
				s.refreshed(want)
				// If the clock was set back after a failure, the pause does not become
				// longer by that time.
				s.clock.advance(expired + max(-jump, 0))
				s.auth.Inject(authtest.Refresh, authtest.Fault{Status: 503, Header: http.Header{"Retry-After": {"60"}}})
				b.get("/me").is(http.StatusServiceUnavailable, "session_unavailable")
				s.auth.Clear()
				s.clock.advance(-30 * time.Minute)
				if a := b.get("/me"); a.status == http.StatusServiceUnavailable && a.retryAfter() > 60 {
					t.Errorf("Retry-After: %d", a.retryAfter())
				}
				s.clock.advance(31 * time.Minute)
				b.get("/me").is(http.StatusOK, "")
				if n := len(s.journal.of(session.EventSessionEnded)); n != 0 {
					t.Errorf("%d sessions have ended", n)
				}
			})
		}
	}
}
