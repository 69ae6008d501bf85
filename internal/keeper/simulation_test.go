package keeper_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store/memstore"
)

// The simulation runs two or three real Managers, each as a process, with one store,
// one auth service and one browser, in the virtual time of testing/synctest. It injects
// random faults: delays, losses, crashes, wrong clocks. It checks that the promises of
// docs/protocol.md hold. A failure names the seed, which repeats it:
//
//	go test -run TestSimulation -sim.seed 1234 ./internal/keeper

var (
	simSeed  = flag.Int64("sim.seed", -1, "run this seed of the simulation alone")
	simSeeds = flag.Int("sim.seeds", 0, "number of seeds of the simulation for each kind of trouble (or SIM_SEEDS)")
)

// simCount returns the number of seeds for each kind of trouble.
func simCount() int {
	n, _ := strconv.Atoi(os.Getenv("SIM_SEEDS"))
	switch {
	case *simSeeds > 0:
		return *simSeeds
	case n > 0:
		return n
	}
	return scale.Of(8, 12, 2000)
}

// trouble lists the faults of a world.
type trouble struct {
	name string

	skew      time.Duration // the clocks of the processes and the store differ by up to this
	offset    bool          // the service's clock is wrong by an hour
	slow      time.Duration // the service takes up to this long
	laggard   time.Duration // every call of the store takes up to this long
	stall     bool          // writes to the store stall for up to 8 s, and reads work
	panics    float64       // the share of calls of hooks, store and service that panic
	copies    bool          // copies of the browser's cookies are used, and the coordinator loses records
	storeLoss float64       // the share of lost calls and responses of the store
	ackLoss   bool          // only responses to puts that were carried out are lost
	storeDown time.Duration // the store has an outage about the time of a refresh
	storeHang bool          // calls hang during the outage instead of failing at once
	refuseRT  float64       // the share of refreshes that fail: 5xx, 429, not sent
	half      float64       // the share of responses without a usable access token
	lost      float64       // the share of lost responses of the service
	crash     bool          // one process dies
	pause     bool          // one process is paused for longer than a lease
	lax       bool          // a second use of a refresh token ends no session at the service
	twice     bool          // the service may even accept it
	logout    bool          // the user signs out at the end
	all       bool          // the user signs out of all sessions at the end
	again     bool          // the user signs in again while the session is in use
	acts      bool          // the user acts as another one
	hang      float64       // the share of responses that do not reach the browser
	leave     float64       // the share of clients that disconnect
}

var troubles = []trouble{
	{name: "calm", skew: 5 * time.Second, hang: 0.1, leave: 0.2},
	{name: "slow service", slow: 8 * time.Second, skew: 5 * time.Second, leave: 0.2},
	{name: "service clock wrong", offset: true},
	{name: "store loses responses", storeLoss: 0.1, skew: 5 * time.Second},
	{name: "store loses acknowledgements", storeLoss: 0.15, ackLoss: true},
	{name: "store outage", storeDown: 6 * time.Second, skew: 5 * time.Second},
	{name: "store hangs", storeDown: 4 * time.Second, storeHang: true, slow: 8 * time.Second},
	{name: "service fails", refuseRT: 0.5, skew: 5 * time.Second},
	{name: "half responses", half: 0.4},
	{name: "lost refresh responses", lost: 0.3},
	{name: "crash", crash: true, slow: 8 * time.Second},
	{name: "pause", pause: true, lax: true},
	{name: "pause, service accepts twice", pause: true, lax: true, twice: true},
	{name: "logout", logout: true, hang: 0.1, leave: 0.2},
	{name: "logout, slow service", logout: true, slow: 8 * time.Second},
	{name: "logout, store loses responses", logout: true, storeLoss: 0.1},
	{name: "browser misses responses", hang: 0.5},
	{name: "service responds late", slow: 25 * time.Second},
	{name: "clocks differ", skew: 2 * time.Minute},
	{name: "writes stall", stall: true, slow: 8 * time.Second},
	{name: "all processes are slow", laggard: 900 * time.Millisecond, slow: 8 * time.Second},
	{name: "panics", panics: 0.1},
	{name: "copied cookies", copies: true},
	{name: "copied cookies, logout", copies: true, logout: true},
	{name: "signs in again", again: true, skew: 5 * time.Second, hang: 0.1, leave: 0.2},
	{name: "signs in again, store loses responses", again: true, storeLoss: 0.1},
	{name: "signs in again, slow service", again: true, slow: 8 * time.Second},
	{name: "acts", acts: true, skew: 5 * time.Second, hang: 0.1, leave: 0.2},
	{name: "acts, store loses responses", acts: true, storeLoss: 0.1},
	{name: "acts, service fails", acts: true, refuseRT: 0.5},
	{name: "acts, all processes are slow", acts: true, laggard: 900 * time.Millisecond, slow: 8 * time.Second},
	{name: "logout of all", all: true, skew: 5 * time.Second},
	{name: "logout of all, slow service", all: true, slow: 8 * time.Second},
	{name: "logout of all, service fails", all: true, refuseRT: 0.5},
	{name: "logout of all, service and store fail", all: true, refuseRT: 0.3, storeLoss: 0.1},
	{name: "half responses, store loses responses", half: 0.4, storeLoss: 0.1},
	{name: "copied cookies, logout, service fails", copies: true, logout: true, refuseRT: 0.5},
}

