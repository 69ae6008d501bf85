package replicas_test

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proxy"
)

// The database is stopped for a while, under the load of many users whose tokens expire
// all the time. No user is signed out, pages that need no session are always served, and
// the app soon serves all requests again.
func TestOutage(t *testing.T) {
	t.Parallel()
	for i, open := range []func(testing.TB) *dbtest.Server{dbtest.Postgres, dbtest.Redis} {
		for j, m := range modes {
			if !scale.Turn(i+j, len(modes)) {
				continue
			}
			server := open(t)
			t.Run(server.Driver+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				testOutage(t, server, m)
			})
		}
	}
}

const outageLife = 4 * time.Second // of access tokens

// pause is the time between two requests of a user.
var pause = scale.Of(40*time.Millisecond, 40*time.Millisecond, 10*time.Millisecond)

// crowd has the users and the cookies of their browsers.
type crowd struct {
	*cluster
	users []*crowdUser

	served, refused atomic.Int64 // requests to a guarded page: 200, 503
	looked          atomic.Int64 // requests to public pages
	mayRefuse       atomic.Bool  // the database may be down
}

type crowdUser struct {
	mu  sync.Mutex // held during a request: the browser sends one at a time
	jar jar
}

func testOutage(t *testing.T, server *dbtest.Server, m mode) {
	c := &crowd{cluster: &cluster{
		t: t, db: newDatabase(server), mode: m, keys: newKeys(), service: newService(t, authtest.Options{AccessLife: outageLife}),
	}}
	for range 3 {
		c.all = append(c.all, c.start(t, "STORE_TIMEOUT=", "LOG_LEVEL=warn"))
	}
	c.fill(t)
	over := make(chan struct{})
	var load sync.WaitGroup
	for i := range 12 {
		load.Go(func() { c.visit(t, rand.New(rand.NewPCG(uint64(i), 3)), over) })
	}
	for _, path := range []string{"/", "/login", "/healthz"} {
		load.Go(func() { c.look(t, path, over) })
	}
	stop := sync.OnceFunc(func() { close(over); load.Wait() })
	defer stop()

	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"stopped", server.Stop, server.Start},
		{"silent", func() { server.Proxy.Set(proxy.Fault{Hang: true}) }, func() { server.Proxy.Set(proxy.Fault{}) }},
	} {
		c.takes(t, 300)
		served, refused, looked := c.served.Load(), c.refused.Load(), c.looked.Load()
		c.mayRefuse.Store(true)
		began := time.Now()
		outage.begin()
		time.Sleep(scale.Of(3*time.Second, 3*time.Second, time.Minute))
		eventually(t, "the outage is noticed", func() bool { return c.refused.Load() > refused && c.looked.Load() > looked })
		outage.end()
		back := time.Now()
		served, refused, looked = c.served.Load()-served, c.refused.Load()-refused, c.looked.Load()-looked
		c.firstResponses(t, back)
		c.mayRefuse.Store(false)
		t.Logf("%s for %v: %d requests served and %d refused with Retry-After; %d of public pages served",
			outage.name, back.Sub(began).Round(time.Millisecond), served, refused, looked)
	}
	c.takes(t, 300)
	stop()
	c.allSignedIn(t)
}

