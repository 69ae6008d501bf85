// Package redisstore keeps sessions in Redis 6.2 or newer, or in Valkey. It uses [rueidis].
// The app creates the client, for a single server, Sentinel or Cluster.
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{
//		InitAddress:      []string{"redis.example.org:6379"},
//		Dialer:           net.Dialer{KeepAlive: time.Second / 2},
//		ConnWriteTimeout: time.Second,
//	})
//	...
//	sessions, err := redisstore.New(client, redisstore.Config{})
//
// # Caching
//
// Get reads through the client-side cache of rueidis. The server remembers which keys
// a connection has read, and sends a message over the same connection when one of them
// changes. Reading a session that has not changed therefore sends nothing to the server.
//
// A change by another process is seen when its message arrives, usually in less than a
// millisecond. If the connection is closed, its cache is dropped. If the connection hangs,
// messages do not arrive, so that Get may return the state before a change until rueidis
// closes the connection. rueidis sends a PING on a connection on which nothing was received
// for ClientOption.Dialer.KeepAlive, and closes the connection if there is no response
// within ClientOption.ConnWriteTimeout. A hanging connection is closed after twice
// KeepAlive and once ConnWriteTimeout. With the defaults of rueidis that is 12 seconds, and
// 2 seconds with the settings above.
//
// If a connection works, but its messages are lost on the way, no cached record is
// older than [Config.CacheTTL].
//
// Get is never older than this Store's own Put or Delete, or than a state that has caused
// an ErrConflict: after a write, Get compares the cached record with the server's until
// both are equal.
//
// The client must not send reads to replicas (ClientOption.SendToReplicas), which lag
// behind. With ClientOption.DisableCache, each Get is a read from the server. The memory of
// the cache is bounded by ClientOption.CacheSizeEachConn.
//
// # Outages
//
// An error of the server, such as READONLY, LOADING or CLUSTERDOWN, a value that is not a
// record, and a timeout are failures of the call. They do not mean that there is no record.
//
// By default rueidis repeats a read that has failed until the timeout of the call, so that
// during an outage every call takes [Config.Timeout]. Set ClientOption.RetryDelay to a
// function that returns a negative duration after a few attempts:
//
//	RetryDelay: func(attempts int, _ rueidis.Completed, _ error) time.Duration {
//		if attempts > 3 {
//			return -1
//		}
//		return 10 * time.Millisecond
//	},
//
// # Keys
//
// A record is a string under one key, which a script compares and replaces in one step. The
// keys of an owner's records are in a sorted set under another key. The set may have keys
// of records that no longer exist, so List reads the records themselves. The keys of a
// record and of its owner may therefore be in different slots of a cluster.
//
// Keys expire by the clock of the server, so that processes whose clocks differ agree.
// ExpiresAt is stored in milliseconds, rounded up.
//
// # Durability
//
// Redis acknowledges a write before the write is on disk or on a replica. Depending on the
// settings of the server ("appendonly", "appendfsync"), a crash loses the writes of the
// last second or more, and a fail-over loses those that the replica had not received. A
// session that was started in these writes is lost, and a session that was refreshed in
// them may have a used refresh token.
//
// The policy of the server for full memory ("maxmemory-policy") must be noeviction.
// Other policies remove sessions. The first call that succeeds checks the policy and logs a
// warning. With noeviction, Put returns store.ErrFull for a new record while the memory is
// full.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
)

// Config is the configuration of a [Store]. All fields are optional.
type Config struct {
	// CacheTTL bounds the age of a cached record, even if messages about changes do
	// not arrive. Each process reads a session that is in use once in this time. Zero
	// means a minute. If it is negative, every Get is a read from the server.
	CacheTTL time.Duration

	// Logger logs a warning if the server may remove sessions. Nil means
	// slog.Default().
	Logger *slog.Logger

	// Prefix is the beginning of all keys of this store: printable ASCII without
	// spaces and braces, at most 48 bytes. Empty means "session:". Apps that share a
	// server use different prefixes.
	Prefix string

	// Timeout bounds each call, including the time to connect and retries. Zero means 2
	// seconds.
	Timeout time.Duration
}

// Store is a [store.Store] in Redis.
type Store struct {
	client   rueidis.Client
	cacheTTL time.Duration
	logger   *slog.Logger
	prefix   string
	timeout  time.Duration

	writes   writes
	responds atomic.Bool // the last call has succeeded
	checked  atomic.Bool // the eviction policy was checked, or is being checked
}

var _ store.Store = (*Store)(nil)

