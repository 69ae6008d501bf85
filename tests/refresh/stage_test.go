package refresh_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/store"
)

// Two users share a browser. Requests of the first user's session race with each other,
// with a logout, and with the second user's login.
var first, second = userID(1), userID(2)

// act is one of the requests that race. It is divided into steps, which the stage
// executes in the order that the test selects:
//
//   - enter sends it. It ends when the handler is reached, or when the request
//     waits for the refresh.
//   - response lets the auth service respond to the refresh.
//   - read lets the handler continue until it has read the session's record for the
//     response, and stops it there: before a write to the record, or before the response
//     is sent.
//   - mark lets a logout continue until the session is marked as ended.
//   - finish lets it continue to its end, and waits for the response.
type act struct {
	name, path string
	steps      []string
}

var (
	refresh    = act{"refresh", "/token", []string{"enter", "response", "read", "finish"}} // whose token is due
	slowToken  = act{"slow token", "/token", []string{"enter", "finish"}}                  // reads its token when it is late
	valueWrite = act{"value write", "/note", []string{"enter", "read", "finish"}}
	lateWrite  = act{"late write", "/note", []string{"enter", "read", "finish"}} // of a value, when the response is out
	slide      = act{"slide", "/who", []string{"enter", "read", "finish"}}       // of the idle timeout
	logout     = act{"logout", "/logout", []string{"enter", "mark", "finish"}}
	login      = act{"login", "/login", []string{"enter", "finish"}} // of the second
)

// rivals are the acts that must not revive a session that a logout or a login has ended.
var rivals = []act{refresh, slowToken, valueWrite, lateWrite, slide}

// stage is a site for one race.
type stage struct {
	*site
	rng    *rand.Rand
	actors map[string]*actor
	gate   authtest.Gate // where the refresh is held
	store  *pausingStore
	start  jar // of the browser in which the first user is signed in
	ticks  atomic.Int64

	expires time.Time // the first user's access token
	expired bool      // the refresh begins after the expiry, and not before
	rotated bool      // the refresh is held after the service has rotated the token, and not before
	held    bool
	delayed []func() // waits for the acts that need the refresh

	trace []string
}

// actor runs an act.
type actor struct {
	act
	checks   bool          // reads the user before it waits, as a guard does
	all      bool          // the logout ends all sessions
	after    *actor        // the browser had the response of this one when it sent the request
	reached  chan struct{} // closed when the handler is reached
	release  chan struct{} // the test lets the handler continue
	pause    *pause        // the place at the store where it is stopped
	ended    chan struct{} // closed when the response has arrived
	response response
	err      error

	incomplete bool // a logout of all sessions may report that others have not ended

	decided atomic.Int64 // the tick at which it determined its response
	over    atomic.Int64 // the tick at which the server had finished
}

const (
	actHeader = "Act"

	// The acts begin when the access token is valid for this time. It becomes due when
	// the refresh moves the clock.
	goodAtStart = 3 * time.Minute

	// lateBy is how late a request may be for a session that has ended, and still be
	// recognized. The clock is moved by less.
	lateBy = 5 * time.Minute
)

var note = session.NewKey[string]("note")

// newStage signs the first user in and prepares the acts, which begin with run. All
// random choices come from rng.
func newStage(t *testing.T, k kind, rng *rand.Rand, acts []act) *stage {
	t.Helper()
	st := &stage{
		rng: rng, actors: map[string]*actor{}, store: new(pausingStore),
		expired: rng.IntN(2) == 0, rotated: rng.IntN(2) == 0,
	}
	for _, a := range acts {
		st.actors[a.name] = &actor{
			act: a, checks: rng.IntN(2) == 0, all: rng.IntN(3) == 0,
			reached: make(chan struct{}), release: make(chan struct{}), ended: make(chan struct{}),
		}
	}
	st.site = newSite(t, k, []string{first, second}, func(s *setup) {
		s.store = func(inner store.Store) store.Store { st.store.Store = inner; return st.store }
		s.inside, s.outside = st.stops, st.watches
		s.Grace, s.RefreshBefore = lateBy, time.Minute
		if st.actors[slide.name] != nil {
			// A tenth of it has passed when the acts begin.
			s.IdleTimeout = 5 * time.Hour
		}
	})
	// After a failure, acts that are stopped must not block the end of the test.
	t.Cleanup(func() {
		st.gate.Open()
		for _, a := range st.actors {
			a.goOn()
			if a.pause != nil {
				a.pause.end()
			}
		}
	})
	st.mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		token, _ := s.AccessToken(r.Context()) // empty if the session has ended
		respondWith(w, seen{User: s.UserID(), Token: token})
	})
	st.mux.HandleFunc("GET /note", func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		_ = note.Set(s, "changed") // an ended session takes none
		respondWith(w, seen{User: s.UserID()})
	})
	st.start, _ = st.signIn(first)
	st.expires = st.clock.now().Add(accessLife)
	st.advanceTo(-goodAtStart)
	return st
}

