package refresh_test

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
)

// The tokens of many users have expired together, and each user sends many requests.
// There is one refresh for each user, and no response is for another user.
func TestCrowdAtExpiry(t *testing.T) {
	users, requests := scale.Of(40, 100, 200), scale.Of(25, 25, 50)
	for _, k := range kinds {
		for round := range scale.Of(1, 1, 10) {
			t.Run(string(k), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(round), 3))
				var ids []string
				for n := range users {
					ids = append(ids, userID(n+1))
				}
				s := newSite(t, k, ids)
				s.mux.Handle("GET /token", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					v := session.FromContext(r.Context())
					token, err := v.AccessToken(r.Context())
					if err != nil {
						middleware.Refuse(w, r, err)
						return
					}
					respondWith(w, seen{User: v.UserID(), Token: token})
				})))
				jars, tokens := make([]jar, users), make([]string, users)
				for n, id := range ids {
					jars[n], tokens[n] = s.signIn(id)
				}

				// The service is so slow that requests wait for it.
				s.auth.Inject(authtest.Refresh, authtest.Fault{Delay: 50 * time.Millisecond})
				s.clock.advance(intoExpiry)
				responses := make([][]response, users)
				for n := range responses {
					responses[n] = make([]response, requests)
				}
				var wg sync.WaitGroup
				work := make(chan int)
				for range 500 {
					wg.Go(func() {
						for i := range work {
							n := i % users
							responses[n][i/users], _ = s.send(t.Context(), http.MethodGet, "/token", "", jars[n])
						}
					})
				}
				for _, i := range rng.Perm(users * requests) {
					work <- i
				}
				close(work)
				wg.Wait()

				seenTokens := map[string]string{}
				for n, id := range ids {
					newToken := responses[n][0].seen.Token
					if newToken == tokens[n] {
						t.Fatalf("%s was served with the token that had expired", id)
					}
					if other := seenTokens[newToken]; other != "" {
						t.Fatalf("%s and %s have the same token", id, other)
					}
					seenTokens[newToken] = id
					for _, a := range responses[n] {
						if s.served(a, id) != newToken {
							t.Fatalf("%s was served with two tokens", id)
						}
						if a.sets(mainCookie) != (k == inCookies) {
							t.Fatalf("a response to %s: %v", id, a.names())
						}
					}
					if k == inMemory {
						continue
					}
					// The cookies of each response belong to its user.
					last := s.get("/token", jars[n].After(responses[n][rng.IntN(requests)].cookies))
					if s.served(last, id) != newToken || len(last.cookies) > 0 {
						t.Fatalf("%s with the new cookies: %v", id, last.names())
					}
				}
				s.refreshed(users)
			})
		}
	}
}
