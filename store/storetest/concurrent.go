package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/store"
)

// workers is the number of goroutines that run concurrently in a check.
const workers = 8

// stamped returns a successor of rec. Its Data and Meta contain the key and the version.
func stamped(rec store.Record) store.Record {
	rec.Version = version()
	rec.Data, rec.Meta = stamp("data", rec), stamp("meta", rec)
	return rec
}

func stamp(field string, rec store.Record) []byte {
	return fmt.Appendf(nil, "%s of %s, version %x", field, rec.Key, rec.Version)
}

// whole reports whether all fields of a stamped record are of the same version.
func whole(rec store.Record) bool {
	return bytes.Equal(rec.Data, stamp("data", rec)) && bytes.Equal(rec.Meta, stamp("meta", rec))
}

// counted returns the number in a record's Data.
func counted(rec store.Record) int {
	n, err := strconv.Atoi(string(rec.Data))
	if err != nil {
		return -1
	}
	return n
}

// withCount returns a successor of rec with the number n in its Data.
func withCount(rec store.Record, n int) store.Record {
	rec.Version = version()
	rec.Data = strconv.AppendInt(nil, int64(n), 10)
	return rec
}

var concurrentChecks = []check{
	{
		name: "Counter",
		rule: "No update is lost: each of many concurrent increments, by Get and Put, counts once.",
		run: func(t *tester) {
			t.put(withCount(t.record("key"), 0), 0)
			var done atomic.Int64
			parallel(workers, func(int) {
				for range rounds(20) {
					if !t.increment("key") {
						return
					}
					done.Add(1)
				}
			})
			rec, err := t.store.Get(t.ctx, "key")
			if err != nil {
				t.Fatal(err)
			}
			if n := int64(counted(rec)); n != done.Load() {
				t.Errorf("the count is %d after %d successful increments", n, done.Load())
			}
		},
	},
	{
		name: "OneCreator",
		rule: "If several callers create the same key at once, one succeeds and its record is stored, and the others get ErrConflict.",
		run: func(t *tester) {
			for i := range rounds(20) {
				key := fmt.Sprintf("key%d", i)
				if !t.race(key, func() store.Record { return t.record(key) }, 0) {
					return
				}
			}
		},
	},
	{
		name: "OneSwap",
		rule: "If several callers replace the same version at once, one succeeds and its record is stored, and the others get ErrConflict.",
		run: func(t *tester) {
			for i := range rounds(20) {
				rec := t.create(fmt.Sprintf("key%d", i))
				if !t.race(rec.Key, func() store.Record { return t.successor(rec) }, rec.Version) {
					return
				}
			}
		},
	},
	{
		name: "DeleteIsFinal",
		rule: "After Delete, no concurrent update restores the record.",
		run: func(t *tester) {
			for i := range rounds(20) {
				key := fmt.Sprintf("key%d", i)
				t.create(key)
				var deleted atomic.Bool
				parallel(4, func(worker int) {
					if worker == 0 {
						t.pauseBriefly()
						if err := t.store.Delete(t.ctx, key); err != nil {
							t.Errorf("Delete of %q: error %v", key, err)
						}
						deleted.Store(true)
						return
					}
					for {
						rec, err := t.store.Get(t.ctx, key)
						if errors.Is(err, store.ErrNotFound) {
							return
						}
						late := deleted.Load()
						if err == nil {
							err = t.store.Put(t.ctx, t.successor(rec), rec.Version)
						}
						if late && err == nil {
							t.Errorf("an update of %q succeeded after Delete had returned", key)
							return
						}
						if err != nil && !errors.Is(err, store.ErrConflict) {
							t.Errorf("update of %q: error %v", key, err)
							return
						}
					}
				})
				t.absent(key)
				t.listed("owner")
				if t.Failed() {
					return
				}
			}
		},
	},
	{
		name: "NewestRead",
		rule: "Get never returns a state older than a state that was stored or read before the call.",
		run: func(t *tester) {
			rec := withCount(t.record("key"), 0)
			t.put(rec, 0)
			var acknowledged atomic.Int64
			var finished atomic.Bool
			parallel(workers, func(worker int) {
				if worker == 0 {
					defer finished.Store(true)
					for i := range rounds(100) {
						next := withCount(rec, i+1)
						if err := t.store.Put(t.ctx, next, rec.Version); err != nil {
							t.Errorf("Put: error %v", err)
							return
						}
						acknowledged.Store(int64(i + 1))
						rec = next
					}
					return
				}
				for last := 0; !finished.Load(); {
					floor := max(last, int(acknowledged.Load()))
					var n int
					if worker%2 == 0 {
						n = t.readCount("key")
					} else {
						n = t.listCount("owner")
					}
					if n < floor {
						t.Errorf("read state %d after state %d was stored or read", n, floor)
						return
					}
					last = n
				}
			})
		},
	},
	{
		name: "NewerThanConflict",
		rule: "After ErrConflict, Get returns a state other than the expected one, so that a loop of Get and Put makes progress.",
		run: func(t *tester) {
			t.put(withCount(t.record("key"), 0), 0)
			parallel(workers, func(int) {
				for range rounds(20) {
					rec, err := t.store.Get(t.ctx, "key")
					if err != nil {
						t.Errorf("Get: error %v", err)
						return
					}
					err = t.store.Put(t.ctx, withCount(rec, 1), rec.Version)
					if err == nil {
						continue
					}
					again, err := t.store.Get(t.ctx, "key")
					if err != nil {
						t.Errorf("Get after a conflict: error %v", err)
						return
					}
					if again.Version == rec.Version {
						t.Errorf("Get returned the version for which Put has just returned ErrConflict")
						return
					}
				}
			})
		},
	},
	{
		name: "WholeRecords",
		rule: "While records are replaced, Get and List return records whose fields are all of the same version.",
		run: func(t *tester) {
			const keys = 4
			for i := range keys {
				t.put(stamped(t.record(fmt.Sprintf("key%d", i))), 0)
			}
			var finished atomic.Bool
			parallel(workers, func(worker int) {
				if worker < keys {
					defer finished.Store(true)
					key := fmt.Sprintf("key%d", worker)
					for range rounds(50) {
						rec, err := t.store.Get(t.ctx, key)
						if err == nil {
							err = t.store.Put(t.ctx, stamped(rec), rec.Version)
						}
						if err != nil {
							t.Errorf("update of %q: error %v", key, err)
							return
						}
					}
					return
				}
				for i := 0; !finished.Load(); i++ {
					key := fmt.Sprintf("key%d", i%keys)
					if rec, err := t.store.Get(t.ctx, key); err != nil || rec.Key != key || !whole(rec) {
						t.Errorf("Get of %q: error %v, key %q, version %x, data %s, meta %s",
							key, err, rec.Key, rec.Version, quote(rec.Data), quote(rec.Meta))
						return
					}
					recs, err := t.store.List(t.ctx, "owner")
					if err != nil {
						t.Errorf("List: error %v", err)
						return
					}
					for _, rec := range recs {
						if !whole(rec) {
							t.Errorf("List: key %q, version %x, data %s, meta %s",
								rec.Key, rec.Version, quote(rec.Data), quote(rec.Meta))
							return
						}
					}
				}
			})
		},
	},
	{
		name: "ListWhileWriting",
		rule: "While other records are written and deleted, List returns every record that exists all the time, none twice, and none of another owner.",
		run: func(t *tester) {
			lasting := []store.Record{t.create("lasting0"), t.create("lasting1"), t.create("lasting2")}
			var finished atomic.Bool
			parallel(workers, func(worker int) {
				if worker < 4 {
					defer finished.Store(true)
					for i := range rounds(20) {
						if !t.createAndDelete(worker, i) {
							return
						}
					}
					return
				}
				for !finished.Load() {
					recs, err := t.store.List(t.ctx, "owner")
					if err != nil {
						t.Errorf("List: error %v", err)
						return
					}
					seen := make(map[string]bool)
					for _, rec := range recs {
						if rec.Owner != "owner" || seen[rec.Key] {
							t.Errorf("List of %q: key %q of owner %q, returned before: %t", "owner", rec.Key, rec.Owner, seen[rec.Key])
							return
						}
						seen[rec.Key] = true
					}
					for _, rec := range lasting {
						if !seen[rec.Key] {
							t.Errorf("List misses %q, which was not changed", rec.Key)
							return
						}
					}
				}
			})
			t.listed("owner", lasting...)
			t.listed("another")
		},
	},
	{
		name: "SeparateKeys",
		rule: "Concurrent writers of different keys get no ErrConflict.",
		run: func(t *tester) {
			parallel(workers, func(worker int) {
				rec := t.record(fmt.Sprintf("key%d", worker))
				rec.Owner = fmt.Sprintf("owner%d", worker%2)
				prev := uint64(0)
				for range rounds(20) {
					rec = t.successor(rec)
					err := t.store.Put(t.ctx, rec, prev)
					if err == nil {
						var got store.Record
						if got, err = t.store.Get(t.ctx, rec.Key); err == nil && got.Version != rec.Version {
							err = fmt.Errorf("read version %#x after writing %#x", got.Version, rec.Version)
						}
					}
					if err != nil {
						t.Errorf("key %q, which only one goroutine uses: %v", rec.Key, err)
						return
					}
					prev = rec.Version
				}
			})
		},
	},
	{
		name: "Exclusion",
		rule: "A key works as a lock: the caller that creates it reads its own record until it deletes the key.",
		run: func(t *tester) {
			var inside atomic.Int32
			parallel(workers, func(int) {
				for range rounds(20) {
					rec := t.record("lock")
					err := t.store.Put(t.ctx, rec, 0)
					if errors.Is(err, store.ErrConflict) {
						continue
					}
					if err != nil {
						t.Errorf("Put: error %v", err)
						return
					}
					n := inside.Add(1)
					got, err := t.store.Get(t.ctx, "lock")
					inside.Add(-1)
					if n != 1 || err != nil || got.Version != rec.Version {
						t.Errorf("%d callers hold the key; Get: version %#x, error %v, want version %#x", n, got.Version, err, rec.Version)
						return
					}
					if err := t.store.Delete(t.ctx, "lock"); err != nil {
						t.Errorf("Delete: error %v", err)
						return
					}
				}
			})
		},
	},
}

