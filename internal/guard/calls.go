package guard

import (
	"context"
	"log/slog"
	"time"
)

// Calls are the hooks around calls of the auth service and the store. Both may be nil.
type Calls struct {
	// Before is called before a call, and returns the context for it.
	Before func(ctx context.Context, name string) context.Context

	// After is called when a call has returned, with the context that Before has returned.
	After func(ctx context.Context, name string, d time.Duration, err error)
}

// Any reports whether there is a hook.
func (c Calls) Any() bool { return c.Before != nil || c.After != nil }

// Start returns the current time for Done, if calls are reported.
func (c Calls) Start() time.Time {
	if c.After == nil {
		return time.Time{}
	}
	return time.Now()
}

// begin returns the context for a call, and when it began. Without hooks it costs nothing.
func (c Calls) begin(ctx context.Context, log *slog.Logger, name string) (context.Context, time.Time) {
	if c.Before != nil {
		ctx = c.before(ctx, log, name)
	}
	return ctx, c.Start()
}

// before is a separate function, because its closure moves ctx to the heap.
func (c Calls) before(ctx context.Context, log *slog.Logger, name string) context.Context {
	own := ctx
	Call(log, "Config.BeforeCall", func() { own = c.Before(ctx, name) })
	if own == nil {
		return ctx
	}
	return own
}

// Done reports a call that began at start.
func (c Calls) Done(ctx context.Context, log *slog.Logger, name string, start time.Time, err error) {
	if c.After != nil {
		d := time.Since(start)
		Call(log, "Config.OnCall", func() { c.After(ctx, name, d, err) })
	}
}
