package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
)

// stubVerifier accepts all tokens, unless a test sets an error.
type stubVerifier struct {
	mu    sync.Mutex
	calls int
	fails func(token string) error
}

func (v *stubVerifier) Verify(_ context.Context, token string) error {
	v.mu.Lock()
	v.calls++
	fails := v.fails
	v.mu.Unlock()
	if fails != nil {
		return fails(token)
	}
	return nil
}

func (v *stubVerifier) fail(f func(token string) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fails = f
}

func (v *stubVerifier) called() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

func (v *stubVerifier) rejects(string) error { return fmt.Errorf("%w: forged", auth.ErrInvalidToken) }
func (v *stubVerifier) isDown(string) error  { return errors.New("no keys") }

func withVerifier(v auth.Verifier) func(*session.Config) {
	return func(c *session.Config) { c.Verifier = v }
}

// bearer handles a request with a bearer token. It returns the header of the response.
func (a *app) bearer(token string, handler func(ctx context.Context, s *session.Session)) http.Header {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+token)
	r, x := testkit.Begin(a.Manager, r)
	handler(r.Context(), session.FromContext(r.Context()))
	h := http.Header{}
	if err := errors.Join(x.Commit(h), x.End()); err != nil {
		a.t.Error(err)
	}
	return h
}

