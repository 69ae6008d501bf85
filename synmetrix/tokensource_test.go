package synmetrix_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// fakeService is an auth service with scripted responses. Its tokens are valid for
// an hour.
type fakeService struct {
	auth.Service // nil: no other method is called

	// refresh, if set, returns the result of the nth refresh, from 1.
	refresh func(ctx context.Context, n int) (auth.Tokens, error)

	// logout, if set, returns the result of a logout.
	logout func(tokens auth.Tokens, all bool) error

	mu        sync.Mutex
	refreshed []string // the refresh tokens that were used
	loggedOut []auth.Tokens
	logoutErr error
}

// pair returns the nth pair of tokens of a fakeService, as of now.
func pair(n int) auth.Tokens {
	return auth.Tokens{AccessToken: jwt(time.Now().Add(time.Hour)), RefreshToken: fmt.Sprint("refresh-", n)}
}

func (f *fakeService) Refresh(ctx context.Context, t auth.Tokens) (auth.Grant, error) {
	token := t.RefreshToken
	f.mu.Lock()
	f.refreshed = append(f.refreshed, token)
	n := len(f.refreshed)
	f.mu.Unlock()
	if f.refresh != nil {
		tokens, err := f.refresh(ctx, n)
		return auth.Grant{Tokens: tokens}, err
	}
	return auth.Grant{Tokens: pair(n)}, nil
}

func (f *fakeService) Logout(_ context.Context, tokens auth.Tokens, all bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loggedOut = append(f.loggedOut, tokens)
	if f.logout != nil {
		return f.logout(tokens, all)
	}
	return f.logoutErr
}

func (f *fakeService) refreshes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.refreshed)
}

func mustToken(t *testing.T, s *synmetrix.TokenSource) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenSourceRenewsWhenDue(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before time.Duration // RefreshBefore
		due    time.Duration // before expiry
	}{
		"default":              {0, time.Minute},
		"negative":             {-time.Hour, time.Minute},
		"given":                {10 * time.Minute, 10 * time.Minute},
		"longer than its life": {2 * time.Hour, 30 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var service fakeService
				first := pair(0)
				s := synmetrix.NewTokenSource(&service, first, synmetrix.TokenSourceConfig{RefreshBefore: test.before})
				for range 3 { // the same rule applies to each new pair
					token := mustToken(t, s)
					time.Sleep(time.Hour - test.due - time.Second)
					if before := service.refreshes(); mustToken(t, s) != token || service.refreshes() != before {
						t.Fatal("refreshed before it was due")
					}
					time.Sleep(time.Second)
					if mustToken(t, s) == token {
						t.Fatal("not refreshed when it was due")
					}
				}
				if want := []string{"refresh-0", "refresh-1", "refresh-2"}; !slices.Equal(service.refreshed, want) {
					t.Errorf("used %q, want %q", service.refreshed, want)
				}
			})
		})
	}
}

func TestTokenSourceWithoutAccessToken(t *testing.T) {
	t.Parallel()
	for name, access := range map[string]string{"none": "", "unreadable": "a.b.c", "expired": jwt(time.Unix(1e9, 0))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var service fakeService
			s := synmetrix.NewTokenSource(&service, auth.Tokens{AccessToken: access, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
			if token := mustToken(t, s); token == access || token != s.Tokens().AccessToken {
				t.Error("not the new token")
			}
		})
	}
}

func TestTokenSourceRefreshesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
			time.Sleep(time.Second)
			return pair(n), nil
		}}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond) // some during it, some after
				mustToken(t, s)
			})
		}
		wg.Wait()
		if n := service.refreshes(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// While the access token is valid, only the caller that started the refresh waits.
func TestTokenSourceReturnsValidTokensAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
			time.Sleep(5 * time.Second)
			return pair(n), nil
		}}
		first := pair(0)
		s := synmetrix.NewTokenSource(service, first, synmetrix.TokenSourceConfig{})
		time.Sleep(time.Hour - 30*time.Second)
		renewed := make(chan string)
		go func() { renewed <- mustToken(t, s) }()
		synctest.Wait()
		start := time.Now()
		if mustToken(t, s) != first.AccessToken || time.Since(start) != 0 {
			t.Error("a second caller did not get the valid token at once")
		}
		if <-renewed == first.AccessToken {
			t.Error("the first caller did not get the new token")
		}
	})
}

func TestTokenSourceRefreshOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(ctx context.Context, n int) (auth.Tokens, error) {
			select {
			case <-ctx.Done():
				return auth.Tokens{}, ctx.Err()
			case <-time.After(5 * time.Second):
				return pair(n), nil
			}
		}}
		var saved []auth.Tokens
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
			Save: func(_ context.Context, tokens auth.Tokens) error { saved = append(saved, tokens); return nil },
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error = %v, want DeadlineExceeded", err)
		}
		token := mustToken(t, s)
		if service.refreshes() != 1 || len(saved) != 1 || saved[0].AccessToken != token {
			t.Errorf("%d refreshes, %d pairs saved, want 1 and 1", service.refreshes(), len(saved))
		}
	})
}

// A caller whose context has ended before its call starts no refresh.
func TestTokenSourceOfACanceledCaller(t *testing.T) {
	t.Parallel()
	service := &fakeService{}
	s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if token, err := s.Token(ctx); token != "" || !errors.Is(err, context.Canceled) || service.refreshes() != 0 {
		t.Errorf("token %v, error %v, %d refreshes; want Canceled and none", token != "", err, service.refreshes())
	}
	if mustToken(t, s); service.refreshes() != 1 {
		t.Errorf("%d refreshes, want 1", service.refreshes())
	}
}

func TestTokenSourceSavesBeforeUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var service fakeService
		diskFull := errors.New("disk full")
		var passed []auth.Tokens // to Save
		var saveErr error
		s := synmetrix.NewTokenSource(&service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
			Save: func(_ context.Context, tokens auth.Tokens) error {
				time.Sleep(time.Second)
				passed = append(passed, tokens)
				return saveErr
			},
		})
		saveErr = diskFull
		for range 3 {
			if token, err := s.Token(t.Context()); !errors.Is(err, diskFull) || token != "" {
				t.Fatalf("error = %v, want that of Save", err)
			}
		}
		saveErr = nil
		token := mustToken(t, s)
		if mustToken(t, s) != token || service.refreshes() != 1 || len(passed) != 4 {
			t.Errorf("%d refreshes, %d calls of Save, want 1 and 4", service.refreshes(), len(passed))
		}
		for _, tokens := range passed {
			if tokens.AccessToken != token || tokens.RefreshToken != "refresh-1" {
				t.Error("the saved tokens are not those that Token returns")
			}
		}
	})
}

func outage(retryAfter time.Duration, wraps error) error {
	return &auth.Error{Op: "refresh", RetryAfter: retryAfter, Err: wraps}
}

func TestTokenSourceDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		service := &fakeService{}
		service.refresh = func(_ context.Context, n int) (auth.Tokens, error) {
			if down {
				return auth.Tokens{}, outage(0, auth.ErrUnavailable)
			}
			return pair(n), nil
		}
		first := pair(0)
		s := synmetrix.NewTokenSource(service, first, synmetrix.TokenSourceConfig{})
		time.Sleep(time.Hour - time.Minute)
		for range 600 { // the access token is valid
			if mustToken(t, s) != first.AccessToken {
				t.Fatal("Token returned another token")
			}
			time.Sleep(100 * time.Millisecond)
		}
		// The pauses are 0.25, 0.5, ... 8 s and then 10 s, or up to a quarter less.
		if n := service.refreshes(); n < 10 || n > 13 {
			t.Errorf("%d refreshes in a minute, want 10 to 13", n)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("the token has expired: error %v, want ErrUnavailable", err)
		}
		down = false
		time.Sleep(10 * time.Second)
		if mustToken(t, s) == first.AccessToken {
			t.Error("not refreshed after the outage")
		}
	})
}

