package storetest

import (
	"fmt"
	"strings"
	"time"
)

var putChecks = []check{
	{
		name: "CreateOnMissing",
		rule: "Put with a prev of zero creates a record if there is none.",
		run: func(t *tester) {
			t.absent("key")
			t.found(t.create("key"))
		},
	},
	{
		name: "CreateOnExisting",
		rule: "Put with a prev of zero returns ErrConflict if there is a record, and changes nothing.",
		run: func(t *tester) {
			rec := t.create("key")
			t.conflict(t.successor(rec), 0)
			t.found(rec)
		},
	},
	{
		name: "CreateTheSameAgain",
		rule: "Put with a prev of zero returns ErrConflict even if the same record is stored.",
		run: func(t *tester) {
			rec := t.create("key")
			t.conflict(rec, 0)
			t.found(rec)
		},
	},
	{
		name: "Update",
		rule: "Put with the stored version as prev replaces all fields of the record.",
		run: func(t *tester) {
			rec := t.create("key")
			next := t.successor(rec)
			next.Owner = "another"
			next.ExpiresAt = rec.ExpiresAt.Add(90 * time.Minute)
			t.put(next, rec.Version)
			t.found(next)
		},
	},
	{
		name: "UpdateToLess",
		rule: "A shorter record replaces a longer one completely.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Data = []byte(strings.Repeat("long", 10_000))
			t.put(rec, 0)
			next := t.successor(rec)
			next.Data, next.Meta, next.Owner = []byte("short"), nil, ""
			t.put(next, rec.Version)
			t.found(next)
		},
	},
	{
		name: "UpdateOnMissing",
		rule: "An update never creates a record: Put with a prev other than zero returns ErrConflict if there is no record.",
		run: func(t *tester) {
			rec := t.record("key")
			t.conflict(rec, version())
			t.conflict(rec, rec.Version)
			t.absent("key")
			t.listed(rec.Owner)
		},
	},
	{
		name: "WrongPrev",
		rule: "Put returns ErrConflict and changes nothing if prev differs from the stored version in any bit.",
		run: func(t *tester) {
			rec := t.create("key")
			for bit := range 64 {
				if prev := rec.Version ^ 1<<bit; prev != 0 {
					t.conflict(t.successor(rec), prev)
				}
			}
			t.found(rec)
		},
	},
	{
		name: "OwnVersionAsPrev",
		rule: "Put compares prev with the stored version, not with the version of the new record.",
		run: func(t *tester) {
			rec := t.create("key")
			next := t.successor(rec)
			t.conflict(next, next.Version)
			t.found(rec)
		},
	},
	{
		name: "StalePrev",
		rule: "Put returns ErrConflict for a version that was replaced: of two writers that have read the same state, the second gets it.",
		run: func(t *tester) {
			rec := t.create("key")
			first, second := t.successor(rec), t.successor(rec)
			t.put(first, rec.Version)
			t.conflict(second, rec.Version)
			t.found(first)
			t.put(second, first.Version)
			t.conflict(first, rec.Version)
			t.found(second)
		},
	},
	{
		name: "SameVersion",
		rule: "A new record may have the same version as the stored one, and may be equal to it.",
		run: func(t *tester) {
			rec := t.create("key")
			t.put(rec, rec.Version)
			t.found(rec)
			next := t.successor(rec)
			next.Version = rec.Version
			t.put(next, rec.Version)
			t.found(next)
		},
	},
	{
		name: "SmallerVersion",
		rule: "A new version may be smaller than the stored one, and may have been used before.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Version = 1000
			t.put(rec, 0)
			prev := rec.Version
			for _, v := range []uint64{10, 1, 1000, 1 << 63, 3} {
				next := t.successor(rec)
				next.Version = v
				t.put(next, prev)
				t.found(next)
				prev = v
			}
		},
	},
	{
		name: "VersionOfAnotherKey",
		rule: "Put returns ErrConflict for the version of another record.",
		run: func(t *tester) {
			one, two := t.create("one"), t.create("two")
			t.conflict(t.successor(one), two.Version)
			t.found(one)
			t.found(two)
		},
	},
	{
		name: "SharedVersion",
		rule: "Two records may have the same version, and updating one does not change the other.",
		run: func(t *tester) {
			one := t.create("one")
			two := t.record("two")
			two.Version = one.Version
			t.put(two, 0)
			next := t.successor(one)
			t.put(next, one.Version)
			t.found(next)
			t.found(two)
			t.remove("one")
			t.found(two)
		},
	},
	{
		name: "ManyUpdates",
		rule: "A record can be updated many times.",
		run: func(t *tester) {
			rec := t.create("key")
			for range 100 {
				next := t.successor(rec)
				t.put(next, rec.Version)
				t.conflict(t.successor(rec), rec.Version)
				rec = next
			}
			t.found(rec)
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "ConflictKeepsOwner",
		rule: "A Put that returns ErrConflict does not change the owner.",
		run: func(t *tester) {
			rec := t.create("key")
			next := t.successor(rec)
			next.Owner = "another"
			t.conflict(next, next.Version)
			t.conflict(next, 0)
			t.listed("another")
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "OtherKeysStay",
		rule: "Put changes the record of its key and no record with a similar key.",
		run: func(t *tester) {
			rec := t.create("abc")
			others := neighbors("abc")
			for _, key := range others {
				t.conflict(t.successor(t.record(key)), rec.Version)
				t.absent(key)
			}
			for i, key := range others {
				other := t.create(key)
				next := t.successor(other)
				next.Owner = fmt.Sprintf("owner%d", i)
				t.put(next, other.Version)
			}
			t.found(rec)
			t.listed(rec.Owner, rec)
		},
	},
}