func TestSimulation(t *testing.T) {
	for _, tr := range troubles {
		for _, stored := range []bool{true, false} {
			name := tr.name + "/cookie"
			if stored {
				name = tr.name + "/stored"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				first, last := int64(0), int64(simCount())
				if *simSeed >= 0 {
					first, last = *simSeed, *simSeed+1
				}
				var total simStats
				for seed := first; seed < last && !t.Failed(); seed++ {
					synctest.Test(t, func(t *testing.T) {
						w := newSimWorld(t, tr, stored, seed)
						w.run()
						total.add(w.stats)
						if len(w.problems) > 0 {
							t.Errorf("seed %d: %s\n%s", seed, strings.Join(w.problems, "; "), strings.Join(w.log, "\n"))
						}
					})
				}
				if *simSeed < 0 && total.refreshes == 0 {
					t.Error("no session was refreshed, so the simulation proves nothing")
				}
				t.Logf("%d seeds: %+v", last-first, total)
			})
		}
	}
}

// simStats counts what has happened in a world.
type simStats struct{ requests, refreshes, uses, secondUses, unavailable, lost int }

func (s *simStats) add(o simStats) {
	s.requests += o.requests
	s.refreshes += o.refreshes
	s.uses += o.uses
	s.secondUses += o.secondUses
	s.unavailable += o.unavailable
	s.lost += o.lost
}

// simWorld is one run of the simulation.
type simWorld struct {
	t      *testing.T
	tr     trouble
	stored bool
	start  time.Time
	over   chan struct{} // closed at the end, when dead processes may return

	mu       sync.Mutex
	rnd      *rand.Rand
	calm     bool // no faults any more: the world is about to be checked
	problems []string
	log      []string
	stats    simStats

	store      *memstore.Store
	downFrom   time.Time
	stallAt    time.Time // when writes begin to stall
	stalled    time.Time // when they continue
	keys       []session.SecretKey
	service    simService
	procs      []*simProc
	browser    map[string]string
	values     []string            // names of values whose write has succeeded
	excused    bool                // a fault has happened that may end the session
	copies     []map[string]string // of the browser's cookies
	loggingOut bool                // a logout of all sessions has begun
	loggedOut  time.Time
	orphaned   bool      // the session in which the user acts as another one is lost
	againFrom  time.Time // the user signs in again
	againTo    time.Time // the browser has the cookies of that sign-in
}

func newSimWorld(t *testing.T, tr trouble, stored bool, seed int64) *simWorld {
	w := &simWorld{
		t: t, tr: tr, stored: stored, start: time.Now(), over: make(chan struct{}),
		rnd:     rand.New(rand.NewPCG(uint64(seed), 1)),
		keys:    []session.SecretKey{session.GenerateKey()},
		browser: map[string]string{},
	}
	w.store = &memstore.Store{Now: w.clock()}
	w.service = simService{w: w, life: time.Duration(20+w.rnd.IntN(40)) * time.Second, tokens: map[string]*simToken{}}
	if tr.offset {
		w.service.offset = time.Hour * time.Duration(1-2*w.rnd.IntN(2))
	}
	for i := range 2 + w.rnd.IntN(2) {
		w.procs = append(w.procs, w.newProc(i))
	}
	return w
}