func TestTokenSourceHonorsRetryAfter(t *testing.T) {
	t.Parallel()
	limited := errors.Join(auth.ErrRateLimited, auth.ErrUnavailable)
	for name, test := range map[string]struct {
		retryAfter time.Duration
		err        error
		want       time.Duration
	}{
		"Retry-After":      {30 * time.Second, auth.ErrUnavailable, 30 * time.Second},
		"a minute at most": {10 * time.Minute, auth.ErrUnavailable, time.Minute},
		"rate limit":       {10 * time.Minute, limited, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
					if n == 1 {
						return auth.Tokens{}, outage(test.retryAfter, test.err)
					}
					return pair(n), nil
				}}
				s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
				if _, err := s.Token(t.Context()); err == nil {
					t.Fatal("no error")
				}
				time.Sleep(test.want - time.Second)
				if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrUnavailable) || service.refreshes() != 1 {
					t.Errorf("error %v after %d refreshes, want the error of the first refresh", err, service.refreshes())
				}
				time.Sleep(time.Second)
				mustToken(t, s)
			})
		})
	}
}

func TestTokenSourceEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tokens auth.Tokens
		err    error
		want   error
	}{
		"refused":      {auth.Tokens{}, outage(0, auth.ErrRefused), auth.ErrRefused},
		"another user": {auth.Tokens{AccessToken: jwtOf("u2", time.Now().Add(time.Hour)), RefreshToken: "refresh-1"}, nil, auth.ErrInvalidResponse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := &fakeService{refresh: func(context.Context, int) (auth.Tokens, error) { return test.tokens, test.err }}
			s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expiredAccess, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
				Save: func(context.Context, auth.Tokens) error { t.Error("saved"); return nil },
			})
			for range 3 {
				if token, err := s.Token(t.Context()); !errors.Is(err, test.want) || token != "" {
					t.Errorf("error = %v, want %v", err, test.want)
				}
			}
			if n := service.refreshes(); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
		})
	}
}

// The source revokes the tokens of another user and does not keep them: a later
// logout would end that user's sessions.
func TestTokenSourceRevokesAnotherUsersTokens(t *testing.T) {
	t.Parallel()
	srv := authtest.NewServer(t, authtest.Options{PasswordCost: -1})
	srv.AddAccount(authtest.Account{Email: email, Password: password})
	srv.AddAccount(authtest.Account{Email: other, Password: password})
	_, kept := srv.SignIn(other)
	c := newClient(t, srv.URL)
	grant, err := c.Login(testContext(t), email, password)
	if err != nil {
		t.Fatal(err)
	}
	s := synmetrix.NewTokenSource(c, grant.Tokens, synmetrix.TokenSourceConfig{
		Save: func(context.Context, auth.Tokens) error { t.Error("saved"); return nil },
	})

	// The caller stops waiting before the response arrives.
	var gate authtest.Gate
	srv.Inject(authtest.Refresh, authtest.Fault{
		After: &gate,
		Edit:  func(a *authtest.Response) { a.Body = []byte(tokensBody(srv.SignIn(other))) },
	})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-gate.Arrived(1)
		cancel()
	}()
	if _, err := s.Renew(ctx, grant.AccessToken); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want Canceled", err)
	}
	gate.Open()
	for range 2 {
		_, err := s.Renew(testContext(t), grant.AccessToken)
		wantError(t, err, "refresh", synmetrix.CodeUserChanged, 0, "", "invalid response")
	}
	if live := srv.LiveTokens(other); !slices.Equal(live, []string{kept}) {
		t.Errorf("%d sessions of the other user, want only the one from before", len(live))
	}
	if s.Tokens() != grant.Tokens {
		t.Error("the tokens of the source have changed")
	}
	if err := s.Logout(testContext(t), true); err != nil {
		t.Error(err)
	}
	if live := srv.LiveTokens(other); len(live) != 1 {
		t.Errorf("%d sessions of the other user after the logout, want 1", len(live))
	}
	if live := srv.LiveTokens(email); len(live) != 0 {
		t.Errorf("%d sessions of the user after the logout, want 0", len(live))
	}
}

// hangingService never responds to a logout.
type hangingService struct{ fakeService }

func (f *hangingService) Logout(ctx context.Context, tokens auth.Tokens, all bool) error {
	_ = f.fakeService.Logout(ctx, tokens, all)
	<-ctx.Done()
	return ctx.Err()
}

