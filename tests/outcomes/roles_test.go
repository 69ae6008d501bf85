package outcomes_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
)

// withRoles gives the user n roles.
func (s *site) withRoles(n int) {
	s.auth.UpdateAccount(user, func(a *authtest.Account) {
		a.Roles = []string{"user"}
		for i := range n {
			a.Roles = append(a.Roles, fmt.Sprintf("department-%04d", i))
		}
		a.Roles = append(a.Roles, "analyst") // at the end of them all
	})
}

// A token with 300 roles works, over several cookies. If the next refresh returns fewer
// roles, the cookies that are no longer needed are deleted.
func TestManyRoles(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsFor(t.Name(), 2) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind)
			s.withRoles(300)
			b := s.signedIn(user)
			want := []string{"__Host-session", "__Host-session-1", "__Host-session-2", "__Host-session-state"}
			if s.stored {
				want = want[:1]
			}
			var names []string
			for name := range b.cookies {
				names = append(names, name)
			}
			if slices.Sort(names); !slices.Equal(names, want) {
				t.Errorf("cookies %q, want %q", names, want)
			}
			b.get("/analysts").is(http.StatusOK, "").leavesCookies()
			b.get("/admins").is(http.StatusForbidden, "forbidden")
			if a := b.get("/me").is(http.StatusOK, ""); !strings.Contains(a.body, `"department-0000"`) || !strings.Contains(a.body, `"department-0299"`) {
				t.Errorf("not all roles in %.200s", a.body)
			}
			s.clock.advance(expired)
			if a := b.get("/analysts").is(http.StatusOK, ""); len(a.expired) != 0 || len(a.renewed) != len(want)-1 && !s.stored {
				t.Errorf("a refresh sets %q and expires %q", a.renewed, a.expired)
			}

			s.withRoles(0)
			s.clock.advance(expired)
			a := b.get("/analysts").is(http.StatusOK, "")
			if !s.stored && !slices.Equal(a.expired, want[1:3]) {
				t.Errorf("cookies expired: %q, want %q", a.expired, want[1:3])
			}
			b.get("/analysts").is(http.StatusOK, "").leavesCookies()

			s.auth.UpdateAccount(user, func(a *authtest.Account) { a.Roles = []string{"user"} })
			s.clock.advance(expired)
			b.get("/analysts").is(http.StatusForbidden, "forbidden")
		})
	}
}

// If the tokens do not fit the cookies, the login fails with an error that names the
// solution, and the tokens are revoked. A store has room for them.
func TestTooManyRoles(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cookie")
	b := s.signedIn("other@example.com")
	s.withRoles(2000)
	visitor := s.browser()
	for _, b := range []*browser{visitor, b} {
		b.login(user).is(http.StatusInternalServerError, "session_too_large").leavesCookies()
		page := b.submit("/login", "email", user, "password", password).is(http.StatusInternalServerError, "").leavesCookies()
		if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			t.Errorf("the response to the form is %s", page.header.Get("Content-Type"))
		}
	}
	until(t, "the tokens are revoked", func() bool { return len(s.auth.LiveTokens(user)) == 0 })
	visitor.get("/me").is(http.StatusUnauthorized, "unauthenticated")
	b.get("/me").is(http.StatusOK, "").leavesCookies()

	stored := newSite(t, "memory")
	stored.withRoles(2000)
	stored.signedIn(user).get("/analysts").is(http.StatusOK, "")
}

// A refresh that returns too many roles does not end the session.
func TestTooManyRolesAtRefresh(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cookie")
	b := s.signedIn(user)
	s.withRoles(2000)
	for i := range 3 {
		s.clock.advance(expired)
		for range 3 {
			b.get("/analysts").is(http.StatusOK, "").leavesCookies()
		}
		s.refreshed(i + 1)
	}
	if len(s.journal.of(session.EventTokensUnwritten)) == 0 || !strings.Contains(s.journal.text(), "Config.Store") {
		t.Error("no event says what to do")
	}
	s.withRoles(3)
	s.clock.advance(expired)
	if a := b.get("/analysts").is(http.StatusOK, ""); !slices.Contains(a.renewed, "__Host-session") {
		t.Errorf("cookies set: %q", a.renewed)
	}
	if n := s.auth.Reuses(); n != 0 {
		t.Errorf("%d tokens were used twice", n)
	}
}

// If the tokens do not fit the cookies, the error of Manager.Login names the solution.
func TestTooManyRolesInTheLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cookie")
	s.withRoles(2000)
	s.browser().login(user).is(http.StatusInternalServerError, "session_too_large")
	if !strings.Contains(s.journal.text(), "Config.Store") {
		t.Errorf("the log does not name a store as the way out:\n%s", s.journal.text())
	}
}
