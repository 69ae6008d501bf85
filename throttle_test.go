package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// guessService counts the calls that reach the service. The right password is "right", and
// the right code is "123456".
type guessService struct {
	*testkit.Service
	mfa    bool
	fails  error
	calls  atomic.Int64
	mails  atomic.Int64
	active atomic.Int64
	most   atomic.Int64
}

func (s *guessService) Login(_ context.Context, email, password string) (auth.Grant, error) {
	s.calls.Add(1)
	if n := s.active.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	defer s.active.Add(-1)
	time.Sleep(100 * time.Millisecond)
	switch {
	case s.fails != nil:
		return auth.Grant{}, s.fails
	case password != "right":
		return auth.Grant{}, auth.ErrRefused
	case s.mfa:
		return auth.Grant{}, &auth.SecondFactorError{Ticket: "ticket"}
	}
	return auth.Grant{Tokens: s.Issue(email)}, nil
}

func (s *guessService) LoginTOTP(_ context.Context, _, code string) (auth.Grant, error) {
	s.calls.Add(1)
	if code != "123456" {
		return auth.Grant{}, auth.ErrRefused
	}
	return auth.Grant{Tokens: s.Issue("ada@example.com")}, nil
}

func (s *guessService) SendMagicLink(context.Context, string) error {
	s.mails.Add(1)
	return auth.ErrRefused // no account
}

// client sends requests from an address, with its own cookies.
type client struct {
	m       *session.Manager
	addr    string // empty if the server does not know it
	cookies http.Header
}

// send makes a call in a request, and keeps the cookies of the response.
func (c *client) send(t *testing.T, call func(ctx context.Context) error) error {
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	r.RemoteAddr = "@" // as that of a Unix socket
	if c.addr != "" {
		r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(c.addr), 1234).String()
	}
	for _, line := range c.cookies["Cookie"] {
		r.Header.Add("Cookie", line)
	}
	r, x := testkit.Begin(c.m, r)
	err := call(r.Context())
	h := http.Header{}
	if failed := x.Commit(h); failed != nil {
		t.Error(failed)
	}
	for _, cookie := range (&http.Response{Header: h}).Cookies() {
		if cookie.MaxAge > 0 {
			c.cookies.Add("Cookie", cookie.Name+"="+cookie.Value)
		}
	}
	return err
}

func (c *client) login(t *testing.T, email, password string) error {
	return c.send(t, func(ctx context.Context) error { return c.m.Login(ctx, email, password) })
}

// guessing is a test's auth service, and processes that share a store.
type guessing struct {
	*guessService
	processes []*session.Manager
	shared    *testkit.FailingStore
}

func (g *guessing) client(process int, addr string) *client {
	return &client{g.processes[process%len(g.processes)], addr, http.Header{}}
}

// overGuesses runs a test in virtual time, with one process or with three that share a
// coordinator or a store.
func overGuesses(t *testing.T, test func(t *testing.T, g *guessing)) {
	for _, kind := range []string{"one process", "coordinator", "store"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &guessing{guessService: &guessService{Service: &testkit.Service{T: t}}, shared: &testkit.FailingStore{Store: memstore.New()}}
				cfg := session.Config{Auth: g.guessService, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler)}
				n := 3
				switch kind {
				case "coordinator":
					cfg.Coordinator = g.shared
				case "store":
					cfg.Store = g.shared
				default:
					n = 1
				}
				for range n {
					m, err := session.New(cfg)
					if err != nil {
						t.Fatal(err)
					}
					g.processes = append(g.processes, m)
				}
				test(t, g)
				for _, m := range g.processes {
					shutdown(t, m)
				}
			})
		})
	}
}

// atOnce calls f for 0 to n-1 concurrently, and returns how often the error was a
// refusal, and how often a limit was reached.
func atOnce(n int, f func(i int) error) (refused, limited int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			var limit *session.TooManyAttemptsError
			switch {
			case errors.As(err, &limit) && errors.Is(err, session.ErrTooManyAttempts) && limit.RetryAfter >= time.Second && limit.RetryAfter <= 15*time.Minute:
				limited++
			case errors.Is(err, auth.ErrRefused):
				refused++
			}
		})
	}
	wg.Wait()
	return refused, limited
}