// The revocation has a time limit. If the service does not rotate refresh tokens,
// the source's own refresh token belongs to the other user and is revoked, too.
func TestTokenSourceBoundsARevocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired, theirs := jwt(time.Now()), jwtOf("u2", time.Now().Add(time.Hour))
		service := &hangingService{fakeService{refresh: func(context.Context, int) (auth.Tokens, error) {
			return auth.Tokens{AccessToken: theirs}, nil
		}}}
		s := synmetrix.NewTokenSource(service, auth.Tokens{AccessToken: expired, RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		start := time.Now()
		_, err := s.Token(t.Context())
		wantError(t, err, "refresh", synmetrix.CodeUserChanged, 0, "", "invalid response")
		if took := time.Since(start); took != synmetrix.DefaultTimeout {
			t.Errorf("took %v, want %v", took, synmetrix.DefaultTimeout)
		}
		if want := []auth.Tokens{{AccessToken: theirs, RefreshToken: "refresh-0"}}; !slices.Equal(service.loggedOut, want) {
			t.Errorf("%d logouts, want one with the other user's tokens", len(service.loggedOut))
		}
		if want := (auth.Tokens{AccessToken: expired}); s.Tokens() != want {
			t.Error("the source keeps the other user's token")
		}
	})
}

// The source keeps the new refresh token of a response without a usable access
// token.
func TestTokenSourceKeepsARotatedToken(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]struct {
		tokens auth.Tokens
		err    error
	}{
		"no access token":         {auth.Tokens{RefreshToken: "refresh-1"}, outage(0, auth.ErrInvalidResponse)},
		"unreadable access token": {auth.Tokens{AccessToken: "a.b.c", RefreshToken: "refresh-1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
					if n == 1 {
						return response.tokens, response.err
					}
					return pair(n), nil
				}}
				var saved []string
				s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
					Save: func(_ context.Context, tokens auth.Tokens) error {
						saved = append(saved, tokens.RefreshToken)
						return nil
					},
				})
				if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrInvalidResponse) {
					t.Errorf("error = %v, want ErrInvalidResponse", err)
				}
				time.Sleep(time.Second)
				mustToken(t, s)
				if want := []string{"refresh-0", "refresh-1"}; !slices.Equal(service.refreshed, want) {
					t.Errorf("used %q, want %q", service.refreshed, want)
				}
				if want := []string{"refresh-1", "refresh-2"}; !slices.Equal(saved, want) {
					t.Errorf("saved %q, want %q", saved, want)
				}
			})
		})
	}
}

// If Save fails for a refresh token without an access token, the pause before the
// next refresh stays the same.
func TestTokenSourcePausesAfterAFailedSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(context.Context, int) (auth.Tokens, error) {
			return auth.Tokens{RefreshToken: "refresh-1"}, outage(time.Minute, auth.ErrInvalidResponse)
		}}
		saves := 0
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
			Save: func(context.Context, auth.Tokens) error {
				if saves++; saves == 1 {
					return errors.New("disk full")
				}
				return nil
			},
		})
		for range 3 {
			if _, err := s.Token(t.Context()); !errors.Is(err, auth.ErrInvalidResponse) {
				t.Errorf("error = %v, want that of the refresh", err)
			}
		}
		if service.refreshes() != 1 || saves != 2 {
			t.Errorf("%d refreshes, %d saves, want 1 and 2", service.refreshes(), saves)
		}
	})
}

// If the clock of the service is behind, its tokens seem to be expired when they
// arrive. Their lifetime counts from receipt.
func TestTokenSourceCountsLifetimeFromReceipt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
			return auth.Tokens{AccessToken: jwt(time.Now().Add(-time.Hour)), RefreshToken: fmt.Sprint("refresh-", n)}, nil
		}}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		token := mustToken(t, s)
		time.Sleep(time.Hour - 2*time.Minute)
		if mustToken(t, s) != token || service.refreshes() != 1 {
			t.Errorf("%d refreshes, want 1", service.refreshes())
		}
	})
}

