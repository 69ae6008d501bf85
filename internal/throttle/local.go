package throttle

import (
	"sync"
	"time"
)

// local has the counters in the memory of the process.
type local struct {
	max    int
	window time.Duration

	mu       sync.Mutex
	counters map[string][]entry // by key; never empty, the newest entry is the last
}

// A new counter takes the place of old ones: update looks at some counters in random order,
// and removes those that have left the window. So a few old counters remain, but no change
// takes long. A small number of counters need not be cleaned.
const (
	looks       = 4  // for each new counter
	looksIfFull = 64 // if there is no room for another
	small       = 64
)

// update applies change to the entries of a key. change may append to them, and returns nil
// to leave them as they are. If there is no room for the counter, update does not keep the
// result.
func (l *local) update(key string, now time.Time, change func([]entry) []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.counters[key]
	entries := change(old)
	switch {
	case entries == nil:
	case len(entries) == 0:
		delete(l.counters, key)
	case ok || l.roomLocked(now):
		l.counters[key] = entries
	}
}

// roomLocked removes old counters, and reports whether there is room for another.
func (l *local) roomLocked(now time.Time) bool {
	n := len(l.counters)
	if n < min(small, l.max) {
		return true
	}
	looks := looks
	if n >= l.max {
		looks = looksIfFull
	}
	for key, e := range l.counters { // the order is random
		if looks--; looks < 0 {
			break
		}
		if now.Sub(e[len(e)-1].at).Abs() >= l.window {
			delete(l.counters, key)
		}
	}
	return len(l.counters) < l.max
}
