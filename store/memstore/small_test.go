package memstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/storetest"
)

func hexKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// smallRecord returns a small record.
func smallRecord(i int, expiresAt time.Time) store.Record {
	return store.Record{Key: hexKey(key(i)), Version: rand.Uint64() | 1, Data: []byte("0123456789abcdef"), ExpiresAt: expiresAt}
}

// shrunk stores every record as a small one, or every second record if mixed is set. It
// keeps the full record itself, and stores its number in the Data of the small one.
type shrunk struct {
	store.Store
	*clock
	mixed bool

	mu   sync.Mutex
	full map[uint64]store.Record // by the number in the small record's Data
	keys map[string]bool
}

var _ storetest.Clock = (*shrunk)(nil)

func (s *shrunk) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := rec.Validate(); err != nil {
		return err
	}
	stored := rec
	stored.Key = hexKey(rec.Key)
	s.mu.Lock()
	n := uint64(len(s.full))
	s.full[n] = rec
	s.keys[rec.Key] = true
	s.mu.Unlock()
	stored.Data = binary.BigEndian.AppendUint64(nil, n)
	if !s.mixed || n%2 == 0 {
		stored.Owner, stored.Meta = "", nil
	}
	return s.Store.Put(ctx, stored, prev)
}

func (s *shrunk) Get(ctx context.Context, key string) (store.Record, error) {
	stored, err := s.Store.Get(ctx, hexKey(key))
	if err != nil {
		return store.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.full[binary.BigEndian.Uint64(stored.Data)]
	if stored.Key != hexKey(key) || stored.Version != rec.Version || !stored.ExpiresAt.Equal(rec.ExpiresAt) {
		return store.Record{}, fmt.Errorf("Get of %q: %v, want the state of %v", key, stored, rec)
	}
	return rec, nil
}

func (s *shrunk) Delete(ctx context.Context, key string) error {
	return s.Store.Delete(ctx, hexKey(key))
}

func (s *shrunk) List(ctx context.Context, owner string) ([]store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	var keys []string
	for key := range s.keys {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	var recs []store.Record
	for _, key := range keys {
		rec, err := s.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case owner != "" && rec.Owner == owner:
			recs = append(recs, rec)
		}
	}
	return recs, nil
}

// Small records satisfy the contract, even if they replace larger records or are replaced
// by them.
func TestStoreOfSmallRecords(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		t.Run(map[bool]string{false: "Small", true: "Mixed"}[mixed], func(t *testing.T) {
			storetest.Run(t, func(testing.TB) store.Store {
				c := newClock()
				return &shrunk{
					Store: &memstore.Store{Now: c.Now}, clock: c, mixed: mixed,
					full: map[uint64]store.Record{}, keys: map[string]bool{},
				}
			})
		})
	}
}

// Keys that are similar to that of a small record have their own records.
func TestKeysSimilarToSmallRecords(t *testing.T) {
	s := memstore.New()
	small := smallRecord(1, time.Now().Add(time.Hour))
	small.Key = "abcdef" + small.Key[6:]
	put(t, s, small, 0)
	var others []store.Record
	for _, key := range []string{
		"ABCDEF" + small.Key[6:], small.Key[:63], small.Key[:63] + "g", small.Key + "0", "/" + small.Key[1:], small.Key[:63] + ":",
	} {
		if _, err := s.Get(context.Background(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of %q: %v, want ErrNotFound", key, err)
		}
		other := small
		other.Key, other.Version, other.Data = key, rand.Uint64()|1, []byte(key)[:8]
		put(t, s, other, 0)
		others = append(others, other)
	}
	for _, want := range append(others, small) {
		got, err := s.Get(context.Background(), want.Key)
		if err != nil || got.Key != want.Key || got.Version != want.Version || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("Get of %q: %v, %v", want.Key, got, err)
		}
	}
}

