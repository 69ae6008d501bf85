package memstore

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/synmetrix/session/store"
)

// ownerShard is the part of the owner index for the owners that hash to it.
// An owner's nodes form a doubly linked list, so that the index costs a record
// two pointers.
type ownerShard struct {
	mu    sync.Mutex
	heads map[string]*node
	most  int // heads at most since the map was made
	_     [104]byte
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
	// The index says where to look, and only a look under the shard's lock
	// says what is there. A node is linked and unlinked while its shard is
	// locked, so whatever a finished call has done to it shows in both.
	var recs []store.Record
	now := s.now()
	for _, n := range s.ownerShard(owner).list(owner) {
		n.shard.mu.RLock()
		if n.due != removed && n.rec.Owner == owner && !n.expired(now) {
			recs = append(recs, n.rec)
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
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.heads == nil {
		o.heads = make(map[string]*node)
	}
	if head := o.heads[owner]; head != nil {
		// Second place: the head stays, and with it the map's key.
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

// unlink takes n out of the index. Its shard is locked.
func (s *Store) unlink(n *node) {
	owner := n.rec.Owner
	if owner == "" {
		return
	}
	o := s.ownerShard(owner)
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
