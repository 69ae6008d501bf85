package authtest_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func TestLogin(t *testing.T) {
	c := serve(t)
	ada, _ := c.srv.Account("ada@example.com")
	const path = "/auth/login"

	c.sub("cookie false", func(c *conn) {
		a := c.post(path, `{"email":"ada@example.com","password":"`+password+`","cookie":false}`).clears()
		want := regexp.MustCompile(`^\{"jwt_token":"[\w.-]+","jwt_expires_in":900000,` +
			`"user":\{"id":"` + ada.ID + `","display_name":"ada@example\.com","email":"ada@example\.com"\},` +
			`"refresh_token":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"\}$`)
		if a.status != 200 || !want.MatchString(a.body) {
			c.Errorf("answer is %d %s", a.status, a.body)
		}
	})
	c.sub("cookie true or absent", func(c *conn) {
		for _, mode := range []string{`,"cookie":true`, ``, `,"cookie":"false"`, `,"cookie":"TRUE"`} {
			a := c.post(path, `{"email":"ada@example.com","password":"`+password+`"`+mode+`}`)
			token := a.cookieSession()
			expires := c.srv.Now().Add(30 * 24 * time.Hour).UTC().Format("Mon, 02 Jan 2006")
			variables := url.QueryEscape(`{"user-id":"` + ada.ID + `","allowed-roles":["user","admin"],"default-role":"user"}`)
			for i, want := range []string{"refresh_token=" + token, "permission_variables=" + variables} {
				want += "; Max-Age=2592000; Path=/; Expires=" + expires
				if got := a.header["Set-Cookie"][i]; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " GMT; HttpOnly; SameSite=Lax") {
					c.Errorf("Set-Cookie is %s, want %s…", got, want)
				}
			}
		}
	})
	c.rows(path, []row{
		{"wrong password", `{"email":"ada@example.com","password":"x"}`, 401, "Username and password do not match"},
		{"unknown e-mail", `{"email":"nobody@example.com","password":"x"}`, 400, "Account does not exist."},
		{"inactive, before the password", `{"email":"inactive@example.com","password":"x"}`, 400, "Account is not activated."},
		{"account without a password", `{"email":"link@example.com","password":"x"}`, 400, ""},
		{"empty password", `{"email":"ada@example.com","password":""}`, 400, `"password" is not allowed to be empty`},
		{"null password", `{"email":"ada@example.com","password":null}`, 400, `"password" must be a string`},
		{"bad e-mail", `{"email":"ada","password":"x"}`, 400, `"email" must be a valid email`},
		{"missing e-mail", `{"password":"x"}`, 400, `"email" is required`},
		{"extra key", `{"email":"ada@example.com","password":"x","extra":1}`, 400, `"extra" is not allowed`},
		{"cookie null", `{"email":"ada@example.com","password":"x","cookie":null}`, 400, `"cookie" must be a boolean`},
		{"cookie 0", `{"email":"ada@example.com","password":"x","cookie":0}`, 400, `"cookie" must be a boolean`},
		{"anonymous when disabled", `{"anonymous":true}`, 400, `"email" is required`},
		{"second factor, wrong password", `{"email":"mfa@example.com","password":"x"}`, 401, "Username and password do not match"},
	})
	c.sub("second factor", func(c *conn) {
		a := c.post(path, `{"email":"mfa@example.com","password":"`+password+`"}`).untouched()
		want := regexp.MustCompile(`^\{"mfa":true,"ticket":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"\}$`)
		if a.status != 200 || !want.MatchString(a.body) {
			c.Errorf("answer is %d %s", a.status, a.body)
		}
		c.live("mfa@example.com", 0)
	})
	c.sub("letter case of the address", func(c *conn) {
		a := c.post(path, `{"email":"ADA@Example.COM","password":"`+password+`","cookie":false}`)
		if s := a.session(); s.User.Email != "ada@example.com" {
			c.Errorf("user.email is %q", s.User.Email)
		}
	})
	c.sub("each login adds a session", func(c *conn) {
		for range 5 {
			c.login("bob@example.com")
		}
		c.live("bob@example.com", 5)
	})
	c.sub("deleted between password and tokens", func(c *conn) {
		c.srv.AddAccount(authtest.Account{Email: "gone@example.com", Password: password})
		var gate authtest.Gate
		c.srv.Inject(authtest.Login, authtest.Fault{Between: &gate, Times: 1})
		answer := c.later("POST", path, `{"email":"gone@example.com","password":"`+password+`"}`)
		<-gate.Arrived(1)
		c.srv.DeleteAccount("gone@example.com")
		gate.Open()
		(<-answer).bare()
	})
	c.sub("72 bytes of a password count", func(c *conn) {
		long := strings.Repeat("p", 92)
		c.srv.AddAccount(authtest.Account{Email: "long@example.com", Password: long})
		c.post(path, fmt.Sprintf(`{"email":"long@example.com","password":%q,"cookie":false}`, long[:72])).session()
		c.post(path, fmt.Sprintf(`{"email":"long@example.com","password":%q}`, long[:71])).says(401, "Username and password do not match")
	})
}

