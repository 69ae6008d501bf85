package authtest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const refused = "Invalid or expired refresh token."

// GET /auth/token/refresh.
func TestRefresh(t *testing.T) {
	const path = "/auth/token/refresh"

	t.Run("valid, query", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		s := c.refresh(token).noCookies().session()
		if s.RefreshToken == token {
			t.Error("the refresh token was not rotated")
		}
		c.get(path+"?refresh_token="+s.RefreshToken, "Authorization: Bearer nonsense").session()
		c.live("ada@example.com", 1)
	})
	t.Run("valid, cookie only", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		next := c.get(path, "Cookie: refresh_token="+token).cookieSession()
		if next == token {
			t.Error("the refresh token was not rotated")
		}
		c.refresh(next).session()
	})
	t.Run("missing, empty, only in body, only a bearer", func(t *testing.T) {
		c := serve(t)
		access, token := c.login("ada@example.com")
		c.get(path).wantError(401, refused)
		c.get(path+"?refresh_token=").wantError(401, refused)
		c.get(path+"?token="+token).wantError(401, refused)
		c.get(path+"?Refresh_Token="+token).wantError(401, refused)
		c.get(path+"?token="+token, "Cookie: token="+token).wantError(401, refused)
		c.do("GET", path, `{"refresh_token":"`+token+`"}`).wantError(401, refused)
		c.get(path, bearer(token)).wantError(401, refused)
		c.get(path, bearer(access)).wantError(401, refused)
		c.refresh(token + "&x=" + uuid4).session()
	})
	t.Run("requires no second factor", func(t *testing.T) {
		c := serve(t)
		s := c.post("/auth/mfa/totp", `{"ticket":"`+c.ticket()+`","code":"`+c.code(0)+`","cookie":false}`).session()
		c.refresh(s.RefreshToken).sessionBody(c, "mfa@example.com", true)
	})
	for name, spoil := range map[string]func(c *conn, access, token string){
		"expired": func(c *conn, _, _ string) { c.srv.Advance(30*24*time.Hour + time.Second) },
		"inactive account": func(c *conn, _, _ string) {
			c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
		},
		"deleted account": func(c *conn, _, _ string) { c.srv.DeleteAccount("ada@example.com") },
		"after revoke":    func(c *conn, access, _ string) { c.post("/auth/token/revoke", "", bearer(access)).wantEmpty(204) },
		"after logout":    func(c *conn, _, token string) { c.post("/auth/logout?refresh_token="+token, "").wantEmpty(204) },
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t)
			access, token := c.login("ada@example.com")
			spoil(c, access, token)
			c.refresh(token).wantError(401, refused)
		})
	}
	t.Run("unknown UUID", func(t *testing.T) {
		c := serve(t)
		c.refresh(uuid4).wantError(401, refused)
	})
	t.Run("in the last second before expiry, the account active again", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
		c.refresh(token).wantError(401, refused)
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = false })
		c.srv.Advance(30 * 24 * time.Hour)
		c.refresh(token).session()
	})
	t.Run("a UUID in any form", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		for _, form := range []func(string) string{
			strings.ToUpper,
			func(s string) string { return strings.ReplaceAll(s, "-", "") },
			func(s string) string { return "%7B" + s + "%7D" },
		} {
			token = c.refresh(form(token)).session().RefreshToken
		}
	})
	t.Run("not a UUID, or sent twice", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.refresh("garbage").wantBadRequest()
		c.refresh(token + "0").wantBadRequest()
		c.refresh(token[:35]).wantBadRequest()
		c.refresh(token[:35] + "g").wantBadRequest()
		c.refresh(token[:35] + "-" + token[35:]).wantBadRequest()
		c.refresh("-" + token).wantBadRequest()
		c.refresh(token + "-").wantBadRequest()
		c.refresh("%7B" + token).wantBadRequest()
		c.refresh(token + "%7D").wantBadRequest()
		c.refresh(strings.Replace(token, "-", "--", 1)).wantBadRequest()
		c.refresh("%20" + token).wantBadRequest()
		c.refresh(token + "&refresh_token=" + token).wantBadRequest()
		c.get(path + "?refresh_token[]=" + token).wantBadRequest()
		c.refresh(token).session() // the token is not used up
	})
	t.Run("cookie A and query B", func(t *testing.T) {
		c := serve(t)
		_, adas := c.login("ada@example.com")
		_, bobs := c.login("bob@example.com")
		resp := c.get(path+"?refresh_token="+bobs, "Cookie: refresh_token="+adas)
		resp.cookieSession()
		ada, _ := c.srv.Account("ada@example.com")
		if _, payload := decode(t, jwtOf(resp)); !containsAll(payload, ada.ID) {
			t.Errorf("the session of another user: %s", payload)
		}
		c.refresh(bobs).session() // B stays live
	})
	t.Run("cookie stale or empty, query valid", func(t *testing.T) {
		c := serve(t, authtest.Options{Lax: true})
		_, stale := c.login("ada@example.com")
		token := c.refresh(stale).session().RefreshToken
		for _, cookie := range []string{stale, uuid4, ""} {
			c.get(path+"?refresh_token="+token, "Cookie: refresh_token="+cookie).wantError(401, refused)
		}
		c.refresh(token).session()
	})
	t.Run("HEAD consumes the token", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.do("HEAD", path+"?refresh_token="+token, "").wantEmpty(200)
		c.refresh(token).wantError(401, refused)
	})
	t.Run("account deleted between lookup and rotation", func(t *testing.T) {
		c := serve(t, authtest.Options{Lax: true})
		_, token := c.login("ada@example.com")
		var gate authtest.Gate
		c.srv.Inject(authtest.Refresh, authtest.Fault{Between: &gate, Times: 1})
		pending := c.later("GET", path+"?refresh_token="+token, "")
		<-gate.Arrived(1)
		c.srv.DeleteAccount("ada@example.com")
		gate.Open()
		(<-pending).serverError()
		if n := c.srv.Refreshes(); n != 0 {
			t.Errorf("%d refreshes, want none", n)
		}
	})
	t.Run("POST", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.post(path+"?refresh_token="+token, "").wantError(404, "Not Found")
		c.refresh(token).session()
	})
	t.Run("roles are the current ones", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Roles = []string{"user", "analyst"} })
		access, _ := c.login("ada@example.com")
		for _, jwt := range []string{access, c.refresh(token).session().JWT} {
			if _, payload := decode(t, jwt); !containsAll(payload, `"x-hasura-allowed-roles":["user","analyst"]`) {
				t.Errorf("payload is %s", payload)
			}
		}
	})
	t.Run("a full new 30 days each time", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		for range 3 {
			c.srv.Advance(29 * 24 * time.Hour)
			token = c.refresh(token).session().RefreshToken
		}
	})
	for name, opts := range map[string]authtest.Options{"strict": {}, "lax": {Lax: true}} {
		t.Run("client gives up waiting, "+name, func(t *testing.T) {
			c := serve(t, opts)
			_, token := c.login("ada@example.com")
			var gate authtest.Gate
			c.srv.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: 1})
			c.leave("GET", path+"?refresh_token="+token, "")
			gate.Open()
			eventually(t, func() bool { return c.srv.Refreshes() == 1 })
			orphans := c.srv.LiveTokens("ada@example.com") // tokens that no client has
			if len(orphans) != 1 || orphans[0] == token {
				t.Fatalf("live tokens are %q, want one new token", orphans)
			}
			c.refresh(token).wantError(401, refused)
			if !opts.Lax {
				return // the retry was a reuse, which has revoked the token
			}
			c.refresh(orphans[0]).session()
		})
	}
}

