package replicas_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/tests/internal/proc"
)

// tooLong is a time that is enough on every machine.
const tooLong = time.Minute

// leaseTime is how long the lease of a process must be unchanged before another process
// takes it over.
const leaseTime = 3 * time.Second

// claimTime is how long the other process's claim must stand before that process calls
// the service.
const claimTime = 2 * time.Second

// secretKeys are SESSION_KEYS, the newest first.
type secretKeys []session.SecretKey

func newKeys() secretKeys { return secretKeys{session.GenerateKey(), session.GenerateKey()} }

func (k secretKeys) String() string {
	var texts []string
	for _, key := range k {
		texts = append(texts, key.Encode())
	}
	return strings.Join(texts, ",")
}

// cluster has several processes of the dashboard that share a database and an auth
// service.
type cluster struct {
	t       *testing.T
	db      *database
	mode    mode
	keys    secretKeys
	service *service
	all     []*process // the processes that all tests use
	door    *process   // signs users in, for testDeaths

	mu     sync.Mutex
	logins []login // of all browsers
}

// process is one process of a cluster.
type process struct {
	*proc.Process
	client *http.Client
}

// newCluster starts three processes.
func newCluster(t *testing.T, db *database, m mode, keys secretKeys) *cluster {
	t.Helper()
	c := &cluster{t: t, db: db, mode: m, keys: keys, service: newService(t, authtest.Options{})}
	for range 3 {
		c.all = append(c.all, c.start(t))
	}
	return c
}

func (c *cluster) run(name string, test func(*testing.T)) {
	c.t.Run(name, func(t *testing.T) {
		t.Parallel()
		test(t)
	})
}

// start starts one more process, which ends with the test.
func (c *cluster) start(t *testing.T, env ...string) *process {
	t.Helper()
	place := "STORE=" + c.db.address
	if c.mode == cookies {
		place = "COORDINATOR=" + c.db.address
	}
	p := &process{}
	t.Cleanup(func() {
		if p.Process == nil {
			return
		}
		log := p.Stderr()
		c.service.search(t, "what a process has printed", []byte(strings.Join(p.Stdout(), "\n")+log))
		if t.Failed() {
			t.Logf("what %s has complained of:\n%s", p.URL, complaints(log))
		}
	})
	p.Process = proc.Start(t, "dashboard", append([]string{
		"AUTH_URL=" + c.service.url, "UPSTREAM_URL=" + c.service.upstream, "SESSION_KEYS=" + c.keys.String(), place,
		"STORE_TIMEOUT=20s", "AUTH_TIMEOUT=30s", // a busy machine is no outage
		"LOG_LEVEL=debug",
	}, env...))
	transport := &http.Transport{MaxIdleConnsPerHost: 300, ExpectContinueTimeout: tooLong}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport, Timeout: tooLong, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return p
}

// complaints returns the last warnings and errors of a log.
func complaints(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "level=INFO") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-30):], "")
}

// jar has the cookies of a browser.
type jar = testkit.Jar

// mainCookie has the tokens of a cookie session, or the ID of a stored session.
const mainCookie = "__Host-session"

// response is a response that has been read.
type response struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
	took    time.Duration
}

// sets reports whether the response sets a cookie with this name, and deletes whether it
// deletes one.
func (a response) sets(name string) bool {
	return slices.ContainsFunc(a.cookies, func(c *http.Cookie) bool { return c.Name == name && c.MaxAge >= 0 })
}

func (a response) deletes(name string) bool {
	return slices.ContainsFunc(a.cookies, func(c *http.Cookie) bool { return c.Name == name && c.MaxAge < 0 })
}

// send sends a request with the cookies of a jar.
func (p *process) send(ctx context.Context, method, path string, body io.Reader, j jar) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL+path, body)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if len(j) > 0 {
		req.Header.Set("Cookie", j.String())
	}
	start := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, res.Cookies(), string(text), time.Since(start)}, err
}

func (p *process) get(t *testing.T, path string, j jar) response {
	t.Helper()
	a, err := p.send(t.Context(), "GET", path, nil, j)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *process) post(t *testing.T, path string, body io.Reader, j jar) response {
	t.Helper()
	a, err := p.send(t.Context(), "POST", path, body, j)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// later sends a request and returns a function that waits for its response.
func (p *process) later(t *testing.T, method, path string, body io.Reader, j jar) (wait func() response) {
	t.Helper()
	type result struct {
		a   response
		err error
	}
	done := make(chan result, 1)
	go func() {
		a, err := p.send(context.Background(), method, path, body, j)
		done <- result{a, err}
	}()
	return func() response {
		t.Helper()
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.a
	}
}

// login is a browser in which a user is signed in.
type login struct {
	user *user
	jar  jar
	at   time.Time // when the response arrived
}

// signIn signs a new user in whose first access token lives for life.
func (c *cluster) signIn(t *testing.T, p *process, firstLife time.Duration) login {
	t.Helper()
	return c.signInAs(t, p, c.service.newUser(firstLife))
}

// signInAs signs a user in with another browser.
func (c *cluster) signInAs(t *testing.T, p *process, u *user) login {
	t.Helper()
	a := p.post(t, "/login", u.credentials(), nil)
	if a.status != http.StatusOK || !a.sets(mainCookie) {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	l := login{u, jar(nil).After(a.cookies), time.Now()}
	for _, cookie := range a.cookies {
		c.service.keep("a cookie", cookie.Value)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, l)
	return l
}

// briefly is the life of a first access token that a test lets expire.
const briefly = time.Second

// expire waits until the first access token has expired. Its life counts from its receipt
// by the process, which was before the browser's response.
func (l login) expire() {
	l.user.mu.Lock()
	life := l.user.firstLife
	l.user.mu.Unlock()
	time.Sleep(time.Until(l.at.Add(life)))
}

// served fails the test unless the API was called for the user, and returns
// the access token that it was called with.
func (c *cluster) served(t *testing.T, a response, u *user) (token string) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s after %v, want it to be served", a.status, a.body, a.took)
	}
	if c.service.userOf(a.body) != u {
		t.Fatal("the API was called with another user's token")
	}
	return a.body
}

// lives fails the test unless the user has one valid refresh token, and the refresh token
// of the login was used the given number of times.
func (c *cluster) lives(t *testing.T, u *user, uses int) {
	t.Helper()
	if n := c.service.uses(u); n != uses {
		t.Errorf("the refresh token was used %d times, want %d", n, uses)
	}
	if live := c.service.LiveTokens(u.email); len(live) != 1 {
		t.Errorf("%d refresh tokens live, want 1", len(live))
	}
}

// signedOut fails the test unless the session has ended in every process.
func (c *cluster) signedOut(t *testing.T, j jar, among ...*process) {
	t.Helper()
	for i, p := range among {
		if a := p.get(t, "/api/me", j); a.status != http.StatusUnauthorized {
			t.Errorf("process %d: %d %s, want the session to be over", i, a.status, a.body)
		}
	}
}

// wave sends n requests, spread over the processes and over a time, and
// returns their responses.
func wave(t *testing.T, among []*process, n int, over time.Duration, send func(p *process, i int) (response, error)) []response {
	t.Helper()
	responses, errs := make([]response, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			time.Sleep(over * time.Duration(i) / time.Duration(n))
			responses[i], errs[i] = send(among[i%len(among)], i)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	return responses
}

// eventually calls done until it returns true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(tooLong); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// await waits for an event.
func await(t *testing.T, what string, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(tooLong):
		t.Fatalf("waited in vain: %s", what)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
