package memstore

import (
	"runtime"
	"time"
	"weak"
)

const (
	// purgePerPut is the maximum number of expired records that a Put removes. As
	// this is more than one for each new record, expired records cannot pile up
	// between sweeps.
	purgePerPut = 2

	// purgeBatch is the number of records that a sweep removes while it holds a
	// lock, for some tens of microseconds.
	purgeBatch = 32

	// sweepEvery is the time between sweeps of a store that holds records. A sweep is cheap
	// if no record has expired: it only reads the first node of each heap.
	sweepEvery = 10 * time.Second
)

// wake starts the timer for the next sweep, unless it is running. There is a
// goroutine only during a sweep. A store without records has no timer.
func (s *Store) wake() {
	if s.awake.Load() || !s.awake.CompareAndSwap(false, true) {
		return
	}
	// The weak pointer lets the store be collected while the timer runs.
	p := weak.Make(s)
	time.AfterFunc(sweepEvery, func() {
		if s := p.Value(); s != nil {
			s.sweep()
		}
	})
}

// sweep removes all records that have expired.
func (s *Store) sweep() {
	for i := range s.shards {
		for {
			large, small := s.purgeShard(&s.shards[i], purgeBatch)
			if large+small < purgeBatch {
				break
			}
			// Goroutines that wait for this shard get the lock between two
			// batches. This call lets others run that wait for a processor.
			runtime.Gosched()
		}
	}
	// The order matters for a record that is inserted at the same time: either Len counts
	// it, or its Put sees awake == false and starts the timer.
	s.awake.Store(false)
	if s.Len() > 0 {
		s.wake()
	}
}

// purgeAny removes some expired records from any shard. It reports whether this made
// room for a record that counts towards MaxRecords.
func (s *Store) purgeAny() bool {
	for i := range s.shards {
		if large, _ := s.purgeShard(&s.shards[i], purgeBatch); large > 0 {
			return true
		}
	}
	return false
}

// purgeShard removes at most limit expired records of sh and returns how many
// large ones and how many small ones it removed.
func (s *Store) purgeShard(sh *shard, limit int) (large, small int) {
	now := s.now()
	sh.mu.RLock()
	found := sh.due.expired(now) || sh.smalls.expired(now)
	sh.mu.RUnlock()
	if !found {
		return 0, 0 // without a lock that would block readers
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.purge(sh, now, limit)
}

// purge is like purgeShard. sh is locked.
func (s *Store) purge(sh *shard, now time.Time, limit int) (large, small int) {
	for large < limit && sh.due.expired(now) {
		s.remove(sh.due[0].node)
		large++
	}
	for large+small < limit && sh.smalls.expired(now) {
		s.removeSmall(sh, sh.smalls.due[0])
		small++
	}
	return large, small
}

// dueHeap is a binary min-heap of a shard's nodes, ordered by expiry. It holds the
// times itself, so that a comparison does not access the nodes.
type dueHeap []dueNode

type dueNode struct {
	// at is a time when the node has certainly expired: its ExpiresAt in Unix
	// milliseconds, rounded up.
	at   int64
	node *node
}

func dueAt(n *node) int64 { return n.rec.ExpiresAt.UnixMilli() + 1 }

// expired reports whether the first node has expired.
func (h dueHeap) expired(now time.Time) bool { return len(h) > 0 && now.UnixMilli() >= h[0].at }

func (h *dueHeap) push(n *node) {
	n.due = len(*h)
	*h = append(*h, dueNode{dueAt(n), n})
	h.up(n.due)
}

// fix restores the order after the ExpiresAt of n has changed.
func (h dueHeap) fix(n *node) {
	h[n.due].at = dueAt(n)
	h.down(n.due)
	h.up(n.due)
}

func (h *dueHeap) remove(n *node) {
	old := *h
	i, last := n.due, len(old)-1
	moved := old[last]
	old[last] = dueNode{} // for the garbage collector
	*h = old[:last]
	n.due = removed
	if i == last {
		return
	}
	h.set(i, moved)
	h.down(i)
	h.up(moved.node.due)
}

func (h dueHeap) set(i int, d dueNode) {
	h[i] = d
	d.node.due = i
}

func (h dueHeap) up(i int) {
	d := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].at <= d.at {
			break
		}
		h.set(i, h[parent])
		i = parent
	}
	h.set(i, d)
}

func (h dueHeap) down(i int) {
	d := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if right := child + 1; right < len(h) && h[right].at < h[child].at {
			child = right
		}
		if d.at <= h[child].at {
			break
		}
		h.set(i, h[child])
		i = child
	}
	h.set(i, d)
}
