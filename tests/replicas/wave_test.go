package replicas_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// Three hundred requests with an expired token, to all processes, cause one refresh and
// three hundred responses, each of an API that was called with the new token.
func (c *cluster) testWave(t *testing.T) {
	for i := range scale.Of(2, 3, 200) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			l := c.signIn(t, c.all[i%len(c.all)], briefly)
			// The service is slow, so that requests wait for it.
			l.user.holdRefresh(stop{before: i%2 == 0, lasts: time.Millisecond + time.Duration(rng.Int64N(int64(time.Second)))})
			l.expire()
			c.oneRefresh(t, l, 300, []time.Duration{0, 2 * time.Second}[i/2%2])
		})
	}
}

// The processes also wait for a service that is slower than a lease.
func (c *cluster) testSlowService(t *testing.T) {
	l := c.signIn(t, c.all[0], briefly)
	l.user.holdRefresh(stop{lasts: 8 * time.Second})
	l.expire()
	c.oneRefresh(t, l, 300, time.Second)
}

func (c *cluster) oneRefresh(t *testing.T, l login, requests int, over time.Duration) {
	t.Helper()
	responses := wave(t, c.all, requests, over, func(p *process, _ int) (response, error) {
		return p.send(t.Context(), "GET", "/api/upstream", nil, l.jar)
	})
	token := c.served(t, responses[0], l.user)
	for _, a := range responses {
		if c.served(t, a, l.user) != token {
			t.Fatal("the API was called with two tokens")
		}
		if a.sets(mainCookie) != (c.mode == cookies) {
			t.Fatalf("a response sets the cookies %v", a.cookies)
		}
	}
	c.lives(t, l.user, 1)
}
