// Package memstore keeps sessions in the memory of one process.
//
//	m, err := session.New(session.Config{Auth: auth, Keys: keys, Store: memstore.New()})
//
// The sessions are lost when the process ends, and other processes do not see them. Use the
// store for programs that run as a single process, and for tests.
//
// Get, Put and Delete are linearizable over all keys. Get does not allocate. Expired records are
// removed a few at a time, so that no call waits for a sweep over the whole store. A
// store needs no Close: the garbage collector frees it like any other value.
//
// A small record, such as the mark of an ended session, takes about 100 bytes. A
// record is small if it has no Owner, no Meta, at most 16 bytes of Data, and a Key of
// 64 lower-case hexadecimal digits.
package memstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session/store"
)

// errFull is the error of [Store.Put] for a record that would exceed [Store.MaxRecords].
var errFull = fmt.Errorf("memstore: %w", store.ErrFull)

// shardCount is a power of two. It is large compared to the number of cores, so that
// they rarely contend for a lock, and small enough to visit all shards.
const shardCount = 64

// Store is a [store.Store] in memory. Its zero value is ready to use. Do not copy a
// Store or change its fields after the first use.
type Store struct {
	// MaxRecords is the maximum number of records. When it is reached, Put returns
	// [store.ErrFull] for a new key. Other calls still work: the store never drops a live
	// session to make room. Zero means no limit.
	//
	// Small records (see the package comment) do not count and are always stored,
	// so that sessions can be ended in a full store. Their number is limited by the
	// number of sign-ins during their lifetime. A Put that replaces a small record
	// with a larger one needs room for the larger one.
	MaxRecords int

	// Now is the clock that determines what has expired. Nil means time.Now. It may
	// be called concurrently, and must not call the store.
	Now func() time.Time

	count  atomic.Int64 // of records, without small ones
	small  atomic.Int64 // of small records
	owned  atomic.Int64 // of records with an owner
	awake  atomic.Bool  // a sweep is running or its timer is
	shards [shardCount]shard
	owners [shardCount]ownerShard
}

var _ store.Store = (*Store)(nil)

// New returns an empty store without a limit. It is the same as new(Store).
func New() *Store { return new(Store) }

// Format prints the number of records for every verb. It prints nothing of the records,
// because they are not sealed.
func (s *Store) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "memstore.Store{%d records}", s.Len())
}

// shard holds the records of the keys that hash to it.
//
// Lock order: a shard before an ownerShard, and never two shards or two ownerShards.
type shard struct {
	mu sync.RWMutex

	// nodes holds the records by the hash of the key, which takes less memory than the key.
	// others holds, by the key, the few that it cannot hold; see insert.
	nodes  map[uint64]*node
	others map[string]*node
	due    dueHeap // of nodes and others

	// smalls holds the small records. A key has a node or a small record,
	// never both.
	smalls smalls
	_      [64]byte // keeps the locks of other shards off the cache lines of this shard
}

// node holds the record of one key. It is in its shard's map, in the expiry heap and in
// its owner's list. An update changes the node in place.
type node struct {
	key   [usualKey]byte // if the node is in shard.nodes; never changes
	shard *shard         // never changes

	// guarded by shard.mu
	rec store.Record // Key is empty if the node has it in key
	due int          // index in shard.due, or removed

	// guarded by the mu of the ownerShard of rec.Owner
	next, prev *node
}

// usualKey is the length of keys that a node has itself, because a search then reads one
// place in memory less. Keys of package session have this length.
const usualKey = 64

// record returns the record of n, which has the given key.
func (n *node) record(key string) store.Record {
	rec := n.rec
	rec.Key = key
	return rec
}

// keyOf returns the key of n.
func (n *node) keyOf() string {
	if n.rec.Key != "" {
		return n.rec.Key
	}
	return string(n.key[:])
}

// find returns the node of a key with this hash, or nil.
func (sh *shard) find(key string, hash uint64) *node {
	if n := sh.nodes[hash]; n != nil && string(n.key[:]) == key {
		return n
	}
	return sh.others[key]
}

// removed is the heap index of a node that was removed from its shard.
const removed = -1

func (n *node) expired(now time.Time) bool { return !now.Before(n.rec.ExpiresAt) }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, failed("get", err)
	}
	sh, hash := s.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	// The time is read only for a key that is there. Most keys of cookie sessions are not.
	if n := sh.find(key, hash); n != nil && !n.expired(s.now()) {
		return n.record(key), nil
	}
	if id, ok := smallIDOf(key); ok {
		if i := sh.smalls.find(&id); i != none && !sh.smalls.at(i).expired(s.now()) {
			return sh.smalls.at(i).record(key), nil
		}
	}
	return store.Record{}, store.ErrNotFound
}

