package session

import "time"

// TimeLeft returns how long the session lasts, by this program's clock: unused, if the
// user does not come back, and atMost, however active the user is. Unused is the time until
// ExpiresAt, and is never longer than atMost. A page that warns its user can therefore tell
// whether a request would keep the session. Both are 0 if no user is signed in.
//
// With a bearer token both are the time until the token's expiry.
//
// Use is recorded about once per tenth of the idle timeout, so unused may be shorter than
// the idle timeout right after a request.
func (s *Session) TimeLeft() (unused, atMost time.Duration) {
	rec := s.user()
	if rec == nil {
		return 0, 0
	}
	now := s.m.now()
	if s.bearer {
		left := max(rec.Pair.Expires.Sub(now), 0)
		return left, left
	}
	return max(s.m.keeper.EndOf(rec).Sub(now), 0), max(s.m.keeper.LifetimeEnd(rec).Sub(now), 0)
}
