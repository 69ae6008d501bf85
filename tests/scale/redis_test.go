//go:build !race

package scale_test

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// A request of a session in Redis that is unchanged since its last read allocates little,
// and sends nothing to the server. The race detector allocates, too, so this test runs
// without it.
func TestAllocsOfRedis(t *testing.T) {
	server := dbtest.Redis(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Proxy.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	records, err := redisstore.New(client, redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, true, func(c *session.Config) { c.Store = records })
	s.signIn(t, 1)
	s.browse(t, 1000)
	if got := testing.AllocsPerRun(1000, s.get(t)); got != 3 {
		t.Errorf("%v allocations, want 4", got)
	}
}
