package keeper_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// hangingStore does not respond while it hangs. It counts the calls of Get.
type hangingStore struct {
	store.Store
	hangs atomic.Bool
	gets  atomic.Int64
}

func (h *hangingStore) Get(ctx context.Context, key string) (store.Record, error) {
	h.gets.Add(1)
	if h.hangs.Load() {
		<-ctx.Done()
		return store.Record{}, ctx.Err()
	}
	return h.Store.Get(ctx, key)
}

// While the store hangs, few requests wait for it. The others fail at once.
func TestFewRequestsWaitForAHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hangingStore{Store: memstore.New()}
		s := &testkit.Service{Life: time.Hour}
		m, err := session.New(session.Config{Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Store: h})
		if err != nil {
			t.Fatal(err)
		}
		c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
		c.Login("ada")
		h.hangs.Store(true)
		var slow int
		start := time.Now()
		for time.Since(start) < time.Minute {
			before := time.Now()
			if v := c.Get(); !errors.Is(v.Err(), session.ErrSessionUnavailable) {
				t.Fatalf("error %v; want unavailable", v.Err())
			}
			if time.Since(before) > 0 {
				slow++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := h.gets.Load(); slow > 40 || n > 50 {
			t.Errorf("%d requests waited and %d reached the store, want about one in 2.5 s", slow, n)
		}
		h.hangs.Store(false)
		start = time.Now()
		for !c.Get().SignedIn() {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("signed in %v after the store worked again", d)
		}
		// A canceled request does not count as a failure of the store.
		for range 10 {
			h.hangs.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			time.AfterFunc(time.Millisecond, cancel)
			c.Do(ctx, nil)
			h.hangs.Store(false)
		}
		if v := c.Get(); !v.SignedIn() {
			t.Errorf("after canceled requests: %v", v.Err())
		}
	})
}