// increment adds one to the number under key. If the store fails, it reports the error
// and returns false.
func (t *tester) increment(key string) bool {
	for {
		rec, err := t.store.Get(t.ctx, key)
		if err == nil {
			err = t.store.Put(t.ctx, withCount(rec, counted(rec)+1), rec.Version)
		}
		if err == nil {
			return true
		}
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("increment: error %v", err)
			return false
		}
	}
}

// race calls Put concurrently with different records and the same prev. It reports
// whether exactly one call succeeds and its record is stored.
func (t *tester) race(key string, make func() store.Record, prev uint64) bool {
	var mu sync.Mutex
	var winners []store.Record
	parallel(workers, func(int) {
		rec := make()
		err := t.store.Put(t.ctx, rec, prev)
		if err == nil {
			mu.Lock()
			winners = append(winners, rec)
			mu.Unlock()
		} else if !errors.Is(err, store.ErrConflict) {
			t.Errorf("Put of %q: error %v, want none or ErrConflict", key, err)
		}
	})
	if len(winners) != 1 {
		t.Errorf("%d of %d calls of Put of %q succeeded, want 1", len(winners), workers, key)
		return false
	}
	t.found(winners[0])
	return !t.Failed()
}

// createAndDelete creates a record, changes its owner twice in every second round, and
// deletes it.
func (t *tester) createAndDelete(worker, i int) bool {
	rec := t.record(fmt.Sprintf("passing%d", worker))
	err := t.store.Put(t.ctx, rec, 0)
	for _, owner := range []string{"another", "owner"} {
		if err == nil && i%2 == 0 {
			next := t.successor(rec)
			next.Owner = owner
			err = t.store.Put(t.ctx, next, rec.Version)
			rec = next
		}
	}
	if err == nil {
		err = t.store.Delete(t.ctx, rec.Key)
	}
	if err != nil {
		t.Errorf("key %q, which only one goroutine uses: error %v", rec.Key, err)
	}
	return err == nil
}

