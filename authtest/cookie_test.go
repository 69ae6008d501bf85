package authtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const uuidPattern = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`

// The session body and its cookies, from every endpoint that returns them.
func TestSessionBody(t *testing.T) {
	endpoints := []struct {
		name, user string
		send       func(c *conn, mode string) *response
	}{
		{"register", "new@example.com", func(c *conn, mode string) *response {
			return c.post(registerPath, `{"email":"new@example.com","password":"secret"`+mode+`}`)
		}},
		{"login", "ada@example.com", func(c *conn, mode string) *response {
			return c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"`+mode+`}`)
		}},
		{"MFA", "mfa@example.com", func(c *conn, mode string) *response {
			return c.post("/auth/mfa/totp", `{"ticket":"`+c.ticket()+`","code":"`+c.code(0)+`"`+mode+`}`)
		}},
	}
	for _, e := range endpoints {
		t.Run(e.name+", cookie:false", func(t *testing.T) {
			c := serve(t)
			e.send(c, `,"cookie":false`).clears().sessionBody(c, e.user, true)
		})
		for name, mode := range map[string]string{
			"cookie:true": `,"cookie":true`, "no cookie key": ``, `cookie:"false"`: `,"cookie":"false"`, `cookie:"TRUE"`: `,"cookie":"TRUE"`,
		} {
			t.Run(e.name+", "+name, func(t *testing.T) {
				c := serve(t)
				resp := e.send(c, mode)
				resp.sessionBody(c, e.user, false)
				resp.setsCookies(c, e.user)
			})
		}
	}
	t.Run("refresh by query touches no cookie", func(t *testing.T) {
		c := serve(t)
		_, token := c.srv.SignIn("ada@example.com")
		c.refresh(token).noCookies().sessionBody(c, "ada@example.com", true)
	})
	t.Run("refresh by cookie", func(t *testing.T) {
		c := serve(t)
		_, token := c.srv.SignIn("ada@example.com")
		resp := c.get("/auth/token/refresh", "Cookie: refresh_token="+token)
		resp.sessionBody(c, "ada@example.com", false)
		resp.setsCookies(c, "ada@example.com")
	})
}

// sessionBody checks for a 200 with a session body, byte by byte except for the values
// that are random.
func (resp *response) sessionBody(c *conn, user string, withToken bool) {
	resp.Helper()
	account, _ := c.srv.Account(user)
	want := `^\{"jwt_token":"[\w.-]+","jwt_expires_in":900000,` + regexp.QuoteMeta(fmt.Sprintf(
		`"user":{"id":%q,"display_name":%q,"email":%q}`, account.ID, account.DisplayName, account.Email))
	if withToken {
		want += `,"refresh_token":"` + uuidPattern + `"`
	}
	if resp.status != 200 || !regexp.MustCompile(want+`\}$`).MatchString(resp.body) {
		resp.Errorf("response is %d %s, want %s}", resp.status, resp.body, want)
	}
}

// setsCookies checks both cookies byte by byte, for an account with default settings,
// and returns the refresh token.
func (resp *response) setsCookies(c *conn, user string) (token string) {
	resp.Helper()
	account, _ := c.srv.Account(user)
	token = resp.cookies()["refresh_token"]
	if !regexp.MustCompile("^" + uuidPattern + "$").MatchString(token) {
		resp.Errorf("refresh token in the cookie is %q", token)
	}
	variables := fmt.Sprintf(`{"user-id":%q,"allowed-roles":["%s"],"default-role":%q}`,
		account.ID, strings.Join(account.Roles, `","`), account.DefaultRole)
	attributes := "; Max-Age=2592000; Path=/; Expires=" +
		c.srv.Now().Add(30*24*time.Hour).UTC().Format(http.TimeFormat) + "; HttpOnly; SameSite=Lax"
	want := []string{
		"refresh_token=" + token + attributes,
		"permission_variables=" + url.QueryEscape(variables) + attributes,
	}
	if got := resp.header["Set-Cookie"]; fmt.Sprint(got) != fmt.Sprint(want) {
		resp.Errorf("Set-Cookie is\n%q, want\n%q", got, want)
	}
	return token
}

// COOKIE_SECRET, COOKIE_SECURE, COOKIE_SAME_SITE and JWT_REFRESH_EXPIRES_IN.
func TestCookieSettings(t *testing.T) {
	const login = `{"email":"ada@example.com","password":"` + password + `"}`
	for _, tt := range []struct {
		name  string
		opts  authtest.Options
		value string // the beginning of values
		end   string
	}{
		{"COOKIE_SECRET", authtest.Options{CookieSecret: "a secret"}, "s%3A", "; HttpOnly; SameSite=Lax"},
		{"COOKIE_SECURE", authtest.Options{CookieSecure: true}, "", "; HttpOnly; Secure; SameSite=Lax"},
		{"COOKIE_SAME_SITE=strict", authtest.Options{CookieSameSite: http.SameSiteStrictMode}, "", "; HttpOnly; SameSite=Strict"},
		{"COOKIE_SAME_SITE=none", authtest.Options{CookieSameSite: http.SameSiteNoneMode}, "", "; HttpOnly; SameSite=None"},
		{"JWT_REFRESH_EXPIRES_IN", authtest.Options{RefreshLife: time.Hour}, "", "; HttpOnly; SameSite=Lax"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, tt.opts)
			resp := c.post("/auth/login", login)
			life := tt.opts.RefreshLife
			if life == 0 {
				life = 30 * 24 * time.Hour
			}
			for i, name := range []string{"refresh_token=", "permission_variables="} {
				line := resp.header["Set-Cookie"][i]
				middle := fmt.Sprintf("; Max-Age=%d; Path=/; Expires=", life/time.Second)
				if !strings.HasPrefix(line, name+tt.value) || !strings.Contains(line, middle) || !strings.HasSuffix(line, tt.end) {
					t.Errorf("Set-Cookie is %s", line)
				}
			}
			// The service accepts the cookies that it sets.
			cookies := resp.cookies()
			header := "Cookie: refresh_token=" + cookies["refresh_token"] + "; permission_variables=" + cookies["permission_variables"]
			c.get("/auth/token/refresh", header).cookieSession()
			c.post("/auth/token/revoke", "", header).wantEmpty(204)
			c.live("ada@example.com", 0)
		})
	}
}

