package outcomes_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// If the service cannot sign the user out everywhere, the sessions have ended here, and
// the call is retried. The real service returns 204 for logouts that it did not perform.
func TestLogoutEverywhere(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		for name, prepare := range map[string]func(s *site){
			"database down": func(s *site) { s.auth.Inject(authtest.Any, authtest.Fault{BackendDown: true}) },
			"no response":   func(s *site) { s.auth.Inject(authtest.Any, authtest.Fault{Status: 503}) },
			"access token expired": func(s *site) {
				s.clock.advance(accessLife)
				s.auth.Inject(authtest.Any, authtest.Fault{BackendDown: true})
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, kind)
				here, there := s.signedIn(user), s.signedIn(user)
				prepare(s)
				a := here.post("/logout", `{"all":true}`).is(http.StatusNoContent, "")
				if len(a.expired) == 0 || len(here.cookies) != 0 {
					t.Errorf("%d cookies left", len(here.cookies))
				}
				here.get("/me").is(http.StatusUnauthorized, "unauthenticated")
				there.get("/me").is(http.StatusUnauthorized, "unauthenticated")
				s.journal.wait(t, 1, session.EventRevokeFailed)
				s.auth.Clear()
				until(t, "the service has ended all sessions", func() bool { return len(s.auth.LiveTokens(user)) == 0 })
			})
		}
	}
}

// If the service works, all sessions end, even if the access token has expired.
func TestLogoutEverywhereWithAnExpiredToken(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind)
			here, there := s.signedIn(user), s.signedIn(user)
			s.clock.advance(accessLife)
			here.post("/logout", `{"all":true}`).is(http.StatusNoContent, "")
			if n := len(s.auth.LiveTokens(user)); n != 0 {
				t.Errorf("%d refresh tokens live on", n)
			}
			there.get("/me").is(http.StatusUnauthorized, "unauthenticated")
		})
	}
}

// The clock of the service may differ from this one by more than the life of an access
// token. Its tokens then seem to have expired when they arrive.
func TestLogoutEverywhereWithClocksApart(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
			for _, later := range []time.Duration{0, accessLife} {
				t.Run(fmt.Sprintf("%v, %v later/%s", skew, later, kind), func(t *testing.T) {
					t.Parallel()
					s := newSite(t, kind)
					s.auth.Advance(skew)
					here := s.signedIn(user)
					s.signedIn(user)
					s.clock.advance(later)
					here.post("/logout", `{"all":true}`).is(http.StatusNoContent, "")
					if n := len(s.auth.LiveTokens(user)); n != 0 {
						t.Errorf("%d refresh tokens are still valid", n)
					}
				})
			}
		}
	}
}