// readCount returns the number under key, or -1 if it cannot be read.
func (t *tester) readCount(key string) int {
	rec, err := t.store.Get(t.ctx, key)
	if err != nil {
		t.Errorf("Get of %q: error %v", key, err)
		return -1
	}
	return counted(rec)
}

// listCount is like readCount, but uses List, for an owner with one record.
func (t *tester) listCount(owner string) int {
	recs, err := t.store.List(t.ctx, owner)
	if err != nil || len(recs) != 1 {
		t.Errorf("List of %q: %d records, error %v", owner, len(recs), err)
		return -1
	}
	return counted(recs[0])
}

// pauseBriefly sleeps for a random short time.
func (t *tester) pauseBriefly() { time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond) }

var contextChecks = []check{
	{
		name: "Canceled",
		rule: "A call with a canceled context returns an error other than ErrNotFound and ErrConflict.",
		run: func(t *tester) {
			ctx, cancel := context.WithCancel(t.ctx)
			cancel()
			t.failsWith(ctx)
		},
	},
	{
		name: "DeadlinePassed",
		rule: "A call whose deadline has passed returns an error other than ErrNotFound and ErrConflict.",
		run: func(t *tester) {
			ctx, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
			defer cancel()
			t.failsWith(ctx)
		},
	},
	{
		name: "CanceledDuringCall",
		rule: "Canceling calls does not affect others: every call that succeeds returns the right record, and the store still works afterwards.",
		run: func(t *tester) {
			const n = 8
			for i := range n {
				rec := stamped(t.record(fmt.Sprintf("key%d", i)))
				rec.Owner = fmt.Sprintf("owner%d", i)
				t.put(rec, 0)
			}
			parallel(workers, func(worker int) {
				for i := range rounds(50) {
					one := rand.IntN(n)
					key, owner := fmt.Sprintf("key%d", one), fmt.Sprintf("owner%d", one)
					ctx, cancel := context.WithTimeout(t.ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
					var recs []store.Record
					var err error
					if i%2 == 0 {
						recs = make([]store.Record, 1)
						recs[0], err = t.store.Get(ctx, key)
					} else {
						recs, err = t.store.List(ctx, owner)
					}
					cancel()
					if err != nil {
						if aboutRecord(err) {
							t.Errorf("a canceled call: error %v", err)
							return
						}
						continue
					}
					if len(recs) != 1 || recs[0].Key != key || recs[0].Owner != owner || !whole(recs[0]) {
						t.Errorf("read %q of %q, got %s", key, owner, keys(recs))
						return
					}
				}
			})
			for i := range n {
				if rec, err := t.store.Get(t.ctx, fmt.Sprintf("key%d", i)); err != nil || !whole(rec) {
					t.Errorf("afterwards: Get of key%d: error %v", i, err)
				}
			}
		},
	},
}

// failsWith checks that every call fails with ctx, which is done.
func (t *tester) failsWith(ctx context.Context) {
	t.Helper()
	rec := t.create("key")
	_, getErr := t.store.Get(ctx, rec.Key)
	_, missErr := t.store.Get(ctx, "missing")
	_, listErr := t.store.List(ctx, rec.Owner)
	createErr := t.store.Put(ctx, t.record("new"), 0)
	conflictErr := t.store.Put(ctx, t.record("key"), 0)
	deleteErr := t.store.Delete(ctx, "missing")
	for _, c := range []struct {
		call string
		err  error
	}{
		{"Get", getErr}, {"Get of a missing key", missErr}, {"List", listErr},
		{"Put", createErr}, {"Put on an existing key", conflictErr}, {"Delete", deleteErr},
	} {
		if c.err == nil || aboutRecord(c.err) {
			t.Errorf("%s: error %v, want an error other than ErrNotFound and ErrConflict", c.call, c.err)
		}
	}
	t.found(rec)
}