// From one address, 10 wrong passwords for an account and 100 for all accounts reach the
// service, even if they are sent at the same time to several processes.
func TestGuessesFromOneAddress(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		guess := func(email string) func(i int) error {
			return func(i int) error { return g.client(i, "192.0.2.1").login(t, email, "wrong") }
		}
		if refused, limited := atOnce(40, guess("ada@example.com")); refused != 10 || limited != 30 || g.calls.Load() != 10 {
			t.Errorf("%d guesses were refused and %d not made, %d reached the service; want 10 and 30", refused, limited, g.calls.Load())
		}
		if err := g.client(0, "192.0.2.1").login(t, " ADA@example.com", "right"); !errors.Is(err, session.ErrTooManyAttempts) {
			t.Errorf("the right password after too many wrong ones: %v", err)
		}
		if err := g.client(0, "192.0.2.2").login(t, "ada@example.com", "right"); err != nil {
			t.Errorf("from another address: %v", err)
		}
		atOnce(1000, func(i int) error { return guess(fmt.Sprintf("user%d@example.com", i))(i) })
		if n := g.calls.Load(); n != 101 {
			t.Errorf("%d guesses from one address reached the service, want 100 and one from another", n)
		}
		time.Sleep(15*time.Minute + time.Second)
		if err := g.client(0, "192.0.2.1").login(t, "ada@example.com", "right"); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// From all addresses together 100 wrong passwords for an account reach the service. A
// browser in which the user has signed in before is not locked out.
func TestGuessesFromManyAddresses(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		owner := g.client(0, "198.51.100.1")
		if err := owner.login(t, "ada@example.com", "right"); err != nil {
			t.Fatal(err)
		}
		g.calls.Store(0)
		for round := range 3 {
			atOnce(200, func(i int) error {
				return g.client(i, fmt.Sprintf("203.0.113.%d", i)).login(t, "ada@example.com", "wrong"+fmt.Sprint(round))
			})
		}
		if n := g.calls.Load(); n != 100 {
			t.Errorf("%d guesses reached the service, want 100", n)
		}
		stranger := g.client(1, "198.51.100.2")
		if err := stranger.login(t, "ada@example.com", "right"); !errors.Is(err, session.ErrTooManyAttempts) {
			t.Errorf("an unknown browser: %v", err)
		}
		for _, addr := range []string{"198.51.100.1", "198.51.100.3"} {
			owner.addr = addr
			if err := owner.login(t, "ada@example.com", "right"); err != nil {
				t.Errorf("the owner's browser at %s: %v", addr, err)
			}
		}
		if err := owner.login(t, "bob@example.com", "wrong"); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("another account in the same browser: %v", err)
		}
		if refused, _ := atOnce(40, func(int) error { return owner.login(t, "ada@example.com", "wrong") }); refused != 10 {
			t.Errorf("%d guesses in a known browser, want 10", refused)
		}
	})
}

// A browser is not a known device of an account for which it has presented only wrong
// credentials, even if another user signs in with it.
func TestUnknownDevice(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		attacker := g.client(0, "198.51.100.1")
		err := attacker.send(t, func(ctx context.Context) error {
			if err := attacker.m.Login(ctx, "ada@example.com", "wrong"); !errors.Is(err, auth.ErrRefused) {
				t.Error(err)
			}
			return attacker.m.Start(ctx, auth.Grant{Tokens: g.Issue("eve@example.com")})
		})
		if err != nil {
			t.Fatal(err)
		}
		atOnce(100, func(i int) error {
			return g.client(i, fmt.Sprintf("203.0.113.%d", i)).login(t, "ada@example.com", "wrong")
		})
		if err := attacker.login(t, "ada@example.com", "wrong"); !errors.Is(err, session.ErrTooManyAttempts) {
			t.Errorf("after 100 wrong passwords: %v", err)
		}
	})
}

// A right password clears the wrong ones. Right passwords and failures of the service do
// not count, even if many arrive at the same time.
func TestWhichAttemptsCount(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		c := func(i int) *client { return g.client(i, "192.0.2.1") }
		for i := range 30 {
			password := "wrong"
			if i%10 == 9 {
				password = "right"
			}
			if err := c(i).login(t, "ada@example.com", password); errors.Is(err, session.ErrTooManyAttempts) {
				t.Fatalf("attempt %d: %v", i, err)
			}
		}
		if refused, limited := atOnce(60, func(i int) error { return c(i).login(t, "ada@example.com", "right") }); refused+limited > 0 || g.most.Load() > 10 {
			t.Errorf("right passwords at once: %d refused, %d not tried, %d at a time", refused, limited, g.most.Load())
		}
		g.fails = auth.ErrUnavailable
		for i := range 30 {
			if err := c(i).login(t, "ada@example.com", "wrong"); !errors.Is(err, auth.ErrUnavailable) {
				t.Fatalf("an outage: %v", err)
			}
		}
	})
}