// claims returns a token with a payload whose numbers are seconds from the epoch of the clock.
func claims(format string, seconds ...int64) string {
	args := make([]any, len(seconds))
	for i, s := range seconds {
		args[i] = epoch.Unix() + s
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"HS256"}`)) + "." + b64(fmt.Appendf(nil, format, args...)) + ".c2ln"
}

const aUser = `,"hasura":{"x-hasura-user-id":"u1","x-hasura-allowed-roles":["user","admin"],"x-hasura-default-role":"user","email":"u1@example.com"}}`

// The user of a request with an accepted token is the user of the token.
func TestBearerUser(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		v := &stubVerifier{}
		a := newApp(t, kind, withVerifier(v))
		token := claims(`{"iat":%d,"exp":%d`+aUser, -60, 600)
		h := a.bearer(token, func(ctx context.Context, s *session.Session) {
			if v.called() != 0 {
				t.Error("the token was verified before the user was used")
			}
			if !s.Bearer() || !s.SignedIn() || s.Err() != nil || s.UserID() != "u1" || s.User().Email != "u1@example.com" {
				t.Errorf("user %q, %+v, error %v", s.UserID(), s.User(), s.Err())
			}
			if !slices.Equal(s.Roles(), []string{"user", "admin"}) || !s.HasRole("admin") || s.HasRole("root") || s.DefaultRole() != "user" {
				t.Errorf("roles %q", s.Roles())
			}
			if err := s.Authorize(func(s *session.Session) bool { return s.HasRole("admin") }); err != nil {
				t.Error(err)
			}
			if err := s.Authorize(func(*session.Session) bool { return false }); !errors.Is(err, session.ErrForbidden) {
				t.Errorf("%v, want ErrForbidden", err)
			}
			expires := epoch.Add(10 * time.Minute)
			if !s.AccessTokenExpiresAt().Equal(expires) || !s.ExpiresAt().Equal(expires) || !s.Claims().ExpiresAt.Equal(expires) {
				t.Errorf("expires at %v and %v", s.AccessTokenExpiresAt(), s.ExpiresAt())
			}
			if unused, atMost := s.TimeLeft(); unused != 10*time.Minute || atMost != unused {
				t.Errorf("%v and %v left", unused, atMost)
			}
			if at := s.AuthenticatedAt(); !at.IsZero() {
				t.Errorf("authenticated at %v", at)
			}
			if got, err := s.AccessToken(ctx); got != token || err != nil {
				t.Errorf("token %q, %v", got, err)
			}
			if text := fmt.Sprintf("%v %+v %#v", s, s, s.LogValue()); strings.Contains(text, token) {
				t.Error("the token is printed")
			}
			select {
			case <-s.Done():
				t.Error("Done is closed")
			default:
			}
		})
		if len(h["Set-Cookie"]) > 0 || h.Get("Cache-Control") != "no-store" {
			t.Errorf("header %v", h)
		}
		if n := v.called(); n != 1 {
			t.Errorf("verified %d times, want once", n)
		}
	})
}

// Calls that need a session fail, and change nothing.
func TestBearerNeedsSession(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		api, requests := newCountingAPI(t)
		a := newApp(t, kind, withVerifier(&stubVerifier{}))
		b := a.signedIn()
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Cookie", b.header())
		r.Header.Set("Authorization", "bearer  "+claims(`{"exp":%d`+aUser, 600))
		r, x := testkit.Begin(a.Manager, r)
		ctx, s, key := r.Context(), session.FromContext(r.Context()), session.NewKey[string]("k")
		failures := callsOf(a.Manager, ctx, a.auth.issue(), api)
		if err := failures["Transport"]; err != nil || requests.Load() != 1 {
			t.Errorf("Transport: %v", err)
		}
		delete(failures, "Transport")
		failures["Set"], failures["Delete"] = key.Set(s, "v"), key.Delete(s)
		failures["Save"], failures["Refresh"] = s.Save(ctx), s.Refresh(ctx)
		failures["ChangePassword"] = a.ChangePassword(ctx, "old", "new")
		if stored {
			_, failures["Sessions"] = a.Sessions(ctx)
			failures["LogoutOthers"], failures["EndSession"] = a.LogoutOthers(ctx), a.EndSession(ctx, "x")
		}
		for call, err := range failures {
			if !errors.Is(err, session.ErrSessionRequired) || errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("%s: %v, want ErrSessionRequired", call, err)
			}
		}
		if _, ok := key.Get(s); ok || s.ValueNames() != nil || codePending(ctx, a) {
			t.Error("the request has values")
		}
		if _, ok := key.Pop(s); ok {
			t.Error("the request has values")
		}
		session.MarkPassive(ctx)
		h := http.Header{}
		if err := errors.Join(x.Commit(h), x.End()); err != nil || len(h["Set-Cookie"]) > 0 {
			t.Errorf("header %v, error %v", h, err)
		}
		b.is(true)
	})
}

func TestBearerTimes(t *testing.T) {
	a := newApp(t, withVerifier(&stubVerifier{}))
	for payload, accepted := range map[string]bool{
		claims(`{"exp":%d`+aUser, 1):                 true,
		claims(`{"exp":%d`+aUser, -29):               true,
		claims(`{"exp":%d`+aUser, -30):               false,
		claims(`{"exp":%d,"nbf":%d`+aUser, 600, 30):  true,
		claims(`{"exp":%d,"nbf":%d`+aUser, 600, 31):  false,
		claims(`{"exp":%d,"nbf":"%d"`+aUser, 600, 0): false,
		claims(`{"exp":%d,"nbf":null`+aUser, 600):    false,
		claims(`{"exp":%d,"iat":%d`+aUser, 600, 600): false,
		claims(`{"exp":"%d"`+aUser, 600):             false,
		claims(`{"iat":%d`+aUser, 0):                 false,
		claims(`{"exp":1e400` + aUser):               false,
		claims(`{"exp":%d,"hasura":{}}`, 600):        false,
		claims(`{"exp":%d}`, 600):                    false,
		"":                                           false,
		"x":                                          false,
		strings.Repeat("x", 1<<20):                   false,
	} {
		a.bearer(payload, func(ctx context.Context, s *session.Session) {
			err := s.Authorize(nil)
			if accepted && err != nil || !accepted && (!errors.Is(err, session.ErrUnauthenticated) || !errors.Is(err, session.ErrBearer)) {
				t.Errorf("%.100s: %v", payload, err)
			}
			if !accepted && (s.UserID() != "" || s.Roles() != nil || s.Claims().ExpiresAt != (time.Time{}) || s.Err() != nil) {
				t.Errorf("%.100s: user %q", payload, s.UserID())
			}
			if _, tokenErr := s.AccessToken(ctx); (tokenErr == nil) != accepted {
				t.Errorf("%.100s: AccessToken: %v", payload, tokenErr)
			}
		})
	}
	// Only auth_time counts, and an unknown time is not recent.
	for payload, recent := range map[string]bool{
		claims(`{"exp":%d,"iat":%d`+aUser, 600, -10):                   false,
		claims(`{"exp":%d,"iat":%d,"auth_time":%d`+aUser, 600, 0, -99): false,
		claims(`{"exp":%d,"iat":%d,"auth_time":%d`+aUser, 600, -99, 0): true,
		claims(`{"exp":%d,"iat":%d,"auth_time":"%d"`+aUser, 600, 0, 0): false,
		claims(`{"exp":%d`+aUser, 600):                                 false,
	} {
		a.bearer(payload, func(_ context.Context, s *session.Session) {
			err := s.AuthorizeFresh(time.Minute)
			if (err == nil) != recent || err != nil && (!errors.Is(err, session.ErrReauthenticationRequired) || !errors.Is(err, session.ErrBearer)) {
				t.Errorf("authenticated at %v: %v", s.AuthenticatedAt(), err)
			}
		})
	}
	// A request may outlive its token.
	a.bearer(claims(`{"exp":%d`+aUser, 600), func(ctx context.Context, s *session.Session) {
		if !s.SignedIn() {
			t.Fatal("refused")
		}
		a.clock.Advance(time.Hour)
		if _, err := s.AccessToken(ctx); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("AccessToken: %v", err)
		}
	})
}

// Only a list of strings has roles.
func TestBearerRoles(t *testing.T) {
	a := newApp(t, withVerifier(&stubVerifier{}))
	for roles, want := range map[string][]string{
		`["admin"]`: {"admin"}, `[]`: nil, `"admin"`: nil, `"[\"admin\"]"`: nil, `null`: nil, `true`: nil, `1`: nil, `{"admin":true}`: nil,
		`[["admin"]]`: nil, `["admin",null]`: nil, `["admin",1]`: nil, `[{"a":"admin"}]`: nil, `["Admin"]`: {"Admin"}, `["admin "]`: {"admin "}, `["admin\u0000"]`: {"admin\x00"},
	} {
		payload := claims(`{"exp":%d,"hasura":{"x-hasura-user-id":"u1","x-hasura-allowed-roles":`+strings.ReplaceAll(roles, "%", "%%")+`}}`, 600)
		a.bearer(payload, func(_ context.Context, s *session.Session) {
			if got := s.Roles(); !s.SignedIn() || len(got) != len(want) || !slices.Equal(got, want) && want != nil || s.HasRole("admin") != slices.Contains(want, "admin") {
				t.Errorf("%s: %q, want %q", roles, got, want)
			}
		})
	}
}

// An outage of the verifier is neither a sign-in nor a sign-out.
func TestVerifierOutage(t *testing.T) {
	v := &stubVerifier{}
	a := newApp(t, withVerifier(v))
	token := claims(`{"exp":%d`+aUser, 600)
	for name, fails := range map[string]func(string) error{
		"down": v.isDown, "panic": func(string) error { panic("bug") },
		"timeout": func(string) error { return context.DeadlineExceeded },
	} {
		v.fail(fails)
		before := v.called()
		a.bearer(token, func(ctx context.Context, s *session.Session) {
			for range 3 {
				var down *session.UnavailableError
				if err := s.Authorize(nil); !errors.As(err, &down) || down.RetryAfter != time.Second || errors.Is(err, session.ErrUnauthenticated) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := s.Err(); !errors.Is(err, session.ErrSessionUnavailable) || s.SignedIn() {
				t.Errorf("%s: Err %v", name, err)
			}
			if err := a.Logout(ctx); !errors.Is(err, session.ErrSessionUnavailable) {
				t.Errorf("%s: Logout %v", name, err)
			}
			if n := v.called() - before; n != 1 {
				t.Errorf("%s: %d calls, want 1", name, n)
			}
			v.fail(nil)
			a.clock.Advance(time.Second)
			if !s.SignedIn() || s.Err() != nil {
				t.Errorf("%s: not signed in after the outage: %v", name, s.Err())
			}
		})
	}
	// If the caller's context has ended, the verifier has not failed.
	a.bearer(token, func(ctx context.Context, s *session.Session) {
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.AccessToken(canceled); !errors.Is(err, session.ErrSessionUnavailable) || !s.SignedIn() {
			t.Errorf("AccessToken: %v", err)
		}
	})
}

// After an API rejects the token, no other token is sent, because a bearer token cannot be
// refreshed.
func TestBearerRejectedByAPI(t *testing.T) {
	requests := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer api.Close()
	a := newApp(t, withVerifier(&stubVerifier{}))
	a.bearer(claims(`{"exp":%d`+aUser, 600), func(ctx context.Context, s *session.Session) {
		req, err := http.NewRequestWithContext(ctx, "GET", api.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := a.Transport(api.Listener.Addr().String()).RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = resp.Body.Close()
		if !s.SignedIn() {
			t.Error("the user is not signed in any more")
		}
	})
	if requests != 1 || a.auth.refreshes() != 0 {
		t.Errorf("%d requests, %d refreshes, want 1 and 0", requests, a.auth.refreshes())
	}
}

// lookingVerifier uses the session of its context.
type lookingVerifier struct{ t *testing.T }

func (v lookingVerifier) Verify(ctx context.Context, _ string) error {
	if s := session.FromContext(ctx); s.SignedIn() || s.Bearer() {
		v.t.Error("the verifier sees a session")
	}
	if ctx.Value(traceKey{}) != "trace" {
		v.t.Error("the verifier does not see the values of the request's context")
	}
	return nil
}

// A verifier that uses the session of its context does not wait for itself.
func TestVerifierSeesNoSession(t *testing.T) {
	a := newApp(t, withVerifier(lookingVerifier{t}))
	for name, contextOf := range map[string]func(*http.Request) context.Context{
		"the request's context": (*http.Request).Context,
		"the framework's context": func(r *http.Request) context.Context {
			return &frameworkContext{Context: r.Context(), request: r.Context()}
		},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+claims(`{"exp":%d`+aUser, 600))
		r, _ = testkit.Begin(a.Manager, r.WithContext(context.WithValue(r.Context(), traceKey{}, "trace")))
		ctx := contextOf(r)
		if _, err := session.FromContext(ctx).AccessToken(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Goroutines of a request may share its session.
func TestBearerConcurrently(t *testing.T) {
	a := newApp(t, withVerifier(&stubVerifier{}))
	a.bearer(claims(`{"exp":%d`+aUser, 600), func(ctx context.Context, s *session.Session) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := s.Authorize(nil); err != nil || s.UserID() != "u1" || !s.HasRole("admin") {
					t.Errorf("user %q, %v", s.UserID(), err)
				}
				_, _ = s.AccessToken(ctx)
				_ = s.Done()
			})
		}
		wg.Wait()
	})
}

// Two Authorization fields are rejected, even if one of them has a valid token.
func TestTwoBearers(t *testing.T) {
	a := newApp(t, withVerifier(&stubVerifier{}))
	good := "Bearer " + claims(`{"exp":%d`+aUser, 600)
	r := httptest.NewRequest("GET", "/", nil)
	for _, fields := range [][]string{{good, good}, {"Basic x", good}, {good, "Basic x"}, {"", "", "", "", ""}} {
		r.Header["Authorization"] = fields
		r, _ := testkit.Begin(a.Manager, r)
		if err := session.FromContext(r.Context()).Authorize(nil); !errors.Is(err, session.ErrBearer) {
			t.Errorf("%q: %v, want ErrBearer", fields, err)
		}
	}
}

// Done is closed when the token expires.
func TestBearerDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := session.New(session.Config{Auth: &testkit.Service{}, Keys: []session.SecretKey{session.GenerateKey()}, Verifier: &stubVerifier{}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		token := claims(fmt.Sprintf(`{"exp":%d`, start.Unix()+600) + aUser)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, gone := range []bool{false, true} {
			r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
			r.Header.Set("Authorization", "Bearer "+token)
			r, _ = testkit.Begin(m, r)
			done := session.FromContext(r.Context()).Done()
			if gone {
				cancel() // its watch must end; synctest finds a goroutine that stays
				continue
			}
			<-done
			if d := time.Since(start); d != 10*time.Minute {
				t.Errorf("closed after %v", d)
			}
		}
	})
}

// The tokens that the service issues are verified once, and those in cookies are not.
func TestSessionTokensAreVerified(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		v := &stubVerifier{}
		a := newApp(t, kind, withVerifier(v))
		signIn := func() (err error) {
			a.visit("", func(ctx context.Context, _ *session.Session) { err = a.Login(ctx, "user@example.com", "password") })
			return err
		}
		v.fail(v.rejects)
		if err := signIn(); !errors.Is(err, auth.ErrInvalidResponse) {
			t.Errorf("rejected: %v", err)
		}
		v.fail(v.isDown)
		if err := signIn(); !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrInvalidResponse) {
			t.Errorf("down: %v", err)
		}
		shutdown(t, a.Manager) // the revocations
		if n := a.auth.liveTokens(); n != 0 {
			t.Errorf("%d tokens of failed sign-ins are live", n)
		}

		v.fail(nil)
		a = newApp(t, kind, withVerifier(v))
		b := a.signedIn()
		before := v.called()
		for range 5 {
			b.is(true)
		}
		if n := v.called() - before; n != 0 {
			t.Errorf("%d calls for requests with cookies", n)
		}
		a.clock.Advance(59*time.Minute + 30*time.Second)
		b.is(true)
		if n := v.called() - before; n != 1 || a.auth.refreshes() != 1 {
			t.Errorf("%d calls, %d refreshes, want one each", n, a.auth.refreshes())
		}

		// A new token that is rejected, or cannot be verified, ends no session.
		for _, fails := range []func(string) error{v.rejects, v.isDown, func(string) error { panic("bug") }} {
			v.fail(fails)
			a.clock.Advance(59*time.Minute + 30*time.Second)
			b.is(true) // with the old token
			a.clock.Advance(time.Minute)
			b.visit(func(_ context.Context, s *session.Session) {
				if err := s.Authorize(nil); !errors.Is(err, session.ErrSessionUnavailable) {
					t.Errorf("expired: %v", err)
				}
			})
			v.fail(nil)
			a.clock.Advance(20 * time.Second)
			b.is(true) // with the refresh token of the last response
		}
		if n := a.auth.liveTokens(); n != 1 {
			t.Errorf("%d live tokens, want 1", n)
		}
	})
}

// The app's clock may use the session: no lock of the session is held while it is called.
func TestClockUsesTheSession(t *testing.T) {
	var current atomic.Pointer[session.Session]
	a := newApp(t, withVerifier(&stubVerifier{}), func(cfg *session.Config) {
		now := cfg.Now
		cfg.Now = func() time.Time {
			if s := current.Load(); s != nil {
				read := make(chan struct{})
				go func() { s.LogValue(); close(read) }()
				select {
				case <-read:
				case <-time.After(10 * time.Second):
					t.Error("the clock is called while the session is locked")
				}
			}
			if now != nil {
				return now()
			}
			return time.Now()
		}
	})
	for _, token := range []string{"", "Bearer " + claims(`{"exp":%d`+aUser, 600)} {
		r := httptest.NewRequest("GET", "/", nil)
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		r, x := testkit.Begin(a.Manager, r)
		s := session.FromContext(r.Context())
		current.Store(s)
		if token != "" {
			s.SignedIn()
		} else if err := session.NewKey[string]("k").Set(s, "v"); err != nil {
			t.Error(err)
		}
		current.Store(nil)
		_ = x.End()
	}
}
