package memstore

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/synmetrix/session/store"
)

// ownerShard is the index for the owners that hash to it. An owner's nodes form a
// doubly linked list, so that the index takes two pointers for each record.
type ownerShard struct {
	mu    sync.Mutex
	heads map[string]*node
	most  int       // largest length of heads since the map was created
	_     [104]byte // keeps the locks of other shards off this cache line
}

func (s *Store) ownerShard(owner string) *ownerShard {
	return &s.owners[maphash.String(seed, owner)%shardCount]
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, owner string) ([]store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("list", err)
	}
	if owner == "" {
		return nil, nil
	}
	// The index returns candidates. Only under the lock of a node's shard is it
	// known whether the node still belongs to the owner. Calls link and unlink a
	// node while its shard is locked, so that the list reflects every call that has
	// returned.
	var recs []store.Record
	now := s.now()
	for _, n := range s.ownerShard(owner).list(owner) {
		n.shard.mu.RLock()
		if n.due != removed && n.rec.Owner == owner && !n.expired(now) {
			recs = append(recs, n.record(n.keyOf()))
		}
		n.shard.mu.RUnlock()
	}
	return recs, nil
}

func (o *ownerShard) list(owner string) []*node {
	o.mu.Lock()
	defer o.mu.Unlock()
	var nodes []*node
	for n := o.heads[owner]; n != nil; n = n.next {
		nodes = append(nodes, n)
	}
	return nodes
}

// link adds n to the index. Its shard is locked.
func (s *Store) link(n *node) {
	owner := n.rec.Owner
	if owner == "" {
		return
	}
	o := s.ownerShard(owner)
	s.owned.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.heads == nil {
		o.heads = make(map[string]*node)
	}
	if head := o.heads[owner]; head != nil {
		// Insert n after the head, so that the map keeps its key string.
		n.prev, n.next = head, head.next
		head.next = n
		if n.next != nil {
			n.next.prev = n
		}
		return
	}
	o.heads[owner] = n
	o.most = max(o.most, len(o.heads))
}

// unlink removes n from the index. Its shard is locked.
func (s *Store) unlink(n *node) {
	owner := n.rec.Owner
	if owner == "" {
		return
	}
	o := s.ownerShard(owner)
	s.owned.Add(-1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if n.next != nil {
		n.next.prev = n.prev
	}
	switch {
	case n.prev != nil:
		n.prev.next = n.next
	case n.next != nil:
		o.heads[owner] = n.next
	default:
		delete(o.heads, owner)
		if len(o.heads) == 0 && o.most > keepRoom {
			o.heads, o.most = nil, 0
		}
	}
	n.next, n.prev = nil, nil
}