// clock returns a clock that is wrong by up to the skew of this world.
func (w *simWorld) clock() func() time.Time {
	var off time.Duration
	if w.tr.skew > 0 {
		off = w.upTo(w.tr.skew)
	}
	return func() time.Time { return time.Now().Add(off) }
}

func (w *simWorld) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *simWorld) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%8.3f ", time.Since(w.start).Seconds())+fmt.Sprintf(format, args...))
}

func (w *simWorld) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.calm && p > 0 && w.rnd.Float64() < p
}

func (w *simWorld) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Millisecond + time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *simWorld) pick(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

// simResult is the outcome of a request.
type simResult struct {
	signedIn bool
	err      error // of the session
	failed   error // of the handler, or of the commit
	gone     bool  // the process has died, or the client has disconnected
	received bool  // the response has reached the browser
	user     string
	actor    string
	sentAt   time.Time
}

// request sends the browser's cookies to a process. The cookies of the response reach
// the browser after a while, or never.
func (w *simWorld) request(p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	return w.requestOf(w.browser, p, handler)
}

func (w *simWorld) requestOf(jar map[string]string, p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	served := make(chan simResult, 1)
	go func() { served <- w.serve(jar, p, handler) }()
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	select {
	case a := <-served:
		return a
	case <-patience.C:
		if !p.isDead() {
			w.problem("%s: a request had no response within a minute", p.name)
			if *simSeed >= 0 {
				buf := make([]byte, 1<<16)
				println(string(buf[:runtime.Stack(buf, true)]))
			}
		}
		return simResult{gone: true}
	}
}

func (w *simWorld) serve(jar map[string]string, p *simProc, handler func(ctx context.Context, m *session.Manager) error) simResult {
	a := simResult{sentAt: time.Now()}
	time.Sleep(w.upTo(50 * time.Millisecond))
	r := httptest.NewRequest("GET", "/", nil)
	w.mu.Lock()
	w.stats.requests++
	for _, name := range slices.Sorted(maps.Keys(jar)) {
		r.AddCookie(&http.Cookie{Name: name, Value: jar[name]})
	}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if w.chance(w.tr.leave) {
		time.AfterFunc(w.upTo(300*time.Millisecond), cancel)
	}
	r, x := p.m.Begin(r.WithContext(ctx))
	s := session.FromContext(r.Context())
	a.signedIn, a.err = s.SignedIn(), s.Err()
	a.user, a.actor = s.UserID(), s.Actor().ID
	if a.signedIn {
		token, err := s.AccessToken(r.Context())
		if err == nil {
			w.checkToken(p, token)
		}
	}
	if handler != nil {
		a.failed = handler(r.Context(), p.m)
	}
	h := http.Header{}
	if err := x.Commit(h); err != nil && a.failed == nil {
		a.failed = err
	}
	_ = x.End()
	a.gone = ctx.Err() != nil || p.isDead()
	if !a.gone && !w.chance(w.tr.hang) {
		time.Sleep(w.upTo(50 * time.Millisecond))
		w.deliver(jar, h)
		a.received = true
		w.noteLateTokens(a.sentAt, h)
	}
	return a
}

func (w *simWorld) deliver(jar map[string]string, h http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%8.3f browser gets %v", time.Since(w.start).Seconds(), len(h["Set-Cookie"])))
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.MaxAge < 0 {
			delete(jar, c.Name)
		} else {
			jar[c.Name] = c.Value
		}
	}
}

// staleActing reports whether a late response may have restored the cookies of acting
// after its end. While the coordinator does not respond, these cookies are accepted until
// the service rejects their refresh. That request has no user, and the next request sees
// the actor's own session.
func (w *simWorld) staleActing() bool { return w.tr.acts && w.tr.storeLoss > 0 && !w.stored }

