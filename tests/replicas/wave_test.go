package replicas_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
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
//
// A process that cannot write for as long as a lease lasts is one that stands
// still. The machine decides about that, so the test is repeated if the test's
// own writes were held up.
func (c *cluster) testCrowd(t *testing.T) {
	const tries = 3
	for try := 1; ; try++ {
		longest := c.watchWrites(t)
		problems := c.crowd(t)
		slow := longest()
		switch {
		case len(problems) == 0:
			return
		case slow < leaseTime/3 || try == tries:
			t.Fatalf("try %d, with writes of %v at most: %s", try, slow, strings.Join(problems, "; "))
		}
		t.Logf("try %d, with writes of %v: %s", try, slow, strings.Join(problems, "; "))
	}
}

// watchWrites writes to the table until longest is called, which returns how
// long a write took at most.
func (c *cluster) watchWrites(t *testing.T) (longest func() time.Duration) {
	db := c.db.open(t)
	end := make(chan struct{})
	result := make(chan time.Duration)
	go func() {
		var most time.Duration
		for !isClosed(end) {
			start := time.Now()
			time.Sleep(50 * time.Millisecond)
			_, _ = db.Exec("UPDATE sessions SET version = version WHERE 1 = 0")
			most = max(most, time.Since(start))
		}
		result <- most
	}()
	return func() time.Duration { close(end); return <-result }
}

// crowd returns what went wrong.
func (c *cluster) crowd(t *testing.T) (problems []string) {
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
			problems = append(problems, fmt.Sprintf("session %d: %d %s", i%sessions, a.status, a.body))
		}
	}
	for i, l := range logins {
		if uses, live := c.service.uses(l.user), len(c.service.LiveTokens(l.user.email)); uses != 1 || live != 1 {
			problems = append(problems, fmt.Sprintf("session %d: the refresh token was used %d times, %d live", i, uses, live))
		}
	}
	return problems
}
