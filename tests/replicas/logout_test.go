package replicas_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// rival is a request that must not revive a session that a logout in another process has
// ended. It is stopped during its work, and returns a function that lets it continue and
// one that waits for its response.
type rival struct {
	name  string
	begin func(c *cluster, t *testing.T, p *process, l login, rng *rand.Rand) (goOn func(), wait func() response)
}

const (
	// idleTimeout is so short that responses record the use of the session during the
	// test.
	idleTimeout = 20 * time.Second
	sliding     = idleTimeout / 10
)

var rivals = []rival{
	{"refresh", func(c *cluster, t *testing.T, p *process, l login, rng *rand.Rand) (func(), func() response) {
		held := l.user.holdRefresh(stop{before: rng.IntN(2) == 0})
		l.expire()
		wait := p.later(t, "GET", "/api/upstream", nil, l.jar)
		await(t, "the refresh is under way", held.arrived)
		return l.user.letGo, wait
	}},
	{"slow handler", func(c *cluster, t *testing.T, p *process, l login, _ *rand.Rand) (func(), func() response) {
		return writeSlowly(t, p, l)
	}},
	{"sliding write", func(c *cluster, t *testing.T, p *process, l login, _ *rand.Rand) (func(), func() response) {
		held := l.user.holdUpstream()
		time.Sleep(time.Until(l.at.Add(sliding)))
		wait := p.later(t, "GET", "/api/upstream", nil, l.jar)
		await(t, "the handler is at work", held.arrived)
		return l.user.letGo, wait
	}},
}

// A logout races each rival in another process, in each order. Afterwards the user is
// signed out everywhere, and no token is valid.
func (c *cluster) testLogout(t *testing.T) {
	among := []*process{c.start(t, "IDLE_TIMEOUT="+idleTimeout.String()), c.start(t, "IDLE_TIMEOUT="+idleTimeout.String())}
	orders := []string{"logout first", "rival first", "together"}
	races := len(rivals) * len(orders)
	testkit.Severally(t, scale.Of(races/3, races, 504), 4, func(t *testing.T, i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		r, order := rivals[i%len(rivals)], orders[(i+i/len(rivals))%len(orders)]
		life := time.Duration(0)
		if r.name == "refresh" {
			life = briefly
		}
		l := c.signIn(t, among[rng.IntN(2)], life)
		goOn, wait := r.begin(c, t, among[0], l, rng)
		logout := func() func() response {
			return among[1].later(t, "POST", "/logout", strings.NewReader(fmt.Sprintf(`{"all":%v}`, rng.IntN(3) == 0)), l.jar)
		}
		var late, out response
		switch order {
		case "logout first":
			out = logout()()
			goOn()
			late = wait()
		case "rival first":
			goOn()
			late = wait()
			out = logout()()
		case "together":
			stagger := time.Duration(rng.Int64N(int64(20 * time.Millisecond)))
			waitOut := logout()
			time.Sleep(stagger)
			goOn()
			out, late = waitOut(), wait()
		}
		if out.status != http.StatusNoContent {
			t.Fatalf("%s, %s: logout: %d %s", r.name, order, out.status, out.body)
		}
		if late.status >= 500 {
			t.Errorf("%s, %s: the rival: %d %s", r.name, order, late.status, late.body)
		}
		for _, j := range []jar{l.jar, l.jar.After(late.cookies), l.jar.After(late.cookies).After(out.cookies), l.jar.After(out.cookies).After(late.cookies)} {
			for _, p := range among {
				if a := p.get(t, "/api/me", j); a.status != http.StatusUnauthorized {
					t.Fatalf("%s, %s: revived: %d %s", r.name, order, a.status, a.body)
				}
			}
		}
		eventually(t, r.name+", "+order+": all tokens are revoked", func() bool {
			return len(c.service.LiveTokens(l.user.email)) == 0
		})
	})
}

// writeSlowly sends a value whose bytes arrive late, so that the handler waits for them.
func writeSlowly(t *testing.T, p *process, l login) (goOn func(), wait func() response) {
	t.Helper()
	reading := make(chan struct{})
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	body, pen := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "PUT", p.URL+"/api/prefs/late", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Expect", "100-continue") // which the server says when the handler reads
	req.Header.Set("Cookie", l.jar.String())
	type result struct {
		a   response
		err error
	}
	done := make(chan result, 1)
	go func() {
		res, err := p.client.Do(req)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		done <- result{response{res.StatusCode, res.Header, res.Cookies(), string(text), 0}, err}
	}()
	await(t, "the handler reads", reading)
	goOn = func() {
		_, _ = io.WriteString(pen, `"late"`)
		_ = pen.Close()
	}
	return goOn, func() response {
		t.Helper()
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.a
	}
}
