package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// A rate limit stops refreshes for at most 15 minutes, and any other failure
// for at most a minute, even if the service specifies more.
func TestLongestPauses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		want  time.Duration
		exact bool
	}{
		{"rate limit", &auth.Error{RetryAfter: 2 * time.Hour, Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)}, 15 * time.Minute, true},
		{"short rate limit", &auth.Error{RetryAfter: 3 * time.Minute, Err: errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)}, 3 * time.Minute, true},
		{"rate limit without an end", errors.Join(auth.ErrRateLimited, auth.ErrUnavailable), 10 * time.Second, true},
		{"outage", &auth.Error{RetryAfter: 2 * time.Hour, Err: auth.ErrUnavailable}, time.Minute, true},
		{"outage without an end", auth.ErrUnavailable, 250 * time.Millisecond, false},
		{"an error of no kind", errors.New("broken"), 250 * time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
				a := newApp(t, kind)
				b := a.signedIn()
				a.auth.fail(tt.err)
				a.clock.Advance(a.auth.life)
				unavailable := func(sent int) time.Duration {
					t.Helper()
					var wait time.Duration
					b.visit(func(_ context.Context, s *session.Session) {
						t.Helper()
						var down *session.UnavailableError
						if !errors.As(s.Authorize(nil), &down) || !errors.Is(s.Err(), session.ErrSessionUnavailable) {
							t.Fatalf("authorized: %v (%v)", s.Authorize(nil), s.Err())
						}
						wait = down.RetryAfter
					})
					if n := a.auth.refreshes(); n != sent {
						t.Errorf("%d refreshes, want %d", n, sent)
					}
					return wait
				}
				unavailable(1)
				early := tt.want - time.Millisecond
				if !tt.exact {
					early = tt.want * 3 / 4
				}
				a.clock.Advance(early - time.Millisecond)
				if wait := unavailable(1); wait > tt.want/2+time.Millisecond || wait <= 0 {
					t.Errorf("RetryAfter: %v", wait)
				}
				a.clock.Advance(tt.want*5/4 - early + 2*time.Millisecond)
				unavailable(2)
				a.auth.fail(nil)
				a.clock.Advance(2 * tt.want * 5 / 4)
				b.is(true)
			})
		})
	}
}
