package keeper

import "sync"

// endings wakes those in this process that wait for the end of a session.
// Its zero value is ready to use.
type endings struct {
	mu    sync.Mutex
	waits map[string]*ending // by the key of the record
}

type ending struct {
	n     int // how many wait
	ended chan struct{}
}

func (e *endings) wait(key string) (ended <-chan struct{}, stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.waits[key]
	if w == nil {
		w = &ending{ended: make(chan struct{})}
		if e.waits == nil {
			e.waits = map[string]*ending{}
		}
		e.waits[key] = w
	}
	w.n++
	return w.ended, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if w.n--; w.n == 0 && e.waits[key] == w {
			delete(e.waits, key)
		}
	}
}

func (e *endings) announce(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.waits[key]; w != nil {
		close(w.ended)
		delete(e.waits, key)
	}
}
