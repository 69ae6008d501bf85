package authtest

import "sync"

// Gate stops requests until a test lets them pass; see [Fault]. The zero value
// is closed. One gate can stand in several faults. All methods are safe for
// concurrent use.
type Gate struct {
	mu       sync.Mutex
	open     bool
	arrived  int
	waiting  []chan struct{} // in the order of arrival
	watchers map[int]chan struct{}
}

// Arrived returns a channel that is closed when n requests in all have come to
// the gate.
func (g *Gate) Arrived(n int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ch, ok := g.watchers[n]; ok {
		return ch
	}
	ch := make(chan struct{})
	if g.arrived >= n {
		close(ch)
		return ch
	}
	if g.watchers == nil {
		g.watchers = make(map[int]chan struct{})
	}
	g.watchers[n] = ch
	return ch
}

// Step lets the request pass that has waited longest. It does nothing if none
// waits.
func (g *Gate) Step() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}

// Open lets all requests pass, those that are still to come too.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, ch := range g.waiting {
		close(ch)
	}
	g.waiting = nil
}

// pass waits at the gate and reports whether it was opened before done. A nil
// gate is none.
func (g *Gate) pass(done <-chan struct{}) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	g.arrived++
	if ch, ok := g.watchers[g.arrived]; ok {
		close(ch)
		delete(g.watchers, g.arrived)
	}
	if g.open {
		g.mu.Unlock()
		return true
	}
	ch := make(chan struct{})
	g.waiting = append(g.waiting, ch)
	g.mu.Unlock()
	select {
	case <-ch:
		return true
	case <-done:
		return false
	}
}
