package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

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
