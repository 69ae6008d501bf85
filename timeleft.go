package session

import "time"

// TimeLeft returns how long the session lasts, by this program's clock. Unused is the time
// until ExpiresAt, when the session ends if the user sends no further request. AtMost is
// the time until the end of its lifetime, and is never shorter than unused. If unused is
// shorter, a request extends the session: a page can show this to its user. Both are 0 if
// no user is signed in.
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

// ExpiresAt returns when the session ends if the user sends no further request: the earlier
// of its idle timeout and the end of its lifetime. For a bearer token it returns the
// token's expiry. It returns the zero time if no user is signed in.
func (s *Session) ExpiresAt() time.Time {
	rec := s.user()
	if rec == nil {
		return time.Time{}
	}
	if s.bearer {
		return rec.Pair.Expires
	}
	return s.m.keeper.EndOf(rec)
}
