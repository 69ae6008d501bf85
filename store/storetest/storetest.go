// Package storetest tests whether an implementation of [store.Store] satisfies the
// contract. The test of a store is one call:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) store.Store {
//			return mystore.New(...) // empty, closed with t.Cleanup
//		})
//	}
//
// Each check is a subtest. If a check fails, it reports the broken rule of the contract and
// the observed result.
package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
)

// Clock is an optional interface for a store whose clock a test can move. For a store
// without it, the checks of expiry run concurrently and wait some seconds in real time.
// The store's clock must then agree with time.Now.
type Clock interface {
	// Now returns the time of the clock that determines what has expired.
	Now() time.Time

	// Advance moves the clock forward.
	Advance(d time.Duration)
}

// Run runs all checks on stores that open returns.
//
// Each call of open must return a new, empty store, and must register a function with
// t.Cleanup that releases the store's resources. Calls may be concurrent, and stores of
// earlier calls may still be in use.
func Run(t *testing.T, open func(t testing.TB) store.Store) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			var wg sync.WaitGroup
			defer wg.Wait()
			for _, c := range g.checks {
				run := func() { t.Run(c.name, func(t *testing.T) { c.exec(t, open) }) }
				if c.waits {
					wg.Go(run) // t.Parallel would limit how many checks wait at the same time
				} else {
					run()
				}
			}
		})
	}
}

// group is a set of checks about one subject.
type group struct {
	name   string
	checks []check
}

var groups = []group{
	{"Get", getChecks},
	{"Put", putChecks},
	{"Delete", deleteChecks},
	{"List", listChecks},
	{"Count", countChecks},
	{"Expiry", expiryChecks},
	{"Concurrent", concurrentChecks},
	{"Invalid", invalidChecks},
	{"Context", contextChecks},
}

// check is one rule of the contract and its test.
type check struct {
	name  string
	rule  string // the rule as a sentence
	waits bool   // waits until records expire
	run   func(t *tester)
}

// limit is the time limit of one check, for stores that hang.
const limit = 2 * time.Minute

func (c check) exec(t *testing.T, open func(t testing.TB) store.Store) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("rule: " + c.rule)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := open(t)
	if c.waits {
		// The first call of a store may be slow. Make it before records exist that
		// expire soon.
		_, _ = s.Get(ctx, "first")
	}
	clock, _ := s.(Clock)
	c.run(&tester{T: t, ctx: ctx, store: s, clock: clock, open: open})
}
