package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
)

// An auth service refuses an unknown address sooner than a wrong password, which
// it has to compare with a hash. The difference would show which accounts exist.
const (
	// leastFloor is how long a refused sign-in takes at least. Synmetrix
	// services need 130 ms to compare a password.
	leastFloor = 300 * time.Millisecond

	// mostFloor bounds how long a refusal is held because the service is slow.
	mostFloor = 8 * leastFloor

	// floorMemory is how long the slowest response counts at least, and half of
	// how long it counts at most.
	floorMemory = time.Hour
)

// floor is how long refused sign-ins take: the same time for every reason, and
// longer than the auth service needs for any. The zero value is ready to use.
type floor struct {
	mu      sync.Mutex
	since   time.Time     // when the current period began
	slowest time.Duration // response of the current period
	before  time.Duration // response of the period before, the slowest
}

// note records how long the service took to judge credentials. Its failures
// are not recorded: they do not depend on the account.
func (f *floor) note(began time.Time, err error) {
	if err != nil && !errors.Is(err, auth.ErrRefused) && !errors.Is(err, auth.ErrSecondFactor) {
		return
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	f.slowest = max(f.slowest, now.Sub(began))
}

// turn begins a new period if the current one is over.
func (f *floor) turn(now time.Time) {
	periods := now.Sub(f.since) / floorMemory
	if periods < 1 {
		return
	}
	f.before = f.slowest
	if periods > 1 {
		f.before = 0
	}
	f.since, f.slowest = now, 0
}

// height returns how long a refusal takes now. It grows in large steps and with
// a margin: a floor that followed each response would show which was slow.
func (f *floor) height() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(time.Now())
	slowest := max(f.slowest, f.before)
	height := leastFloor
	for height < mostFloor && height < slowest+slowest/4 {
		height *= 2
	}
	return height
}

// hold waits until a refused sign-in may be reported. began is when it began.
// hold returns at once if err is not a refusal, and early if one of the contexts
// ends.
func (f *floor) hold(ctx, request context.Context, began time.Time, err error) {
	if !errors.Is(err, auth.ErrRefused) {
		return
	}
	t := time.NewTimer(time.Until(began.Add(f.height())))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-request.Done():
	}
}
