package keeper_test

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store/memstore"
)

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
