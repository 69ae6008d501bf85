package replicas_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// TestStalledWrites makes writes of the database stall repeatedly, for 1 to 8 seconds,
// while reads work and the auth service needs 8 seconds. No refresh token is used twice,
// because stalled renewals do not prove that the holder has died.
//
// It locks the table, so each case has a separate database.
func TestStalledWrites(t *testing.T) {
	t.Parallel()
	stalled := func(name string, db *database, m mode) {
		t.Run(name+"/"+string(m), func(t *testing.T) {
			t.Parallel()
			newCluster(t, db, m, newKeys()).testStalledWrites(t)
		})
	}
	stalled("PostgreSQL", newDatabase(dbtest.Postgres(t)), stored)
	if scale.CI() {
		stalled("Redis", newDatabase(dbtest.Redis(t)), stored)
	}
	if scale.Long() {
		stalled("Redis", newDatabase(dbtest.Redis(t)), cookies)
		stalled("PostgreSQL", newDatabase(dbtest.Postgres(t)), cookies)
		for _, m := range modes {
			stalled("SQLite", newSQLite(t), m)
			stalled("MariaDB", newDatabase(dbtest.MariaDB(t)), m)
		}
	}
}

func (c *cluster) testStalledWrites(t *testing.T) {
	const sessions = 10 // each is a separate round
	for i := range scale.Of(1, 1, 20) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			var logins []login
			for n := range sessions {
				l := c.signIn(t, c.all[n%len(c.all)], briefly)
				l.user.holdRefresh(stop{before: n%2 == 0, lasts: 8 * time.Second})
				logins = append(logins, l)
			}
			logins[sessions-1].expire()
			end := c.stallWrites(t, rand.New(rand.NewPCG(uint64(i), 2)))
			var wg sync.WaitGroup
			for _, l := range logins {
				for _, p := range c.all {
					for range 3 {
						wg.Go(func() {
							a, err := p.send(t.Context(), "GET", "/api/upstream", nil, l.jar)
							if err != nil || a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
								t.Errorf("%d %s, error %v", a.status, a.body, err)
							}
						})
					}
				}
			}
			wg.Wait()
			end()
			for _, l := range logins {
				eventually(t, "the session is served", func() bool {
					return c.all[1].get(t, "/api/upstream", l.jar).status == http.StatusOK
				})
				c.lives(t, l.user, 1)
			}
		})
	}
}

// stallWrites makes writes to the table stall now and then, until end is called.
func (c *cluster) stallWrites(t *testing.T, rng *rand.Rand) (end func()) {
	t.Helper()
	if c.db.driver == redis {
		return c.pauseWrites(t, rng)
	}
	lock, unlock := []string{"BEGIN", "LOCK TABLE sessions IN EXCLUSIVE MODE"}, "COMMIT"
	switch c.db.driver {
	case "sqlite":
		lock = []string{"BEGIN IMMEDIATE"}
	case "mysql":
		lock, unlock = []string{"LOCK TABLES sessions READ"}, "UNLOCK TABLES"
	}
	conn, err := c.db.open(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, statement := range lock {
				if _, err := conn.ExecContext(t.Context(), statement); err != nil {
					t.Errorf("%s: %v", statement, err)
					return
				}
			}
			wait(ctx, time.Second+time.Duration(rng.Int64N(int64(7*time.Second))))
			if _, err := conn.ExecContext(t.Context(), unlock); err != nil {
				t.Errorf("%s: %v", unlock, err)
				return
			}
			wait(ctx, time.Duration(rng.Int64N(int64(2*time.Second))))
		}
	})
	return func() {
		cancel()
		wg.Wait()
		_ = conn.Close()
	}
}

// pauseWrites is stallWrites for Redis. A stalled write also delays later reads and
// writes on its connection, so a stall lasts 4 seconds at most.
func (c *cluster) pauseWrites(t *testing.T, rng *rand.Rand) (end func()) {
	client := c.db.server.Client(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			stalled := time.Second + time.Duration(rng.Int64N(int64(3*time.Second)))
			if err := client.Do(t.Context(), client.B().ClientPause().Timeout(stalled.Milliseconds()).Write().Build()).Error(); err != nil {
				t.Errorf("CLIENT PAUSE: %v", err)
				return
			}
			wait(ctx, stalled+time.Duration(rng.Int64N(int64(2*time.Second))))
		}
	})
	return func() {
		cancel()
		wg.Wait()
		if err := client.Do(t.Context(), client.B().ClientUnpause().Build()).Error(); err != nil {
			t.Errorf("CLIENT UNPAUSE: %v", err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