// advanceTo moves the clock to a time after the expiry of the access token.
func (st *stage) advanceTo(after time.Duration) {
	st.clock.advance(st.expires.Add(after).Sub(st.clock.now()))
}

// watches wraps Sessions, and records when the server has finished.
func (st *stage) watches(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := st.actors[r.Header.Get(actHeader)]; a != nil {
			defer func() { a.over.Store(st.ticks.Add(1)) }()
			w = &pausingWriter{ResponseWriter: w, store: st.store, owner: a.name}
		}
		next.ServeHTTP(w, r)
	})
}

// stops wraps the handlers, and stops them until the test lets them continue.
func (st *stage) stops(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := st.actors[r.Header.Get(actHeader)]
		if a == nil {
			next.ServeHTTP(w, r)
			return
		}
		if a.name == refresh.name || a.checks && r.Method == http.MethodGet {
			session.FromContext(r.Context()).SignedIn()
		}
		if a.name == lateWrite.name {
			a.decided.Store(st.ticks.Add(1))
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		close(a.reached)
		<-a.release
		a.decided.CompareAndSwap(0, st.ticks.Add(1))
		next.ServeHTTP(w, r)
	})
}

func (a *actor) goOn() {
	if !isClosed(a.release) {
		close(a.release)
	}
}

// run executes the steps of the acts in the given order.
func (st *stage) run(order []string) {
	st.t.Helper()
	taken := map[string]int{}
	for _, name := range order {
		a := st.actors[name]
		step := a.steps[taken[name]]
		taken[name]++
		st.trace = append(st.trace, name+": "+step)
		st.step(a, step)
	}
	for _, a := range st.actors {
		st.await(a.name+" is over", a.ended)
		want := http.StatusOK
		if a.name == logout.name {
			want = http.StatusNoContent
		}
		if a.incomplete && a.response.status == http.StatusServiceUnavailable {
			continue
		}
		if a.name == valueWrite.name && st.actors[login.name] != nil && a.response.status == http.StatusUnauthorized {
			continue // the value belongs to the session that the login has ended
		}
		if a.err != nil || a.response.status != want {
			st.fail("%s: %v, %d %s", a.name, a.err, a.response.status, a.response.body)
		}
	}
}

func (st *stage) fail(format string, args ...any) {
	st.t.Helper()
	st.t.Fatalf("%s\nexpired %v, rotated %v\n%s", fmt.Sprintf(format, args...), st.expired, st.rotated, strings.Join(st.trace, "\n"))
}

func (st *stage) step(a *actor, step string) {
	st.t.Helper()
	switch step {
	case "enter":
		st.enter(a)
	case "response":
		st.gate.Open()
		st.held = false
		for _, wait := range st.delayed {
			wait()
		}
		st.delayed = nil
		st.await("the response to the refresh has arrived", a.reached, a.ended)
	case "read":
		if st.waits(a) {
			break
		}
		a.pause = st.store.next(a.name)
		a.goOn()
		if st.await(a.name+" has read the record", a.ended, a.pause.reached) == 0 {
			a.pause.end() // it has read no record
		}
	case "mark":
		// If a login has ended a stored session, no record has its user.
		in := st.actors[login.name]
		a.incomplete = a.all && in != nil && isClosed(in.ended)
		marked := st.journal.next(session.EventSessionEnded)
		a.goOn()
		st.await("the session is marked", marked, a.ended)
	case "finish":
		a.goOn()
		if a.pause != nil {
			a.pause.end()
		}
		st.whenItCan(a, func() { st.await(a.name+" is over", a.ended) })
	}
}

// waits reports whether an act may wait for the refresh that is held.
func (st *stage) waits(a *actor) bool {
	return st.held && st.expired && a.name != logout.name && a.name != login.name
}