// Without iat, the token expires when the local clock reaches exp.
func TestTokenSourceWithoutIssuedAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired := true
		service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
			exp := time.Now().Add(time.Hour)
			if expired {
				exp = time.Now()
			}
			payload := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":"u1"},"exp":%d}`, exp.Unix())
			return auth.Tokens{AccessToken: unsigned + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AA", RefreshToken: fmt.Sprint("refresh-", n)}, nil
		}}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		_, err := s.Token(t.Context())
		wantError(t, err, "refresh", synmetrix.CodeNoAccessToken, 0, "", "invalid response")
		expired = false
		time.Sleep(time.Second)
		token := mustToken(t, s)
		time.Sleep(time.Hour - 2*time.Minute)
		if mustToken(t, s) != token || service.refreshes() != 2 {
			t.Errorf("%d refreshes, want 2", service.refreshes())
		}
	})
}

func TestTokenSourceRenew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{refresh: func(_ context.Context, n int) (auth.Tokens, error) {
			time.Sleep(time.Second)
			return pair(n), nil
		}}
		first := pair(0)
		s := synmetrix.NewTokenSource(service, first, synmetrix.TokenSourceConfig{})
		time.Sleep(time.Second) // so that the next token differs
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 200 * time.Millisecond)
				if token, err := s.Renew(t.Context(), first.AccessToken); err != nil || token == first.AccessToken {
					t.Errorf("not refreshed: %v", err)
				}
			})
		}
		wg.Wait()
		if n := service.refreshes(); n != 1 {
			t.Errorf("%d refreshes for one rejected token, want 1", n)
		}
	})
}

// A service that hangs does not block the source for ever.
func TestTokenSourceBoundsARefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{logout: refusesExpired}
		service.refresh = func(ctx context.Context, n int) (auth.Tokens, error) {
			if n > 1 {
				return pair(n), nil
			}
			select {
			case <-ctx.Done():
				return auth.Tokens{}, ctx.Err()
			case <-time.After(time.Hour):
				return auth.Tokens{}, errors.New("no deadline")
			}
		}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{})
		start := time.Now()
		if _, err := s.Token(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want DeadlineExceeded", err)
		}
		if took := time.Since(start); took != 3*synmetrix.DefaultTimeout {
			t.Errorf("took %v, want %v", took, 3*synmetrix.DefaultTimeout)
		}
		time.Sleep(time.Second)
		mustToken(t, s)
	})
}

// A panic of the app's own code is an error, and the source continues.
func TestTokenSourceRecoversPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secret = "refresh_token=secret"
		panics := true
		fail := func() {
			if panics {
				panic(secret)
			}
		}
		service := &fakeService{
			refresh: func(_ context.Context, n int) (auth.Tokens, error) { fail(); return pair(n), nil },
			logout:  func(auth.Tokens, bool) error { fail(); return nil },
		}
		s := synmetrix.NewTokenSource(service, auth.Tokens{RefreshToken: "refresh-0"}, synmetrix.TokenSourceConfig{
			Save: func(context.Context, auth.Tokens) error { fail(); return nil },
		})
		_, err := s.Token(t.Context())
		wantError(t, err, "refresh", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
		time.Sleep(time.Second)
		service.refresh = nil
		for range 2 {
			if _, err = s.Token(t.Context()); err == nil {
				t.Error("Save has panicked: no error")
			}
			noSecrets(t, err)
		}
		panics = false
		mustToken(t, s)
		if n := service.refreshes(); n != 2 {
			t.Errorf("%d refreshes, want 2", n)
		}
		panics = true
		wantError(t, s.Logout(t.Context(), false), "logout", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
		panics = false
		if err := s.Logout(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
}

// Without tokens no request is sent.
func TestTokenSourceWithoutTokens(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok("{}")))
	s := synmetrix.NewTokenSource(newClient(t, srv.URL), auth.Tokens{}, synmetrix.TokenSourceConfig{})
	_, err := s.Token(testContext(t))
	wantError(t, err, "refresh", synmetrix.CodeMissingToken, 0, "", "refused")
	_, err = s.Renew(testContext(t), validAccess)
	wantError(t, err, "refresh", synmetrix.CodeMissingToken, 0, "", "refused")
	wantError(t, s.Logout(testContext(t), true), "logout", synmetrix.CodeMissingToken, 0, "", "refused")
	if n := len(srv.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