// noteLateTokens excuses the end of a cookie session if a response with refreshed tokens has
// arrived after the one to a new sign-in, and was written before: docs/protocol.md does not
// promise that the new cookies stay.
func (w *simWorld) noteLateTokens(sentAt time.Time, h http.Header) {
	names := map[string]bool{}
	for _, c := range (&http.Response{Header: h}).Cookies() {
		names[c.Name] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stored && w.signsIn(sentAt) && names["__Host-session"] && !names["__Host-session-device"] {
		w.excused = true
	}
}

// checkToken checks that the access token of a request is valid at the service.
func (w *simWorld) checkToken(p *simProc, token string) {
	s := &w.service
	s.mu.Lock()
	until := s.access[token]
	s.mu.Unlock()
	// A token's life counts from its receipt, some time after its issue, and the
	// clocks of the processes differ.
	slack := 9*time.Second + w.tr.skew + w.tr.slow
	if w.tr.pause {
		slack += 12 * time.Second
	}
	if time.Now().After(until.Add(slack)) {
		w.problem("%s: a request was served with a token that expired %v ago", p.name, time.Since(until))
	}
}

func (w *simWorld) run() {
	w.beVisitor()
	w.calm = true
	if a := w.request(w.procs[0], simLogin); a.failed != nil {
		w.problem("login: %v", a.failed)
		return
	}
	w.checkValues(w.procs[0]) // those of the visitor
	if w.tr.all {
		w.service.mu.Lock()
		w.service.issue() // for another browser of the user
		w.service.mu.Unlock()
	}
	w.calm = false
	rounds := 2 + w.pick(3)
	trouble := w.pick(rounds)
	for i := range rounds {
		time.Sleep(w.upTo(2 * w.service.life))
		if w.pick(4) == 0 {
			time.Sleep(10 * time.Minute) // longer than Grace: the coordinator removes records
		}
		if w.tr.copies {
			w.useCopies()
		}
		w.round(i == trouble, i == rounds-1)
	}
	if w.tr.copies {
		w.checkCopies()
		return
	}
	time.Sleep(30 * time.Second) // flights, pauses and leases end
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	time.Sleep(time.Duration(w.pick(2)) * 2 * w.service.life)
	// Tokens that are refreshed in one round reach the browser in the next.
	for before := -1; before != w.refreshes(); {
		before = w.refreshes()
		w.finish()
		time.Sleep(9 * time.Second)
	}
	w.checkEnd()
	w.shutdown()
}

func simLogin(ctx context.Context, m *session.Manager) error {
	return m.Login(ctx, "a@example.com", "password")
}

// beVisitor sets values before the sign-in. With a store, no value of the visitor's
// session is lost. Without a store, the response has to reach the browser.
func (w *simWorld) beVisitor() {
	var mu sync.Mutex
	set := func(name string) {
		begun := len(w.browser) > 0
		a := w.request(w.procs[w.pick(len(w.procs))], func(ctx context.Context, _ *session.Manager) error {
			return session.NewKey[bool](name).Set(session.FromContext(ctx), true)
		})
		mu.Lock()
		defer mu.Unlock()
		if a.signedIn {
			w.problem("a visitor is signed in")
		}
		if a.failed == nil && (a.received || begun && w.stored && !a.gone) {
			w.values = append(w.values, name)
		}
	}
	for i := range w.pick(3) {
		set(fmt.Sprintf("first-%d", i))
	}
	if len(w.browser) == 0 || !w.stored {
		return
	}
	var wg sync.WaitGroup
	for i := range w.pick(4) {
		wg.Go(func() { set(fmt.Sprintf("visitor-%d", i)) })
	}
	wg.Wait()
}

// signInAgain signs the same user in while other requests use the session.
func (w *simWorld) signInAgain() {
	time.Sleep(w.upTo(3 * time.Second))
	w.mu.Lock()
	w.againFrom = time.Now()
	w.mu.Unlock()
	for received := false; !received; {
		a := w.request(w.procs[w.pick(len(w.procs))], simLogin)
		received = a.failed == nil && a.received
		w.mu.Lock()
		if !received && (a.failed == nil || a.gone) {
			// The previous session has ended, and the browser has no cookie of the new
			// one.
			w.excused, w.values = true, nil
		}
		if received {
			w.againTo = time.Now()
		}
		w.mu.Unlock()
		time.Sleep(w.upTo(100 * time.Millisecond))
	}
}

// signsIn reports whether a request was sent before the response to a new sign-in. Its
// cookies are then those of a session that has ended, or will. The caller holds w.mu.
func (w *simWorld) signsIn(sentAt time.Time) bool {
	return !w.againFrom.IsZero() && (w.againTo.IsZero() || sentAt.Before(w.againTo))
}

// act makes the user act as another user for a while. Requests then have the other user's
// session, and afterwards the actor's own session again.
func (w *simWorld) act() {
	if a := w.request(w.procs[w.pick(len(w.procs))], func(ctx context.Context, m *session.Manager) error {
		w.service.mu.Lock()
		t := w.service.issueFor("user-2")
		w.service.mu.Unlock()
		return m.ActAs(ctx, auth.Grant{Tokens: t})
	}); a.failed != nil || !a.received {
		w.logf("acting did not begin: %v", a.failed)
		w.service.mu.Lock()
		w.orphaned = true // the browser does not know of the other session
		w.service.mu.Unlock()
		return
	}
	var wg sync.WaitGroup
	for range 1 + w.pick(4) {
		time.Sleep(w.upTo(w.service.life))
		wg.Go(func() {
			a := w.request(w.procs[w.pick(len(w.procs))], nil)
			if a.signedIn && !a.gone && (a.user != "user-2" || a.actor != "user-1") {
				w.problem("the user %q is seen while user-1 acts as user-2; the actor is %q", a.user, a.actor)
			}
		})
	}
	wg.Wait()
	// A logout is sent only while requests have the other user's session: a second logout
	// would end the actor's own session.
	for try := 0; ; try++ {
		seen := w.request(w.procs[w.pick(len(w.procs))], nil)
		if seen.user == "user-1" {
			break
		}
		if seen.user == "user-2" {
			a := w.request(w.procs[w.pick(len(w.procs))], func(ctx context.Context, m *session.Manager) error { return m.Logout(ctx) })
			w.logf("end of acting: %v", a.failed)
		}
		if try > 200 {
			w.problem("the end of acting does not succeed")
			return
		}
		time.Sleep(w.upTo(2 * time.Second))
	}
	a := w.request(w.procs[w.pick(len(w.procs))], nil)
	if a.signedIn && !a.gone && a.user != "user-1" {
		w.problem("the user %q is seen after the end of acting", a.user)
	}
}

func (w *simWorld) shutdown() {
	close(w.over)
	time.Sleep(time.Minute) // dead processes return, too
	for _, p := range w.procs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := p.m.Shutdown(ctx); err != nil {
			if !p.isDead() {
				w.problem("%s: %v", p.name, err)
			}
		}
		cancel()
	}
}

