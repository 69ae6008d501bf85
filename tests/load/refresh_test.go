package load

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// tokenLife is how long access tokens live in the tests of refreshes.
const tokenLife = 2 * time.Second

// earliest is when tokens are due for refresh at the earliest: RefreshBefore is a tenth of
// their life by default.
const earliest = tokenLife * 9 / 10

// TestTokensOfTwoSeconds sends requests of browsers whose access tokens live for two
// seconds. No request fails, no browser is served with a token that has expired, and the
// service receives as many refreshes as were due. The table compares the time of requests
// with that of tokens that are not refreshed.
func TestTokensOfTwoSeconds(t *testing.T) {
	rows := [][]string{{"store", "tokens live", "requests", "refreshes", "failures", "p50, ms", "p99, ms", "longest, ms"}}
	for i, s := range stores {
		if !scale.Turn(i, 4) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			env := s.env(t)
			for _, life := range []time.Duration{time.Hour, tokenLife} {
				rows = append(rows, append([]string{s.name, life.String()}, testTokens(t, env, life)...))
			}
		})
	}
	table(t, rows)
}

func testTokens(t *testing.T, env string, life time.Duration) []string {
	service := startService(t, life)
	program := startDashboard(t, service, env)
	browsers := signedIn(t, program.URL, scale.Of(20, 20, 200))
	start := time.Now()
	end := start.Add(scale.Of(3*time.Second, 5*time.Second, 30*time.Second))
	visitors := make([]visitor, len(browsers))
	var wg sync.WaitGroup
	for i, b := range browsers {
		visitors[i].browser, visitors[i].expires = b, b.expires
		wg.Go(func() { visitors[i].visit(end) })
	}
	wg.Wait()
	// If a refresh takes longer than a second on a busy machine, the next request has the
	// new token.
	var generations, requests, failures int
	var took []time.Duration
	for deadline := time.Now().Add(time.Minute); ; {
		generations = 0
		for i := range visitors {
			visitors[i].request()
			generations += visitors[i].changes
		}
		if refreshes := service.Refreshes(); generations == refreshes {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the service received %d refreshes, and the browsers have seen %d", refreshes, generations)
		}
	}
	elapsed := time.Since(start)
	for i := range visitors {
		v := &visitors[i]
		requests += len(v.took)
		took = append(took, v.took...)
		if v.err != nil {
			failures++
			t.Errorf("browser %d: %v", i, v.err)
		}
		if most := int(elapsed/earliest) + 1; life == tokenLife && v.changes > most {
			t.Errorf("browser %d: %d refreshes in %v, want %d at most", i, v.changes, elapsed, most)
		}
		if life == tokenLife && v.changes == 0 {
			t.Errorf("browser %d: no refresh in %v", i, elapsed)
		}
	}
	if n := service.Reuses(); n > 0 {
		t.Errorf("%d refresh tokens were sent twice", n)
	}
	if life != tokenLife && generations > 0 {
		t.Errorf("%d refreshes of tokens that were not due", generations)
	}
	return []string{
		fmt.Sprint(requests), fmt.Sprint(generations), fmt.Sprint(failures),
		milliseconds(percentile(took, 0.5)), milliseconds(percentile(took, 0.99)), milliseconds(percentile(took, 1)),
	}
}

// visitor is a user with a browser who sends requests.
type visitor struct {
	*browser
	expires int64 // of the last access token
	changes int   // of the access token
	took    []time.Duration
	err     error
}

// think is the time between two requests of a browser.
const think = 100 * time.Millisecond

// visit sends requests until end.
func (v *visitor) visit(end time.Time) {
	for time.Now().Before(end) {
		v.request()
		time.Sleep(think)
	}
}

func (v *visitor) request() {
	start := time.Now()
	expires, err := v.tokenExpires()
	v.took = append(v.took, time.Since(start))
	switch {
	case err != nil:
		v.err = errors.Join(v.err, err)
		return
	// Its life is counted from its receipt, and "exp" is in whole seconds.
	case start.Unix() > expires+1:
		v.err = errors.Join(v.err, fmt.Errorf("the access token expired %d s before the request", start.Unix()-expires))
	}
	if expires != v.expires {
		v.changes++
	}
	v.expires = expires
}
