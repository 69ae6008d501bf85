package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// An outage of the auth service that lasts longer than the idle timeout signs out no user who
// tries again. Passive requests do not count.
func TestOutageLongerThanIdleTimeout(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for name, tries := range map[string]func(ctx context.Context){
			"tries":   func(context.Context) {},
			"passive": session.MarkPassive,
			"none":    nil,
		} {
			a := newApp(t, kind, func(c *session.Config) { c.IdleTimeout = 30 * time.Minute })
			a.auth.life = 15 * time.Minute
			b := a.signedIn().set(favorite, "dark")
			a.auth.fail(&auth.Error{Op: "refresh", Err: auth.ErrUnavailable})
			for range 12 {
				a.clock.Advance(5 * time.Minute)
				if tries == nil {
					continue
				}
				b.visit(func(ctx context.Context, s *session.Session) {
					tries(ctx)
					if s.SignedIn() && s.Err() != nil {
						t.Error(s.Err())
					}
				})
				for _, line := range b.last["Set-Cookie"] {
					if name == "tries" && strings.Contains(line, "Max-Age=0") {
						t.Errorf("during the outage: %s", line)
					}
				}
			}
			a.auth.fail(nil)
			a.clock.Advance(time.Minute)
			if b.is(name == "tries"); name == "tries" {
				b.has(favorite, "dark")
			}
		}
	})
}