// useCopies copies the browser's cookies and uses older copies. Then it waits, so that
// the coordinator may remove the record.
func (w *simWorld) useCopies() {
	w.mu.Lock()
	w.copies = append(w.copies, maps.Clone(w.browser))
	w.mu.Unlock()
	for range w.pick(3) {
		jar := w.copies[w.pick(len(w.copies))]
		for range 2 {
			w.requestOf(jar, w.procs[w.pick(len(w.procs))], nil)
			time.Sleep(w.upTo(5 * time.Second))
		}
	}
	time.Sleep(time.Duration(w.pick(3)) * 5 * time.Minute)
}

// checkCopies checks that no copy of the cookies is accepted after the end of the
// session, of any age and at any time.
func (w *simWorld) checkCopies() {
	w.mu.Lock()
	w.calm = true
	out := !w.loggedOut.IsZero()
	jars := append(w.copies, w.browser)
	w.mu.Unlock()
	time.Sleep(30 * time.Second)
	refused := !out && slices.ContainsFunc(jars, func(jar map[string]string) bool {
		a := w.requestOf(jar, w.procs[0], nil)
		return !a.signedIn && a.err == nil
	})
	for _, later := range []time.Duration{0, 2 * time.Minute, 10 * time.Minute, 5 * time.Hour} {
		time.Sleep(later)
		for i, jar := range jars {
			// A response may delete cookies. The copy must not change.
			a := w.requestOf(maps.Clone(jar), w.procs[w.pick(len(w.procs))], nil)
			if (out || refused) && a.signedIn {
				w.problem("copy %d of the cookies is accepted %v after the end", i, later)
			}
		}
	}
	w.shutdown()
}

