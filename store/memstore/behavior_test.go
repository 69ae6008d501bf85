package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

func put(t *testing.T, s store.Store, rec store.Record, prev uint64) {
	t.Helper()
	if err := s.Put(context.Background(), rec, prev); err != nil {
		t.Fatalf("Put of %q: %v", rec.Key, err)
	}
}

// key returns the key of the record with number i.
func key(i int) string { return fmt.Sprintf("key%d", i) }

func owned(i int, expiresAt time.Time) store.Record {
	return store.Record{Key: key(i), Owner: fmt.Sprintf("owner%d", i), Version: 1, Data: []byte("data"), ExpiresAt: expiresAt}
}

func TestZeroStore(t *testing.T) {
	var s memstore.Store
	rec := owned(1, time.Now().Add(time.Hour))
	put(t, &s, rec, 0)
	got, err := s.Get(context.Background(), rec.Key)
	if err != nil || got.Version != rec.Version {
		t.Errorf("Get: version %d, error %v", got.Version, err)
	}
}

// A record expires at its ExpiresAt, to the nanosecond.
func TestExpiryIsExact(t *testing.T) {
	ctx := context.Background()
	c := newClock()
	s := &memstore.Store{Now: c.Now}
	rec := owned(1, c.Now().Add(time.Minute))
	put(t, s, rec, 0)
	c.Advance(time.Minute - time.Nanosecond)
	if _, err := s.Get(ctx, rec.Key); err != nil {
		t.Errorf("a nanosecond before ExpiresAt: %v", err)
	}
	if err := s.Put(ctx, rec, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put a nanosecond before ExpiresAt: %v, want ErrConflict", err)
	}
	c.Advance(time.Nanosecond)
	if _, err := s.Get(ctx, rec.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get at ExpiresAt: %v, want ErrNotFound", err)
	}
	if recs, err := s.List(ctx, rec.Owner); len(recs) != 0 || err != nil {
		t.Errorf("List at ExpiresAt: %d records, error %v", len(recs), err)
	}
	if err := s.Put(ctx, rec, rec.Version); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update at ExpiresAt: %v, want ErrConflict", err)
	}
	rec.ExpiresAt = c.Now().Add(time.Minute)
	put(t, s, rec, 0)
}

func TestMaxRecords(t *testing.T) {
	ctx := context.Background()
	const limit = 100
	c := newClock()
	s := &memstore.Store{MaxRecords: limit, Now: c.Now}
	for i := range limit {
		put(t, s, owned(i, c.Now().Add(time.Duration(1+i%2)*time.Minute)), 0)
	}
	extra := owned(limit, c.Now().Add(time.Hour))
	full := func() {
		t.Helper()
		err := s.Put(ctx, extra, 0)
		if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrConflict) {
			t.Errorf("Put in a full store: %v, want ErrFull", err)
		}
		if _, err := s.Get(ctx, extra.Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get after ErrFull: %v, want ErrNotFound", err)
		}
		if s.Len() != limit {
			t.Errorf("Len() = %d, want %d", s.Len(), limit)
		}
	}
	full()
	// The other records still exist and can be updated.
	for i := range limit {
		rec := owned(i, c.Now().Add(time.Duration(1+i%2)*time.Minute))
		put(t, s, rec, rec.Version)
	}
	full()
	// An update of a missing record is a conflict, also in a full store.
	if err := s.Put(ctx, extra, 7); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of a missing record in a full store: %v, want ErrConflict", err)
	}
	// A deleted record makes room for another record.
	if err := s.Delete(ctx, key(0)); err != nil {
		t.Fatal(err)
	}
	put(t, s, extra, 0)
	// Expired records make room, even if they are not removed yet.
	c.Advance(time.Minute + time.Second)
	for i := range limit/2 - 1 {
		put(t, s, owned(1000+i, c.Now().Add(time.Hour)), 0)
	}
	extra = owned(2000, c.Now().Add(time.Hour))
	full()
}

func TestMaxRecordsConcurrently(t *testing.T) {
	const limit, workers = 50, 8
	s := &memstore.Store{MaxRecords: limit}
	var stored, refused atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range limit {
				err := s.Put(context.Background(), owned(w*limit+i, time.Now().Add(time.Hour)), 0)
				switch {
				case err == nil:
					stored.Add(1)
				case errors.Is(err, store.ErrFull):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if stored.Load() != limit || s.Len() != limit || refused.Load() != limit*(workers-1) {
		t.Errorf("stored %d, refused %d, Len %d; the limit is %d", stored.Load(), refused.Load(), s.Len(), limit)
	}
}

// Expired records are removed without a call of the store.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		const n = 5000
		for i := range n {
			put(t, s, owned(i, time.Now().Add(time.Duration(1+i%3)*time.Hour)), 0)
		}
		for hour := 1; hour <= 3; hour++ {
			time.Sleep(time.Hour)
			time.Sleep(time.Minute)
			synctest.Wait()
			want := 0
			for i := range n {
				if 1+i%3 > hour {
					want++
				}
			}
			if s.Len() != want {
				t.Errorf("%d records after %d hours, want %d", s.Len(), hour, want)
			}
		}
		// The next record starts the timer again.
		put(t, s, owned(1, time.Now().Add(time.Second)), 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.Len() != 0 {
			t.Errorf("%d records, want 0", s.Len())
		}
	})
}

// Put removes expired records, so that the store does not grow between sweeps.
func TestPutRemovesExpiredRecords(t *testing.T) {
	c := newClock()
	s := &memstore.Store{Now: c.Now}
	largest := 0
	for i := range 50_000 {
		put(t, s, owned(i, c.Now().Add(time.Second)), 0)
		c.Advance(time.Millisecond) // 1000 records are live at a time
		largest = max(largest, s.Len())
	}
	if largest > 1500 {
		t.Errorf("the store held up to %d records while about 1000 were live", largest)
	}
}

// A store needs no Close: no goroutine and no timer keeps it from being collected.
func TestStoreIsCollected(t *testing.T) {
	before := runtime.NumGoroutine()
	collected := make(chan struct{})
	func() {
		s := memstore.New()
		put(t, s, owned(1, time.Now().Add(time.Hour)), 0)
		runtime.AddCleanup(s, func(c chan struct{}) { close(c) }, collected)
	}()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	deadline := time.After(10 * time.Second)
	for {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-deadline:
			t.Fatal("a store with a live record is not collected")
		case <-time.After(time.Millisecond):
		}
	}
}
