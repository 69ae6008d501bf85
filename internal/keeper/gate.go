package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

const (
	// maxFlights limits how many refreshes of all sessions wait for the service
	// at one time (rule 2).
	maxFlights = 64

	// rateLimitMax is the longest rate limit of the service that is obeyed.
	rateLimitMax = 15 * time.Minute
)

// gate limits the calls of this process to the auth service. A call needs a slot.
//
// After a 429 response the gate closes for all sessions until the service's rate
// limit resets. Then it opens for one call, the probe. The response to the probe
// opens the gate for all calls, or closes it again (rule 9). Without the probe all
// waiting sessions would call at once and hit the limit again.
type gate struct {
	slots chan struct{}

	mu      sync.Mutex
	limited bool      // the gate is closed, because a response was a 429
	until   time.Time // when the service's rate limit resets
	probing bool      // a probe is under way
}

// newGate returns an open gate.
func newGate() *gate { return &gate{slots: make(chan struct{}, maxFlights)} }

// closedFor returns how much longer the gate is closed.
func (g *gate) closedFor(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closedForLocked(now)
}

// closedForLocked is closedFor for a caller that holds g.mu.
func (g *gate) closedForLocked(now time.Time) time.Duration {
	if !g.limited {
		return 0
	}
	return pauseLeft(g.until, now, rateLimitMax)
}

// enter waits up to patience for a slot. The caller may then make its call, and
// calls leave with the error of the call, or with errNotSent. If enter returns an
// error, the caller must not call the service.
//
// op names the call in the error.
func (g *gate) enter(ctx context.Context, op string, patience time.Duration, now func() time.Time) (leave func(error), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case g.slots <- struct{}{}:
	case <-t.C:
		return nil, fmt.Errorf("%w: %d calls wait for a response", auth.ErrUnavailable, maxFlights)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", auth.ErrUnavailable, ctx.Err())
	}
	at := now() // before the lock: the app's clock may be slow
	g.mu.Lock()
	defer g.mu.Unlock()
	// The gate may have closed while the caller waited for the slot.
	wait := g.closedForLocked(at)
	if wait == 0 && g.probing {
		wait = time.Second // another call is the probe; its response is expected soon
	}
	if wait > 0 {
		<-g.slots
		return nil, &auth.Error{Op: op, RetryAfter: wait, Err: rateLimited}
	}
	probe := g.limited
	g.probing = probe
	// leave must know whether this call is the probe: calls that were on the wire when
	// the limit was hit may return after the probe has begun.
	return func(err error) { g.leave(err, probe, now()) }, nil
}

// rateLimited is wrapped by the error of enter while the gate is closed.
var rateLimited = errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)

// errNotSent is passed to leave if the caller has not called the service.
var errNotSent = errors.New("not sent")

// leave frees the slot and notes the outcome of the call.
func (g *gate) leave(err error, probe bool, now time.Time) {
	<-g.slots
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		// A probe that was not sent has no result, so the next call is the probe.
		g.probing, g.limited = false, errors.Is(err, errNotSent)
	}
	g.noteLocked(err, now)
}

// note closes the gate if err is a rate limit. It is also called for calls that do not pass
// through the gate, such as logins, because they count against the same limit.
func (g *gate) note(err error, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(err, now)
}

// noteLocked is note for a caller that holds g.mu. Other results do not open the gate: only
// a probe does.
func (g *gate) noteLocked(err error, now time.Time) {
	if errors.Is(err, auth.ErrRateLimited) {
		g.limited, g.until = true, now.Add(cmp.Or(retryAfter(err, rateLimitMax), pacing.Max))
	}
}
