package replicas_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// Fifty requests write fifty values of one session through two processes, while its token
// is refreshed: because it has expired, or expires soon. All values and the new tokens
// are kept.
func (c *cluster) testValues(t *testing.T) {
	const writes = 50
	window := c.start(t, "REFRESH_BEFORE=1s") // refreshes a token of 2 s after half of its life
	also := c.start(t, "REFRESH_BEFORE=1s")
	among := []*process{window, also}
	testkit.Severally(t, scale.Of(2, 4, 200), 4, func(t *testing.T, i int) {
		l := c.signIn(t, among[i%2], 2*time.Second)
		l.user.holdRefresh(stop{before: i/4%2 == 0, lasts: time.Duration(1+i%7) * 20 * time.Millisecond})
		if i/2%2 == 0 {
			l.expire()
		} else {
			time.Sleep(time.Until(l.at.Add(time.Second)))
		}
		responses := wave(t, among, writes, 200*time.Millisecond, func(p *process, i int) (response, error) {
			return p.send(t.Context(), "PUT", "/api/prefs/"+key(i), strings.NewReader(strconv.Itoa(i)), l.jar)
		})
		for i, a := range responses {
			if a.status != http.StatusNoContent {
				t.Errorf("write %d: %d %s", i, a.status, a.body)
			}
		}
		token := c.served(t, c.all[0].get(t, "/api/upstream", l.jar), l.user)
		for _, p := range append(among, c.all...) {
			var kept map[string]int
			a := p.get(t, "/api/prefs", l.jar)
			if err := json.Unmarshal([]byte(a.body), &kept); err != nil || len(kept) != writes {
				t.Fatalf("%d values are kept of %d (%d, error %v)", len(kept), writes, a.status, err)
			}
			for i := range writes {
				if kept[key(i)] != i {
					t.Errorf("%s is %d", key(i), kept[key(i)])
				}
			}
			if c.served(t, p.get(t, "/api/upstream", l.jar), l.user) != token {
				t.Error("the processes have different tokens")
			}
		}
		c.lives(t, l.user, 1)
		// The session has the valid refresh token, so it can be revoked.
		if a := also.post(t, "/logout", strings.NewReader("{}"), l.jar); a.status != http.StatusNoContent {
			t.Errorf("logout: %d %s", a.status, a.body)
		}
		if live := c.service.LiveTokens(l.user.email); len(live) != 0 {
			t.Error("the new refresh token is lost")
		}
	})
}

// key returns the name of a value.
func key(i int) string { return fmt.Sprintf("key-%d", i) }
