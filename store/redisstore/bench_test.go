package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
)

// BenchmarkGet reads a record that does not change, from the cache and from the server,
// beside one GET by the client alone. It reports the commands that the server has run for
// each call.
func BenchmarkGet(b *testing.B) {
	ctx := context.Background()
	client := shared(b).client(b)
	rec := record("key")
	rec.Data = make([]byte, 2048)
	prefix := newPrefix()
	cached := newStore(b, client, redisstore.Config{Prefix: prefix})
	if err := cached.Put(ctx, rec, 0); err != nil {
		b.Fatal(err)
	}
	get := func(s store.Store) func() error {
		return func() error { _, err := s.Get(ctx, "key"); return err }
	}
	run(b, "cached", client, get(cached))
	run(b, "not cached", client, get(newStore(b, client, redisstore.Config{Prefix: prefix, CacheTTL: -1})))
	run(b, "GET alone", client, func() error {
		return client.Do(ctx, client.B().Get().Key(prefix+"k:key").Build()).Error()
	})
}

func BenchmarkPut(b *testing.B) {
	ctx := context.Background()
	client := shared(b).client(b)
	s := newStore(b, client, redisstore.Config{})
	rec, prev := record("key"), uint64(0)
	run(b, "swap", client, func() error {
		err := s.Put(ctx, rec, prev)
		prev = rec.Version
		rec.Version++
		return err
	})
	rec, prev = record("unowned"), 0
	rec.Owner = ""
	run(b, "swap without an owner", client, func() error {
		err := s.Put(ctx, rec, prev)
		prev = rec.Version
		rec.Version++
		return err
	})
}

func BenchmarkList(b *testing.B) {
	ctx := context.Background()
	client := shared(b).client(b)
	s := newStore(b, client, redisstore.Config{})
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		if err := s.Put(ctx, record(key), 0); err != nil {
			b.Fatal(err)
		}
	}
	run(b, "5 records", client, func() error { _, err := s.List(ctx, "owner"); return err })
}

func run(b *testing.B, name string, client rueidis.Client, call func() error) {
	b.Run(name, func(b *testing.B) {
		for range 3 {
			if err := call(); err != nil {
				b.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		before := received(b, client)
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(received(b, client)-before)/float64(b.N), "commands/op")
	})
}

// received returns how many commands clients have sent, which does not count those that
// scripts have called.
func received(t testing.TB, client rueidis.Client) int {
	t.Helper()
	n := 0
	for name, count := range calls(t, client) {
		switch name {
		case "get", "eval", "zrem", "zrange", "pttl", "multi", "exec", "client|caching":
			n += count
		}
	}
	return n
}
