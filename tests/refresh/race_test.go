package refresh_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// A logout races each of its rivals, in every order of their steps at the server, and the
// responses arrive in every order.
func TestLogoutRaces(t *testing.T) {
	for _, rival := range rivals {
		t.Run(rival.name, func(t *testing.T) { inEveryOrder(t, 50, 1000, logout, rival) })
	}
}

// Another user's login races each rival, and a logout.
func TestLoginRaces(t *testing.T) {
	for _, rival := range append([]act{logout}, rivals...) {
		t.Run(rival.name, func(t *testing.T) { inEveryOrder(t, 50, 1000, login, rival) })
	}
}

// A logout and another user's login race a rival, and each other.
func TestLogoutAndLoginRaces(t *testing.T) {
	for _, rival := range rivals {
		t.Run(rival.name, func(t *testing.T) { inSomeOrder(t, 30, 1000, logout, login, rival) })
	}
}

// A logout, another user's login and several rivals race.
func TestEverythingRaces(t *testing.T) {
	inSomeOrder(t, 50, 1000, append([]act{logout, login}, rivals...)...)
}

// inEveryOrder lets acts race in all orders of their steps, for sessions of both kinds,
// and repeats this until there were the given number of races.
func inEveryOrder(t *testing.T, usual, long int, acts ...act) {
	orders := interleavings(acts)
	testkit.Severally(t, max(len(kinds)*len(orders), scale.Of(usual/3, usual, long)), 12, func(t *testing.T, i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 4))
		race(t, kinds[i%2], rng, acts, orders[i/2%len(orders)])
	})
}

// inSomeOrder lets acts race in random orders.
func inSomeOrder(t *testing.T, usual, long int, acts ...act) {
	testkit.Severally(t, scale.Of(usual/3, usual, long), 12, func(t *testing.T, i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 5))
		var order []string
		for _, a := range acts {
			for range a.steps {
				order = append(order, a.name)
			}
		}
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		race(t, kinds[i%2], rng, acts, order)
	})
}

// interleavings returns all orders of the steps of acts, as lists of the names of the
// acts.
func interleavings(acts []act) [][]string {
	left := make([]int, len(acts))
	for i, a := range acts {
		left[i] = len(a.steps)
	}
	var all [][]string
	var extend func(order []string)
	extend = func(order []string) {
		done := true
		for i, a := range acts {
			if left[i] > 0 {
				done = false
				left[i]--
				extend(append(order[:len(order):len(order)], a.name))
				left[i]++
			}
		}
		if done {
			all = append(all, order)
		}
	}
	extend(nil)
	return all
}

// race lets acts race in an order of their steps, and checks the result.
//
// When the logout or the login has completed, the first user's session has ended and
// stays ended. Responses decided earlier may arrive later and remove the login's
// cookies. Then no user is signed in; it is never the first user.
func race(t *testing.T, k kind, rng *rand.Rand, acts []act, order []string) {
	st := newStage(t, k, rng, acts)
	st.run(order)

	out, in := st.actors[logout.name], st.actors[login.name]
	for _, a := range st.actors {
		switch names := a.response.names(); {
		case a == in:
			if !a.response.sets(mainCookie) {
				st.fail("the login: %v", names)
			}
		case in != nil && a.decided.Load() > in.over.Load() && len(names) > 0:
			st.fail("%s, after the login: %v", a.name, names)
		case out != nil && a.decided.Load() > out.over.Load() && (a.response.sets(mainCookie) || a.response.sets(stateCookie)):
			st.fail("%s, after the logout: %v", a.name, names)
		}
	}

	jars := st.arrivals()
	secondIn := 0
	look := func(when string) {
		for _, j := range jars {
			want := ""
			if in != nil && j[mainCookie] == jar(nil).After(in.response.cookies)[mainCookie] {
				want = second
				secondIn++
			}
			if a := st.get("/who", j); a.status != 200 || a.seen.User != want {
				st.fail("%s the response is %d as %q, want %q", when, a.status, a.seen.User, want)
			}
		}
	}
	look("when all responses have arrived")
	if again := st.auth.Reuses(); again > 0 {
		st.fail("%d refresh tokens were used again", again)
	}
	// The clock must not move while requests are under way.
	st.restart()
	st.clock.advance(3 * lateBy)
	look("a little later")
	st.clock.advance(2 * accessLife)
	look("when all access tokens have expired")
	if in != nil && secondIn == 0 {
		st.fail("in no order of the responses is the second user signed in")
	}

	st.stop()
	want := map[string]int{first: 0, second: 0}
	if in != nil {
		want[second] = 1
	}
	for user, n := range want {
		if live := st.auth.LiveTokens(user); len(live) != n {
			st.fail("%d refresh tokens of user %s live, want %d", len(live), user[len(user)-1:], n)
		}
	}
}

// Late requests with the cookies of an ended session cause no calls of the auth
// service, because the tokens are revoked.
func TestLateAfterLogout(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			s := newSite(t, k, []string{first})
			j, _ := s.signIn(first)
			for range 3 {
				if a, err := s.send(t.Context(), "POST", "/logout", "{}", j); err != nil || a.status != 204 || len(j.After(a.cookies)) > 0 {
					t.Fatalf("logout: %v, %d %s %v", err, a.status, a.body, a.names())
				}
				for range 5 {
					if a := s.get("/who", j); a.status != 200 || a.seen.User != "" || len(a.cookies) > 0 {
						t.Fatalf("the response is %d as %q: %v", a.status, a.seen.User, a.names())
					}
				}
			}
			if n := s.auth.Requests(authtest.Logout); n != 1 {
				t.Errorf("%d logouts at the auth service, want 1", n)
			}
			s.refreshed(0)
		})
	}
}

// The auth service does not revoke the tokens at logout. The session's cookies are still
// rejected.
func TestLogoutWithoutService(t *testing.T) {
	for i, k := range slices.Concat(kinds, kinds) {
		t.Run(string(k)+"/"+strconv.Itoa(i/2), func(t *testing.T) {
			s := newSite(t, k, []string{first}, func(c *setup) { c.IdleTimeout = 30 * day })
			j, _ := s.signIn(first)
			jars := []jar{j}
			if i/2 == 1 {
				s.clock.advance(intoExpiry)
				jars = append(jars, j.After(s.get("/who", j).cookies))
			}
			s.auth.Inject(authtest.Any, authtest.Fault{Status: 503, Body: "<h1>down</h1>"})
			if a, err := s.send(t.Context(), "POST", "/logout", "{}", jars[len(jars)-1]); err != nil || a.status != 204 {
				t.Fatalf("logout: %v, %d %s", err, a.status, a.body)
			}
			s.auth.Clear()
			if live := s.auth.LiveTokens(first); len(live) != 1 {
				t.Fatalf("%d refresh tokens live, want one that could be used", len(live))
			}
			for range 29 {
				for _, j := range jars {
					if a := s.get("/who", j); a.status != 200 || a.seen.User != "" || a.sets(mainCookie) {
						t.Fatalf("the response is %d as %q: %v", a.status, a.seen.User, a.names())
					}
				}
				s.clock.advance(day)
			}
		})
	}
}
