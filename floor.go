package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
)

// An auth service rejects an unknown address faster than a wrong password, because
// it has no hash to compare with the password. The difference would show which
// accounts exist.
const (
	// minFloor is the least duration of a refused sign-in. Synmetrix services need
	// 130 ms to compare a password.
	minFloor = 300 * time.Millisecond

	// maxFloor bounds the duration of a refused sign-in if the service is slow.
	maxFloor = 8 * minFloor

	// floorPeriod is how long the slowest response is remembered: to the end of the period
	// after its own.
	floorPeriod = time.Hour
)

// floor makes all refused sign-ins take the same time, which is longer than the auth
// service needs for any refusal. The zero value is ready to use.
type floor struct {
	mu       sync.Mutex
	began    time.Time     // start of the current period
	slowest  time.Duration // slowest response of the current period
	previous time.Duration // slowest response of the previous period
}

// note records how long the service took to check credentials, from start until
// now. Failures of the service are not recorded, because they do not depend on the
// account.
func (f *floor) note(start time.Time, err error) {
	if err != nil && !errors.Is(err, auth.ErrRefused) && !errors.Is(err, auth.ErrSecondFactor) {
		return
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(now)
	f.slowest = max(f.slowest, now.Sub(start))
}

// advance starts a new period if the current one has ended.
func (f *floor) advance(now time.Time) {
	periods := now.Sub(f.began) / floorPeriod
	if periods < 1 {
		return
	}
	f.previous = f.slowest
	if periods > 1 {
		f.previous = 0
	}
	f.began, f.slowest = now, 0
}

// duration returns how long a refused sign-in takes. The result grows in large
// steps and with a margin: if it followed each response, it would show which
// responses were slow.
func (f *floor) duration() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(time.Now())
	slowest := max(f.slowest, f.previous)
	d := minFloor
	for d < maxFloor && d < slowest+slowest/4 {
		d *= 2
	}
	return d
}

// hold waits until the refusal of a sign-in that began at start may be sent. It returns at
// once if err is not a refusal, and early if one of the contexts ends.
func (f *floor) hold(ctx, request context.Context, start time.Time, err error) {
	if errors.Is(err, auth.ErrRefused) {
		f.wait(ctx, request, start)
	}
}

// wait waits as hold does, whatever the result is.
func (f *floor) wait(ctx, request context.Context, start time.Time) {
	t := time.NewTimer(time.Until(start.Add(f.duration())))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-request.Done():
	}
}
