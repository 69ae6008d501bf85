package memstore_test

import (
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/storetest"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2024, 2, 29, 12, 0, 0, 7, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// movable is a store with a clock that storetest can move.
type movable struct {
	store.Store
	*clock
}

var _ storetest.Clock = movable{}

func TestStore(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store {
		c := newClock()
		return movable{&memstore.Store{Now: c.Now}, c}
	})
}
