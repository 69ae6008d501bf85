package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store/memstore"
)

const (
	crowd        = 50                    // requests of one browser at the same time
	refreshTakes = 50 * time.Millisecond // the time of the auth service
)

// slowService is an auth service whose refreshes take refreshTakes.
type slowService struct {
	authService
	now       func() time.Time
	refreshes atomic.Int64
}

func (s *slowService) Login(context.Context, string, string) (auth.Grant, error) {
	a := newAccount(accounts[admin].userID, s.now().Add(time.Hour), "user", "admin")
	return auth.Grant{Tokens: a.tokens}, nil
}

func (s *slowService) Refresh(ctx context.Context, _ auth.Tokens) (auth.Grant, error) {
	s.refreshes.Add(1)
	timer := time.NewTimer(refreshTakes)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.Login(ctx, "", "")
	case <-ctx.Done():
		return auth.Grant{}, ctx.Err()
	}
}

// measureCrowd lets the tokens of a session expire, and then sends its requests at the
// same time to processes that share a store. It returns the 99th percentile of the time
// of the requests minus that of the auth service, in milliseconds.
func measureCrowd(e *env, processes, sessions int) (float64, error) {
	var moved atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
	service := &slowService{now: now}
	apps := make([]http.Handler, processes)
	for i := range apps {
		h, err := openSession(func(e *env, c *session.Config) (err error) {
			c.Auth, c.Now = service, now
			if processes == 1 {
				c.Store = &memstore.Store{Now: now}
				return nil
			}
			c.Store, err = openRedis(e, 0)
			return err
		})(e)
		if err != nil {
			return 0, err
		}
		apps[i] = h
	}
	var waits []float64
	for i := range sessions {
		r, err := signedInRequest(apps[0], "/admin", admin)
		if err != nil {
			return 0, err
		}
		moved.Add(int64(2 * time.Hour)) // within the idle timeout
		all, err := rush(apps, r)
		if err != nil {
			return 0, err
		}
		if n := service.refreshes.Load(); n != int64(i+1) {
			return 0, fmt.Errorf("%d refreshes of %d sessions", n, i+1)
		}
		for _, d := range all {
			waits = append(waits, float64(max(d-refreshTakes, 0))/float64(time.Millisecond))
		}
	}
	slices.Sort(waits)
	return waits[len(waits)*99/100], nil
}

// rush sends r many times at once and returns how long each request took.
func rush(apps []http.Handler, r *http.Request) ([]time.Duration, error) {
	took := make([]time.Duration, crowd)
	errs := make([]error, crowd)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			send := repeat(apps[i%len(apps)], r, func(v *reader) bool { return v.got(adminPage) })
			<-start
			begin := time.Now()
			errs[i] = send(1)
			took[i] = time.Since(begin)
		})
	}
	close(start)
	wg.Wait()
	return took, errors.Join(errs...)
}