// round sends a few requests within two seconds.
func (w *simWorld) round(trouble, last bool) {
	var wg sync.WaitGroup
	if trouble && w.tr.storeDown > 0 {
		w.downFrom = time.Now().Add(w.upTo(time.Second))
	}
	if trouble && (w.tr.crash || w.tr.pause) {
		wg.Go(func() { w.strike() })
	}
	if trouble && w.tr.again {
		wg.Go(w.signInAgain)
	}
	if trouble && w.tr.acts {
		w.act()
	}
	for i := range 1 + w.pick(6) {
		wg.Go(func() {
			time.Sleep(w.upTo(2 * time.Second))
			w.visit(fmt.Sprintf("v%d-%d", time.Since(w.start).Milliseconds(), i))
		})
	}
	if last && (w.tr.logout || w.tr.all) {
		wg.Go(func() {
			time.Sleep(w.upTo(3 * time.Second))
			w.logoutNow()
		})
	}
	wg.Wait()
}

// strike kills or pauses a process.
func (w *simWorld) strike() {
	time.Sleep(w.upTo(2 * time.Second))
	p := w.procs[w.pick(len(w.procs))]
	long := 4*time.Second + w.upTo(8*time.Second)
	p.mu.Lock()
	if w.tr.crash {
		p.dead = true
		if time.Since(p.refreshed) < 10*time.Second {
			w.excuse() // its new tokens may have been lost
		}
	} else {
		p.frozen = time.Now().Add(long)
	}
	p.mu.Unlock()
	w.logf("%s: struck", p.name)
}