// Concurrent uses of one refresh token.
func TestConcurrentRefreshes(t *testing.T) {
	// all sends n refreshes with one token, which pass the gate together.
	all := func(c *conn, n int, token string, gate *authtest.Gate) (good []string) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range n {
			wg.Go(func() {
				resp, err := c.try("GET", "/auth/token/refresh?refresh_token="+token, "")
				switch {
				case err != nil:
					c.Error(err)
				case resp.status == 200:
					mu.Lock()
					good = append(good, resp.session().RefreshToken)
					mu.Unlock()
				default:
					resp.wantError(401, refused)
				}
			})
		}
		<-gate.Arrived(n)
		gate.Open()
		wg.Wait()
		return good
	}

	for _, n := range []int{2, 20} {
		t.Run(fmt.Sprintf("lax, %d", n), func(t *testing.T) {
			c := serve(t, authtest.Options{Lax: true})
			_, token := c.login("ada@example.com")
			var gate authtest.Gate
			c.srv.Inject(authtest.Refresh, authtest.Fault{Between: &gate, Times: n})
			good := all(c, n, token, &gate)
			if len(good) != n {
				t.Errorf("%d of %d succeeded, want all", len(good), n)
			}
			c.live("ada@example.com", n)
			if reuses := c.srv.Reuses(); reuses != n-1 {
				t.Errorf("Reuses is %d, want %d", reuses, n-1)
			}
			c.refresh(token).wantError(401, refused) // a later use
			distinct := make(map[string]bool)
			for _, token := range good {
				distinct[token] = true
				c.refresh(token).session() // each token has its own session
			}
			if len(distinct) != n {
				t.Errorf("%d tokens are distinct, want %d", len(distinct), n)
			}
		})
		t.Run(fmt.Sprintf("lax, %d, unforced", n), func(t *testing.T) {
			c := serve(t, authtest.Options{Lax: true})
			eventually(t, func() bool { // until two requests overlap
				_, token := c.login("ada@example.com")
				var gate authtest.Gate
				c.srv.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: n})
				return len(all(c, n, token, &gate)) > 1
			})
		})
		t.Run(fmt.Sprintf("strict, %d", n), func(t *testing.T) {
			c := serve(t)
			_, token := c.login("ada@example.com")
			_, other := c.login("ada@example.com")
			var gate authtest.Gate
			c.srv.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: n})
			good := all(c, n, token, &gate)
			if len(good) != 1 {
				t.Fatalf("%d succeeded, want 1", len(good))
			}
			if reuses := c.srv.Reuses(); reuses != n-1 {
				t.Errorf("Reuses is %d, want %d", reuses, n-1)
			}
			c.refresh(good[0]).wantError(401, refused) // the tokens of the login are revoked
			c.refresh(other).session()                 // those of another login are not
		})
	}
}

