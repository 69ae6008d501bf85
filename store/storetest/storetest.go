// Package storetest proves that an implementation of [store.Store] keeps the
// contract. A store's own test is one call:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) store.Store {
//			return mystore.New(...) // empty, closed by t.Cleanup
//		})
//	}
//
// Each check is a subtest of its own. One that fails says which rule of the
// contract is broken, beside what was seen.
package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
)

// Clock is what a store may also implement, for these tests, if its clock can
// be moved. Without it the checks of expiry wait in real time, some seconds
// and all at once; the store's clock and time.Now must agree then.
type Clock interface {
	// Now returns the time by which the store judges what has expired.
	Now() time.Time

	// Advance moves that time forward.
	Advance(d time.Duration)
}

// Run runs all checks on stores that open returns.
//
// Each call of open is to return a store of its own that is empty. What it
// holds open it gives back in a function that it hands to t.Cleanup. It may be
// called from several goroutines at once, and again while stores that it
// returned earlier are in use.
func Run(t *testing.T, open func(t testing.TB) store.Store) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			var wg sync.WaitGroup
			defer wg.Wait()
			for _, c := range g.checks {
				run := func() { t.Run(c.name, func(t *testing.T) { c.exec(t, open) }) }
				if c.waits {
					wg.Go(run) // not t.Parallel: its limit is for work, not for waiting
				} else {
					run()
				}
			}
		})
	}
}

// group is a set of checks of one subject.
type group struct {
	name   string
	checks []check
}

var groups = []group{
	{"Get", getChecks},
	{"Put", putChecks},
	{"Delete", deleteChecks},
	{"List", listChecks},
	{"Expiry", expiryChecks},
	{"Concurrent", concurrentChecks},
	{"Invalid", invalidChecks},
	{"Context", contextChecks},
}

// check is one rule of the contract and the steps that prove it.
type check struct {
	name  string
	rule  string // what must hold, as a sentence
	waits bool   // records expire in it
	run   func(t *tester)
}

// limit bounds one check, so that a store that hangs is told from a slow one.
const limit = 2 * time.Minute

func (c check) exec(t *testing.T, open func(t testing.TB) store.Store) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the rule: " + c.rule)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := open(t)
	if c.waits {
		// What a store does at its first call is not to eat up the time that
		// a record has.
		_, _ = s.Get(ctx, "first")
	}
	clock, _ := s.(Clock)
	c.run(&tester{T: t, ctx: ctx, store: s, clock: clock, open: open})
}
