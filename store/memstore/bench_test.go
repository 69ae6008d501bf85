package memstore_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// filled returns a store with n records, and their keys.
func filled(tb testing.TB, n int) (*memstore.Store, []string) {
	tb.Helper()
	s := memstore.New()
	keys := make([]string, n)
	for i := range keys {
		rec := owned(i, time.Now().Add(time.Hour))
		keys[i] = rec.Key
		if err := s.Put(context.Background(), rec, 0); err != nil {
			tb.Fatal(err)
		}
	}
	return s, keys
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector allocates memory")
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, keys := filled(t, 1000)
	rec := owned(1, time.Now().Add(time.Hour))
	small := smallRecord(1, time.Now().Add(time.Hour))
	put(t, s, small, 0)
	for _, tt := range []struct {
		name string
		want float64
		call func() error
	}{
		{"Get", 0, func() error { _, err := s.Get(ctx, keys[1]); return err }},
		{"Get of a small record", 0, func() error { _, err := s.Get(ctx, small.Key); return err }},
		{"Put that updates", 0, func() error { return s.Put(ctx, rec, rec.Version) }},
	} {
		if got := testing.AllocsPerRun(1000, func() {
			if err := tt.call(); err != nil {
				t.Fatal(err)
			}
		}); got != tt.want {
			t.Errorf("%s allocates %v times, want %v", tt.name, got, tt.want)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, keys := filled(b, 100_000)
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.Get(ctx, keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkGetSmall(b *testing.B) {
	s := memstore.New()
	ctx := context.Background()
	keys := make([]string, 100_000)
	for i := range keys {
		rec := smallRecord(i, time.Now().Add(time.Hour))
		keys[i] = rec.Key
		if err := s.Put(ctx, rec, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := s.Get(ctx, keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkGetParallel(b *testing.B) {
	s, keys := filled(b, 100_000)
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(keys)); pb.Next(); i++ {
			if _, err := s.Get(ctx, keys[i%len(keys)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPutUpdate(b *testing.B) {
	s, keys := filled(b, 100_000)
	ctx := context.Background()
	expires := time.Now().Add(time.Hour)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		n := i % len(keys)
		rec := store.Record{Key: keys[n], Owner: "owner", Version: 1, ExpiresAt: expires.Add(time.Duration(i))}
		if err := s.Put(ctx, rec, 1); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkPutCreate(b *testing.B) {
	s := memstore.New()
	ctx := context.Background()
	expires := time.Now().Add(time.Hour)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		rec := store.Record{Key: strconv.Itoa(i), Owner: "owner", Version: 1, ExpiresAt: expires}
		if err := s.Put(ctx, rec, 0); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// Nine reads for each write, as on a site with sliding sessions.
func BenchmarkMixedParallel(b *testing.B) {
	s, keys := filled(b, 100_000)
	ctx := context.Background()
	expires := time.Now().Add(time.Hour)
	var seed atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(seed.Add(1), 0))
		for i := 0; pb.Next(); i++ {
			key := keys[r.IntN(len(keys))]
			var err error
			if i%10 == 0 {
				err = s.Put(ctx, store.Record{Key: key, Owner: "owner", Version: 1, ExpiresAt: expires}, 1)
			} else {
				_, err = s.Get(ctx, key)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkList(b *testing.B) {
	s, _ := filled(b, 100_000)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if recs, err := s.List(ctx, "owner7"); err != nil || len(recs) != 1 {
			b.Fatal(len(recs), err)
		}
	}
}
