package migrating

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const (
	user1   = `user true, theme "dark"`
	visitor = `user false, theme "dark"`
	nothing = `user false, theme ""`
)

// each runs a test for each library, with sessions in cookies and in a store.
func each(t *testing.T, tokens bool, test func(t *testing.T, s *site, stored bool)) {
	for _, l := range libraries {
		if tokens && !l.tokens {
			continue
		}
		for _, stored := range []bool{false, true} {
			name := l.name + "/cookies"
			if stored {
				name = l.name + "/stored"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, newSite(t, l), stored)
			})
		}
	}
}

// A session without a token keeps its values, and its user signs in once.
func TestMove(t *testing.T) {
	each(t, false, func(t *testing.T, s *site, stored bool) {
		s.begin(false)
		s.deploy(stored)
		s.want(s.send("GET", "/"), visitor)
		if s.has(s.old.cookie.Name) {
			t.Error("the old cookie is still there")
		}
		s.want(s.send("GET", "/"), visitor)
		s.signIn()
		s.want(s.send("GET", "/"), user1)
	})
}

// A session with a refresh token of the auth service continues.
func TestMoveUser(t *testing.T) {
	each(t, true, func(t *testing.T, s *site, stored bool) {
		s.begin(true)
		copied := s.oldCookies()
		s.deploy(stored)
		s.want(s.send("POST", "/"), user1)
		s.want(s.send("GET", "/"), user1)
		if s.has(s.old.cookie.Name) {
			t.Error("the old cookie is still there")
		}
		if a := s.send("GET", "/fresh", asProgram); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "reauthentication_required") {
			t.Errorf("RequireFresh: status %d, %s", a.status, a.body)
		}

		// A copy of the old cookie moves nothing.
		s.client.Jar = nil
		if a := s.send("GET", "/", copied); a.status != http.StatusServiceUnavailable || !expires(a, s.old.cookie.Name) {
			t.Errorf("a copy: status %d, %v", a.status, a.header)
		}
		if n := s.auth.Reuses(); n != 0 {
			t.Errorf("%d tokens were used twice", n)
		}
	})
}

func asProgram(r *http.Request) { r.Header.Set("Accept", "application/json") }

func expires(a siteResponse, name string) bool {
	for _, line := range a.header["Set-Cookie"] {
		if strings.HasPrefix(line, name+"=;") && strings.Contains(line, "Max-Age=0") {
			return true
		}
	}
	return false
}

// A token that the service rejects moves the values.
func TestMoveRefused(t *testing.T) {
	each(t, true, func(t *testing.T, s *site, stored bool) {
		s.begin(true)
		s.auth.Advance(31 * 24 * time.Hour) // the refresh token has expired
		s.deploy(stored)
		s.want(s.send("GET", "/"), visitor)
		if s.has(s.old.cookie.Name) {
			t.Error("the old cookie is still there")
		}
	})
}

// An outage of the auth service signs no user out.
func TestMoveOutage(t *testing.T) {
	each(t, true, func(t *testing.T, s *site, stored bool) {
		s.begin(true)
		s.auth.Inject(authtest.Refresh, authtest.Fault{Status: http.StatusServiceUnavailable})
		s.deploy(stored)
		for range 2 {
			if a := s.send("GET", "/"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("status %d, %v", a.status, a.header)
			}
		}
		if !s.has(s.old.cookie.Name) {
			t.Error("the old cookie is gone")
		}
		s.auth.Clear()
		s.want(s.send("GET", "/"), user1)
	})
}

// If the response of the auth service is lost, the token is sent again. The service
// rejects it, and the user signs in again.
func TestMoveLostResponse(t *testing.T) {
	each(t, true, func(t *testing.T, s *site, stored bool) {
		s.begin(true)
		s.auth.Inject(authtest.Refresh, authtest.Fault{Deliver: authtest.Reset, CarryOut: true, Times: 1})
		s.deploy(stored)
		if a := s.send("GET", "/"); a.status != http.StatusServiceUnavailable || !s.has(s.old.cookie.Name) {
			t.Errorf("status %d, %v", a.status, a.header)
		}
		s.want(s.send("GET", "/"), visitor)
		if s.has(s.old.cookie.Name) {
			t.Error("the old cookie is still there")
		}
	})
}

// One of several requests at the same time moves the session. The others can be repeated.
func TestMoveTogether(t *testing.T) {
	each(t, true, func(t *testing.T, s *site, stored bool) {
		s.begin(true)
		var gate authtest.Gate
		s.auth.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: 1})
		s.deploy(stored)
		first := make(chan siteResponse)
		go func() { first <- s.send("GET", "/") }()
		<-gate.Arrived(1)
		if a := s.send("GET", "/"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || expires(a, s.old.cookie.Name) {
			t.Errorf("status %d, %v", a.status, a.header)
		}
		gate.Open()
		s.want(<-first, user1)
		s.want(s.send("GET", "/"), user1)
		if n := s.auth.Reuses(); n != 0 {
			t.Errorf("%d tokens were used twice", n)
		}
	})
}

// A form of another site moves nothing.
func TestMoveCrossOrigin(t *testing.T) {
	each(t, false, func(t *testing.T, s *site, stored bool) {
		s.begin(false)
		s.deploy(stored)
		a := s.send("POST", "/", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
		if a.status != http.StatusForbidden || !s.has(s.old.cookie.Name) {
			t.Errorf("status %d, %v", a.status, a.header)
		}
	})
}

// A request with a bearer token has no session. It moves nothing, and the next request of the
// browser does.
func TestMoveBearer(t *testing.T) {
	each(t, false, func(t *testing.T, s *site, stored bool) {
		s.begin(false)
		s.deploy(stored)
		token, _ := s.auth.SignIn(user)
		for token, page := range map[string]string{token: `user true, theme ""`, "forged": nothing} {
			a := s.send("POST", "/", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
			s.want(a, page)
			if len(a.header["Set-Cookie"]) > 0 || !s.has(s.old.cookie.Name) {
				t.Errorf("Set-Cookie: %q", a.header["Set-Cookie"])
			}
		}
		s.want(s.send("GET", "/"), visitor)
	})
}

// A forged cookie starts no session, and is deleted.
func TestMoveForged(t *testing.T) {
	each(t, false, func(t *testing.T, s *site, stored bool) {
		s.deploy(stored)
		a := s.send("GET", "/", func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: s.old.cookie.Name, Value: "MTc2NDM3ODUzM3xEdi1CQkFFQ180SUFBUkFCRUFBQUpfLUNB"})
		})
		s.want(a, nothing)
		if !expires(a, s.old.cookie.Name) || len(a.header["Set-Cookie"]) != 1 {
			t.Errorf("Set-Cookie: %q", a.header["Set-Cookie"])
		}
	})
}

// Behind oauth2-proxy, the field with the refresh token signs the user in.
func TestMoveProxy(t *testing.T) {
	l := library{old: func(*testing.T) oldApp {
		return oldApp{cookie: http.Cookie{Name: "_oauth2_proxy", Path: "/"}, read: readProxy}
	}}
	s := newSite(t, l)
	s.deploy(false)
	_, token := s.auth.SignIn(user)
	s.want(s.send("GET", "/", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "_oauth2_proxy", Value: "sealed"})
		r.Header.Set("X-Oauth2-Refresh-Token", token)
	}), `user true, theme ""`)
	s.want(s.send("GET", "/"), `user true, theme ""`)
}
