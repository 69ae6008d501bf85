package keeper

import (
	"context"
	"errors"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

const (
	// pollMin and pollMax are the shortest and the longest pause between reads
	// of a record that another process is about to change.
	pollMin = 20 * time.Millisecond
	pollMax = 250 * time.Millisecond

	// pollOften is the longest pause while another process refreshes the session, for
	// oftenFor: nearly all calls of the service have ended by then, and requests wait.
	pollOften = 32 * time.Millisecond
	oftenFor  = 5 * time.Second
)

// Due reports whether the access token of r is due for refresh, and whether it
// is still valid.
func (k *Keeper) Due(r *Record, now time.Time) (due, valid bool) {
	left, life := r.Pair.Expires.Sub(now), r.Pair.Life
	valid = left > 0
	// The share spreads the refreshes of sessions that began together. It depends
	// on the ID, so that it is the same in every process.
	share := 0.8 + 0.2*float64(r.ID[0])/255
	if age := time.Duration(share * float64(k.cfg.MaxTokenAge)); age > 0 && age < life {
		left, life = left-(life-age), age
	}
	return left <= pacing.Before(k.cfg.RefreshBefore, life, share) || k.rolesChanged(r), valid
}

// holdOff returns how long the session's next refresh has to wait until the pause in the
// record has ended and the gate is open.
func (k *Keeper) holdOff(r *Record, now time.Time) time.Duration {
	return max(pauseLeft(r.retryAt, now, pacing.MaxRetryAfter), k.gate.closedFor(now))
}

// pauseLeft returns how long a pause lasts that ends at end and lasts for longest at most.
func pauseLeft(end, now time.Time, longest time.Duration) time.Duration {
	left := end.Sub(now)
	if left > longest+clockSlack {
		// The clock that set the end was wrong: that of another process, or this
		// process's before it was set back. The real end is unknown, so the pause counts
		// as over.
		return 0
	}
	return max(min(left, longest), 0)
}

// backoff returns the pause after a number of failures in a row, the last of
// which was cause.
func (k *Keeper) backoff(failures int, cause error) time.Duration {
	// The spread keeps the sessions that failed in one outage from retrying at the same
	// moment.
	wait := pacing.Spread(pacing.Pause(failures), 0.75, 1.25)
	return max(wait, retryAfter(cause, pacing.MaxRetryAfter))
}

// retryAfter returns the pause that the service requests by the error err, up to longest,
// or 0 if it requests none.
func retryAfter(err error, longest time.Duration) time.Duration {
	if ae := (*auth.Error)(nil); errors.As(err, &ae) {
		return min(max(ae.RetryAfter, 0), longest)
	}
	return 0
}

// pause sleeps for about d, and doubles d for the next call. The jitter keeps
// processes that poll the same record apart.
func (k *Keeper) pause(ctx context.Context, d *time.Duration) {
	_ = sleep(ctx, pacing.Spread(*d, 0.5, 1.5))
	*d = min(2**d, pollMax)
}

// sleep sleeps for d. If ctx is done before that, it returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitFor waits until done is closed, for patience at most.
func waitFor(done <-chan struct{}, patience time.Duration) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
