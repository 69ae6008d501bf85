package testkit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// Service is an auth service whose behavior a test sets.
type Service struct {
	T         testing.TB    // fails if there is a refresh without OnRefresh
	Life      time.Duration // of access tokens; default Life
	OnRefresh func(ctx context.Context, refreshToken string) (auth.Tokens, error)
	OnLogout  func(ctx context.Context, t auth.Tokens, all bool) error // nil: succeeds at once

	Mu        sync.Mutex // tests may use it for their own variables
	issued    int
	refreshes int
	loggedOut []string
	all       []string
}

// Life is the default life of access tokens.
const Life = time.Minute

// Issue returns new tokens of a user.
func (s *Service) Issue(user string) auth.Tokens {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.issued++
	now, life := time.Now().Unix(), s.Life
	if life == 0 {
		life = Life
	}
	payload := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":%q,"x-hasura-allowed-roles":["user"]},"iat":%d,"exp":%d}`,
		user, now, now+int64(life/time.Second))
	b64 := base64.RawURLEncoding.EncodeToString
	return auth.Tokens{
		AccessToken:  b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload)) + "." + b64(fmt.Append(nil, s.issued)),
		RefreshToken: fmt.Sprintf("rt-%d", s.issued),
	}
}

// Login implements [auth.PasswordLogin]. It accepts any password.
func (s *Service) Login(_ context.Context, email, _ string) (auth.Grant, error) {
	return auth.Grant{Tokens: s.Issue(email)}, nil
}

// Refresh implements [auth.Service] with OnRefresh.
func (s *Service) Refresh(ctx context.Context, t auth.Tokens) (auth.Grant, error) {
	s.Mu.Lock()
	s.refreshes++
	s.Mu.Unlock()
	if s.OnRefresh == nil && s.T != nil {
		// A panic would be recovered, and the test would see an outage.
		s.T.Error("unexpected refresh")
		return auth.Grant{}, &auth.Error{Op: "refresh", Err: auth.ErrUnavailable}
	}
	next, err := s.OnRefresh(ctx, t.RefreshToken)
	return auth.Grant{Tokens: next}, err
}

// Logout implements [auth.Service].
func (s *Service) Logout(ctx context.Context, t auth.Tokens, all bool) error {
	if s.OnLogout != nil {
		if err := s.OnLogout(ctx, t, all); err != nil {
			return err
		}
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if all {
		s.all = append(s.all, t.RefreshToken)
	} else {
		s.loggedOut = append(s.loggedOut, t.RefreshToken)
	}
	return nil
}

// Refreshed returns how often Refresh was called.
func (s *Service) Refreshed() int {
	_, _, n := s.Revoked()
	return n
}

// Revoked returns the refresh tokens that were revoked, alone and for all
// sessions of their user, and how often Refresh was called.
func (s *Service) Revoked() (single, all []string, refreshes int) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return slices.Clone(s.loggedOut), slices.Clone(s.all), s.refreshes
}

// Visitor is a browser whose requests go to a Manager without a network.
type Visitor struct {
	T   testing.TB
	M   *session.Manager
	Jar map[string]string

	Change func(*http.Request) // changes each request before it is sent; may be nil
}

// Begin begins the handling of a request, as middleware does.
func Begin(m *session.Manager, r *http.Request) (*http.Request, *session.Exchange) {
	x := new(session.Exchange)
	return m.Begin(r.Context(), x, r), x
}

// Do sends a request of the browser and runs handler in it. A nil handler reads whether
// a user is signed in.
func (c *Visitor) Do(ctx context.Context, handler func(ctx context.Context, s *session.Session)) *session.Session {
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	for name, value := range c.Jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if c.Change != nil {
		c.Change(r)
	}
	r, x := Begin(c.M, r)
	if handler != nil {
		handler(r.Context(), session.FromContext(r.Context()))
	} else {
		session.FromContext(r.Context()).SignedIn()
	}
	h := http.Header{}
	if err := x.Commit(h); err != nil {
		c.T.Error(err)
	}
	for _, cookie := range (&http.Response{Header: h}).Cookies() {
		switch {
		case cookie.MaxAge < 0:
			delete(c.Jar, cookie.Name)
		case strings.HasSuffix(cookie.Name, "-device"): // stays after a sign-out, and has its own tests
		default:
			c.Jar[cookie.Name] = cookie.Value
		}
	}
	return session.FromContext(r.Context())
}