// Codes are counted separately from passwords, and a right password does not clear them.
func TestGuessedCodes(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		g.mfa = true
		codes := 0
		for i := range 20 {
			c := g.client(i, "192.0.2.1")
			if err := c.login(t, "ada@example.com", "right"); !errors.Is(err, auth.ErrSecondFactor) {
				t.Fatal(err)
			}
			err := c.send(t, func(ctx context.Context) error { return c.m.LoginTOTP(ctx, "000000") })
			if errors.Is(err, auth.ErrRefused) {
				codes++
			} else if !errors.Is(err, session.ErrTooManyAttempts) {
				t.Fatal(err)
			}
		}
		if codes != 10 {
			t.Errorf("%d wrong codes reached the service, want 10", codes)
		}
	})
}

// 5 e-mails may be requested for an account, and 20 from an address.
func TestMailLimits(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		requestMail := func(i int, addr, email string) error {
			c := g.client(i, addr)
			return c.send(t, func(ctx context.Context) error { return c.m.SendMagicLink(ctx, email) })
		}
		for i := range 10 {
			if err := requestMail(i, fmt.Sprintf("203.0.113.%d", i), "ada@example.com"); (err == nil) != (i < 5) {
				t.Errorf("e-mail %d: %v", i+1, err)
			}
		}
		for i := range 30 {
			if err := requestMail(i, fmt.Sprintf("2001:db8::%d", i+1), fmt.Sprintf("user%d@example.com", i)); (err == nil) != (i < 20) {
				t.Errorf("e-mail %d from a network: %v", i+1, err)
			}
		}
		if n := g.mails.Load(); n != 25 {
			t.Errorf("%d e-mails, want 25", n)
		}
		time.Sleep(15*time.Minute + time.Second)
		if err := requestMail(0, "203.0.113.1", "ada@example.com"); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// While the store is down, each process counts by itself.
func TestGuessesWhileTheStoreIsDown(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		g.shared.Down.Store(true)
		for i := range g.processes {
			if refused, limited := atOnce(40, func(int) error { return g.client(i, "192.0.2.1").login(t, "ada@example.com", "wrong") }); refused != 10 || limited != 30 {
				t.Errorf("process %d: %d refused, %d not tried; want 10 and 30", i, refused, limited)
			}
		}
	})
}

// A right password clears only the wrong passwords for its account from its address, even
// if these have no limit.
func TestRightPasswordsClearNoOtherLimit(t *testing.T) {
	overGuesses(t, func(t *testing.T, g *guessing) {
		wrong := func(i int) error {
			return g.client(i, fmt.Sprintf("203.0.113.%d", i)).login(t, "ada@example.com", "wrong")
		}
		for i := range 99 {
			if err := wrong(i); !errors.Is(err, auth.ErrRefused) {
				t.Fatal(err)
			}
		}
		if err := g.client(0, "").login(t, "ada@example.com", "right"); err != nil { // without an address
			t.Fatal(err)
		}
		if err := wrong(99); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("the last guess that is allowed: %v", err)
		}
		if err := wrong(100); !errors.Is(err, session.ErrTooManyAttempts) {
			t.Errorf("one more guess: %v", err)
		}
	})
}

func TestLimitsCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &guessService{Service: &testkit.Service{T: t}}
		cfg := session.Config{Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler)}
		for _, bad := range []session.Limits{{Guesses: 1001}, {AddressGuesses: 5000}, {AccountGuesses: 1001}, {Mails: 1001}, {AddressMails: 1001}, {Window: -1}, {Window: 25 * time.Hour}} {
			cfg.Limits = bad
			if _, err := session.New(cfg); err == nil {
				t.Errorf("%+v is accepted", bad)
			}
		}
		cfg.Limits = session.Limits{Window: time.Minute, Guesses: 2, AddressGuesses: -1, AccountGuesses: -1}
		m, err := session.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, m)
		c := &client{m, "192.0.2.1", http.Header{}}
		for i := range 500 {
			if err := c.login(t, fmt.Sprintf("user%d@example.com", i/5), "wrong"); errors.Is(err, auth.ErrRefused) != (i%5 < 2) {
				t.Fatalf("attempt %d: %v", i, err)
			}
		}
		time.Sleep(time.Minute)
		if err := c.login(t, "user1@example.com", "right"); err != nil {
			t.Error(err)
		}
	})
}

// Attempts that were counted by a wrong clock do not count after it was set back.
func TestGuessesWithAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		ahead.Store(int64(24 * time.Hour))
		service := &guessService{Service: &testkit.Service{T: t}}
		m, err := session.New(session.Config{
			Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, m)
		c := &client{m, "192.0.2.1", http.Header{}}
		for range 11 {
			err = c.login(t, "ada@example.com", "wrong")
		}
		if !errors.Is(err, session.ErrTooManyAttempts) {
			t.Errorf("guess 11: %v", err)
		}
		ahead.Store(0)
		if err := c.login(t, "ada@example.com", "right"); err != nil {
			t.Errorf("after the clock was set back: %v", err)
		}
	})
}
