package redisstore_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

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
	client := shared(t).client(t)
	for name, c := range map[string]redisstore.Config{"cached": {}, "not cached": {CacheTTL: -1}, "briefly cached": {CacheTTL: 5 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) store.Store { return newStore(t, client, c) })
		})
	}
}
