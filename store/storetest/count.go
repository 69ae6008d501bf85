package storetest

import (
	"context"

	"github.com/synmetrix/session/store"
)

var countChecks = []check{
	{
		name: "Owned",
		rule: "CountSessions, if the store has it, returns the number of records that have an owner.",
		run: func(t *tester) {
			c, ok := t.store.(store.Counter)
			if !ok {
				return
			}
			counted := func(want int) {
				t.Helper()
				if n, err := c.CountSessions(t.ctx); err != nil || n != want {
					t.Fatalf("CountSessions: %d, error %v, want %d", n, err, want)
				}
			}
			counted(0)
			one := t.create("one")
			other := t.record("other")
			other.Owner = "another"
			t.put(other, 0)
			unowned := t.record("unowned")
			unowned.Owner = ""
			t.put(unowned, 0)
			counted(2)
			next := t.successor(one)
			t.put(next, one.Version)
			counted(2)
			ended := t.successor(next)
			ended.Owner = "" // as the mark of a session that has ended
			t.put(ended, next.Version)
			counted(1)
			t.remove("other")
			t.remove("unowned")
			counted(0)
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			if _, err := c.CountSessions(ctx); err == nil {
				t.Fatal("CountSessions with a context that is done: no error")
			}
		},
	},
}
