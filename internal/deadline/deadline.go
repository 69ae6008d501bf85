// Package deadline has contexts with a time limit that cost little if no call waits for
// their end.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Context is a context with a time limit. Its timer starts when a call first waits for Done,
// so that a call that returns from memory does not pay for a timer.
type Context struct {
	context.Context // the parent
	start, deadline time.Time

	mu     sync.Mutex
	timer  context.Context // with the deadline; nil: Done was not called yet
	cancel context.CancelFunc
	ended  bool
}

// New returns a context that is done after d, at the end of parent, or after End was called.
// The caller must call End.
func New(parent context.Context, d time.Duration) *Context {
	start := time.Now()
	deadline := start.Add(d)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	return &Context{Context: parent, start: start, deadline: deadline}
}

// String returns the name of the type. It reads no fields, which change while calls wait.
func (c *Context) String() string { return "deadline.Context" }

// Start returns the time of New.
func (c *Context) Start() time.Time { return c.start }

// End ends the context. The call for which it was made has returned.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline implements [context.Context].
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
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

// Err implements [context.Context].
func (c *Context) Err() error {
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
func (c *Context) Value(key any) any {
	c.mu.Lock()
	timer := c.timer
	c.mu.Unlock()
	if timer != nil {
		return timer.Value(key)
	}
	return c.Context.Value(key)
}
