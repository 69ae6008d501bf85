package replicas_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// A process dies or is paused during a refresh. The others respond within two leases and
// a claim. Only a second use of the token shows whether the service had used it. If it
// had, the session ends with that reason. Like the real service, this one tolerates a
// second use, so only the processes end the session.
func (c *cluster) testDeaths(t *testing.T) {
	c = &cluster{t: t, db: c.db, mode: c.mode, keys: c.keys, service: newService(t, authtest.Options{Lax: true})}
	c.door = c.start(t)
	for range 2 {
		// After a rejection, a process waits AUTH_TIMEOUT for tokens of the previous
		// process. With a longer time, the requests of takenOver would end first.
		c.all = append(c.all, c.start(t, "AUTH_TIMEOUT=1s"))
	}
	for range scale.Of(1, 1, 10) {
		c.run("killed before it was sent", c.testKilledBeforeSent)
		c.run("killed before it was carried out", c.testKilledBeforeCarriedOut)
		c.run("killed before the response", c.testKilledBeforeResponse)
		c.run("paused before it was sent", c.testPausedBeforeSent)
		c.run("paused before the response", c.testPausedBeforeResponse)
	}
}

func (c *cluster) testKilledBeforeSent(t *testing.T) {
	dam := newDam(t)
	victim := c.start(t, "AUTH_URL="+dam.url)
	l := c.signIn(t, c.door, briefly)
	l.expire()
	c.abandon(t, victim, l)
	await(t, "the refresh is on its way", dam.arrived)
	victim.Signal(syscall.SIGKILL)
	victim.Wait()
	c.takenOver(t, l, http.StatusOK)
	c.lives(t, l.user, 1)
}

func (c *cluster) testKilledBeforeCarriedOut(t *testing.T) {
	victim := c.start(t)
	l := c.signIn(t, c.door, briefly)
	held := l.user.holdRefresh(stop{before: true, drop: true})
	l.expire()
	c.abandon(t, victim, l)
	await(t, "the service has the refresh", held.arrived)
	victim.Signal(syscall.SIGKILL)
	victim.Wait()
	l.user.letGo()
	c.takenOver(t, l, http.StatusOK)
	c.lives(t, l.user, 1)
}

func (c *cluster) testKilledBeforeResponse(t *testing.T) {
	victim := c.start(t)
	l := c.signIn(t, c.door, briefly)
	held := l.user.holdRefresh(stop{})
	l.expire()
	c.abandon(t, victim, l)
	await(t, "the service has carried it out", held.arrived)
	victim.Signal(syscall.SIGKILL)
	victim.Wait()
	l.user.letGo()
	c.takenOver(t, l, http.StatusUnauthorized)
	c.endedForUnknown(t, l)
	if n := c.service.uses(l.user); n != 2 {
		t.Errorf("the refresh token was used %d times, want once and once more", n)
	}
}

func (c *cluster) testPausedBeforeResponse(t *testing.T) {
	victim := c.start(t, "AUTH_TIMEOUT=40s") // by then the others have taken over
	l := c.signIn(t, c.door, briefly)
	held := l.user.holdRefresh(stop{})
	l.expire()
	wait := victim.later(t, "GET", "/api/upstream", nil, l.jar)
	await(t, "the service has carried it out", held.arrived)
	c.pause(t, victim)
	l.user.letGo()
	c.takenOver(t, l, http.StatusUnauthorized)
	c.endedForUnknown(t, l)
	victim.Resume()
	late := wait()
	if late.status != http.StatusUnauthorized {
		t.Errorf("the process that stood still responds with %d %s", late.status, late.body)
	}
	for _, j := range []jar{l.jar, l.jar.After(late.cookies)} {
		c.signedOut(t, j, append([]*process{victim}, c.all...)...)
	}
	eventually(t, "it revokes the tokens that came too late", func() bool {
		return len(c.service.LiveTokens(l.user.email)) == 0
	})
}

// A refresh that waits for a slot holds no lease. While its process is paused, the
// others refresh the session at once, and the paused process then uses their tokens.
func (c *cluster) testPausedBeforeSent(t *testing.T) {
	const atOnce = 64
	victim := c.start(t, "AUTH_TIMEOUT=40s")
	var others []login
	for range atOnce {
		others = append(others, c.signIn(t, victim, briefly))
	}
	l := c.signIn(t, c.door, briefly)
	l.expire()
	var held []*stop
	var waiting []func() response
	for _, o := range others {
		held = append(held, o.user.holdRefresh(stop{before: true}))
		waiting = append(waiting, victim.later(t, "GET", "/api/upstream", nil, o.jar))
	}
	for _, h := range held {
		await(t, "the process has as many refreshes on the wire as it may", h.arrived)
	}
	wait := victim.later(t, "GET", "/api/upstream", nil, l.jar)
	c.pause(t, victim)
	token := c.takenOver(t, l, http.StatusOK)
	for _, o := range others {
		o.user.letGo()
	}
	victim.Resume()
	if a := wait(); c.served(t, a, l.user) != token {
		t.Error("the paused process has other tokens")
	}
	for i, wait := range waiting {
		c.served(t, wait(), others[i].user)
		c.lives(t, others[i].user, 1)
	}
	c.lives(t, l.user, 1)
}

