// Package memstore keeps sessions in the memory of one process.
//
//	m, err := session.New(session.Config{Auth: auth, Keys: keys, Store: memstore.New()})
//
// Nothing survives the process and no other process sees it: that fits a
// program that runs once, and tests. It is linearizable over all keys, a read
// allocates nothing, and expired records are removed a few at a time, so that
// no call ever waits for a sweep over the whole store. There is nothing to
// close: a store that is no longer referenced is collected like any value.
//
// A small record, such as the mark that a session has ended, takes about 100
// bytes in all. It has no Owner and no Meta, at most 16 bytes of Data, and a Key
// of 64 lower-case hexadecimal digits.
package memstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/internal/check"
)

// ErrFull is returned by [Store.Put] for a record that would exceed
// [Store.MaxRecords]. Nothing has been written, and no other record had to go.
var ErrFull = fmt.Errorf("memstore: %w", store.ErrFull)

// shardCount is a power of two, large against the cores that contend for the
// locks and small against the work of looking at every shard.
const shardCount = 64

// Store is a [store.Store] in memory. Its zero value is ready to use; it must
// not be copied, nor its fields changed, once it is in use.
type Store struct {
	// MaxRecords bounds the number of records. At the bound a Put of a new
	// key fails with ErrFull, while all others go on: a live session is never
	// dropped to make room. Zero means that there is no bound.
	//
	// Small records, which the package comment describes, do not count and are
	// always stored: a session can be ended in a full store. Their number is
	// bounded by that of the sign-ins in the time until they expire. A Put that
	// replaces a small record by a larger one needs room for the larger one.
	MaxRecords int

	// Now is the clock that decides what has expired. Nil means time.Now. It
	// is called from several goroutines at once, and must not call the store.
	Now func() time.Time

	count  atomic.Int64 // without small records
	small  atomic.Int64
	awake  atomic.Bool // a sweep is running, or a timer is set for one
	shards [shardCount]shard
	owners [shardCount]ownerShard
}

var _ store.Store = (*Store)(nil)

// New returns an empty store without a bound. It is the same as new(Store).
func New() *Store { return new(Store) }

// Format prints how many records there are, for every fmt verb, and nothing of
// them: they are not sealed.
func (s *Store) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "memstore.Store{%d records}", s.Len())
}

// shard holds the records of the keys that hash to it.
//
// Lock order: a shard before an ownerShard, and never two of a kind.
type shard struct {
	mu    sync.RWMutex
	nodes map[string]*node
	due   dueHeap // of nodes

	// smalls holds the small records. A key has a node or a small record,
	// never both.
	smalls smalls
	_      [64]byte // keeps neighbors' locks off this one's cache lines
}

// node is one key's place in its shard, in the expiry heap and in its owner's
// list. It is changed in place, for as long as the key holds a record.
type node struct {
	shard *shard // never changes

	// guarded by shard.mu
	rec store.Record
	due int // index in shard.due; removed when the node is

	// guarded by the mu of the ownerShard of rec.Owner
	next, prev *node
}

// removed is the heap index of a node that left its shard.
const removed = -1

func (n *node) expired(now time.Time) bool { return !now.Before(n.rec.ExpiresAt) }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, failed("get", err)
	}
	sh := s.shard(key)
	now := s.now()
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if n := sh.nodes[key]; n != nil && !n.expired(now) {
		return n.rec, nil
	}
	if id, ok := smallIDOf(key); ok {
		if i := sh.smalls.find(&id); i != none && !sh.smalls.at(i).expired(now) {
			return sh.smalls.at(i).record(key), nil
		}
	}
	return store.Record{}, store.ErrNotFound
}

// Put implements [store.Store]. It returns [ErrFull] at the bound, if there is
// one.
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := ctx.Err(); err != nil {
		return failed("put", err)
	}
	if err := check.Record(rec); err != nil {
		return failed("put", err)
	}
	// A monotonic reading would make the record outlive its time by as long
	// as the machine was suspended.
	rec.ExpiresAt = rec.ExpiresAt.Round(0)
	for {
		err := s.put(rec, prev)
		// Expired records still take up room. The lock of this key's shard is
		// not held here, so that they can be looked for in all of them.
		if err == ErrFull && s.purgeAny() {
			continue
		}
		return err
	}
}

func (s *Store) put(rec store.Record, prev uint64) error {
	sh := s.shard(rec.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// The time is read under the lock: an older reading could take a record
	// for alive that another call has already reported as expired.
	now := s.now()
	s.purge(sh, now, purgePerPut)

	n := sh.nodes[rec.Key]
	if n != nil && n.expired(now) {
		s.remove(n)
		n = nil
	}
	if id, ok := smallIDOf(rec.Key); ok && (isSmall(rec) || sh.smalls.find(&id) != none) {
		return s.putSmall(sh, n, &id, rec, prev, now)
	}
	if n == nil {
		if prev != 0 {
			return store.ErrConflict
		}
		return s.insert(sh, rec)
	}
	if n.rec.Version != prev {
		return store.ErrConflict
	}
	s.update(n, rec)
	return nil
}

// insert adds a record for a key that holds none. sh is locked.
func (s *Store) insert(sh *shard, rec store.Record) error {
	if !s.reserve() {
		return ErrFull
	}
	n := &node{shard: sh, rec: rec}
	if sh.nodes == nil {
		sh.nodes = make(map[string]*node)
	}
	sh.nodes[rec.Key] = n
	sh.due.push(n)
	s.link(n)
	s.wake()
	return nil
}

// update replaces the record of n. Its shard is locked.
func (s *Store) update(n *node, rec store.Record) {
	// Equal strings are kept, since the maps refer to those of the first
	// record: otherwise each name would be held twice.
	rec.Key = n.rec.Key
	if rec.Owner == n.rec.Owner {
		rec.Owner = n.rec.Owner
		n.rec = rec
	} else {
		s.unlink(n)
		n.rec = rec
		s.link(n)
	}
	n.shard.due.fix(n)
}

// remove takes n out of the store. Its shard is locked.
func (s *Store) remove(n *node) {
	sh := n.shard
	delete(sh.nodes, n.rec.Key)
	sh.due.remove(n)
	s.unlink(n)
	s.count.Add(-1)
	if len(sh.nodes) == 0 && cap(sh.due) > keepRoom {
		// Neither a map nor a slice shrinks by itself.
		sh.nodes, sh.due = nil, nil
	}
}

// keepRoom is the number of records up to which an empty shard keeps its room.
const keepRoom = 256

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", err)
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := sh.nodes[key]; n != nil {
		s.remove(n)
	}
	if id, ok := smallIDOf(key); ok {
		if i := sh.smalls.find(&id); i != none {
			s.removeSmall(sh, i)
		}
	}
	return nil
}

// Len returns the number of records that are held, small ones included. Records
// that have expired count until they are removed, which takes some seconds.
func (s *Store) Len() int { return int(s.count.Load() + s.small.Load()) }

// reserve counts one more record, unless the store is full.
func (s *Store) reserve() bool {
	if s.MaxRecords <= 0 {
		s.count.Add(1)
		return true
	}
	for {
		n := s.count.Load()
		if n >= int64(s.MaxRecords) {
			return false
		}
		if s.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// seed is one for all stores, so that the zero Store works.
var seed = maphash.MakeSeed()

func (s *Store) shard(key string) *shard {
	return &s.shards[maphash.String(seed, key)%shardCount]
}

func failed(op string, err error) error { return fmt.Errorf("memstore: %s: %w", op, err) }
