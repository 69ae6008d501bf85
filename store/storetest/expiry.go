package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/store"
)

// brief returns a record that expires soon.
func (t *tester) brief(key string) store.Record {
	rec := t.record(key)
	rec.ExpiresAt = t.soon()
	return rec
}

var expiryChecks = []check{
	{
		name:  "OnTime",
		rule:  "Get returns a record until its ExpiresAt, and ErrNotFound from less than a second after it.",
		waits: true,
		run: func(t *tester) {
			rec := t.record("key")
			rec.ExpiresAt = t.now().Add(1500 * time.Millisecond)
			t.put(rec, 0)
			absentAt := rec.ExpiresAt.Add(time.Second)
			for {
				before := t.now()
				_, err := t.store.Get(t.ctx, rec.Key)
				after := t.now()
				switch {
				case errors.Is(err, store.ErrNotFound):
					if after.Before(rec.ExpiresAt) {
						t.Fatalf("absent %v before its ExpiresAt", rec.ExpiresAt.Sub(after))
					}
					return
				case err != nil:
					t.Fatal(err)
				case !before.Before(absentAt):
					t.Fatalf("still found %v after its ExpiresAt", before.Sub(rec.ExpiresAt))
				}
				if t.clock == nil {
					time.Sleep(10 * time.Millisecond)
				} else if before.Add(time.Nanosecond).Before(rec.ExpiresAt) {
					t.clock.Advance(rec.ExpiresAt.Sub(before) - time.Nanosecond)
				} else {
					t.clock.Advance(absentAt.Sub(before))
				}
			}
		},
	},
	{
		name:  "Get",
		rule:  "Get of an expired record returns ErrNotFound.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			t.pass(rec.ExpiresAt)
			t.absent("key")
		},
	},
	{
		name:  "List",
		rule:  "List does not return an expired record, and returns the owner's other records.",
		waits: true,
		run: func(t *tester) {
			long := t.create("long")
			rec := t.brief("key")
			t.put(rec, 0)
			t.pass(rec.ExpiresAt)
			t.listed("owner", long)
		},
	},
	{
		name:  "ListOfNone",
		rule:  "If all records of an owner have expired, List returns an empty slice and no error.",
		waits: true,
		run: func(t *tester) {
			var last time.Time
			for i := range 3 {
				rec := t.brief(fmt.Sprintf("key%d", i))
				t.put(rec, 0)
				last = rec.ExpiresAt
			}
			t.pass(last)
			t.listed("owner")
		},
	},
	{
		name:  "Create",
		rule:  "An expired record counts as absent: Put with a prev of zero replaces it completely.",
		waits: true,
		run: func(t *tester) {
			old := t.brief("key")
			t.put(old, 0)
			t.pass(old.ExpiresAt)
			rec := t.record("key")
			rec.Owner, rec.Meta = "another", nil
			t.put(rec, 0)
			t.found(rec)
			t.listed(old.Owner)
			t.listed(rec.Owner, rec)
			t.conflict(t.successor(rec), 0)
		},
	},
	{
		name:  "Update",
		rule:  "An expired record counts as absent: Put with its version as prev returns ErrConflict and does not restore it.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			t.pass(rec.ExpiresAt)
			next := t.successor(rec)
			next.ExpiresAt = t.now().Add(time.Hour)
			t.conflict(next, rec.Version)
			t.absent("key")
			t.listed(rec.Owner)
		},
	},
	{
		name:  "Delete",
		rule:  "Deleting an expired record is not an error.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			t.pass(rec.ExpiresAt)
			t.remove("key")
			t.absent("key")
			t.found(t.create("key"))
		},
	},
	{
		name:  "Extended",
		rule:  "Put can extend the life of a record: the newest ExpiresAt applies.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			next := t.successor(rec)
			next.ExpiresAt = t.now().Add(time.Hour)
			t.put(next, rec.Version)
			t.pass(rec.ExpiresAt)
			t.found(next)
			t.listed(next.Owner, next)
		},
	},
	{
		name:  "Shortened",
		rule:  "Put can shorten the life of a record: the newest ExpiresAt applies.",
		waits: true,
		run: func(t *tester) {
			rec := t.create("key")
			next := t.successor(rec)
			next.ExpiresAt = t.soon()
			t.put(next, rec.Version)
			t.found(next)
			t.pass(next.ExpiresAt)
			t.absent("key")
			t.listed(rec.Owner)
		},
	},
	{
		name:  "NotByReading",
		rule:  "Reading a record does not extend its life.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			t.found(rec)
			t.listed(rec.Owner, rec)
			t.pass(rec.ExpiresAt)
			t.absent("key")
		},
	},
	{
		name:  "NotByConflict",
		rule:  "A Put that returns ErrConflict does not extend the life of the stored record.",
		waits: true,
		run: func(t *tester) {
			rec := t.brief("key")
			t.put(rec, 0)
			next := t.successor(rec)
			next.ExpiresAt = t.now().Add(time.Hour)
			t.conflict(next, 0)
			t.conflict(next, next.Version)
			t.pass(rec.ExpiresAt)
			t.absent("key")
		},
	},
	{
		name:  "InThePast",
		rule:  "Put accepts a record whose ExpiresAt is in the past. The record is absent at once, and its key is free.",
		waits: true,
		run: func(t *tester) {
			rec := t.create("key")
			next := t.successor(rec)
			next.ExpiresAt = t.now().Add(-time.Hour)
			t.put(next, rec.Version)
			t.absent("key")
			t.listed(rec.Owner)
			t.conflict(t.successor(rec), next.Version)
			t.found(t.create("key"))
		},
	},
	{
		name:  "AfterDelete",
		rule:  "The ExpiresAt of a deleted record does not apply to a new record with the same key.",
		waits: true,
		run: func(t *tester) {
			old := t.brief("key")
			t.put(old, 0)
			t.remove("key")
			rec := t.create("key")
			t.pass(old.ExpiresAt)
			other := t.create("other") // a store may remove expired records when it writes
			t.found(rec)
			t.listed("owner", rec, other)
		},
	},
	{
		name:  "Mixed",
		rule:  "Every record expires at its own ExpiresAt, also if many others expire at the same time.",
		waits: true,
		run: func(t *tester) {
			const n = 120
			at := t.now().Add(time.Second)
			var lasting []store.Record
			for i := range n {
				rec := t.record(fmt.Sprintf("key%d", i))
				if i%3 != 0 {
					rec.ExpiresAt = at.Add(time.Duration(i*37%n) * time.Millisecond)
				} else {
					lasting = append(lasting, rec)
				}
				t.put(rec, 0)
			}
			t.pass(at.Add(n * time.Millisecond))
			t.listed("owner", lasting...)
			for i := range n {
				key := fmt.Sprintf("key%d", i)
				if i%3 == 0 {
					t.found(lasting[i/3])
				} else {
					t.absent(key)
				}
			}
			for i := range n { // a store may remove expired records when it writes
				rec := t.record(fmt.Sprintf("new%d", i))
				rec.Owner = "another"
				t.put(rec, 0)
			}
			t.listed("owner", lasting...)
		},
	},
	{
		name:  "ManyExtended",
		rule:  "A store that removes expired records does not remove a record whose life was extended.",
		waits: true,
		run: func(t *tester) {
			const n = 120
			recs := make([]store.Record, n)
			var last time.Time
			for i := range recs {
				rec := t.brief(fmt.Sprintf("key%d", i))
				t.put(rec, 0)
				recs[i] = t.successor(rec)
				recs[i].ExpiresAt = rec.ExpiresAt.Add(time.Hour)
				t.put(recs[i], rec.Version)
				last = rec.ExpiresAt
			}
			t.pass(last)
			for i := range n { // a store may remove expired records when it writes
				rec := t.record(fmt.Sprintf("new%d", i))
				rec.Owner = "another"
				t.put(rec, 0)
			}
			t.listed("owner", recs...)
		},
	},
	{
		name:  "OneCreator",
		rule:  "If several callers create a record in place of an expired one, one succeeds and the others get ErrConflict.",
		waits: true,
		run: func(t *tester) {
			const keys, n = 20, 8
			var last time.Time
			for i := range keys {
				rec := t.brief(fmt.Sprintf("key%d", i))
				t.put(rec, 0)
				last = rec.ExpiresAt
			}
			t.pass(last)
			for i := range keys {
				key := fmt.Sprintf("key%d", i)
				var won atomic.Int32
				parallel(n, func(int) {
					switch err := t.store.Put(t.ctx, t.record(key), 0); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, store.ErrConflict):
						t.Errorf("Put of %q: error %v, want none or ErrConflict", key, err)
					}
				})
				if won.Load() != 1 {
					t.Fatalf("%d of %d creators of %q succeeded, want 1", won.Load(), n, key)
				}
			}
		},
	},
}