func (st *stage) whenItCan(a *actor, wait func()) {
	st.t.Helper()
	if st.waits(a) {
		st.delayed = append(st.delayed, wait)
	} else {
		wait()
	}
}

// enter sends the request, with the cookies of the start, because it may have been under
// way for a while. A login may also follow the response to the logout.
func (st *stage) enter(a *actor) {
	st.t.Helper()
	cookies, method, body := st.start, http.MethodGet, ""
	switch a.name {
	case refresh.name:
		f := authtest.Fault{Before: &st.gate}
		if st.rotated {
			f = authtest.Fault{After: &st.gate}
		}
		st.auth.Inject(authtest.Refresh, f)
		if st.expired {
			st.advanceTo(time.Minute)
		} else {
			st.advanceTo(-30 * time.Second)
		}
	case logout.name:
		method, body = http.MethodPost, fmt.Sprintf(`{"all":%v}`, a.all)
	case login.name:
		method, body = http.MethodPost, credentials(second)
		if out := st.actors[logout.name]; out != nil && isClosed(out.ended) && st.rng.IntN(2) == 0 {
			st.trace = append(st.trace, "login: with the cookies that the logout has left")
			a.after, cookies = out, cookies.After(out.response.cookies)
		}
	}
	go func() {
		defer close(a.ended)
		a.response, a.err = st.send(context.Background(), method, a.path, body, cookies, actHeader, a.name)
	}()
	if a.name == refresh.name {
		arrived := st.gate.Arrived(1)
		st.held = st.await("the refresh has begun", arrived, a.reached, a.ended) == 0
		return
	}
	st.whenItCan(a, func() { st.await(a.name+" is at work", a.reached, a.ended) })
}

// arrivals returns the possible cookies of the browser after all responses have arrived,
// in any order.
func (st *stage) arrivals() []jar {
	found := map[string]jar{}
	var arrive func(jar, []*actor)
	arrive = func(j jar, missing []*actor) {
		if len(missing) == 0 {
			found[j.String()] = j
		}
		for i, a := range missing {
			if a.after != nil && slices.Contains(missing, a.after) {
				continue
			}
			arrive(j.After(a.response.cookies), slices.Delete(slices.Clone(missing), i, i+1))
		}
	}
	var all []*actor
	for _, a := range st.actors {
		if len(a.response.cookies) > 0 {
			all = append(all, a) // the others change nothing
		}
	}
	arrive(st.start, all)
	return slices.Collect(maps.Values(found))
}

// pausingStore stops a request after it has read the record, if the test requires this.
// It does not stop the read, because all requests that share the read would wait.
type pausingStore struct {
	store.Store
	mu      sync.Mutex
	waiting *pause
}

// pause is a request that is stopped after its read.
type pause struct {
	store   *pausingStore
	owner   string // the act
	reached chan struct{}
	resume  chan struct{}
}

// next stops an act when it reaches the store.
func (s *pausingStore) next(owner string) *pause {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = &pause{s, owner, make(chan struct{}), make(chan struct{})}
	return s.waiting
}

// end lets the act continue, or stops waiting for it.
func (p *pause) end() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.store.waiting == p {
		p.store.waiting = nil
	}
	if !isClosed(p.resume) {
		close(p.resume)
	}
}

// stop waits for the end of the last pause that next has returned. If the caller knows
// its act, the pause must be for that act.
func (s *pausingStore) stop(owner string) {
	s.mu.Lock()
	p := s.waiting
	if p != nil && owner != "" && owner != p.owner {
		p = nil
	}
	if p != nil {
		s.waiting = nil
	}
	s.mu.Unlock()
	if p != nil {
		close(p.reached)
		<-p.resume
	}
}

func (s *pausingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if committing() {
		s.stop("")
	}
	return s.Store.Put(ctx, rec, prev)
}

// pausingWriter stops a request before its response is sent.
type pausingWriter struct {
	http.ResponseWriter
	store *pausingStore
	owner string // the act
	sent  bool
}

func (w *pausingWriter) WriteHeader(status int) {
	if !w.sent {
		w.sent = true
		w.store.stop(w.owner)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *pausingWriter) Write(p []byte) (int, error) {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *pausingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// committing reports whether it is called for a response.
func committing() bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".(*Exchange).Commit") || strings.HasSuffix(f.Function, ".(*Exchange).End") {
			return true
		}
		if !more {
			return false
		}
	}
}
