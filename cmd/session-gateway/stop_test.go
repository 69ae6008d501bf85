package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// The time that requests have to end is also the time of refreshes: if no request is left,
// a refresh whose client has disconnected is still completed.
func TestStopWaitsForRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &testkit.Service{T: t}
		s.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
			time.Sleep(8 * time.Second)
			return s.Issue("ada"), nil
		}
		log := slog.New(slog.DiscardHandler)
		cfg := session.Config{Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Store: memstore.New(), Logger: log}
		process := func() *testkit.Visitor {
			m, err := session.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		}
		c := process()
		g, err := gateway.New(gateway.Config{Manager: c.M})
		if err != nil {
			t.Fatal(err)
		}
		c.Login("ada")
		time.Sleep(2 * testkit.Life)
		ctx, disconnect := context.WithCancel(t.Context())
		go c.Copy().Do(ctx, nil)
		synctest.Wait()
		disconnect()
		synctest.Wait()

		start := time.Now()
		stop(defaultStopTimeout, log, g, nil, c.M)
		if d := time.Since(start); d > defaultStopTimeout {
			t.Errorf("stop has taken %v", d)
		}
		next := process()
		next.Jar = c.Jar
		if v := next.Get(); !v.SignedIn() || s.Refreshed() != 1 {
			t.Errorf("after the restart: signed in %v, %d refreshes", v.SignedIn(), s.Refreshed())
		}
		if err := next.M.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
