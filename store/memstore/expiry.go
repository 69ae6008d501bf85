package memstore

import (
	"runtime"
	"time"
	"weak"
)

const (
	// purgePerPut is how many expired records a Put may remove besides its
	// own work. With two for each new one, writing alone keeps the store from
	// growing.
	purgePerPut = 2

	// purgeBatch is how many the sweep removes under one hold of a lock. It
	// takes some tens of microseconds.
	purgeBatch = 32

	// sweepEvery is the time between sweeps of a store that holds records. A
	// sweep that finds nothing looks at the head of each shard's heap.
	sweepEvery = 10 * time.Second
)

// wake sets a timer for the next sweep, unless there is one. A goroutine
// exists only while a sweep runs, and a store without records has no timer.
func (s *Store) wake() {
	if s.awake.Load() || !s.awake.CompareAndSwap(false, true) {
		return
	}
	// The timer does not keep the store from being collected.
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
			// Whoever waits for this shard got the lock in between. Whoever
			// waits for a processor gets it now.
			runtime.Gosched()
		}
	}
	// In this order: a record inserted meanwhile is seen here, or its Put
	// sees that nobody is awake.
	s.awake.Store(false)
	if s.Len() > 0 {
		s.wake()
	}
}

// purgeAny removes a few expired records, wherever they are. It reports
// whether that made room for a record that counts.
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
		return 0, 0 // without getting in the readers' way
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.purge(sh, now, limit)
}

// purge is purgeShard for a shard that is locked.
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

// dueHeap is a binary min-heap of a shard's nodes by the time that they
// expire. It holds the times itself: to compare two of them touches no node.
type dueHeap []dueNode

type dueNode struct {
	// at is when the node has expired for certain, in Unix milliseconds: its
	// ExpiresAt, rounded up.
	at   int64
	node *node
}

func dueAt(n *node) int64 { return n.rec.ExpiresAt.UnixMilli() + 1 }

// expired reports whether the first node has.
func (h dueHeap) expired(now time.Time) bool { return len(h) > 0 && now.UnixMilli() >= h[0].at }

func (h *dueHeap) push(n *node) {
	n.due = len(*h)
	*h = append(*h, dueNode{dueAt(n), n})
	h.up(n.due)
}

// fix moves n to where its new ExpiresAt belongs.
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