// New returns a store that uses client. It sends nothing to the server.
//
// The app owns the client, and closes it after the last call of the store.
func New(client rueidis.Client, c Config) (*Store, error) {
	if client == nil {
		return nil, errors.New("redisstore: client is nil")
	}
	if c.CacheTTL == 0 {
		c.CacheTTL = time.Minute
	}
	if c.Prefix == "" {
		c.Prefix = "session:"
	}
	if !validPrefix(c.Prefix) {
		return nil, fmt.Errorf("redisstore: Config.Prefix %q: want printable ASCII without spaces and braces, at most 48 bytes", c.Prefix)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("redisstore: Config.Timeout %v: want zero or more", c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	return &Store{
		client:   client,
		cacheTTL: c.CacheTTL,
		logger:   c.Logger,
		prefix:   c.Prefix,
		timeout:  c.Timeout,
		writes:   writes{keep: c.CacheTTL},
	}, nil
}

// validPrefix reports whether keys may begin with p. Braces would move all keys to one
// slot of a cluster.
func validPrefix(p string) bool {
	for _, c := range []byte(p) {
		if c <= ' ' || c > '~' || c == '{' || c == '}' {
			return false
		}
	}
	return len(p) <= 48
}

// recordKey returns the server's key of a record, and ownerKey that of an owner's set.
func (s *Store) recordKey(key string) string  { return s.prefix + "k:" + key }
func (s *Store) ownerKey(owner string) string { return s.prefix + "o:" + owner }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, failed("get", err)
	}
	if !store.ValidName(key) {
		return store.Record{}, store.ErrNotFound
	}
	var rec store.Record
	var found bool
	var err error
	if s.responds.Load() {
		rec, found, err = s.getHere(ctx, key)
	} else {
		rec, found, err = s.getDetached(ctx, key)
	}
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return rec, err
}

// getDetached is get with the timeout, in a goroutine.
func (s *Store) getDetached(ctx context.Context, key string) (rec store.Record, found bool, err error) {
	type result struct {
		rec   store.Record
		found bool
	}
	res, err := do(s, ctx, "get", func(ctx context.Context) (res result, err error) {
		res.rec, res.found, err = s.get(ctx, key)
		return res, err
	})
	return res.rec, res.found, err
}

// get reads a record. It returns false if there is none.
func (s *Store) get(ctx context.Context, key string) (rec store.Record, found bool, err error) {
	return parse(s.read(ctx, key), key)
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if err := ctx.Err(); err != nil {
		return failed("put", err)
	}
	if err := rec.Validate(); err != nil {
		return failed("put", err)
	}
	stored, err := do(s, ctx, "put", func(ctx context.Context) (bool, error) {
		stored, err := s.put(ctx, rec, prev)
		if prev == 0 && isFull(err) {
			err = store.ErrFull
		}
		return stored, err
	})
	if err != nil {
		return err
	}
	if !stored {
		return store.ErrConflict
	}
	return nil
}

// put adds the record to the set of its owner, and then swaps the record. If the two are on
// different servers, or the process dies in between, the set has an entry without a record.
// It always has an entry for each record.
//
// An entry consists of the key and the version, so that no other call adds the same entry.
// It can be removed as soon as the record with this version is gone.
func (s *Store) put(ctx context.Context, rec store.Record, prev uint64) (stored bool, err error) {
	defer s.writes.add(rec.Key)
	if rec.Owner != "" {
		if err := s.addEntry(ctx, rec); err != nil {
			return false, err
		}
	}
	stored, old, err := s.swap(ctx, rec, prev)
	if err != nil {
		return false, err
	}
	switch {
	case stored && old.owner != "" && (old.version != rec.Version || old.owner != rec.Owner):
		s.removeEntry(ctx, old.owner, rec.Key, old.version)
	case !stored && rec.Owner != "" && old.version != rec.Version:
		s.removeEntry(ctx, rec.Owner, rec.Key, rec.Version)
	}
	return stored, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return failed("delete", err)
	}
	if !store.ValidName(key) {
		return nil
	}
	_, err := do(s, ctx, "delete", func(ctx context.Context) (struct{}, error) {
		defer s.writes.add(key)
		old, err := s.remove(ctx, key)
		if err == nil && old.owner != "" {
			s.removeEntry(ctx, old.owner, key, old.version)
		}
		return struct{}{}, err
	})
	return err
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, owner string) ([]store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("list", err)
	}
	if !store.ValidName(owner) {
		return nil, nil
	}
	return do(s, ctx, "list", func(ctx context.Context) ([]store.Record, error) {
		keys, err := s.entries(ctx, owner)
		if err != nil {
			return nil, err
		}
		return s.readAll(ctx, keys, owner)
	})
}

// Ping returns an error if the server does not respond to reads. Use it for a readiness
// check, since Get may return a cached record.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return failed("ping", err)
	}
	_, err := do(s, ctx, "ping", func(ctx context.Context) (store.Record, error) {
		rec, _, err := parse(s.fetch(ctx, "ping"), "ping")
		return rec, err
	})
	return err
}
