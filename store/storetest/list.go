package storetest

import (
	"fmt"

	"github.com/synmetrix/session/store"
)

var listChecks = []check{
	{
		name: "None",
		rule: "An owner without records has an empty list, which is not an error.",
		run: func(t *tester) {
			t.listed("nobody")
			t.create("key")
			t.listed("nobody")
		},
	},
	{
		name: "One",
		rule: "List returns records whole, as Get does.",
		run: func(t *tester) {
			rec := t.create("key")
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "OnlyThatOwner",
		rule: "List returns all records of the owner and none of others.",
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
		rule: "Owners are compared byte by byte: not by case, prefix or pattern.",
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
		rule: "Keys and owners are names of different kinds: equal ones have nothing to do with each other.",
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
		rule: "An empty owner owns nothing: records without an owner are never listed.",
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
		rule: "List shows each record in its newest state, once.",
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
		rule: "A record is listed under the owner of its newest state and no other, there and back.",
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
		rule: "A record that loses its owner is listed no more, and one that gets an owner is.",
		run: func(t *tester) {
			rec := t.create("key")
			stray := t.successor(rec)
			stray.Owner = ""
			t.put(stray, rec.Version)
			t.listed(rec.Owner)
			t.listed("")
			t.found(stray)
			back := t.successor(rec)
			t.put(back, stray.Version)
			t.listed(rec.Owner, back)
		},
	},
	{
		name: "AfterDelete",
		rule: "A deleted record is listed no more; the owner's others are, whichever was deleted.",
		run: func(t *tester) {
			const n = 6
			var recs []store.Record
			for i := range n {
				recs = append(recs, t.create(fmt.Sprintf("key%d", i)))
			}
			for _, i := range []int{2, 0, 3, 1, 0} { // indexes into what is left
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
		rule: "Records that move between owners in any order leave nothing behind and miss nowhere.",
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
		rule: "List returns all records of an owner, however many there are: it has no pages.",
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
		rule: "The slice that List returns is the caller's: what becomes of it does not reach the store.",
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