// A random sequence of calls has the same results as with a map.
func TestManySmallRecords(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	c := newClock()
	s := &memstore.Store{Now: c.Now}
	model := map[string]store.Record{}
	for step := range 60_000 {
		if step%100 == 0 {
			c.Advance(time.Second)
		}
		// The store grows to thousands of records and shrinks to nearly none.
		deletes := 1 + step/10_000%2*8
		key := hexKey(key(r.IntN(5000)))
		old, found := model[key]
		if found && !c.Now().Before(old.ExpiresAt) {
			old, found = store.Record{}, false
			delete(model, key)
		}
		if r.IntN(10) < deletes {
			if err := s.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			delete(model, key)
		} else {
			rec := store.Record{Key: key, Version: r.Uint64() | 1, ExpiresAt: c.Now().Add(time.Duration(r.Int64N(300e9)))}
			rec.Data = bytes.Repeat([]byte{byte(step)}, r.IntN(24))
			put(t, s, rec, old.Version)
			model[key] = rec
		}
		key = hexKey(fmt.Sprintf("key%d", r.IntN(5000)))
		want, found := model[key]
		got, err := s.Get(ctx, key)
		if found = found && c.Now().Before(want.ExpiresAt); !found {
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("step %d: Get: %v, want ErrNotFound", step, err)
			}
			continue
		}
		if err != nil || got.Key != key || got.Version != want.Version || !bytes.Equal(got.Data, want.Data) || !got.ExpiresAt.Equal(want.ExpiresAt) {
			t.Fatalf("step %d: Get: %v, error %v, want %v", step, got, err, want)
		}
	}
}

// A full store accepts small records, so that sessions can always be ended.
func TestSmallRecordsInFullStore(t *testing.T) {
	ctx := context.Background()
	const limit = 10
	c := newClock()
	s := &memstore.Store{MaxRecords: limit, Now: c.Now}
	large := func(i int) store.Record {
		rec := smallRecord(i, c.Now().Add(time.Hour))
		rec.Owner, rec.Data = "owner", make([]byte, 1000)
		return rec
	}
	var first store.Record
	for i := range limit {
		rec := large(i)
		put(t, s, rec, 0)
		if i == 0 {
			first = rec
		}
	}
	for i := range 100 {
		put(t, s, smallRecord(1000+i, c.Now().Add(time.Hour)), 0)
	}
	if err := s.Put(ctx, large(limit), 0); !errors.Is(err, store.ErrFull) {
		t.Errorf("a large record in a full store: %v, want ErrFull", err)
	}
	// A small record that replaces a large one makes room for another large one.
	mark := smallRecord(0, c.Now().Add(time.Hour))
	put(t, s, mark, first.Version)
	put(t, s, large(limit), 0)
	back := large(0)
	if err := s.Put(ctx, back, mark.Version); !errors.Is(err, store.ErrFull) {
		t.Errorf("a large record that replaces a small one in a full store: %v, want ErrFull", err)
	}
	if got, err := s.Get(ctx, mark.Key); err != nil || got.Version != mark.Version {
		t.Errorf("after ErrFull: %v, %v, want the small record", got, err)
	}
	if recs, err := s.List(ctx, "owner"); err != nil || len(recs) != limit {
		t.Errorf("List: %d records, error %v, want %d", len(recs), err, limit)
	}
	if err := s.Delete(ctx, large(limit).Key); err != nil {
		t.Fatal(err)
	}
	put(t, s, back, mark.Version)
	if s.Len() != limit+100 {
		t.Errorf("Len() = %d, want %d", s.Len(), limit+100)
	}
	// Expired large records make room, even if small records expire first.
	c.Advance(2 * time.Hour)
	for i := range limit {
		put(t, s, large(100+i), 0)
	}
	if err := s.Put(ctx, large(200), 0); !errors.Is(err, store.ErrFull) {
		t.Errorf("a large record in a full store: %v, want ErrFull", err)
	}
}

func TestSweepOfSmallRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		const n = 3000
		for i := range n {
			put(t, s, smallRecord(i, time.Now().Add(time.Duration(1+i%2)*time.Hour)), 0)
		}
		for _, want := range []int{n / 2, 0} {
			time.Sleep(time.Hour + time.Minute)
			synctest.Wait()
			if s.Len() != want {
				t.Errorf("%d records, want %d", s.Len(), want)
			}
		}
	})
}