// Put implements [store.Store]. It returns [store.ErrFull] if the store is full; see
// [Store.MaxRecords].
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := ctx.Err(); err != nil {
		return failed("put", err)
	}
	if err := rec.Validate(); err != nil {
		return failed("put", err)
	}
	// With a monotonic reading the record would expire late, by as long as the
	// machine was suspended.
	rec.ExpiresAt = rec.ExpiresAt.Round(0)
	for {
		err := s.put(rec, prev)
		// Expired records may take up the room. The lock of the key's shard is not
		// held here, so that purgeAny can lock every shard.
		if err == errFull && s.purgeAny() {
			continue
		}
		return err
	}
}

func (s *Store) put(rec store.Record, prev uint64) error {
	sh, hash := s.shard(rec.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// Read the time under the lock. With an earlier reading, a record could count
	// as live although another call has already reported it as expired.
	now := s.now()
	s.purge(sh, now, purgePerPut)

	n := sh.find(rec.Key, hash)
	if n != nil && n.expired(now) {
		s.remove(n)
		n = nil
	}
	if id, ok := smallIDOf(rec.Key); ok && (isSmall(rec) || sh.smalls.find(&id) != none) {
		return s.putSmall(sh, n, &id, hash, rec, prev, now)
	}
	if n == nil {
		if prev != 0 {
			return store.ErrConflict
		}
		return s.insert(sh, hash, rec)
	}
	if n.rec.Version != prev {
		return store.ErrConflict
	}
	s.update(n, rec)
	return nil
}

// insert adds a record for a key that holds none. sh is locked.
func (s *Store) insert(sh *shard, hash uint64, rec store.Record) error {
	if !s.reserve() {
		return errFull
	}
	n := &node{shard: sh, rec: rec}
	if len(rec.Key) == usualKey && sh.nodes[hash] == nil {
		if sh.nodes == nil {
			sh.nodes = make(map[uint64]*node)
		}
		copy(n.key[:], rec.Key)
		n.rec.Key = ""
		sh.nodes[hash] = n
	} else { // an unusual key, or the hash of another key
		if sh.others == nil {
			sh.others = make(map[string]*node)
		}
		sh.others[rec.Key] = n
	}
	sh.due.push(n)
	s.link(n)
	s.wake()
	return nil
}

// update replaces the record of n. Its shard is locked.
func (s *Store) update(n *node, rec store.Record) {
	// Keep equal strings: the maps refer to those of the first record, so that
	// new ones would double the memory for names.
	rec.Key = n.rec.Key // empty if n.key has it
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

// remove removes n from the store. Its shard is locked.
func (s *Store) remove(n *node) {
	sh := n.shard
	if n.rec.Key != "" {
		delete(sh.others, n.rec.Key)
	} else {
		delete(sh.nodes, maphash.Bytes(seed, n.key[:]))
	}
	sh.due.remove(n)
	s.unlink(n)
	s.count.Add(-1)
	if len(sh.due) == 0 && cap(sh.due) > keepRoom {
		// Maps and slices do not shrink by themselves.
		sh.nodes, sh.others, sh.due = nil, nil, nil
	}
}

// keepRoom is the size up to which an empty shard keeps its map and slice.
const keepRoom = 256

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", err)
	}
	sh, hash := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := sh.find(key, hash); n != nil {
		s.remove(n)
	}
	if id, ok := smallIDOf(key); ok {
		if i := sh.smalls.find(&id); i != none {
			s.removeSmall(sh, i)
		}
	}
	return nil
}

// Len returns the number of records, including small ones. An expired record counts
// until it is removed, some seconds later.
func (s *Store) Len() int { return int(s.count.Load() + s.small.Load()) }

// CountSessions returns the number of records that have an owner: the sessions of
// signed-in users. An expired record counts until it is removed, some seconds later.
func (s *Store) CountSessions(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed("count", err)
	}
	return int(s.owned.Load()), nil
}

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

// seed is shared by all stores, so that the zero Store works.
var seed = maphash.MakeSeed()

// shard returns the shard of key, and the hash of key.
func (s *Store) shard(key string) (*shard, uint64) {
	hash := maphash.String(seed, key)
	return &s.shards[hash%shardCount], hash
}

func failed(op string, err error) error { return fmt.Errorf("memstore: %s: %w", op, err) }
