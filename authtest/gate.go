package authtest

import "sync"

// Gate holds requests until a test lets them pass; see [Fault]. The zero value is
// closed. Several faults can share a gate. All methods are safe for concurrent use.
type Gate struct {
	mu       sync.Mutex
	open     bool
	arrived  int
	waiting  []chan struct{} // in the order of arrival
	watchers map[int]chan struct{}
}

// Arrived returns a channel that is closed once n requests have arrived at the gate,
// counted from the first.
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

// Step lets the request pass that has waited longest. It does nothing if no request
// waits.
func (g *Gate) Step() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}

// Open lets all requests pass, including later ones.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, ch := range g.waiting {
		close(ch)
	}
	g.waiting = nil
}

// pass waits until the gate lets the request pass, and returns true. It returns
// false if done is closed first. A nil gate is open.
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
