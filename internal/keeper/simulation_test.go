package keeper_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
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
	return scale.Of(8, 8, 2000)
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
	t.Parallel() // after all other tests, which find most planted faults sooner
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
