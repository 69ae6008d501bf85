package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/tests/internal/dbtest"

	"github.com/redis/rueidis"
)

// In a cluster, the records and the sets of their owners are on different servers.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	nodes := dbtest.RedisCluster(t)
	client := dbtest.RedisClient(t, func(o *rueidis.ClientOption) { o.InitAddress = nodes })
	if client.Mode() != rueidis.ClientModeCluster || len(client.Nodes()) != 3 {
		t.Fatalf("mode %s with %d nodes", client.Mode(), len(client.Nodes()))
	}
	contractOrEssence(t, func(t testing.TB) store.Store { return openRedis(t, client, dbtest.Table(), 0) })
}

// After a fail-over the store works with the new primary. No failure meanwhile looks like
// the end of a session.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	addr, set, primary := dbtest.RedisSentinel(t)
	client := dbtest.RedisClient(t, func(o *rueidis.ClientOption) {
		o.InitAddress, o.Sentinel.MasterSet = []string{addr}, set
	})
	s := openRedis(t, client, dbtest.Table(), time.Second)
	recs := make([]store.Record, 50)
	for i := range recs {
		recs[i] = counted(fmt.Sprintf("key%d", i), 0)
		if err := s.Put(ctx, recs[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := client.Do(ctx, client.B().Wait().Numreplicas(1).Timeout(10_000).Build()).AsInt64(); err != nil || n != 1 {
		t.Fatalf("%d replicas have the records, error %v", n, err)
	}
	primary.Kill()
	start := time.Now()
	for i := range recs {
		for {
			_, err := s.Get(ctx, recs[i].Key)
			if errors.Is(err, store.ErrNotFound) {
				t.Fatalf("%s is not found", recs[i].Key)
			}
			next := counted(recs[i].Key, 1)
			if err == nil {
				err = s.Put(ctx, next, recs[i].Version)
			}
			if err == nil {
				recs[i] = next
				break
			}
			if time.Since(start) > 2*time.Minute {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if i == 0 {
			t.Logf("the first write after %v", time.Since(start))
		}
	}
	listed, err := s.List(ctx, "owner")
	if err != nil || len(listed) != len(recs) {
		t.Errorf("%d records are listed, error %v", len(listed), err)
	}
	for _, rec := range recs {
		if got, err := s.Get(ctx, rec.Key); err != nil || got.Version != rec.Version {
			t.Errorf("%v, error %v", got, err)
		}
	}
}
