// Package pacing determines when tokens are due for refresh and how long to wait after
// a failed refresh. The keeper of sessions and synmetrix.TokenSource follow the same
// rules.
package pacing

import (
	"math/rand/v2"
	"time"
)

// The pause after a failure grows from Min to Max.
const (
	Min = 250 * time.Millisecond
	Max = 10 * time.Second
)

// MaxRetryAfter is the longest Retry-After to honor. A service that responds with a
// longer one by mistake must not stop refreshes for that long.
const MaxRetryAfter = time.Minute

// Pause returns how long to wait after the given number of failures in a row: Min after
// the first, then twice as long each time, up to Max.
func Pause(failures int) time.Duration {
	if shift := max(failures-1, 0); shift < 6 {
		return min(Min<<shift, Max)
	}
	return Max
}

// Spread returns a random duration between low*d and high*d. It keeps callers that fail
// together from retrying together.
func Spread(d time.Duration, low, high float64) time.Duration {
	return time.Duration((low + (high-low)*rand.Float64()) * float64(d))
}

// Life returns for how long an access token is valid after it was received. Its dates
// are by the clock of the service, which may be wrong, so only their difference is used.
// A token without an iat expires when the local clock reaches exp.
func Life(iat, exp, received time.Time) time.Duration {
	if iat.IsZero() {
		return exp.Sub(received)
	}
	return exp.Sub(iat)
}

// Before returns how long before its expiry an access token is due for refresh. It is
// configured, or, if that is zero or less, the given share of the default: a tenth of
// the token's life, at most a minute. A token is never due in the first half of its
// life.
func Before(configured, life time.Duration, share float64) time.Duration {
	if configured <= 0 {
		configured = time.Duration(share * float64(min(life/10, time.Minute)))
	}
	return min(configured, life/2)
}
