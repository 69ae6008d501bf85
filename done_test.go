package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestDone(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return s.Issue("ada"), nil }
		if !isClosed(c.Get().Done()) {
			t.Error("without a session Done is not closed")
		}
		c.Login("ada")
		ctx, disconnect := context.WithCancel(t.Context())
		stream := c.Do(ctx, nil)
		other := c.Get()
		done, again := stream.Done(), stream.Done()
		if done != again {
			t.Error("Done returns another channel each time")
		}
		time.Sleep(10 * testkit.Life)
		if isClosed(done) || isClosed(other.Done()) {
			t.Fatal("closed although the session lives")
		}
		c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
			if err := c.M.Logout(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if !isClosed(done) || !isClosed(other.Done()) {
			t.Error("not closed at once after a logout in this process")
		}
		disconnect()
	})
}

func TestDoneAfterTheRequest(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		c.Login("ada")
		ctx, disconnect := context.WithCancel(t.Context())
		done := c.Do(ctx, nil).Done()
		disconnect()
		synctest.Wait() // the watcher has ended, or the bubble would not end
		if isClosed(done) {
			t.Error("closed by the end of the request")
		}
	})
}

func TestDoneAtTheEndOfTheLifetime(t *testing.T) {
	const lifetime = 3 * 24 * time.Hour // the default takes ten times the processor time
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, _ *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return s.Issue("ada"), nil }
		c.Login("ada")
		ctx, disconnect := context.WithCancel(t.Context())
		defer disconnect()
		// The user sends a request every four hours, so only the lifetime ends the
		// session.
		start := time.Now()
		for time.Since(start) < lifetime-5*time.Hour {
			time.Sleep(4 * time.Hour)
			c.Get()
		}
		done := c.Do(ctx, nil).Done()
		time.Sleep(lifetime - time.Since(start) - time.Millisecond)
		if isClosed(done) {
			t.Error("closed before the end")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !isClosed(done) {
			t.Error("not closed at the end of the lifetime")
		}
	}, func(c *session.Config) { c.Lifetime = lifetime })
}

// EndStreams ends no session: tokens are refreshed until Shutdown.
func TestEndStreams(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return s.Issue("ada"), nil }
		c.Login("ada")
		ctx, disconnect := context.WithCancel(t.Context())
		defer disconnect()
		stream, over := c.Do(ctx, nil), c.Do(ctx, nil)
		done := stream.Done()
		if isClosed(done) {
			t.Fatal("closed although the session lives")
		}
		c.M.EndStreams()
		synctest.Wait()
		if !isClosed(done) {
			t.Error("not closed by EndStreams")
		}
		if !isClosed(over.Done()) {
			t.Error("not closed for a stream that begins after EndStreams")
		}
		c.M.EndStreams()

		time.Sleep(testkit.Life + time.Second)
		if _, err := stream.AccessToken(ctx); err != nil || !e.Has(session.EventSessionRefreshed, "") {
			t.Errorf("a refresh after EndStreams: %v", err)
		}
		if !c.Get().SignedIn() {
			t.Error("EndStreams has ended the session")
		}
	})
}

// Shutdown closes the channels when it begins, and still waits for a refresh.
func TestDoneAtShutdown(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, s *testkit.Service, c *testkit.Visitor, e *testkit.Events) {
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(5 * time.Second)
			return s.Issue("ada"), nil
		}
		c.Login("ada")
		ctx, disconnect := context.WithCancel(t.Context())
		defer disconnect()
		stream := c.Do(ctx, nil)
		done := stream.Done()
		time.Sleep(testkit.Life + time.Second)
		go func() { _, _ = stream.AccessToken(ctx) }()
		synctest.Wait()

		began, stopped := time.Now(), make(chan time.Duration)
		go func() {
			if err := c.M.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			stopped <- time.Since(began)
		}()
		<-done
		if took := time.Since(began); took != 0 {
			t.Errorf("closed %v after the beginning of Shutdown", took)
		}
		if took := <-stopped; took != 5*time.Second || !e.Has(session.EventSessionRefreshed, "") {
			t.Errorf("Shutdown took %v; is the refresh stored: %v", took, e.Has(session.EventSessionRefreshed, ""))
		}
	})
}
