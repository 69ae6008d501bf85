package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
)

// measureTrips counts what a request of a known session sends to the store's server: the
// commands that Redis has processed, and the calls of a store in SQLite, each of which is
// one query.
func (r *results) measureTrips(e *env) error {
	for _, x := range []struct {
		name  string
		set   func(*env, *session.Config) error
		count func(*env, *session.Config) func() (int64, error)
	}{
		{redisUnchanged, inRedis(0), redisCommands},
		{redisRead, inRedis(noCache), redisCommands},
		{sqliteRead, inSQLite, storeCalls},
	} {
		n, err := tripsOf(e, x.set, x.count)
		if errors.Is(err, errMissing) {
			continue // a contender's line says so
		}
		if err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		r.trips[x.name] = n
	}
	return nil
}

func tripsOf(e *env, set func(*env, *session.Config) error, counter func(*env, *session.Config) func() (int64, error)) (float64, error) {
	const requests = 1000
	var count func() (int64, error)
	h, err := openSession(func(e *env, c *session.Config) error {
		err := set(e, c)
		if err == nil {
			count = counter(e, c)
		}
		return err
	})(e)
	if err != nil {
		return 0, err
	}
	r, err := signedInRequest(h, "/admin", admin)
	if err != nil {
		return 0, err
	}
	send := repeat(h, r, func(v *reader) bool { return v.got(adminPage) })
	if err := send(1); err != nil {
		return 0, err
	}
	before, err := count()
	if err != nil {
		return 0, err
	}
	if err := send(requests); err != nil {
		return 0, err
	}
	after, err := count()
	// The client checks its connection once a second: leave such commands out.
	return math.Round(float64(after-before)/requests*100) / 100, err
}

// redisCommands counts the commands that the server has processed.
func redisCommands(e *env, _ *session.Config) func() (int64, error) {
	return func() (int64, error) {
		server, err := e.redis()
		if err != nil {
			return 0, err
		}
		info, err := server.client.Do(context.Background(), server.client.B().Info().Section("stats").Build()).ToString()
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(info, "total_commands_processed:")
		number, _, _ := strings.Cut(rest, "\r\n")
		return strconv.ParseInt(number, 10, 64)
	}
}

// storeCalls puts a store between c's and the library that counts calls.
func storeCalls(_ *env, c *session.Config) func() (int64, error) {
	s := &countedStore{Store: c.Store}
	c.Store = s
	return func() (int64, error) { return s.calls.Load(), nil }
}

type countedStore struct {
	store.Store
	calls atomic.Int64
}

func (s *countedStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.calls.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *countedStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.calls.Add(1)
	return s.Store.Put(ctx, rec, prev)
}