// Values are escaped like in JavaScript's encodeURIComponent.
func TestCookieEscapes(t *testing.T) {
	c := serve(t, authtest.Options{Accounts: []authtest.Account{
		{Email: "eve@example.com", Password: password, Roles: []string{"A it's (a) b*!~é+&<"}},
	}})
	got := c.post("/auth/login", `{"email":"eve@example.com","password":"`+password+`"}`).cookies()["permission_variables"]
	if want := "%22allowed-roles%22%3A%5B%22A%20it's%20(a)%20b*!~%C3%A9%2B%26%3C%22%2C%22user%22%5D"; !strings.Contains(got, want) {
		t.Errorf("permission_variables is %s, want %s in it", got, want)
	}
}

func TestSignedCookies(t *testing.T) {
	c := serve(t, authtest.Options{CookieSecret: "a secret"})
	bob, _ := c.srv.Account("bob@example.com")
	const revoke = "/auth/token/revoke"
	cookies := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).cookies()
	_, token := c.srv.SignIn("ada@example.com")

	c.sub("value", func(c *conn) {
		signed := regexp.MustCompile(`^s%3A` + uuidPattern + `\.[\w%]+$`)
		if got := cookies["refresh_token"]; !signed.MatchString(got) {
			c.Errorf("value is %s, want s%%3A<value>.<sig>", got)
		}
	})
	c.sub("vectors", func(c *conn) {
		// "hello" and its signature are an example of the library with which the
		// service signs. The service accepts the signature, and then rejects "hello"
		// because it is not a UUID. With a changed value the cookie counts as empty.
		c = serve(c.T, authtest.Options{CookieSecret: "tobiiscool", Accounts: []authtest.Account{
			{ID: "328ddebf-0000-4000-8000-000000000004", Email: "eve@example.com", Password: password},
		}})
		const hello = "Cookie: refresh_token=s%3Ahello.DGDUkGlIkCzPz%2BC0B064FNgHdEjox7ch8tOBGslZ5QI"
		c.get("/auth/token/refresh", hello).wantBadRequest()
		c.get("/auth/token/refresh", strings.Replace(hello, "hello", "hullo", 1)).wantError(401, refused)
		want := "s%3A%7B%22user-id%22%3A%22328ddebf-0000-4000-8000-000000000004%22%2C%22allowed-roles%22%3A%5B%22user%22%5D%2C" +
			"%22default-role%22%3A%22user%22%7D.IYKS9v%2Bjr9%2FsQ1ofX9UXCOzFVJ1yw8db9ZCJPQgwYIE"
		got := c.post("/auth/login", `{"email":"eve@example.com","password":"`+password+`"}`).cookies()
		if got["permission_variables"] != want {
			c.Errorf("permission_variables is\n%s, want\n%s", got["permission_variables"], want)
		}
		refreshed := c.get("/auth/token/refresh", "Cookie: refresh_token="+got["refresh_token"])
		if refreshed.cookieSession(); refreshed.cookies()["permission_variables"] != want {
			c.Errorf("after a refresh permission_variables is\n%s, want\n%s", refreshed.cookies()["permission_variables"], want)
		}
	})
	c.sub("a cookie with a wrong signature is empty and takes precedence", func(c *conn) {
		c.get("/auth/token/refresh?refresh_token="+token, "Cookie: refresh_token="+cookies["refresh_token"]+"0").wantError(401, refused)
		c.post(revoke, "", "Cookie: permission_variables="+cookies["permission_variables"]+"0").wantBadRequest()
		c.get("/auth/token/refresh?refresh_token="+token, "Cookie: refresh_token=s%3Anone").wantError(401, refused)
		// The signature of another cookie of the same user.
		_, sig, _ := strings.Cut(cookies["refresh_token"], ".")
		c.post(revoke, "", `Cookie: permission_variables=s%3A{"user-id":"`+bob.ID+`"}.`+sig).wantBadRequest()
	})
	c.sub("a cookie without a signature is ignored", func(c *conn) {
		c.post(revoke, "", `Cookie: permission_variables={"user-id":"`+bob.ID+`"}`).wantError(401, "Not logged in")
		c.get("/auth/token/refresh?refresh_token="+token, "Cookie: refresh_token="+uuid4).session()
	})
}
