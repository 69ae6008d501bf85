package refresh_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// A browser sends a hundred requests with a token that has expired or expires soon:
// together, or spread over two seconds around the refresh. There are one refresh and a
// hundred responses, each of an API that was called with a valid token. A second wave
// with the old cookies is served in the same way, and each of its responses has the new
// cookies.
func TestManyRequestsOneRefresh(t *testing.T) {
	const requests = 100
	testkit.Severally(t, scale.Of(16, 24, 1000), 12, func(t *testing.T, i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		k, expired, spread := kinds[i%2], i/2%2 == 0, i/4%2 == 0
		user := userID(1)
		s := newSite(t, k, []string{user}, func(c *setup) {
			if i/8%2 == 1 {
				c.RefreshBefore = accessLife / 4
			}
		})
		old, oldToken := s.signIn(user)

		// The refresh is held until the requests of the run have arrived, or for a part
		// of the time over which they are spread.
		var gate authtest.Gate
		s.auth.Inject(authtest.Refresh, authtest.Fault{After: &gate})
		var atDoor, responded sync.WaitGroup
		hold := func() {
			<-gate.Arrived(1)
			switch {
			case spread:
				time.Sleep(time.Duration(rng.Int64N(int64(1500 * time.Millisecond))))
			case expired:
				atDoor.Wait()
			case rng.IntN(2) == 0:
				responded.Wait() // all except the request that waits for the refresh
			}
			gate.Open()
		}

		if expired {
			s.clock.advance(intoExpiry)
		} else {
			s.clock.advance(intoWindow)
		}
		renewed := s.journal.next(session.EventSessionRefreshed)
		delays := make([]time.Duration, requests)
		if spread {
			for i := range delays {
				delays[i] = time.Duration(rng.Int64N(int64(2 * time.Second)))
			}
		}
		atDoor.Add(requests)
		responded.Add(requests - 1)
		var mu sync.Mutex
		left := requests
		wave := s.wave(old, delays, atDoor.Done, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left > 0 {
				responded.Done()
			}
		})
		go hold()
		first := wave()
		s.await("the refresh ends", renewed)
		s.refreshed(1)

		newToken := s.served(s.get("/upstream", old), user)
		if newToken == oldToken {
			t.Fatal("the token was not refreshed")
		}
		for _, a := range first {
			switch token := s.served(a, user); {
			case token == newToken:
			case token == oldToken && !expired:
			case token == oldToken:
				t.Fatal("the API was called with the token that had expired")
			default:
				t.Fatal("the API was called with a token that is neither the old nor the new one")
			}
			// A response has the new cookies exactly if its request was served with the
			// new tokens.
			if gives := a.sets(mainCookie); gives != (k == inCookies && a.seen.Token == newToken) {
				t.Fatalf("a response with the new token (%v): %v", a.seen.Token == newToken, a.names())
			}
		}

		// The second wave begins before the browser has sent its new cookies, or after
		// that.
		if rng.IntN(2) == 0 {
			s.served(s.get("/upstream", old.After(s.get("/upstream", old).cookies)), user)
		}
		for _, a := range s.wave(old, make([]time.Duration, requests), nil, nil)() {
			if s.served(a, user) != newToken {
				t.Fatal("the second wave was not served with the new token")
			}
			if a.sets(mainCookie) != (k == inCookies) {
				t.Fatalf("a response of the second wave: %v", a.names())
			}
		}
		arrived := old.After(s.get("/upstream", old).cookies)
		a := s.get("/upstream", arrived)
		if s.served(a, user) != newToken || len(a.cookies) > 0 {
			t.Fatalf("the new cookies are not the last: %v", a.names())
		}
		s.refreshed(1)
		if live := s.auth.LiveTokens(address(user)); len(live) != 1 {
			t.Fatalf("%d refresh tokens live, want 1", len(live))
		}
	})
}

// wave sends requests, each after its delay, and returns a function that waits for their
// responses. sent and done are called around each request, unless nil.
func (s *site) wave(j jar, delays []time.Duration, sent, done func()) (responses func() []response) {
	result := make([]response, len(delays))
	errs := make([]error, len(delays))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, delay := range delays {
		wg.Go(func() {
			<-start
			time.Sleep(delay)
			if sent != nil {
				sent()
			}
			result[i], errs[i] = s.send(context.Background(), http.MethodGet, "/upstream", "", j)
			if done != nil {
				done()
			}
		})
	}
	return func() []response {
		s.t.Helper()
		close(start)
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				s.t.Fatal(err)
			}
		}
		return result
	}
}
