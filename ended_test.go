package session_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// A session that turns out to be over while a request is at work is over for
// the rest of it, and its answer takes the cookies away.
func TestSessionEndsWithinARequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		b.visit(func(ctx context.Context, s *session.Session) {
			if !s.SignedIn() {
				t.Error("not signed in at first")
			}
			a.clock.Advance(a.auth.life)
			a.auth.fail(auth.ErrRefused)
			for range 2 {
				if _, err := s.AccessToken(ctx); err == nil || errors.Is(err, session.ErrSessionUnavailable) {
					t.Errorf("access token: %v", err)
				}
			}
			if err := favorite.Set(s, "dark"); !errors.Is(err, session.ErrNoSession) {
				t.Errorf("set: %v, want ErrNoSession", err)
			}
			called := func(*session.Session) bool { t.Error("a policy is asked about nobody"); return true }
			if err := s.Authorize(called); !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("authorized: %v", err)
			}
		})
		if b.header() != "" {
			t.Errorf("cookies %q after the end", b.names)
		}
		if n := a.log.count(session.EventSessionEnded, "reason=refresh_refused"); n != 1 {
			t.Errorf("%d sessions have ended, want 1", n)
		}
	})
}

// The same, where it is the policy of a guard that finds out.
func TestSessionEndsWithinAPolicy(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	b.visit(func(ctx context.Context, s *session.Session) {
		err := s.Authorize(func(s *session.Session) bool {
			a.clock.Advance(a.auth.life)
			a.auth.fail(auth.ErrRefused)
			_, err := s.AccessToken(ctx)
			return err == nil
		})
		if !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("authorized: %v, want ErrUnauthenticated", err)
		}
	})
}

// To log a session asks nobody, however old its token is.
func TestLoggingASessionAsksNobody(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		a.clock.Advance(a.auth.life)
		b.visit(func(_ context.Context, s *session.Session) {
			slog.New(slog.NewTextHandler(a.log, nil)).Info("at work", "session", s)
		})
		if a.auth.refreshes() != 0 || a.log.count("at work", "session.signed_in=true", "session.user_id=u1") != 1 {
			t.Errorf("%d refreshes; logged: %q", a.auth.refreshes(), a.log.lines)
		}
	})
}