// visit requests one page, which may write a value.
func (w *simWorld) visit(value string) {
	p := w.procs[w.pick(len(w.procs))]
	w.mu.Lock()
	before := w.loggedOut
	w.mu.Unlock()
	write := w.pick(2) == 0
	a := w.request(p, func(ctx context.Context, m *session.Manager) error {
		if !write {
			return nil
		}
		time.Sleep(w.upTo(time.Second))
		return session.NewKey[bool](value).Set(session.FromContext(ctx), true)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.signedIn && write && a.failed == nil && w.loggedOut.IsZero() {
		w.values = append(w.values, value)
	}
	if a.gone {
		return
	}
	if !a.signedIn {
		w.stats.unavailable++
	}
	w.log = append(w.log, fmt.Sprintf("%8.3f %s: signed in %v, %v, %v", time.Since(w.start).Seconds(), p.name, a.signedIn, a.err, a.failed))
	switch {
	case !before.IsZero() && a.signedIn:
		w.problems = append(w.problems, p.name+": signed in after the response to the logout")
	case w.loggedOut.IsZero() && !w.tr.logout && !w.tr.all && !w.tr.copies && !a.signedIn && a.err == nil && !w.excused && !w.signsIn(a.sentAt) && !w.staleActing():
		w.problems = append(w.problems, p.name+": signed out without a cause")
	case a.err != nil && !w.mayFail():
		w.problems = append(w.problems, p.name+": unavailable without a cause: "+a.err.Error())
	case a.failed != nil && write && a.signedIn && !w.tr.logout && !w.tr.all && w.tr.ackLoss && !w.signsIn(a.sentAt):
		w.problems = append(w.problems, p.name+": a write that was carried out was reported as failed: "+a.failed.Error())
	}
	if took := time.Since(a.sentAt); took > 50*time.Second {
		w.problems = append(w.problems, fmt.Sprintf("%s: a request took %v", p.name, took))
	}
}

// mayFail reports whether a request may be unavailable in this world.
func (w *simWorld) mayFail() bool {
	t := w.tr
	return t.slow > 8*time.Second || t.skew > 5*time.Second || t.stall || t.laggard > 0 || t.panics > 0 || t.copies || t.storeLoss > 0 || t.storeDown > 0 || t.refuseRT > 0 || t.half > 0 || t.lost > 0 || t.crash || t.pause || t.logout || t.all
}

// logoutNow signs the user out.
func (w *simWorld) logoutNow() {
	logout := (*session.Manager).Logout
	if w.tr.all {
		logout = (*session.Manager).LogoutAll
		w.mu.Lock()
		w.loggingOut = true
		w.mu.Unlock()
	}
	for try := 0; ; try++ {
		a := w.request(w.procs[w.pick(len(w.procs))], func(ctx context.Context, m *session.Manager) error { return logout(m, ctx) })
		if a.failed == nil || errors.Is(a.failed, session.ErrLogoutIncomplete) {
			w.mu.Lock()
			w.loggedOut = time.Now()
			w.mu.Unlock()
			w.logf("logged out")
			return
		}
		if try > 50 {
			w.problem("the logout does not succeed: %v", a.failed)
			return
		}
		time.Sleep(w.upTo(100 * time.Millisecond))
	}
}

// finish sends a request to every live process and checks the result.
func (w *simWorld) finish() {
	for i, p := range w.procs {
		if p.isDead() {
			continue
		}
		var a simResult
		for try := 0; ; try++ {
			if a = w.request(p, nil); a.err == nil || try > 100 {
				break
			}
			time.Sleep(time.Second)
		}
		w.mu.Lock()
		excused, out := w.excused, !w.loggedOut.IsZero()
		w.mu.Unlock()
		switch {
		case a.err != nil:
			w.problem("%s does not recover: %v", p.name, a.err)
		case out && a.signedIn:
			w.problem("%s: signed in after the end", p.name)
		case !out && !a.signedIn && !excused:
			w.problem("%s: the session is lost without a cause", p.name)
		case !a.signedIn:
			w.stats.lost++
		}
		w.logf("%s: at the end: signed in %v", p.name, a.signedIn)
		if i == 0 && !out && a.signedIn && w.stored {
			w.checkValues(p)
		}
	}
}

// checkValues checks that no value is lost whose write has succeeded.
func (w *simWorld) checkValues(p *simProc) {
	var have []string
	for try := 0; try < 10; try++ {
		a := w.request(p, func(ctx context.Context, _ *session.Manager) error {
			have = session.FromContext(ctx).ValueNames()
			return nil
		})
		if a.signedIn {
			break
		}
		time.Sleep(time.Second) // the store or the service is slow
	}
	for _, v := range w.values {
		if !slices.Contains(have, v) {
			w.problem("the write of the value %s has succeeded, and the value is lost", v)
		}
	}
}

func (w *simWorld) refreshes() int {
	w.service.mu.Lock()
	defer w.service.mu.Unlock()
	return w.stats.refreshes
}

// checkEnd checks the tokens at the service, and that the browser has the newest cookie.
func (w *simWorld) checkEnd() {
	time.Sleep(30 * time.Second)
	if w.tr.all {
		time.Sleep(5 * time.Minute) // for an attempt of a process that failed
	}
	s := &w.service
	s.mu.Lock()
	live := 0
	for _, tok := range s.tokens {
		if tok.live && (tok.user == "user-1" || !w.orphaned) {
			live++
		}
	}
	s.mu.Unlock()
	w.mu.Lock()
	excused, out := w.excused, !w.loggedOut.IsZero()
	w.mu.Unlock()
	switch {
	case excused:
	case out && live > 0:
		w.problem("%d refresh tokens are valid after the logout", live)
	case !out && live != 1:
		w.problem("%d refresh tokens are valid, want 1", live)
	}
	if w.stored || out || excused {
		return
	}
	// A new coordinator has no records, so the browser's cookies must be enough.
	w.store = memstore.New()
	p := w.newProc(9)
	w.procs = append(w.procs, p)
	a := w.request(p, nil)
	for try := 0; (a.err != nil || w.tr.acts && !a.signedIn) && try < 10; try++ {
		// A new coordinator does not know that acting has ended. The refresh shows it.
		time.Sleep(10 * time.Second)
		a = w.request(p, nil)
	}
	if !a.signedIn {
		w.problem("the browser does not have the newest cookie: %v", a.err)
	}
}
