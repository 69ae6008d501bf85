package session_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// members is an auth service with accounts, whose ID is their e-mail address.
type members struct {
	*testkit.Service
	passwords map[string]string
	mfa       bool
	autoLogin bool          // Register signs in at once
	known     time.Duration // how much longer a call for a known address takes
	fails     error         // of every call
	mails     []string
	loginFail error
	refreshed string // whose tokens are refreshed; default: see Refresh
}

func (s *members) wait(email string) error {
	time.Sleep(4 * time.Millisecond)
	if _, ok := s.passwords[email]; ok {
		time.Sleep(s.known)
	}
	return s.fails
}

func (s *members) grant(email string) auth.Grant {
	return auth.Grant{Tokens: s.Issue(email), User: auth.User{Email: email}}
}

func (s *members) Login(_ context.Context, email, password string) (auth.Grant, error) {
	switch {
	case s.loginFail != nil:
		return auth.Grant{}, s.loginFail
	case s.passwords[email] != password:
		return auth.Grant{}, auth.ErrRefused
	case s.mfa:
		return auth.Grant{}, &auth.SecondFactorError{Ticket: email}
	}
	return s.grant(email), nil
}

func (s *members) LoginTOTP(_ context.Context, ticket, _ string) (auth.Grant, error) {
	return s.grant(ticket), nil
}

func (s *members) Refresh(_ context.Context, t auth.Tokens) (auth.Grant, error) {
	if s.fails != nil {
		return auth.Grant{}, s.fails
	}
	if t.RefreshToken == "unknown" {
		return auth.Grant{}, auth.ErrRefused
	}
	return s.grant(cmp.Or(s.refreshed, t.RefreshToken)), nil // the token of a link is the address
}

func (s *members) Register(_ context.Context, email, password string) (auth.Grant, error) {
	if err := s.wait(email); err != nil {
		return auth.Grant{}, err
	}
	switch _, taken := s.passwords[email]; {
	case taken:
		return auth.Grant{}, errors.Join(auth.ErrRefused, auth.ErrAccountExists)
	case password == "short":
		return auth.Grant{}, errors.Join(auth.ErrRefused, auth.ErrPasswordRefused)
	}
	s.passwords[email] = password
	if s.autoLogin {
		return s.grant(email), nil
	}
	s.mails = append(s.mails, email)
	return auth.Grant{}, auth.ErrVerificationPending
}

func (s *members) SendMagicLink(_ context.Context, email string) error {
	if err := s.wait(email); err != nil {
		return err
	}
	if _, ok := s.passwords[email]; !ok {
		return auth.ErrRefused
	}
	s.mails = append(s.mails, email)
	return nil
}

func (s *members) SendPasswordReset(ctx context.Context, email string) error {
	return s.SendMagicLink(ctx, email)
}

func (s *members) ResetPassword(context.Context, string, string) error {
	return errors.Join(auth.ErrRefused, auth.ErrTicketRefused)
}

func (s *members) ChangePassword(_ context.Context, _, old, changed string) error {
	if s.fails != nil {
		return s.fails
	}
	if s.passwords["ada@example.com"] != old {
		return errors.Join(auth.ErrRefused, auth.ErrWrongPassword)
	}
	s.passwords["ada@example.com"] = changed
	return nil
}

// overMembers runs a test with cookie sessions and with stored ones, in virtual time.
func overMembers(t *testing.T, test func(t *testing.T, s *members, c *testkit.Visitor)) {
	for _, stored := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookie", true: "stored"}[stored], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &members{Service: &testkit.Service{T: t}, passwords: map[string]string{"ada@example.com": "right"}}
				cfg := session.Config{Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler)}
				if stored {
					cfg.Store = memstore.New()
				}
				m, err := session.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				test(t, s, &testkit.Visitor{T: t, M: m, Jar: map[string]string{}})
				shutdown(t, m)
			})
		})
	}
}

// timed runs a call in a request of the browser, and returns its error and how long it
// took.
func timed(c *testkit.Visitor, call func(ctx context.Context) error) (took time.Duration, err error) {
	c.Do(c.T.Context(), func(ctx context.Context, _ *session.Session) {
		began := time.Now()
		err = call(ctx)
		took = time.Since(began)
	})
	return took, err
}

