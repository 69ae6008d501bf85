package synmetrix_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

func TestTokenSourceLogout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{logoutErr: outage(0, auth.ErrUnavailable)}
		service.refresh = func(_ context.Context, n int) (auth.Tokens, error) {
			time.Sleep(time.Second)
			return pair(n), nil
		}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
			Save: func(context.Context, auth.Tokens) error { t.Error("saved after the logout"); return nil },
		})
		var renewing sync.WaitGroup
		renewing.Go(func() {
			if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrRefused) {
				t.Errorf("a refresh during the logout: error %v, want ErrRefused", err)
			}
		})
		synctest.Wait()

		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Logout(hurried, true); !errors.Is(err, context.DeadlineExceeded) || len(service.loggedOut) != 0 {
			t.Errorf("error = %v, want DeadlineExceeded", err)
		}
		if err := s.Logout(t.Context(), true); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("error = %v, want ErrUnavailable", err)
		}
		renewing.Wait()
		service.logoutErr = nil
		if err := s.Logout(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for _, tokens := range service.loggedOut {
			if tokens.RefreshToken != "refresh-1" {
				t.Errorf("logged out %s, want the newest token", tokens.RefreshToken)
			}
		}
		if len(service.loggedOut) != 2 || s.Tokens() != (auth.Tokens{}) {
			t.Errorf("%d logouts, want 2, and no tokens left", len(service.loggedOut))
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("after the logout: error %v, want ErrRefused", err)
		}
		if n := service.refreshes(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// refusesExpired ends all sessions of a user only for an access token other than
// expiredAccess, as the service does.
func refusesExpired(tokens auth.Tokens, all bool) error {
	if all && tokens.AccessToken == expiredAccess {
		return outage(0, auth.ErrRefused)
	}
	return nil
}

// A logout that needs a refresh keeps the new tokens if its caller stops waiting, because
// the old tokens are used up.
func TestTokenSourceLogoutOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{logout: refusesExpired}
		service.refresh = func(ctx context.Context, n int) (auth.Tokens, error) {
			select {
			case <-ctx.Done():
				return auth.Tokens{}, ctx.Err()
			case <-time.After(time.Second):
				return pair(n), nil
			}
		}
		s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expiredAccess, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Logout(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want DeadlineExceeded", err)
		}
		if err := s.Logout(t.Context(), true); err != nil {
			t.Error(err)
		}
		if want := []string{"refresh-0"}; !slices.Equal(service.refreshed, want) {
			t.Errorf("used %q, want %q", service.refreshed, want)
		}
		if last := service.loggedOut[len(service.loggedOut)-1]; last.RefreshToken != "refresh-1" || s.Tokens() != (auth.Tokens{}) {
			t.Errorf("logged out %s, want the newest token", last.RefreshToken)
		}
	})
}

// Logouts at the same time share a refresh, too.
func TestTokenSourceLogoutRefreshesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{logout: refusesExpired}
		service.refresh = func(_ context.Context, n int) (auth.Tokens, error) {
			time.Sleep(time.Second)
			return pair(n), nil
		}
		s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expiredAccess, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := s.Logout(t.Context(), true); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if want := []string{"refresh-0"}; !slices.Equal(service.refreshed, want) {
			t.Errorf("used %q, want %q", service.refreshed, want)
		}
		if n := len(service.loggedOut); n != 2 {
			t.Errorf("%d logouts, want one before the refresh and one after", n)
		}
	})
}

// A logout never ends the sessions of another user.
func TestTokenSourceLogoutWithAnotherUsersTokens(t *testing.T) {
	t.Parallel()
	theirs := auth.Tokens{AccessToken: jwtOf("u2", time.Now().Add(time.Hour)), RefreshToken: "refresh-1"}
	service := &fakeService{refresh: func(context.Context, int) (auth.Tokens, error) { return theirs, nil }}
	service.logout = func(tokens auth.Tokens, all bool) error {
		if all && tokens == theirs {
			t.Error("all sessions of the other user have ended")
		}
		return refusesExpired(tokens, all)
	}
	s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expiredAccess, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
	wantError(t, s.Logout(t.Context(), true), "refresh", synmetrix.CodeUserChanged, 0, "", "invalid response")
	if last := service.loggedOut[len(service.loggedOut)-1]; last != theirs {
		t.Error("the other user's new tokens are not revoked")
	}
	if s.Tokens().RefreshToken == theirs.RefreshToken {
		t.Error("the source keeps the other user's token")
	}
}

// If the service does not rotate refresh tokens, the logout after a refresh uses the
// old one.
func TestTokenSourceLogoutWithoutRotation(t *testing.T) {
	t.Parallel()
	service := &fakeService{logout: refusesExpired}
	service.refresh = func(context.Context, int) (auth.Tokens, error) {
		return auth.Tokens{AccessToken: validAccess}, nil
	}
	s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expiredAccess, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
	if err := s.Logout(t.Context(), true); err != nil {
		t.Error(err)
	}
	if last := service.loggedOut[len(service.loggedOut)-1]; last != (auth.Tokens{AccessToken: validAccess, RefreshToken: "refresh-0"}) {
		t.Errorf("logged out %s, want refresh-0 with the new access token", last.RefreshToken)
	}
}
