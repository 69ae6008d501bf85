package authtest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// POST /auth/login with a password.
func TestLogin(t *testing.T) {
	c := serve(t)
	const path = "/auth/login"

	c.rows(path, []row{
		{"wrong password", `{"email":"ada@example.com","password":"x"}`, 401, "Username and password do not match"},
		{"unknown e-mail", `{"email":"nobody@example.com","password":"x"}`, 400, "Account does not exist."},
		{"inactive (checked before the password)", `{"email":"inactive@example.com","password":"x"}`, 400, "Account is not activated."},
		{"account has no password, a password is sent", `{"email":"link@example.com","password":"x"}`, 400, ""},
		{"empty password", `{"email":"ada@example.com","password":""}`, 400, `"password" is not allowed to be empty`},
		{"null password", `{"email":"ada@example.com","password":null}`, 400, `"password" must be a string`},
		{"no password, unknown e-mail", `{"email":"nobody@example.com"}`, 400, "Account does not exist."},
		{"any non-empty length is allowed", `{"email":"ada@example.com","password":"` + strings.Repeat("x", 200) + `"}`, 401, "Username and password do not match"},
		{"bad e-mail", `{"email":"ada","password":"x"}`, 400, `"email" must be a valid email`},
		{"empty e-mail", `{"email":"","password":"x"}`, 400, `"email" is not allowed to be empty`},
		{"missing e-mail", `{"password":"x"}`, 400, `"email" is required`},
		{"extra key", `{"email":"ada@example.com","password":"x","extra":1}`, 400, `"extra" is not allowed`},
		{"cookie null", `{"email":"ada@example.com","password":"x","cookie":null}`, 400, `"cookie" must be a boolean`},
		{"cookie 0", `{"email":"ada@example.com","password":"x","cookie":0}`, 400, `"cookie" must be a boolean`},
		{"anonymous:true when disabled", `{"anonymous":true}`, 400, `"email" is required`},
		{"MFA on, wrong password", `{"email":"mfa@example.com","password":"x"}`, 401, "Username and password do not match"},
	})
	c.sub("MFA on, right password", func(c *conn) {
		resp := c.post(path, `{"email":"mfa@example.com","password":"`+password+`"}`).noCookies()
		want := regexp.MustCompile(`^\{"mfa":true,"ticket":"` + uuidPattern + `"\}$`)
		if resp.status != 200 || !want.MatchString(resp.body) {
			c.Errorf("response is %d %s", resp.status, resp.body)
		}
		c.live("mfa@example.com", 0)
	})
	c.sub("letter case of the address", func(c *conn) {
		resp := c.post(path, `{"email":"ADA@Example.COM","password":"`+password+`","cookie":false}`)
		if s := resp.session(); s.User.Email != "ada@example.com" {
			c.Errorf("user.email is %q", s.User.Email)
		}
	})
	c.sub("register and 5 logins are 6 live sessions", func(c *conn) {
		c.post(registerPath, `{"email":"six@example.com","password":"`+password+`"}`)
		for range 5 {
			c.login("six@example.com")
		}
		c.live("six@example.com", 6)
	})
	c.sub("deleted between password and tokens", func(c *conn) {
		c.srv.AddAccount(authtest.Account{Email: "gone@example.com", Password: password})
		var gate authtest.Gate
		c.srv.Inject(authtest.Login, authtest.Fault{Between: &gate, Times: 1})
		pending := c.later("POST", path, `{"email":"gone@example.com","password":"`+password+`"}`)
		<-gate.Arrived(1)
		c.srv.DeleteAccount("gone@example.com")
		gate.Open()
		(<-pending).wantBadRequest()
	})
	c.sub("passwords are cut at 72 bytes", func(c *conn) {
		long := strings.Repeat("p", 92)
		c.post(registerPath, `{"email":"long@example.com","password":"`+long+`"}`)
		c.post(path, fmt.Sprintf(`{"email":"long@example.com","password":%q,"cookie":false}`, long[:72])).session()
		c.post(path, fmt.Sprintf(`{"email":"long@example.com","password":%q}`, long[:71])).wantError(401, "Username and password do not match")
		c.post(path, fmt.Sprintf(`{"email":"long@example.com","password":%q,"cookie":false}`, long[:72]+"more")).session()
		// The limit counts bytes, not characters.
		c.post(registerPath, `{"email":"umlauts@example.com","password":"`+strings.Repeat("ü", 40)+`"}`)
		c.post(path, `{"email":"umlauts@example.com","password":"`+strings.Repeat("ü", 36)+`","cookie":false}`).session()
		c.post(path, `{"email":"umlauts@example.com","password":"`+strings.Repeat("ü", 35)+`"}`).wantError(401, "Username and password do not match")
	})
}

