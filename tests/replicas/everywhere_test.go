package replicas_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// While the auth service is down, signing out everywhere in one browser ends the user's
// sessions in other browsers: at once in the same process, and within seconds in the
// others.
func (c *cluster) testEverywhere(t *testing.T) {
	own := &cluster{t: t, db: c.db, mode: c.mode, keys: c.keys, service: newService(t, authtest.Options{})}
	for range 3 {
		own.all = append(own.all, own.start(t))
	}
	for i := range scale.Of(2, 3, 60) {
		here, there := own.all[i%3], own.all[(i+1)%3]
		mine := own.signIn(t, here, 0)
		others := []login{own.signInAs(t, here, mine.user), own.signInAs(t, there, mine.user)}
		for _, other := range others {
			for _, p := range own.all {
				if a := p.get(t, "/api/me", other.jar); a.status != http.StatusOK {
					t.Fatalf("before: %d %s", a.status, a.body)
				}
			}
		}
		own.service.Inject(authtest.Logout, authtest.Fault{Status: http.StatusServiceUnavailable})
		if a := here.post(t, "/logout", strings.NewReader(`{"all":true}`), mine.jar); a.status != http.StatusNoContent {
			t.Fatalf("logout: %d %s", a.status, a.body)
		}
		for _, other := range others {
			if a := here.get(t, "/api/me", other.jar); a.status != http.StatusUnauthorized {
				t.Errorf("another browser in the same process: %d %s", a.status, a.body)
			}
			for _, p := range own.all {
				eventually(t, "the other browsers are signed out in every process", func() bool {
					return p.get(t, "/api/me", other.jar).status == http.StatusUnauthorized
				})
			}
		}
		own.service.Clear(authtest.Logout)
		if again := own.signInAs(t, there, mine.user); here.get(t, "/api/me", again.jar).status != http.StatusOK {
			t.Error("a later sign-in is not served")
		}
	}
}