// The result and the time of a call that takes an e-mail address do not show whether
// the address has an account, and neither do the cookies.
func TestMailsShowNoAccounts(t *testing.T) {
	calls := map[string]func(m *session.Manager, ctx context.Context, email string) error{
		"magic link": func(m *session.Manager, ctx context.Context, email string) error { return m.SendMagicLink(ctx, email) },
		"lost": func(m *session.Manager, ctx context.Context, email string) error {
			return m.SendPasswordReset(ctx, email)
		},
		"register": func(m *session.Manager, ctx context.Context, email string) error {
			return m.Register(ctx, email, "password")
		},
	}
	for name, call := range calls {
		for _, slow := range []time.Duration{0, 130 * time.Millisecond, time.Second} {
			t.Run(name+" "+slow.String(), func(t *testing.T) {
				overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
					s.known = slow
					var times []time.Duration
					var cookies []int
					for _, email := range []string{" Ada@example.com ", "bob@example.com"} {
						s.passwords = map[string]string{"Ada@example.com": "right"}
						b := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
						took, err := timed(b, func(ctx context.Context) error { return call(c.M, ctx, email) })
						if err != nil {
							t.Errorf("%s: %v", email, err)
						}
						times, cookies = append(times, took), append(cookies, len(b.Jar["__Host-session-link"]))
						if b.Get().SignedIn() {
							t.Errorf("%s: signed in", email)
						}
					}
					if times[0] != times[1] || times[0] < 300*time.Millisecond || cookies[0] != cookies[1] {
						t.Errorf("a known address takes %v, an unknown one %v; cookies of %v bytes", times[0], times[1], cookies)
					}
				})
			})
		}
	}
}

// Tokens that the service issues for a registration that must not sign in are revoked.
func TestRegisterRevokesTokens(t *testing.T) {
	overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
		s.autoLogin = true
		if _, err := timed(c, func(ctx context.Context) error { return c.M.Register(ctx, "bob@example.com", "password") }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if single, _, _ := s.Revoked(); len(single) != 1 || c.Get().SignedIn() {
			t.Errorf("revoked %v, signed in %v", single, c.Get().SignedIn())
		}
		_, err := timed(c, func(ctx context.Context) error { return c.M.Register(ctx, "eve@example.com", "short") })
		if !errors.Is(err, auth.ErrPasswordRefused) {
			t.Errorf("a short password: %v", err)
		}
	})
}

func TestRegisterAndSignIn(t *testing.T) {
	overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
		register := func(email string) error {
			_, err := timed(c, func(ctx context.Context) error { return c.M.RegisterAndSignIn(ctx, email, "password") })
			return err
		}
		if err := register("ada@example.com"); !errors.Is(err, auth.ErrAccountExists) {
			t.Errorf("a taken address: %v", err)
		}
		if err := register("bob@example.com"); !errors.Is(err, auth.ErrVerificationPending) || c.Get().SignedIn() {
			t.Errorf("a service that verifies: %v", err)
		}
		s.autoLogin = true
		if err := register("eve@example.com"); err != nil || c.Get().User().Email != "eve@example.com" {
			t.Errorf("a service that signs in: %v, as %q", err, c.Get().User().Email)
		}
	})
}

// follow follows a link of the given account.
func follow(c *testkit.Visitor, token string) (sealed string, err error) {
	_, err = timed(c, func(ctx context.Context) (err error) { sealed, err = c.M.FollowLink(ctx, token); return err })
	return sealed, err
}

// A browser is signed in by a link that it has requested, and not by a link of another
// account.
func TestFollowLink(t *testing.T) {
	overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
		requestLink := func() {
			t.Helper()
			_, err := timed(c, func(ctx context.Context) error {
				return c.M.SendMagicLink(ctx, "ADA@example.com", session.WithReturnTo("/reports"))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		waits := func() (ok bool) {
			c.Do(t.Context(), func(ctx context.Context, _ *session.Session) {
				var to string
				if to, ok = c.M.PendingLink(ctx); ok != (to == "/reports") {
					t.Errorf("waits: %v, return to %q", ok, to)
				}
			})
			return ok
		}
		if _, err := follow(c, "ada@example.com"); !errors.Is(err, session.ErrNoPendingLogin) || c.Get().SignedIn() {
			t.Errorf("a browser that has not requested a link: %v", err)
		}
		requestLink()
		sealed, err := follow(c, "eve@example.com")
		if !errors.Is(err, session.ErrOtherAccount) || c.Get().SignedIn() || !waits() {
			t.Fatalf("another account's link: %v, signed in %v", err, c.Get().SignedIn())
		}
		if _, err := follow(c, "unknown"); !errors.Is(err, auth.ErrRefused) || !waits() {
			t.Errorf("a refused token: %v", err)
		}
		if _, err := follow(c, "ada@example.com"); err != nil || c.Get().User().Email != "ada@example.com" || waits() {
			t.Errorf("the own link: %v, signed in as %q", err, c.Get().User().Email)
		}

		confirm := func(sealed string) error {
			_, err := timed(c, func(ctx context.Context) error { return c.M.ConfirmLink(ctx, sealed) })
			return err
		}
		for _, changed := range []string{"", "x", sealed[:len(sealed)-1], sealed + "A", c.Jar["__Host-session"]} {
			if err := confirm(changed); !errors.Is(err, auth.ErrRefused) {
				t.Errorf("a changed form: %v", err)
			}
		}
		if err := confirm(sealed); err != nil {
			t.Errorf("a confirmed link: %v", err)
		}

		requestLink()
		time.Sleep(15*time.Minute + time.Second)
		if waits() {
			t.Error("the browser waits for more than 15 minutes")
		}
		time.Sleep(time.Hour)
		if err := confirm(sealed); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("an old form: %v", err)
		}
	})
}