// Get sends a request whose handler reads whether a user is signed in.
func (c *Visitor) Get() *session.Session { return c.Do(c.T.Context(), nil) }

// Login signs the browser in.
func (c *Visitor) Login(user string) {
	c.T.Helper()
	c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) {
		if err := c.M.Login(ctx, user, "password"); err != nil {
			c.T.Fatal(err)
		}
	})
}

// Events records the Manager's events.
type Events struct {
	mu   sync.Mutex
	seen []session.Event
}

// Add records an event. It is a value for Config.OnEvent.
func (e *Events) Add(_ context.Context, ev session.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, ev)
}

// Has reports whether an event with this name and reason was recorded.
func (e *Events) Has(name, reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.seen {
		if ev.Name == name && ev.Reason == reason {
			return true
		}
	}
	return false
}

// Bubble runs a test for a cookie session and for a stored session, in virtual time. opts
// change the settings of the Manager.
func Bubble(t *testing.T, test func(t *testing.T, s *Service, c *Visitor, e *Events), opts ...func(*session.Config)) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, e := &Service{T: t}, &Events{}
				cfg := session.Config{
					Auth: s, Keys: []session.SecretKey{session.GenerateKey()},
					Logger: slog.New(slog.DiscardHandler), OnEvent: e.Add,
				}
				if stored {
					cfg.Store = memstore.New()
				}
				for _, o := range opts {
					o(&cfg)
				}
				m, err := session.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				test(t, s, &Visitor{T: t, M: m, Jar: map[string]string{}}, e)
				if err := m.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}

// TwoProcesses runs a test with two Managers that share a store, in virtual time. stall
// is the store of the first.
func TwoProcesses(t *testing.T, test func(t *testing.T, s *Service, a, b *session.Manager, stall *StallingStore)) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, shared := &Service{T: t}, memstore.New()
				keys := []session.SecretKey{session.GenerateKey()}
				process := func(st store.Store) *session.Manager {
					cfg := session.Config{
						Auth: s, Keys: keys, AuthTimeout: time.Minute, StoreTimeout: time.Minute,
						Logger: slog.New(slog.DiscardHandler),
					}
					if stored {
						cfg.Store = st
					} else {
						cfg.Coordinator = st
					}
					m, err := session.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					return m
				}
				stall := &StallingStore{Store: shared, still: make(chan struct{}, 1)}
				a, b := process(stall), process(&StallingStore{Store: shared, still: make(chan struct{}, 1)})
				test(t, s, a, b, stall)
				for _, m := range []*session.Manager{a, b} {
					if err := m.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// SignedIn signs users in and waits until their tokens have expired.
func SignedIn(t *testing.T, m *session.Manager, users int) []*Visitor {
	t.Helper()
	var all []*Visitor
	for range users {
		v := &Visitor{T: t, M: m, Jar: map[string]string{}}
		v.Login("ada")
		all = append(all, v)
	}
	time.Sleep(2 * Life)
	return all
}

// At returns a copy of the browser whose requests go to another process.
func (c *Visitor) At(m *session.Manager) *Visitor {
	jar := map[string]string{}
	for name, value := range c.Jar {
		jar[name] = value
	}
	return &Visitor{T: c.T, M: m, Jar: jar, Change: c.Change}
}

// Strict makes the service accept each refresh token once, and no token that was
// revoked.
func (s *Service) Strict() {
	used := map[string]bool{}
	s.OnRefresh = func(_ context.Context, rt string) (auth.Tokens, error) {
		s.Mu.Lock()
		refused := used[rt]
		used[rt] = true
		s.Mu.Unlock()
		if refused {
			return auth.Tokens{}, &auth.Error{Op: "refresh", StatusCode: 401, Err: auth.ErrRefused}
		}
		return s.Issue("ada"), nil
	}
	s.OnLogout = func(_ context.Context, t auth.Tokens, _ bool) error {
		s.Mu.Lock()
		defer s.Mu.Unlock()
		used[t.RefreshToken] = true
		return nil
	}
}

// Copy returns a copy of the browser with its cookies.
func (c *Visitor) Copy() *Visitor { return c.At(c.M) }

// All returns the recorded events.
func (e *Events) All() []session.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen)
}
