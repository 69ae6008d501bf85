package outcomes_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// TestLoginFaults injects every fault at a login, of a browser with a session and of one
// without: no user is signed in or signed out, and after the fault the login works.
func TestLoginFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for _, kind := range kindsFor(f.name, 1) {
			t.Run(f.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				loginFault(t, f, kind)
			})
		}
	}
}

func loginFault(t *testing.T, f fault, kind string) {
	timeout := tooLong
	if f.slow {
		timeout = shortTimeout
	}
	s := newSite(t, kind, withTimeout(timeout))
	visitor, member := s.browser(), s.signedIn("other@example.com")
	held := maps.Clone(member.cookies)
	s.auth.Inject(authtest.Login, f.Fault)
	before := s.auth.Requests(authtest.Login)
	if f.login == fine {
		visitor.login(user).is(http.StatusOK, "")
		visitor.get("/me").is(http.StatusOK, "").leavesCookies()
		return
	}
	for _, b := range []*browser{visitor, member} {
		a := b.login(user).is(f.login.status, f.login.code).leavesCookies()
		if f.hold > 0 && f.login == down && a.retryAfter() != int(f.hold/time.Second) && a.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After: %s, want %v", a.header.Get("Retry-After"), f.hold)
		}
		page := b.submit("/login", "email", user, "password", password).leavesCookies()
		if page.status != f.login.status || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, `name="password"`) {
			t.Errorf("the response to the form is %d %s", page.status, page.header.Get("Content-Type"))
		}
		if strings.Contains(page.body, "internals") || strings.Contains(a.body, "internals") || strings.Contains(page.body, password) {
			t.Error("the response shows a secret")
		}
	}
	if n := s.auth.Requests(authtest.Login) - before; n != 4 {
		t.Errorf("the service was called %d times for 4 logins", n)
	}
	visitor.get("/me").is(http.StatusUnauthorized, "unauthenticated").leavesCookies()
	member.get("/me").is(http.StatusOK, "").leavesCookies()
	if !maps.Equal(member.cookies, held) {
		t.Error("the cookies of the session before have changed")
	}
	want := session.EventLoginUnavailable
	if f.login == wrong {
		want = session.EventLoginRefused
	}
	if n := len(s.journal.of(want)); n != 4 {
		t.Errorf("%d events %s, want 4", n, want)
	}
	if f.refresh == halfway {
		// The tokens in the response cannot be used, and are revoked.
		until(t, "the tokens are revoked", func() bool { return len(s.auth.LiveTokens(user)) == 0 })
	}

	s.auth.Clear()
	for _, b := range []*browser{visitor, member} {
		b.login(user).is(http.StatusOK, "")
		if a := b.get("/me").is(http.StatusOK, "").leavesCookies(); !strings.Contains(a.body, "analyst") {
			t.Errorf("signed in as %s", a.body)
		}
	}
}

// TestCodeFaults injects every fault at the second step of a login: the login still waits
// for its code, and the second step can be repeated.
func TestCodeFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for _, kind := range kindsFor(f.name, 1) {
			t.Run(f.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				codeFault(t, f, kind)
			})
		}
	}
}

func codeFault(t *testing.T, f fault, kind string) {
	timeout := tooLong
	if f.slow {
		timeout = shortTimeout
	}
	s := newSite(t, kind, withTimeout(timeout))
	b := s.browser()
	b.login(totpUser).is(http.StatusAccepted, "")
	held := maps.Clone(b.cookies)
	s.auth.Inject(authtest.TOTP, f.Fault)
	want := f.login
	if f.totp != (refused{}) {
		want = f.totp
	}
	code := func() response {
		digits, err := totp.GenerateCode(totpSecret, s.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return b.post("/login/mfa", `{"code":"`+digits+`"}`)
	}
	a := code().is(want.status, want.code)
	if want == fine {
		b.get("/me").is(http.StatusOK, "").leavesCookies()
		return
	}
	a.leavesCookies()
	if !maps.Equal(b.cookies, held) {
		t.Error("the pending login has changed")
	}
	b.get("/me").is(http.StatusUnauthorized, "unauthenticated").leavesCookies()
	s.auth.Clear()
	if f.refresh == lost || f.refresh == halfway {
		// The ticket is used up, and the response is the same as for any used ticket.
		until(t, "the code is taken", func() bool { return len(s.auth.LiveTokens(totpUser)) > 0 || f.refresh == halfway })
		if a := code().is(http.StatusUnauthorized, "unauthenticated"); len(a.expired) != len(held) {
			t.Errorf("cookies expired: %q, want the pending login", a.expired)
		}
		b.login(totpUser).is(http.StatusAccepted, "")
	}
	code().is(http.StatusOK, "")
	b.get("/me").is(http.StatusOK, "").leavesCookies()
}

// A service that cannot be reached has the same effect as one that does not respond.
func TestServiceGone(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind)
			b := s.signedIn(user)
			ends := b.get("/me").tokenEnds()
			s.auth.Close()
			s.browser().login(user).is(http.StatusServiceUnavailable, "auth_unavailable").leavesCookies()
			s.clock.advance(inWindow)
			s.outage(b, true, ends)
			s.journal.wait(t, 1, session.EventRefreshUnavailable)
			s.clock.advance(time.Minute)
			s.outage(b, false, ends)
			if n := len(s.journal.of(session.EventRefreshUnknown)); n != 0 {
				t.Errorf("%d outcomes are unknown of requests that never left", n)
			}
			// The session can still be ended.
			if a := b.post("/logout", `{}`).is(http.StatusNoContent, ""); len(a.expired) == 0 || len(b.cookies) != 0 {
				t.Errorf("cookies left: %v", len(b.cookies))
			}
		})
	}
}