var theme = session.NewKey[string]("theme")

// After a change of the password the session continues under another ID, with its values,
// and the service has revoked the tokens of all others.
func TestChangePassword(t *testing.T) {
	overMembers(t, func(t *testing.T, s *members, c *testkit.Visitor) {
		change := func(old string) error {
			_, err := timed(c, func(ctx context.Context) error { return c.M.ChangePassword(ctx, old, "changed") })
			return err
		}
		if err := change("right"); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("a visitor: %v", err)
		}
		login := func(c *testkit.Visitor, password string) {
			t.Helper()
			if _, err := timed(c, func(ctx context.Context) error { return c.M.Login(ctx, "ada@example.com", password) }); err != nil {
				t.Fatal(err)
			}
		}
		login(c, "right")
		other := &testkit.Visitor{T: t, M: c.M, Jar: map[string]string{}}
		login(other, "right")
		if _, err := timed(c, func(ctx context.Context) error { return theme.Set(session.FromContext(ctx), "dark") }); err != nil {
			t.Fatal(err)
		}
		before := c.Copy()
		if took, err := timed(c, func(ctx context.Context) error { return c.M.ChangePassword(ctx, "wrong", "changed") }); !errors.Is(err, auth.ErrWrongPassword) || took < 300*time.Millisecond {
			t.Errorf("a wrong password: %v after %v", err, took)
		}
		s.fails = auth.ErrUnavailable
		if err := change("right"); !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, session.ErrSignInAgain) {
			t.Errorf("an outage: %v", err)
		}
		s.fails = nil
		if err := change("right"); err != nil {
			t.Fatal(err)
		}
		got, _ := theme.Get(c.Get())
		if !c.Get().SignedIn() || got != "dark" || before.Get().SignedIn() {
			t.Errorf("signed in %v with the theme %q; the older cookies still work: %v", c.Get().SignedIn(), got, before.Get().SignedIn())
		}
		if _, all, _ := s.Revoked(); len(all) != 1 {
			t.Errorf("the service has ended all sessions %d times, want once", len(all))
		}
		if other.Get().SignedIn() {
			t.Error("the other session has not ended")
		}

		s.mfa = true
		if err := change("changed"); !errors.Is(err, auth.ErrSecondFactor) || !c.Get().SignedIn() {
			t.Errorf("with a second factor: %v", err)
		}
		if _, err := timed(c, func(ctx context.Context) error { return c.M.LoginTOTP(ctx, "123456") }); err != nil {
			t.Fatal(err)
		}
		if got, _ := theme.Get(c.Get()); !c.Get().SignedIn() || got != "dark" {
			t.Errorf("after the code: signed in %v, theme %q", c.Get().SignedIn(), got)
		}

		s.loginFail = auth.ErrUnavailable
		if err := change("changed"); !errors.Is(err, session.ErrSignInAgain) || c.Get().SignedIn() {
			t.Errorf("the new sign-in fails: %v, signed in %v", err, c.Get().SignedIn())
		}
	})
}

// Without the interface of a flow, the Manager does not have the flow.
func TestUnsupportedFlows(t *testing.T) {
	a := newApp(t)
	if a.Features() != (session.Features{PasswordLogin: true, SecondFactor: true}) {
		t.Error("a Manager has flows that its service lacks")
	}
	b := a.signedIn()
	b.visit(func(ctx context.Context, _ *session.Session) {
		errs := []error{
			a.Register(ctx, "x", "y"), a.SendMagicLink(ctx, "x"), a.ChangePassword(ctx, "x", "y"),
			a.SendPasswordReset(ctx, "x"), a.ResetPassword(ctx, "x", "y"),
		}
		if slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, errors.ErrUnsupported) }) {
			t.Errorf("errors %v", errs)
		}
	})
	b.is(true)
}