// The possible orders of a refresh and a concurrent logout of all sessions.
func TestRefreshRacingLogout(t *testing.T) {
	t.Run("refresh 200, logout 204, and the new token survives", func(t *testing.T) {
		c := serve(t, authtest.Options{Lax: true})
		_, token := c.login("ada@example.com")
		var gate authtest.Gate
		c.srv.Inject(authtest.Refresh, authtest.Fault{Between: &gate, Times: 1})
		pending := c.later("GET", "/auth/token/refresh?refresh_token="+token, "")
		<-gate.Arrived(1)
		c.post("/auth/logout?refresh_token="+token, `{"all":true}`).wantEmpty(204)
		gate.Open()
		c.refresh((<-pending).session().RefreshToken).session()
		if info, _ := c.srv.Token(token); info.State != authtest.TokenEnded {
			t.Errorf("the old token is %s, want the state after the logout", info.State)
		}
	})
	t.Run("refresh 200, logout 204, and the new token is revoked", func(t *testing.T) {
		for _, opts := range []authtest.Options{{}, {Lax: true}} {
			c := serve(t, opts)
			_, token := c.login("ada@example.com")
			var gate authtest.Gate
			c.srv.Inject(authtest.Logout, authtest.Fault{Between: &gate, Times: 1})
			pending := c.later("POST", "/auth/logout?refresh_token="+token, `{"all":true}`)
			<-gate.Arrived(1)
			next := c.refresh(token).session().RefreshToken
			gate.Open()
			(<-pending).wantEmpty(204)
			c.refresh(next).wantError(401, refused)
			c.live("ada@example.com", 0)
		}
	})
	t.Run("refresh 401, logout 204", func(t *testing.T) {
		c := serve(t, authtest.Options{Lax: true})
		_, token := c.login("ada@example.com")
		var gate authtest.Gate
		c.srv.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: 1})
		pending := c.later("GET", "/auth/token/refresh?refresh_token="+token, "")
		<-gate.Arrived(1)
		c.post("/auth/logout?refresh_token="+token, `{"all":true}`).wantEmpty(204)
		gate.Open()
		(<-pending).wantError(401, refused)
		c.live("ada@example.com", 0)
	})
}

// POST /auth/token/revoke.
func TestRevoke(t *testing.T) {
	const path = "/auth/token/revoke"
	t.Run("all refresh tokens of the user", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.login("ada@example.com")
		c.login("bob@example.com")
		c.post(path, "", bearer(access)).wantEmpty(204)
		c.live("ada@example.com", 0)
		c.live("bob@example.com", 1)
		c.post(path, "", bearer(access)).wantEmpty(204) // the JWT stays valid; no refresh tokens are left
	})
	t.Run("the user no longer exists, or is inactive", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
		c.post(path, "", bearer(access)).wantEmpty(204) // a JWT is valid until it expires
		c.srv.DeleteAccount("ada@example.com")
		c.post(path, "", bearer(access)).wantEmpty(204)
	})
}

