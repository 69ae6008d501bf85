package replicas_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// Three hundred requests with a token that has expired, over all processes,
// are one refresh and three hundred answers, each from an API that was called
// with the new token.
func (c *cluster) testWave(t *testing.T) {
	for i := range scale.Of(2, 3, 200) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			l := c.signIn(t, c.all[i%len(c.all)], briefly)
			// The service takes its time, so that requests pile up meanwhile.
			l.user.holdRefresh(stop{before: i%2 == 0, lasts: time.Millisecond + time.Duration(rng.Int64N(int64(time.Second)))})
			l.expire()
			c.oneRefresh(t, l, 300, []time.Duration{0, 2 * time.Second}[i/2%2])
		})
	}
}

// A service that is slower than a lease lasts is waited for.
func (c *cluster) testSlowService(t *testing.T) {
	l := c.signIn(t, c.all[0], briefly)
	l.user.holdRefresh(stop{lasts: 8 * time.Second})
	l.expire()
	c.oneRefresh(t, l, 300, time.Second)
}

func (c *cluster) oneRefresh(t *testing.T, l login, requests int, over time.Duration) {
	t.Helper()
	answers := wave(t, c.all, requests, over, func(p *process, _ int) (answer, error) {
		return p.send(t.Context(), "GET", "/api/upstream", nil, l.jar)
	})
	token := c.served(t, answers[0], l.user)
	for _, a := range answers {
		if c.served(t, a, l.user) != token {
			t.Fatal("the API was called with two tokens")
		}
		if a.sets(mainCookie) != (c.mode == cookies) {
			t.Fatalf("an answer sets the cookies %v", a.cookies)
		}
	}
	c.lives(t, l.user, 1)
}

// More sessions expire at once than a process refreshes at one time, and the
// service is slower than a lease lasts. Those that wait for their turn in one
// process are not taken over by another one.
func (c *cluster) testCrowd(t *testing.T) {
	const sessions, atOnce = 80, 64
	var logins []login
	for i := range sessions {
		logins = append(logins, c.signIn(t, c.all[i%len(c.all)], briefly))
	}
	last := logins[sessions-1]
	var held []*stop
	for _, l := range logins {
		held = append(held, l.user.holdRefresh(stop{before: true, lasts: leaseTime + time.Second}))
	}
	last.expire()
	busy, others := c.all[0], c.all[1:]
	var waiting []func() answer
	for _, l := range logins {
		waiting = append(waiting, busy.later(t, "GET", "/api/upstream", nil, l.jar))
	}
	eventually(t, "one process has as many refreshes on the wire as it may", func() bool {
		n := 0
		for _, h := range held {
			if isClosed(h.arrived) {
				n++
			}
		}
		return n >= atOnce
	})
	for i, l := range logins {
		waiting = append(waiting, others[i%len(others)].later(t, "GET", "/api/upstream", nil, l.jar))
	}
	for i, wait := range waiting {
		if a := wait(); a.status != http.StatusOK {
			t.Errorf("session %d: %d %s", i%sessions, a.status, a.body)
		}
	}
	for _, l := range logins {
		c.lives(t, l.user, 1)
	}
}