// With the default cost, logins hash passwords.
func TestLoginWithBcrypt(t *testing.T) {
	t.Parallel()
	const n = 3
	srv := authtest.NewServer(t, authtest.Options{Accounts: []authtest.Account{{Email: "ada@example.com", Password: password}}})
	c := &conn{T: t, srv: srv, http: http.DefaultClient}
	begun := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if resp, err := c.try("POST", "/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`); err != nil || resp.status != 200 {
				t.Errorf("response is %+v (%v)", resp, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begun); took < n*10*time.Millisecond {
		t.Errorf("%d logins took %v, which is too fast for bcrypt", n, took)
	}
	c.post("/auth/login", `{"email":"ada@example.com","password":"x"}`).wantError(401, "Username and password do not match")
}

// POST /auth/mfa/totp.
func TestTOTP(t *testing.T) {
	c := serve(t)
	const path = "/auth/mfa/totp"
	body := func(ticket, code, more string) string {
		return fmt.Sprintf(`{"ticket":%q,"code":%q%s}`, ticket, code, more)
	}

	c.sub("session as in login, the same code with another ticket", func(c *conn) {
		c.post(path, body(c.ticket(), c.code(0), `,"cookie":false`)).clears().session()
		c.post(path, body(c.ticket(), c.code(0), ``)).cookieSession()
		c.post(path, body(c.ticket(), c.code(30*time.Second), `,"cookie":false`)).session()
	})
	c.sub("wrong code (ticket stays valid)", func(c *conn) {
		ticket := c.ticket()
		wrong := "000000"
		if c.code(0) == wrong || c.code(30*time.Second) == wrong {
			wrong = "111111"
		}
		c.post(path, body(ticket, wrong, ``)).wantError(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(-30*time.Second), ``)).wantError(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(time.Minute), ``)).wantError(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(0), `,"cookie":false`)).session()
	})
	c.sub("ticket unknown, reused, replaced or expired", func(c *conn) {
		const message = "Invalid or expired ticket."
		ticket := c.ticket()
		c.post(path, body(ticket, c.code(0), `,"cookie":false`)).session()
		c.post(path, body(ticket, c.code(0), ``)).wantError(401, message)
		c.post(path, body(uuid4, c.code(0), ``)).wantError(401, message)

		old := c.ticket()
		c.ticket()
		c.post(path, body(old, c.code(0), ``)).wantError(401, message) // replaced by a newer ticket

		late := c.ticket() // valid for 60 min
		c.srv.Advance(time.Hour - time.Second)
		c.post(path, body(late, "000000", ``)).wantError(401, "Invalid two-factor code.")
		c.srv.Advance(time.Second)
		c.post(path, body(late, c.code(0), ``)).wantError(401, message)
	})
	c.sub("account inactive meanwhile", func(c *conn) {
		ticket := c.ticket()
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.Inactive = true })
		c.post(path, body(ticket, c.code(0), ``)).wantError(400, "Account is not activated.")
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.Inactive = false })
	})
	c.sub("MFA not on", func(c *conn) {
		ticket := c.ticket()
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.TOTPSecret = "" })
		c.post(path, body(ticket, "123456", ``)).wantError(400, "MFA is not enabled.")
	})
	c.rows(path, []row{
		{"ticket not a UUID", `{"ticket":"x","code":"123456"}`, 400, `"ticket" must be a valid GUID`},
		{"ticket not version 4", `{"ticket":"8d7d3a0e-4f3c-1d4f-9d57-1f6f0e0b2a11","code":"123456"}`, 400, `"ticket" must be a valid GUID`},
		{"no ticket", `{"code":"123456"}`, 400, `"ticket" is required`},
		{"no code", `{"ticket":"` + uuid4 + `"}`, 400, `"code" is required`},
		{"short code", `{"ticket":"` + uuid4 + `","code":"12345"}`, 400, `"code" length must be 6 characters long`},
		{"code a number", `{"ticket":"` + uuid4 + `","code":123456}`, 400, `"code" must be a string`},
		{"cookie", `{"ticket":"` + uuid4 + `","code":"123456","cookie":1}`, 400, `"cookie" must be a boolean`},
		{"extra key", `{"ticket":"` + uuid4 + `","code":"123456","email":"ada@example.com"}`, 400, `"email" is not allowed`},
	})
}

