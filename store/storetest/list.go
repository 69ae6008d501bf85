package storetest

import (
	"fmt"

	"github.com/synmetrix/session/store"
)

var listChecks = []check{
	{
		name: "None",
		rule: "If an owner has no records, List returns an empty slice and no error.",
		run: func(t *tester) {
			t.listed("unknown")
			t.create("key")
			t.listed("unknown")
		},
	},
	{
		name: "One",
		rule: "List returns all fields of a record, like Get.",
		run: func(t *tester) {
			rec := t.create("key")
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "OnlyThatOwner",
		rule: "List returns all records of the owner and no records of other owners.",
		run: func(t *tester) {
			byOwner := make(map[string][]store.Record)
			for i := range 20 {
				rec := t.record(fmt.Sprintf("key%d", i))
				rec.Owner = fmt.Sprintf("owner%d", i%4)
				t.put(rec, 0)
				byOwner[rec.Owner] = append(byOwner[rec.Owner], rec)
			}
			for owner, recs := range byOwner {
				t.listed(owner, recs...)
			}
		},
	},
	{
		name: "SimilarOwners",
		rule: "Owners are compared byte by byte, not by case, prefix or pattern.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Owner = "abc"
			t.put(rec, 0)
			for _, owner := range neighbors("abc") {
				t.listed(owner)
			}
			for i, owner := range neighbors("abc") {
				other := t.record(fmt.Sprintf("key%d", i))
				other.Owner = owner
				t.put(other, 0)
				t.listed(owner, other)
			}
			t.listed("abc", rec)
		},
	},
	{
		name: "OwnerLikeKey",
		rule: "Keys and owners are separate: an owner that equals a key does not refer to its record.",
		run: func(t *tester) {
			one, two := t.record("name"), t.record("other")
			one.Owner, two.Owner = "other", "name"
			t.put(one, 0)
			t.put(two, 0)
			t.listed("name", two)
			t.listed("other", one)
			t.remove("name")
			t.listed("name", two)
			t.found(two)
		},
	},
	{
		name: "EmptyOwner",
		rule: "List does not return records without an owner.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Owner = ""
			t.put(rec, 0)
			owned := t.create("owned")
			t.found(rec)
			t.listed("")
			t.listed(owned.Owner, owned)
		},
	},
	{
		name: "NewestState",
		rule: "List returns each record once, in its newest state.",
		run: func(t *tester) {
			one, two := t.create("one"), t.create("two")
			for range 10 {
				next := t.successor(one)
				t.put(next, one.Version)
				one = next
				t.listed(one.Owner, one, two)
			}
		},
	},
	{
		name: "OwnerChanges",
		rule: "List returns a record for the owner in its newest state only, also if the owner changes back.",
		run: func(t *tester) {
			rec := t.create("key")
			for _, owner := range []string{"another", "third", "owner", "another", "owner"} {
				next := t.successor(rec)
				next.Owner = owner
				t.put(next, rec.Version)
				t.listed(rec.Owner)
				t.listed(owner, next)
				rec = next
			}
		},
	},
	{
		name: "OwnerComesAndGoes",
		rule: "List does not return a record after its owner was removed, and returns it after an owner was set.",
		run: func(t *tester) {
			rec := t.create("key")
			ownerless := t.successor(rec)
			ownerless.Owner = ""
			t.put(ownerless, rec.Version)
			t.listed(rec.Owner)
			t.listed("")
			t.found(ownerless)
			owned := t.successor(rec)
			t.put(owned, ownerless.Version)
			t.listed(rec.Owner, owned)
		},
	},
	{
		name: "AfterDelete",
		rule: "List does not return a deleted record, and returns the owner's other records.",
		run: func(t *tester) {
			const n = 6
			var recs []store.Record
			for i := range n {
				recs = append(recs, t.create(fmt.Sprintf("key%d", i)))
			}
			for _, i := range []int{2, 0, 3, 1, 0} { // indexes into the remaining records
				t.remove(recs[i].Key)
				recs = append(recs[:i:i], recs[i+1:]...)
				t.listed("owner", recs...)
			}
			t.remove(recs[0].Key)
			t.listed("owner")
			t.listed("owner", t.create("new"))
		},
	},
	{
		name: "AfterOwnersChangeInTurn",
		rule: "After many changes of owners, List returns exactly the records of each owner.",
		run: func(t *tester) {
			const n, owners = 12, 3
			recs := make([]store.Record, n)
			for i := range recs {
				recs[i] = t.record(fmt.Sprintf("key%d", i))
				recs[i].Owner = "owner0"
				t.put(recs[i], 0)
			}
			for step := range 4 * n {
				i := step * 7 % n
				next := t.successor(recs[i])
				next.Owner = fmt.Sprintf("owner%d", (step*5+i)%owners)
				t.put(next, recs[i].Version)
				recs[i] = next
			}
			for o := range owners {
				owner := fmt.Sprintf("owner%d", o)
				var want []store.Record
				for _, rec := range recs {
					if rec.Owner == owner {
						want = append(want, rec)
					}
				}
				t.listed(owner, want...)
			}
		},
	},
	{
		name: "Many",
		rule: "List returns all records of an owner, also if there are 500.",
		run: func(t *tester) {
			var recs []store.Record
			for i := range 500 {
				recs = append(recs, t.create(fmt.Sprintf("key%d", i)))
			}
			t.listed("owner", recs...)
		},
	},
	{
		name: "CallersSlice",
		rule: "The caller may change the slice that List returns. The store does not change.",
		run: func(t *tester) {
			one, two := t.create("one"), t.create("two")
			recs, err := t.store.List(t.ctx, "owner")
			if err != nil {
				t.Fatal(err)
			}
			for i := range recs {
				recs[i] = store.Record{}
			}
			_ = append(recs, store.Record{})
			t.listed("owner", one, two)
			t.found(one)
		},
	},
}