// fill signs the users in.
func (c *crowd) fill(t *testing.T) {
	t.Helper()
	c.users = make([]*crowdUser, scale.Of(200, 200, 1000))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < len(c.users) && !t.Failed(); i += 8 {
				u := c.service.newUser(0)
				a, err := c.all[i%len(c.all)].send(t.Context(), "POST", "/login", u.credentials(), nil)
				if err != nil || a.status != http.StatusOK {
					t.Errorf("login: %d %s, error %v", a.status, a.body, err)
					return
				}
				c.users[i] = &crowdUser{jar: jar(nil).After(a.cookies)}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// send sends a request of a user to a guarded page.
func (c *crowd) send(t *testing.T, p *process, u *crowdUser) (response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	sent := u.jar
	a, err := p.send(t.Context(), "GET", "/api/me", nil, sent)
	if err == nil {
		u.jar = sent.After(a.cookies)
	}
	return a, err
}

// visit sends a request of each user in turn, until over is closed.
func (c *crowd) visit(t *testing.T, rng *rand.Rand, over <-chan struct{}) {
	for !isClosed(over) && !t.Failed() {
		lenient := c.mayRefuse.Load()
		a, err := c.send(t, c.all[rng.IntN(len(c.all))], c.users[rng.IntN(len(c.users))])
		lenient = lenient || c.mayRefuse.Load()
		switch {
		case err != nil:
			t.Error(err)
		case a.deletes(mainCookie):
			t.Errorf("%d, and the cookie is taken away: signed out", a.status)
		case a.status == http.StatusOK:
			c.served.Add(1)
		case a.status == http.StatusServiceUnavailable && lenient:
			c.refused.Add(1)
			if a.header.Get("Retry-After") == "" || len(a.cookies) > 0 {
				t.Errorf("503 with the headers %v", a.header)
			}
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
		time.Sleep(pause)
	}
}

// look requests a page that needs no session, with a session's cookies and without.
func (c *crowd) look(t *testing.T, path string, over <-chan struct{}) {
	for i := 0; !isClosed(over) && !t.Failed(); i++ {
		var j jar
		if i%2 == 0 {
			u := c.users[i%len(c.users)]
			u.mu.Lock()
			j = u.jar
			u.mu.Unlock()
		}
		a, err := c.all[i%len(c.all)].send(t.Context(), "GET", path, nil, j)
		if err != nil || a.status != http.StatusOK || a.deletes(mainCookie) {
			t.Errorf("%s: %d %s, cookies %v, error %v", path, a.status, a.body, a.cookies, err)
		}
		c.looked.Add(1)
		time.Sleep(pause)
	}
}

// takes waits until n more requests have been served.
func (c *crowd) takes(t *testing.T, n int64) {
	t.Helper()
	before := c.served.Load()
	eventually(t, "requests are served", func() bool { return c.served.Load() >= before+n || t.Failed() })
}

// firstResponses waits until each process has served a user. The keeper's tests check the
// time that this may take, in virtual time.
func (c *crowd) firstResponses(t *testing.T, back time.Time) {
	t.Helper()
	var wg sync.WaitGroup
	for i, p := range c.all {
		wg.Go(func() {
			// Not a user whose token a process may be refreshing, because that request
			// may wait.
			for n := i; ; n += len(c.all) {
				a, err := c.send(t, p, c.users[n%len(c.users)])
				took := time.Since(back)
				if err == nil && a.status == http.StatusOK {
					t.Logf("process %d: the first response after %v", i, took.Round(time.Millisecond))
					return
				}
				if err != nil || a.status != http.StatusServiceUnavailable || took > tooLong {
					t.Errorf("process %d: %d %s after %v, error %v", i, a.status, a.body, took, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// allSignedIn fails the test unless every user is signed in at every process, and the
// auth service has received no refresh token twice.
func (c *crowd) allSignedIn(t *testing.T) {
	t.Helper()
	work := make(chan *crowdUser)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for u := range work {
				for i, p := range c.all {
					a, err := c.send(t, p, u)
					if err != nil || a.status != http.StatusOK {
						t.Errorf("process %d: %d %s, error %v", i, a.status, a.body, err)
					}
				}
			}
		})
	}
	for _, u := range c.users {
		work <- u
	}
	close(work)
	wg.Wait()
	if n := c.service.Reuses(); n > 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	for email := range c.service.users {
		if live := c.service.LiveTokens(email); len(live) != 1 {
			t.Errorf("%d refresh tokens of a user live, want 1", len(live))
		}
	}
}
