package redisstore_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/storetest"
)

func dialUnix(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return d.DialContext(ctx, "unix", addr)
}

func record(key string) store.Record {
	return store.Record{Key: key, Owner: "owner", Version: 7, Data: []byte("data"), ExpiresAt: time.Now().Add(time.Hour)}
}

func TestStore(t *testing.T) {
	t.Parallel()
	client := shared(t).client(t)
	for name, c := range map[string]redisstore.Config{"cached": {}, "not cached": {CacheTTL: -1}, "briefly cached": {CacheTTL: 5 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) store.Store { return newStore(t, client, c) })
		})
	}
}

// The scripts work with Valkey, too, where it is installed.
func TestValkey(t *testing.T) {
	t.Parallel()
	server, err := start(programs[1])
	if errors.Is(err, exec.ErrNotFound) {
		t.Logf("%v: Redis alone is tested", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	client := server.client(t)
	storetest.Run(t, func(t testing.TB) store.Store { return newStore(t, client, redisstore.Config{}) })
}

func TestConfig(t *testing.T) {
	t.Parallel()
	client := fake{}.start(t)
	tests := []struct {
		name   string
		client rueidis.Client
		config redisstore.Config
		want   string // part of the error
	}{
		{"minimal", client, redisstore.Config{}, ""},
		{"all fields", client, redisstore.Config{CacheTTL: -1, Prefix: "app:", Timeout: time.Second}, ""},
		{"no client", nil, redisstore.Config{}, "client is nil"},
		{"negative timeout", client, redisstore.Config{Timeout: -1}, "Config.Timeout"},
		{"prefix with a space", client, redisstore.Config{Prefix: "a b"}, "Config.Prefix"},
		{"prefix with a brace", client, redisstore.Config{Prefix: "{a}"}, "Config.Prefix"},
		{"prefix that is not ASCII", client, redisstore.Config{Prefix: "\u00e4:"}, "Config.Prefix"},
		{"long prefix", client, redisstore.Config{Prefix: strings.Repeat("p", 49)}, "Config.Prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := redisstore.New(tt.client, tt.config)
			if tt.want == "" {
				if err != nil || s == nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A record with an invalid name cannot exist, so that no command is sent.
func TestInvalidNames(t *testing.T) {
	t.Parallel()
	s := newStore(t, panicking{}, redisstore.Config{})
	ctx := context.Background()
	for _, name := range []string{"", "a b", "a\x00", strings.Repeat("k", 129)} {
		if _, err := s.Get(ctx, name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
		if err := s.Delete(ctx, name); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if recs, err := s.List(ctx, name); err != nil || len(recs) != 0 {
			t.Errorf("List: %d records, %v", len(recs), err)
		}
	}
}