// POST /auth/logout.
func TestLogout(t *testing.T) {
	tests := []struct {
		name, query, body string
		header            []string
		later             time.Duration // between login and logout
		status            int
		message           string
		left              int // sessions, of three
	}{
		{name: "all:true", body: `{"all":true}`, status: 204, left: 0},
		{name: `all:"true"`, body: `{"all":"true"}`, status: 204, left: 0},
		{name: "all:false", body: `{"all":false}`, status: 204, left: 2},
		{name: `all:"false"`, body: `{"all":"false"}`, status: 204, left: 2},
		{name: "{}", body: `{}`, status: 204, left: 2},
		{name: "no body", status: 204, left: 2},
		{name: "bad JWT", header: []string{bearer("x")}, status: 204, left: 2},
		{name: "expired JWT", later: time.Hour, status: 204, left: 2},
		{name: "all:true, expired JWT", body: `{"all":true}`, later: time.Hour, status: 204, left: 0},
		{name: "all:true, expired JWT, unknown token", query: "?refresh_token=" + uuid4, body: `{"all":true}`, later: time.Hour, status: 204, left: 3},
		{name: "unknown token", query: "?refresh_token=" + uuid4, body: `{"all":true}`, status: 204, left: 3},
		{name: "unknown token, no body", query: "?refresh_token=" + uuid4, status: 204, left: 3},
		{name: "malformed token", query: "?refresh_token=garbage", body: `{"all":true}`, status: 204, left: 3},
		{name: "malformed token, no body", query: "?refresh_token=garbage", status: 204, left: 3},
		{name: "no token", query: "?", status: 401, message: refused, left: 3},
		{name: "empty token", query: "?refresh_token=", status: 401, message: refused, left: 3},
		{name: "token in the body", query: "?", body: `{"refresh_token":"` + uuid4 + `"}`, status: 401, message: refused, left: 3},
		{name: "all:1", body: `{"all":1}`, status: 400, message: `"all" must be a boolean`, left: 3},
		{name: "extra key", body: `{"x":1}`, status: 400, message: `"x" is not allowed`, left: 3},
		{name: "malformed JSON", body: `{`, status: 400, left: 3},
		{name: "empty cookie before the query", header: []string{"Cookie: refresh_token="}, status: 401, message: refused, left: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t)
			c.login("ada@example.com")
			c.login("ada@example.com")
			access, token := c.login("ada@example.com")
			if tt.query == "" {
				tt.query = "?refresh_token=" + token
			}
			if tt.later > 0 {
				c.srv.Advance(tt.later)
				tt.header = []string{bearer(access)}
			}
			resp := c.post("/auth/logout"+tt.query, tt.body, tt.header...).noCookies()
			if tt.status == 204 {
				resp.wantEmpty(204)
			} else {
				resp.wantError(tt.status, tt.message)
			}
			c.live("ada@example.com", tt.left)
		})
	}

	t.Run("token already used", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.refresh(token).session()
		for _, body := range []string{`{"all":true}`, ``} {
			c.post("/auth/logout?refresh_token="+token, body).wantEmpty(204)
			c.live("ada@example.com", 1)
			if info, _ := c.srv.Token(token); info.State != authtest.TokenUsed {
				t.Errorf("the token is %s, want no change", info.State)
			}
		}
	})
	t.Run("token sent twice", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		for _, body := range []string{`{"all":true}`, ``} {
			c.post("/auth/logout?refresh_token="+token+"&refresh_token="+token, body).wantEmpty(204)
			c.post("/auth/logout?refresh_token[]="+token, body).wantEmpty(204)
		}
		c.live("ada@example.com", 1)
	})
	t.Run("all:true with an expired refresh token", func(t *testing.T) {
		c := serve(t)
		_, old := c.login("ada@example.com")
		c.srv.Advance(30*24*time.Hour + time.Second)
		c.login("ada@example.com")
		c.post("/auth/logout?refresh_token="+old, `{"all":true}`).wantEmpty(204)
		c.live("ada@example.com", 1)
	})
	t.Run("all:true for an inactive account", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
		c.post("/auth/logout?refresh_token="+token, `{"all":true}`).wantEmpty(204)
		c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = false })
		c.live("ada@example.com", 1)
	})
	t.Run("token in cookie", func(t *testing.T) {
		c := serve(t)
		_, inCookie := c.login("ada@example.com")
		_, inQuery := c.login("ada@example.com")
		c.post("/auth/logout?refresh_token="+inQuery, "", "Cookie: refresh_token="+inCookie).clears().wantEmpty(204)
		c.refresh(inCookie).wantError(401, refused)
		inQuery = c.refresh(inQuery).session().RefreshToken
		// The cookies are cleared before the body is checked.
		c.post("/auth/logout", `{"all":1}`, "Cookie: refresh_token="+inQuery).clears().wantError(400, `"all" must be a boolean`)
		c.refresh(inQuery).session()
	})
	t.Run("the JWT stays valid", func(t *testing.T) {
		c := serve(t)
		access, token := c.login("ada@example.com")
		c.post("/auth/logout?refresh_token="+token, "").wantEmpty(204)
		c.post("/auth/change-password", `{"old_password":"`+password+`","new_password":"another"}`, bearer(access)).wantEmpty(204)
	})
}
