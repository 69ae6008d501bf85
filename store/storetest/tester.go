package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
)

// tester is a test with a store, and methods that call the store and check the results.
// Methods that end the test must be called from the test's goroutine.
type tester struct {
	*testing.T
	ctx   context.Context
	store store.Store
	clock Clock // nil: real time
	open  func(t testing.TB) store.Store
}

// record returns a record that has a value in every field and expires in an hour.
func (t *tester) record(key string) store.Record {
	return store.Record{
		Key:       key,
		Owner:     "owner",
		Version:   version(),
		Data:      []byte("data of " + key),
		Meta:      []byte("meta of " + key),
		ExpiresAt: t.now().Add(time.Hour),
	}
}

// successor returns a record with the same key and owner as rec, and with other values
// in the fields that an update changes.
func (t *tester) successor(rec store.Record) store.Record {
	rec.Version = version()
	rec.Data = fmt.Appendf(nil, "data of version %x", rec.Version)
	rec.Meta = fmt.Appendf(nil, "meta of version %x", rec.Version)
	return rec
}

// version returns a random version. As with real sessions, two are never equal in
// practice.
func version() uint64 { return rand.Uint64() | 1 }

// put stores rec and checks that the store accepts it.
func (t *tester) put(rec store.Record, prev uint64) {
	t.Helper()
	if err := t.store.Put(t.ctx, rec, prev); err != nil {
		t.Fatalf("Put of %q with prev %s: error %v, want none", rec.Key, t.prev(prev), err)
	}
}

// create stores a new record under key and returns it.
func (t *tester) create(key string) store.Record {
	t.Helper()
	rec := t.record(key)
	t.put(rec, 0)
	return rec
}

// conflict checks that Put of rec returns ErrConflict.
func (t *tester) conflict(rec store.Record, prev uint64) {
	t.Helper()
	err := t.store.Put(t.ctx, rec, prev)
	if !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Put of %q with prev %s: error %v, want ErrConflict", rec.Key, t.prev(prev), err)
	}
}

func (t *tester) prev(v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

// remove deletes key and checks that there is no error.
func (t *tester) remove(key string) {
	t.Helper()
	if err := t.store.Delete(t.ctx, key); err != nil {
		t.Fatalf("Delete of %q: error %v, want none", key, err)
	}
}

// found checks that Get returns want.
func (t *tester) found(want store.Record) {
	t.Helper()
	got, err := t.store.Get(t.ctx, want.Key)
	if err != nil {
		t.Fatalf("Get of %q: error %v, want the record", want.Key, err)
	}
	if d := differ(got, want); d != "" {
		t.Fatalf("Get of %q: %s", want.Key, d)
	}
}

// absent checks that Get of key returns ErrNotFound.
func (t *tester) absent(key string) {
	t.Helper()
	got, err := t.store.Get(t.ctx, key)
	if err == nil {
		t.Fatalf("Get of %q: found a record (data %s), want ErrNotFound", key, quote(got.Data))
	}
	if !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		t.Fatalf("Get of %q: error %v, want ErrNotFound", key, err)
	}
}

// listed checks that List of owner returns the records of want and no others.
func (t *tester) listed(owner string, want ...store.Record) {
	t.Helper()
	got, err := t.store.List(t.ctx, owner)
	if err != nil {
		t.Fatalf("List of %q: error %v, want none", owner, err)
	}
	byKey := func(a, b store.Record) int { return cmp.Compare(a.Key, b.Key) }
	got = slices.Clone(got)
	want = slices.Clone(want)
	slices.SortFunc(got, byKey)
	slices.SortFunc(want, byKey)
	if len(got) != len(want) {
		t.Fatalf("List of %q: keys %s, want %s", owner, keys(got), keys(want))
	}
	for i := range got {
		if d := differ(got[i], want[i]); d != "" {
			t.Fatalf("List of %q, record %q: %s", owner, want[i].Key, d)
		}
	}
}

// keys returns the keys of the records, at most the first ten.
func keys(recs []store.Record) string {
	const limit = 10
	var names []string
	for _, rec := range recs[:min(len(recs), limit)] {
		names = append(names, rec.Key)
	}
	s := fmt.Sprintf("%q", names)
	if len(recs) > limit {
		s += fmt.Sprintf(" and %d more", len(recs)-limit)
	}
	return s
}

// differ describes how got, which was read, differs from want, which was put. It
// returns "" if the contract allows the difference.
func differ(got, want store.Record) string {
	switch {
	case got.Key != want.Key:
		return fmt.Sprintf("Key %q, want %q", got.Key, want.Key)
	case got.Owner != want.Owner:
		return fmt.Sprintf("Owner %q, want %q", got.Owner, want.Owner)
	case got.Version != want.Version:
		return fmt.Sprintf("Version %#x, want %#x", got.Version, want.Version)
	case !bytes.Equal(got.Data, want.Data):
		return fmt.Sprintf("Data %s, want %s", quote(got.Data), quote(want.Data))
	case !bytes.Equal(got.Meta, want.Meta):
		return fmt.Sprintf("Meta %s, want %s", quote(got.Meta), quote(want.Meta))
	}
	late := got.ExpiresAt.Sub(want.ExpiresAt)
	if late < 0 || late >= time.Second {
		return fmt.Sprintf("ExpiresAt differs by %v; it may be rounded up by less than a second", late)
	}
	return ""
}

func quote(b []byte) string {
	const limit = 48
	if len(b) <= limit {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q... (%d bytes)", b[:limit], len(b))
}

func (t *tester) now() time.Time {
	if t.clock != nil {
		return t.clock.Now()
	}
	return time.Now()
}

// soon returns an expiry time for records that a check waits for. It leaves enough time
// for a few calls on a busy machine.
func (t *tester) soon() time.Time { return t.now().Add(4 * time.Second) }

// pass waits until a record with the given ExpiresAt must be absent.
func (t *tester) pass(at time.Time) {
	// A store may round ExpiresAt up by less than a second.
	wait := at.Add(time.Second).Sub(t.now())
	if wait <= 0 {
		return
	}
	if t.clock != nil {
		t.clock.Advance(wait)
		return
	}
	time.Sleep(wait)
}

// parallel runs f n times concurrently and waits until all have returned.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// rounds yields 0, 1, 2 ... often enough to detect a race: at least n times, and on a
// fast store for 150 ms.
func rounds(n int) func(yield func(int) bool) {
	const duration = 150 * time.Millisecond
	return func(yield func(int) bool) {
		start := time.Now()
		for i := 0; i < n || time.Since(start) < duration; i++ {
			if !yield(i) {
				return
			}
		}
	}
}
