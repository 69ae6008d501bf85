package main

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"

	"github.com/redis/rueidis"
)

// redisPlace parses an address such as redis://user:password@host:6379/0, or rediss://
// for TLS. Its query has parameters of the client: addr=HOST:PORT for more nodes of a
// cluster, and master_set=NAME for Sentinel.
func redisPlace(address string) (place, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || u.Fragment != "" || !validPort(u.Port()) {
		return place{}, false
	}
	option, err := rueidis.ParseURL(address)
	if err != nil || option.SelectDB < 0 {
		return place{}, false
	}
	for _, addr := range option.InitAddress {
		if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
			return place{}, false
		}
	}
	return place{kind: u.Scheme, redis: &option}, true
}

// validPort reports whether port is empty or a number up to 65535.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && !strings.HasPrefix(port, "+")
}

// redisStore is a store in Redis that connects at its first call. The program may start
// before the server: while the client cannot connect, every call tries again.
type redisStore struct {
	option rueidis.ClientOption
	config redisstore.Config

	mu     sync.Mutex
	opened *opened
}

// opened is an attempt to connect, and then its result.
type opened struct {
	done   chan struct{}
	client rueidis.Client
	store  *redisstore.Store
	err    error
}

func newRedisStore(option rueidis.ClientOption, c redisstore.Config) *redisStore {
	timeout := cmp.Or(c.Timeout, 2*time.Second)
	// A connection that hangs is closed after twice KeepAlive and once
	// ConnWriteTimeout: 2 seconds, unless STORE_TIMEOUT is longer than its default.
	option.Dialer.KeepAlive = time.Second / 2
	option.Dialer.Timeout = cmp.Or(option.Dialer.Timeout, timeout)
	option.ConnWriteTimeout = cmp.Or(option.ConnWriteTimeout, max(time.Second, timeout/2))
	option.RetryDelay = retryDelay
	return &redisStore{option: option, config: c}
}

// retryDelay makes the client repeat a read three times, over a new connection. By default
// it repeats reads until STORE_TIMEOUT, so that during an outage every request waits for
// that long.
func retryDelay(attempts int, _ rueidis.Completed, _ error) time.Duration {
	if attempts > 3 {
		return -1
	}
	return 10 * time.Millisecond
}

// open returns the store. It connects if no earlier call has.
func (s *redisStore) open(ctx context.Context) (*redisstore.Store, error) {
	s.mu.Lock()
	o := s.opened
	if o == nil {
		o = &opened{done: make(chan struct{})}
		s.opened = o
		go s.connect(o)
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.store, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *redisStore) connect(o *opened) {
	defer close(o.done)
	if o.client, o.err = rueidis.NewClient(s.option); o.err == nil {
		o.store, o.err = redisstore.New(o.client, s.config)
	}
	if o.err != nil {
		s.mu.Lock()
		s.opened = nil // the next call tries again
		s.mu.Unlock()
	}
}

func (s *redisStore) Get(ctx context.Context, key string) (store.Record, error) {
	st, err := s.open(ctx)
	if err != nil {
		return store.Record{}, err
	}
	return st.Get(ctx, key)
}

func (s *redisStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	st, err := s.open(ctx)
	if err != nil {
		return err
	}
	return st.Put(ctx, rec, prev)
}

func (s *redisStore) Delete(ctx context.Context, key string) error {
	st, err := s.open(ctx)
	if err != nil {
		return err
	}
	return st.Delete(ctx, key)
}

func (s *redisStore) List(ctx context.Context, owner string) ([]store.Record, error) {
	st, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return st.List(ctx, owner)
}

// Ping returns an error if the server is not available.
func (s *redisStore) Ping(ctx context.Context) error {
	st, err := s.open(ctx)
	if err != nil {
		return err
	}
	return st.Ping(ctx)
}

// close closes the connections.
func (s *redisStore) close() {
	s.mu.Lock()
	o := s.opened
	s.mu.Unlock()
	if o == nil {
		return
	}
	<-o.done
	if o.client != nil {
		o.client.Close()
	}
}
