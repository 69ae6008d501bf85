package keeper

import (
	"context"
	"sync"
	"time"
)

// limited is a context with a time limit. Its timer starts when a call first waits for Done,
// so that reads from the memory of a store's client do not pay for a timer.
type limited struct {
	context.Context // the parent
	start, deadline time.Time

	mu     sync.Mutex
	timer  context.Context // with the deadline; nil: Done was not called yet
	cancel context.CancelFunc
	ended  bool
}

// limit returns a context that is done after d from start, at the end of parent, or after
// end was called.
func limit(parent context.Context, start time.Time, d time.Duration) *limited {
	deadline := start.Add(d)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	return &limited{Context: parent, start: start, deadline: deadline}
}

// end ends the context. The call for which it was made has returned.
func (c *limited) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *limited) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *limited) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		c.timer, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.ended {
			c.cancel()
		}
	}
	return c.timer.Done()
}

func (c *limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		return c.timer.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.ended {
		return context.Canceled
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value returns values of the timer's context, too: package context then attaches the
// contexts made from this one to the timer's, without a goroutine for each.
func (c *limited) Value(key any) any {
	c.mu.Lock()
	timer := c.timer
	c.mu.Unlock()
	if timer != nil {
		return timer.Value(key)
	}
	return c.Context.Value(key)
}