// The same, with the hashing that it costs by default.
func TestLoginWithBcrypt(t *testing.T) {
	c := serve(t, authtest.Options{PasswordCost: 10})
	begun := time.Now()
	c.login("ada@example.com")
	if took := time.Since(begun); took < 10*time.Millisecond {
		t.Errorf("a login took %v: that is no bcrypt", took)
	}
	c.post("/auth/login", `{"email":"ada@example.com","password":"x"}`).says(401, "Username and password do not match")
}

func TestTOTP(t *testing.T) {
	c := serve(t)
	const path = "/auth/mfa/totp"
	body := func(ticket, code, more string) string {
		return fmt.Sprintf(`{"ticket":%q,"code":%q%s}`, ticket, code, more)
	}

	c.sub("good", func(c *conn) {
		c.post(path, body(c.ticket(), c.code(0), `,"cookie":false`)).clears().session()
		c.post(path, body(c.ticket(), c.code(0), ``)).cookieSession() // the same code, another ticket
		c.post(path, body(c.ticket(), c.code(30*time.Second), `,"cookie":false`)).session()
	})
	c.sub("wrong code, and the ticket stays good", func(c *conn) {
		ticket := c.ticket()
		wrong := "000000"
		if c.code(0) == wrong || c.code(30*time.Second) == wrong {
			wrong = "111111"
		}
		c.post(path, body(ticket, wrong, ``)).says(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(-30*time.Second), ``)).says(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(time.Minute), ``)).says(401, "Invalid two-factor code.")
		c.post(path, body(ticket, c.code(0), `,"cookie":false`)).session()
	})
	c.sub("ticket", func(c *conn) {
		const message = "Invalid or expired ticket."
		ticket := c.ticket()
		c.post(path, body(ticket, c.code(0), `,"cookie":false`)).session()
		c.post(path, body(ticket, c.code(0), ``)).says(401, message)
		c.post(path, body(uuid4, c.code(0), ``)).says(401, message)

		old := c.ticket()
		c.ticket()
		c.post(path, body(old, c.code(0), ``)).says(401, message) // a newer one took its place

		late := c.ticket()
		c.srv.Advance(time.Hour)
		c.post(path, body(late, c.code(0), ``)).says(401, message)
	})
	c.sub("inactive by now", func(c *conn) {
		ticket := c.ticket()
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.Inactive = true })
		c.post(path, body(ticket, c.code(0), ``)).says(400, "Account is not activated.")
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.Inactive = false })
	})
	c.sub("not enabled any more", func(c *conn) {
		ticket := c.ticket()
		c.srv.UpdateAccount("mfa@example.com", func(a *authtest.Account) { a.TOTPSecret = "" })
		c.post(path, body(ticket, "123456", ``)).says(400, "MFA is not enabled.")
	})
	c.rows(path, []row{
		{"not a UUID", `{"ticket":"x","code":"123456"}`, 400, `"ticket" must be a valid GUID`},
		{"not version 4", `{"ticket":"8d7d3a0e-4f3c-1d4f-9d57-1f6f0e0b2a11","code":"123456"}`, 400, `"ticket" must be a valid GUID`},
		{"no ticket", `{"code":"123456"}`, 400, `"ticket" is required`},
		{"no code", `{"ticket":"` + uuid4 + `"}`, 400, `"code" is required`},
		{"short code", `{"ticket":"` + uuid4 + `","code":"12345"}`, 400, `"code" length must be 6 characters long`},
		{"code a number", `{"ticket":"` + uuid4 + `","code":123456}`, 400, `"code" must be a string`},
		{"cookie", `{"ticket":"` + uuid4 + `","code":"123456","cookie":1}`, 400, `"cookie" must be a boolean`},
		{"extra key", `{"ticket":"` + uuid4 + `","code":"123456","email":"ada@example.com"}`, 400, `"email" is not allowed`},
	})
}