// pause stops a process, but not during a write to an SQLite file: the file would stay
// locked for all processes.
func (c *cluster) pause(t *testing.T, p *process) {
	t.Helper()
	p.Pause()
	if c.db.file == "" {
		return
	}
	conn := c.db.open(t)
	conn.SetMaxOpenConns(1)
	eventually(t, "the process is stopped, and the file is not locked", func() bool {
		if _, err := conn.Exec("BEGIN IMMEDIATE"); err == nil {
			_, err = conn.Exec("ROLLBACK")
			return err == nil
		}
		p.Resume()
		time.Sleep(10 * time.Millisecond)
		p.Pause()
		return false
	})
}

// abandon sends a request in the background to a process that is killed before its
// response.
func (c *cluster) abandon(t *testing.T, p *process, l login) {
	t.Helper()
	go func() {
		if a, err := p.send(t.Context(), "GET", "/api/upstream", nil, l.jar); err == nil {
			t.Errorf("a process that was killed has responded with %d %s", a.status, a.body)
		}
	}()
}

// takenOver fails the test unless the other processes respond to all requests of the
// session within two leases and a claim, in the same way, and to requests of other
// sessions at once. It returns the token with which the API was called.
func (c *cluster) takenOver(t *testing.T, l login, status int) (token string) {
	t.Helper()
	const requests = 20
	// The tests in virtual time check the exact bound of two leases and a claim. A busy
	// machine needs longer.
	limit := 2*leaseTime + claimTime + tooLong/2
	bystander := c.signIn(t, c.door, 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 10 {
			a, err := c.all[i%2].send(t.Context(), "GET", "/api/me", nil, bystander.jar)
			if err != nil || a.status != http.StatusOK || a.took > limit-leaseTime {
				t.Errorf("another session: %d %s after %v, error %v", a.status, a.body, a.took, err)
			}
		}
	})
	responses := wave(t, c.all, requests, 0, func(p *process, _ int) (response, error) {
		// On a busy machine the wait for the service may end first. The client then
		// retries.
		for try := 0; ; try++ {
			a, err := p.send(t.Context(), "GET", "/api/upstream", nil, l.jar)
			if err != nil || a.status != http.StatusServiceUnavailable || try == 3 {
				return a, err
			}
			time.Sleep(time.Second)
		}
	})
	wg.Wait()
	slowest := time.Duration(0)
	for _, a := range responses {
		slowest = max(slowest, a.took)
		switch {
		case a.status != status:
			t.Fatalf("%d %s after %v, want %d", a.status, a.body, a.took, status)
		case a.took > limit:
			t.Errorf("the response took %v, want %v at most", a.took, limit)
		case status == http.StatusOK && token != "" && c.served(t, a, l.user) != token:
			t.Error("the API was called with two tokens")
		case status == http.StatusOK:
			token = c.served(t, a, l.user)
		}
	}
	t.Logf("the slowest response took %v", slowest.Round(time.Millisecond))
	return token
}

// endedForUnknown fails the test unless the session has ended, and one process has logged
// the end with its reason.
func (c *cluster) endedForUnknown(t *testing.T, l login) {
	t.Helper()
	c.signedOut(t, l.jar, c.all...)
	said := 0
	id := "session=" + recordKey(c.sessionID(t, l.jar))[:16] + " "
	for _, p := range c.all {
		for line := range strings.Lines(p.Stderr()) {
			if strings.Contains(line, "msg=session_ended ") && strings.Contains(line, id) &&
				strings.Contains(line, "reason=refresh_outcome_unknown") {
				said++
			}
		}
	}
	if said != 1 {
		t.Errorf("the end and its reason were logged %d times", said)
	}
}

// dam is a server in place of the auth service that never responds.
type dam struct {
	url     string
	arrived chan struct{} // a refresh has arrived
}

func newDam(t *testing.T) *dam {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dam{"http://" + l.Addr().String(), make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				if req.URL.Path == "/auth/token/refresh" {
					close(d.arrived)
				}
				_, _ = conn.Read(make([]byte, 1)) // until the client disconnects
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return d
}
