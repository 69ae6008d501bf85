package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session/store"
)

// printable returns all characters that are allowed in a Key or an Owner.
func printable() string {
	var b strings.Builder
	for c := '!'; c <= '~'; c++ {
		b.WriteRune(c)
	}
	return b.String()
}

// neighbors returns names that a store may confuse with name if it does not compare byte
// by byte, but by collation, padding, pattern or prefix. The name must contain a letter.
func neighbors(name string) []string {
	return []string{
		strings.ToUpper(name),
		name + "0",
		name[:len(name)-1],
		name[:len(name)-1] + "%",
		name[:len(name)-1] + "_",
		name[:len(name)-1] + "?",
		name[:len(name)-1] + "*",
		name[:1] + "*",
		"%",
		"*",
		name + "'",
		name + "\\",
		name + ":",
		"{" + name + "}",
	}
}

var getChecks = []check{
	{
		name: "Missing",
		rule: "Get of a key without a record returns ErrNotFound, which may be wrapped.",
		run:  func(t *tester) { t.absent("missing") },
	},
	{
		name: "EveryField",
		rule: "Get returns a record exactly as it was put. Only ExpiresAt may be rounded up, by less than a second.",
		run:  func(t *tester) { t.found(t.create("key")) },
	},
	{
		name: "Repeatedly",
		rule: "Reading a record does not change it.",
		run: func(t *tester) {
			rec := t.create("key")
			for range 5 {
				t.found(rec)
			}
			t.listed(rec.Owner, rec)
			t.found(rec)
		},
	},
	{
		name: "BinaryData",
		rule: "Data and Meta may contain all byte values, and are returned unchanged.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Data = nil
			for c := range 256 {
				rec.Data = append(rec.Data, byte(c))
			}
			rec.Meta = slices.Clone(rec.Data)
			slices.Reverse(rec.Meta)
			t.put(rec, 0)
			t.found(rec)
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "AwkwardData",
		rule: "Data and Meta are not trimmed, cut at a zero byte, escaped, or treated as text.",
		run: func(t *tester) {
			for i, data := range []string{
				" ", "\x00", "a\x00b", "trailing \t\r\n ", "trailing\x00", `\x41`, `\\`, "'", `"`, "NULL", "\xff\xfe",
				"\xef\xbb\xbf", "%s", "$1", "?", "0", "1e400", "\r\n$-1\r\n",
			} {
				rec := t.record(fmt.Sprintf("key%d", i))
				rec.Data, rec.Meta = []byte(data), []byte(data)
				t.put(rec, 0)
				t.found(rec)
			}
		},
	},
	{
		name: "EmptyData",
		rule: "Data and Meta may be nil or have length zero.",
		run: func(t *tester) {
			for i, empty := range [][]byte{nil, {}} {
				rec := t.record(fmt.Sprintf("key%d", i))
				rec.Owner = fmt.Sprintf("owner%d", i)
				rec.Data, rec.Meta = empty, empty
				t.put(rec, 0)
				t.found(rec)
				t.listed(rec.Owner, rec)
				next := t.successor(rec)
				t.put(next, rec.Version)
				t.found(next)
			}
		},
	},
	{
		name: "LargeData",
		rule: "Get and List return a record of 1 MiB unchanged.",
		run: func(t *tester) {
			rec := t.record("key")
			rec.Data = make([]byte, 1<<20)
			for i := range rec.Data {
				rec.Data[i] = byte(i * i >> 7)
			}
			t.put(rec, 0)
			t.found(rec)
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "LongNames",
		rule: "A Key and an Owner may have 128 bytes, and all of them are compared.",
		run: func(t *tester) {
			long := strings.Repeat("k", 127)
			one, two := t.record(long+"1"), t.record(long+"2")
			one.Owner, two.Owner = long+"a", long+"b"
			t.put(one, 0)
			t.put(two, 0)
			t.found(one)
			t.found(two)
			t.listed(one.Owner, one)
			t.listed(two.Owner, two)
		},
	},
	{
		name: "PrintableNames",
		rule: "A Key and an Owner may contain every printable ASCII character except the space, and none has a special meaning.",
		run: func(t *tester) {
			rec := t.record(printable())
			rec.Owner = printable()
			t.put(rec, 0)
			t.found(rec)
			t.listed(rec.Owner, rec)
			t.remove(rec.Key)
			t.absent(rec.Key)
		},
	},
	{
		name: "OneCharacterNames",
		rule: "A Key and an Owner may be a single printable character.",
		run: func(t *tester) {
			var recs []store.Record
			for _, c := range printable() {
				rec := t.record(string(c))
				rec.Owner = string(c)
				t.put(rec, 0)
				recs = append(recs, rec)
			}
			for _, rec := range recs {
				t.found(rec)
				t.listed(rec.Owner, rec)
			}
		},
	},
	{
		name: "SimilarKeys",
		rule: "Keys are compared byte by byte, not by case, prefix or pattern.",
		run: func(t *tester) {
			rec := t.create("abc")
			for _, key := range neighbors(rec.Key) {
				t.absent(key)
			}
			var others []store.Record
			for _, key := range neighbors(rec.Key) {
				others = append(others, t.create(key))
			}
			t.found(rec)
			for _, other := range others {
				t.found(other)
			}
		},
	},
	{
		name: "ExtremeVersions",
		rule: "A Version may be any 64-bit number except zero, and all bits are compared.",
		run: func(t *tester) {
			versions := []uint64{
				1, 2, 1<<31 - 1, 1 << 31, 1 << 32, 1<<53 - 1, 1 << 53, 1<<53 + 1,
				math.MaxInt64 - 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1, math.MaxUint64,
			}
			for i, v := range versions {
				rec := t.record(fmt.Sprintf("key%d", i))
				rec.Version = v
				t.put(rec, 0)
				t.found(rec)
				for _, other := range versions {
					if other != v {
						t.conflict(t.successor(rec), other)
					}
				}
				next := t.successor(rec)
				t.put(next, v)
				t.found(next)
				rec.Version = v
				t.put(rec, next.Version)
				t.found(rec)
			}
		},
	},
	{
		name: "ExpiresAt",
		rule: "Get returns ExpiresAt as the same instant, for any location, any fraction of a second and any distance.",
		run: func(t *tester) {
			now := t.now()
			for i, at := range []time.Time{
				now.Add(time.Hour).Truncate(time.Second),
				now.Add(time.Hour).Truncate(time.Second).Add(time.Nanosecond),
				now.Add(time.Hour).Truncate(time.Second).Add(time.Second - time.Nanosecond),
				now.Add(time.Hour).In(time.FixedZone("east", 5*3600+1800)),
				now.Add(time.Hour).In(time.FixedZone("west", -11*3600)),
				now.AddDate(0, 0, 400),
				now.AddDate(30, 0, 0),
			} {
				rec := t.record(fmt.Sprintf("key%d", i))
				rec.ExpiresAt = at
				t.put(rec, 0)
				t.found(rec)
			}
		},
	},
	{
		name: "ManyKeys",
		rule: "A store can hold 1000 records.",
		run: func(t *tester) {
			const n = 1000
			recs := make([]store.Record, n)
			for i := range recs {
				recs[i] = t.record(fmt.Sprintf("key%d", i))
				recs[i].Owner = fmt.Sprintf("owner%d", i%10)
				t.put(recs[i], 0)
			}
			for _, rec := range recs {
				t.found(rec)
			}
		},
	},
	{
		name: "Separate",
		rule: "The open function of the test returns a new store each time. (With shared records the checks would prove nothing.)",
		run: func(t *tester) {
			rec := t.create("key")
			other := *t
			other.store = t.open(t.T)
			other.absent("key")
			other.listed(rec.Owner)
		},
	},
	{
		name: "NotAliased",
		rule: "A record that Get or List has returned does not change when the stored record is replaced or deleted.",
		run: func(t *tester) {
			rec := t.create("key")
			got, err := t.store.Get(t.ctx, rec.Key)
			if err != nil {
				t.Fatal(err)
			}
			list, err := t.store.List(t.ctx, rec.Owner)
			if err != nil || len(list) != 1 {
				t.Fatalf("List: %d records, error %v", len(list), err)
			}
			next := t.successor(rec)
			t.put(next, rec.Version)
			t.remove(rec.Key)
			t.create("key")
			if d := differ(got, rec); d != "" {
				t.Errorf("a record returned by Get has changed: %s", d)
			}
			if d := differ(list[0], rec); d != "" {
				t.Errorf("a record returned by List has changed: %s", d)
			}
		},
	},
	{
		name: "CallersBytes",
		rule: "A store does not modify the bytes that it was given, including those up to their capacity.",
		run: func(t *tester) {
			buf := bytes.Repeat([]byte("x"), 64)
			want := slices.Clone(buf)
			rec := t.record("key")
			rec.Data, rec.Meta = buf[:16], buf[32:40]
			t.put(rec, 0)
			t.found(rec)
			t.conflict(rec, 0)
			t.put(t.successor(rec), rec.Version)
			t.remove(rec.Key)
			if !bytes.Equal(buf, want) {
				t.Errorf("the caller's buffer has changed to %q", buf)
			}
		},
	},
}

var deleteChecks = []check{
	{
		name: "Removes",
		rule: "After Delete, Get and List do not return the record.",
		run: func(t *tester) {
			rec := t.create("key")
			t.remove("key")
			t.absent("key")
			t.listed(rec.Owner)
		},
	},
	{
		name: "Missing",
		rule: "Deleting a key that never had a record is not an error.",
		run:  func(t *tester) { t.remove("missing") },
	},
	{
		name: "Twice",
		rule: "Deleting a key a second time is not an error.",
		run: func(t *tester) {
			t.create("key")
			t.remove("key")
			t.remove("key")
			t.absent("key")
		},
	},
	{
		name: "OnlyThatKey",
		rule: "Delete removes the record of its key and no record with a similar key.",
		run: func(t *tester) {
			var recs []store.Record
			for _, key := range neighbors("abc") {
				recs = append(recs, t.create(key))
			}
			t.create("abc")
			t.remove("abc")
			t.absent("abc")
			for _, rec := range recs {
				t.found(rec)
			}
			t.listed("owner", recs...)
		},
	},
	{
		name: "PatternKey",
		rule: "A key is not a pattern: Delete of a key that looks like a pattern does not delete matching keys.",
		run: func(t *tester) {
			rec := t.create("abc")
			for _, key := range neighbors("abc") {
				t.remove(key)
			}
			t.found(rec)
		},
	},
	{
		name: "ThenCreate",
		rule: "A deleted key can be used again, and the new record keeps nothing of the old one.",
		run: func(t *tester) {
			old := t.create("key")
			t.remove("key")
			rec := t.record("key")
			rec.Owner, rec.Meta = "another", nil
			t.put(rec, 0)
			t.found(rec)
			t.listed(old.Owner)
			t.listed(rec.Owner, rec)
		},
	},
	{
		name: "ThenUpdate",
		rule: "An update never creates a record: after Delete, Put with the deleted version as prev returns ErrConflict.",
		run: func(t *tester) {
			rec := t.create("key")
			t.remove("key")
			t.conflict(t.successor(rec), rec.Version)
			t.absent("key")
			t.listed(rec.Owner)
		},
	},
	{
		name: "ThenCreateThenUpdate",
		rule: "After Delete and a new Put, the version from before is not valid as prev.",
		run: func(t *tester) {
			old := t.create("key")
			t.remove("key")
			rec := t.create("key")
			t.conflict(t.successor(old), old.Version)
			t.found(rec)
		},
	},
}

var invalidChecks = func() []check {
	cases := []struct {
		name string
		edit func(rec *store.Record)
	}{
		{"EmptyKey", func(rec *store.Record) { rec.Key = "" }},
		{"LongKey", func(rec *store.Record) { rec.Key = strings.Repeat("k", 129) }},
		{"SpaceInKey", func(rec *store.Record) { rec.Key = "a key" }},
		{"ControlCharacterInKey", func(rec *store.Record) { rec.Key = "key\n" }},
		{"ZeroByteInKey", func(rec *store.Record) { rec.Key = "ke\x00y" }},
		{"NonASCIIKey", func(rec *store.Record) { rec.Key = "kéy" }},
		{"LongOwner", func(rec *store.Record) { rec.Owner = strings.Repeat("o", 129) }},
		{"SpaceInOwner", func(rec *store.Record) { rec.Owner = "owner " }},
		{"ZeroByteInOwner", func(rec *store.Record) { rec.Owner = "own\x00er" }},
		{"NonASCIIOwner", func(rec *store.Record) { rec.Owner = "ownér" }},
		{"ZeroVersion", func(rec *store.Record) { rec.Version = 0 }},
		{"ZeroExpiresAt", func(rec *store.Record) { rec.ExpiresAt = time.Time{} }},
	}
	var checks []check
	for _, c := range cases {
		checks = append(checks, check{
			name: c.name,
			rule: "For a record with an invalid field, Put returns an error other than ErrConflict and ErrNotFound, and writes nothing.",
			run: func(t *tester) {
				good := t.create("key")
				for _, prev := range []uint64{0, good.Version} {
					rec := t.successor(good)
					if prev == 0 {
						rec.Key = "new"
					}
					c.edit(&rec)
					err := t.store.Put(t.ctx, rec, prev)
					if err == nil || aboutRecord(err) {
						t.Errorf("Put with prev %s: error %v, want an error other than ErrConflict and ErrNotFound", t.prev(prev), err)
					}
				}
				t.absent("new")
				t.found(good)
				t.listed(good.Owner, good)
			},
		})
	}
	return append(checks, check{
		name: "InvalidNames",
		rule: "Get, Delete and List with an invalid name find nothing and change nothing.",
		run: func(t *tester) {
			rec := t.create("key")
			for _, name := range []string{
				"", " ", "key ", " key", "key\n", "key\x00", "\x00", "k\xffy", "kéy", "KEY", "' OR '1'='1",
				strings.Repeat("k", 129), strings.Repeat("k", 1<<16),
			} {
				if _, err := t.store.Get(t.ctx, name); err == nil || errors.Is(err, store.ErrConflict) {
					t.Errorf("Get of %s: error %v, want an error other than ErrConflict", quote([]byte(name)), err)
				}
				if err := t.store.Delete(t.ctx, name); err != nil && aboutRecord(err) {
					t.Errorf("Delete of %s: error %v", quote([]byte(name)), err)
				}
				if recs, err := t.store.List(t.ctx, name); len(recs) > 0 || err != nil && aboutRecord(err) {
					t.Errorf("List of %s: keys %s, error %v", quote([]byte(name)), keys(recs), err)
				}
			}
			t.found(rec)
			t.listed(rec.Owner, rec)
		},
	})
}()

// aboutRecord reports whether err is an error that describes the state of the record.
func aboutRecord(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict)
}
