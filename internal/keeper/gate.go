package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// gate stands before every refresh of the process. It bounds how many are on
// the wire, and closes for all sessions when the service limits the rate of
// this client: until the service's own reset, and then for all but one, whose
// answer opens or closes it again.
type gate struct {
	slots chan struct{}

	mu      sync.Mutex
	limited bool      // the last answer that counts was a 429
	until   time.Time // when the limit is said to end
	probing bool
}

func newGate() *gate { return &gate{slots: make(chan struct{}, maxFlights)} }

// closedFor is how long the gate will stay closed.
func (g *gate) closedFor(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.limited {
		return 0
	}
	// A clock that was set back holds nobody off for longer than a limit may last.
	return max(min(g.until.Sub(now), rateLimitMax), 0)
}

// enter waits for a slot, patiently, and returns what to call with the
// refresh's error. Its own error means that nothing may be sent.
func (g *gate) enter(ctx context.Context, patience time.Duration, now func() time.Time) (leave func(error), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case g.slots <- struct{}{}:
	case <-t.C:
		return nil, fmt.Errorf("%w: %d refreshes are waiting for it", auth.ErrUnavailable, maxFlights)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", auth.ErrUnavailable, ctx.Err())
	}
	if wait := g.closedFor(now()); wait > 0 {
		<-g.slots
		return nil, &auth.Error{Op: "refresh", RetryAfter: wait, Err: rateLimited}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	probe := g.limited
	if probe && g.probing {
		<-g.slots
		return nil, &auth.Error{Op: "refresh", RetryAfter: time.Second, Err: rateLimited}
	}
	if probe {
		g.probing = true
	}
	return func(err error) { g.leave(err, probe, now()) }, nil
}

var rateLimited = errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)

// errNotSent is for leave: the service has not been asked.
var errNotSent = errors.New("not sent")

func (g *gate) leave(err error, probe bool, now time.Time) {
	<-g.slots
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		g.probing, g.limited = false, errors.Is(err, errNotSent)
	}
	g.noteLocked(err, now)
}

// note closes the gate if a call of another kind has hit the limit: it counts
// them all.
func (g *gate) note(err error, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(err, now)
}

func (g *gate) noteLocked(err error, now time.Time) {
	if errors.Is(err, auth.ErrRateLimited) {
		wait := pacing.Max
		if ae := (*auth.Error)(nil); errors.As(err, &ae) && ae.RetryAfter > 0 {
			wait = min(ae.RetryAfter, rateLimitMax)
		}
		g.limited, g.until = true, now.Add(wait)
	}
}