// POST /auth/login with ANONYMOUS_USERS_ENABLED.
func TestAnonymous(t *testing.T) {
	c := serve(t, authtest.Options{AnonymousUsers: true})
	resp := c.post("/auth/login", `{"anonymous":true}`)
	s := resp.session() // in the body, and in cookies
	if token := resp.setsCookies(c, s.User.ID); token != s.RefreshToken {
		t.Errorf("the token in the cookie is %s, that in the body %s", token, s.RefreshToken)
	}
	if !containsAll(resp.body, `"user":{"id":"`+s.User.ID+`","display_name":"Anonymous user"},"refresh_token"`) {
		t.Errorf("body is %s, want no e-mail key", resp.body)
	}
	if _, payload := decode(t, s.JWT); !containsAll(payload, `"x-hasura-allowed-roles":["anonymous"],"x-hasura-default-role":"anonymous"`) {
		t.Errorf("payload is %s", payload)
	}
	if resp := c.refresh(s.RefreshToken); !containsAll(resp.body, `"display_name":"Anonymous user","email":null}`) {
		t.Errorf("body is %s, want a null e-mail", resp.body)
	}
	// Two anonymous users are different accounts.
	other := c.post("/auth/login", `{"anonymous":true}`).session()
	for _, id := range []string{s.User.ID, other.User.ID} {
		c.srv.UpdateAccount(id, func(a *authtest.Account) { a.DisplayName = id })
		if a, _ := c.srv.Account(id); a.ID != id || a.DisplayName != id {
			t.Errorf("account %s is %+v", id, a)
		}
	}
	// An anonymous account that gets an address is not anonymous any more.
	c.srv.UpdateAccount(s.User.ID, func(a *authtest.Account) { a.Email = "eve@example.com" })
	if resp := c.refresh(other.RefreshToken); !containsAll(resp.body, `"email":null}`) {
		t.Errorf("body is %s, want a null e-mail", resp.body)
	}
	_, token := c.srv.SignIn(s.User.ID)
	if resp := c.refresh(token); !containsAll(resp.body, `"email":"eve@example.com"}`) {
		t.Errorf("body is %s, want the e-mail", resp.body)
	}
	// Logins with the key "cookie" are rejected.
	c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`).wantError(400, `"cookie" is not allowed`)
	c.post("/auth/login", `{"email":"ada@example.com","cookie":true}`).wantError(400, `"cookie" is not allowed`)
	c.post("/auth/login", `{"anonymous":true,"cookie":false}`).wantError(400, `"cookie" is not allowed`)
	c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).cookieSession()
}

// POST /auth/login with USER_IMPERSONATION_ENABLED.
func TestImpersonation(t *testing.T) {
	c := serve(t, authtest.Options{AdminSecret: "devsecret"})
	const body = `{"email":"ada@example.com","password":"x","cookie":false}`
	c.post("/auth/login", body, "X-Admin-Secret: devsecret").session()
	c.post("/auth/login", body, "X-Admin-Secret: wrong").wantError(401, "Invalid x-admin-secret")
	c.post("/auth/login", body).wantError(401, "Username and password do not match")
	c = serve(t) // without USER_IMPERSONATION_ENABLED
	c.post("/auth/login", body, "X-Admin-Secret: devsecret").wantError(401, "Username and password do not match")
}
