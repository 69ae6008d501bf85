package authtest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func TestChangePassword(t *testing.T) {
	const path = "/auth/change-password"
	body := func(old, new string) string { return fmt.Sprintf(`{"old_password":%q,"new_password":%q}`, old, new) }

	t.Run("good", func(t *testing.T) {
		c := serve(t)
		access, token := c.login("ada@example.com")
		c.post(path, body(password, "another"), bearer(access)).is(204)
		c.post(path, body("another", "another"), bearer(access)).is(204) // the JWT is good still
		c.refresh(token).session()                                       // and so is every refresh token
		c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).says(401, "Username and password do not match")
		c.post("/auth/login", `{"email":"ada@example.com","password":"another","cookie":false}`).session()
	})
	t.Run("after logout", func(t *testing.T) {
		c := serve(t)
		access, token := c.login("ada@example.com")
		c.post("/auth/logout?refresh_token="+token, `{"all":true}`).is(204)
		c.post(path, body(password, "another"), bearer(access)).is(204)
	})
	t.Run("no password before", func(t *testing.T) {
		c := serve(t)
		access, _ := c.srv.SignIn("link@example.com")
		c.post(path, body("any password", "another"), bearer(access)).is(204)
		c = serve(t)
		access, _ = c.srv.SignIn("link@example.com")
		c.post(path, `{"new_password":"another"}`, bearer(access)).is(204)
	})
	t.Run("not logged in", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.post(path, body(password, "another")).says(401, "Not logged in")
		c.post(path, body(password, "another"), bearer("x")).says(401, "Not logged in")
		c.srv.Advance(16 * time.Minute)
		c.post(path, body(password, "another"), bearer(access)).says(401, "Not logged in")
	})
	t.Run("user is gone", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.srv.DeleteAccount("ada@example.com")
		c.post(path, body(password, "another"), bearer(access)).says(400, "Account does not exist.")
	})
	c := serve(t)
	access, _ := c.login("ada@example.com")
	c.rows(path, []row{
		{"wrong old", body("incorrect", "another"), 401, "Incorrect current password."},
		{"new too short", body(password, "short"), 400, `"new_password" length must be at least 6 characters long`},
		{"old too short", body("short", "another"), 400, `"old_password" length must be at least 6 characters long`},
		{"old missing", `{"new_password":"another"}`, 400, ""},
		{"empty", `{}`, 400, ""},
		{"new missing", `{"old_password":"` + password + `"}`, 500, "An internal server error occurred"},
	}, bearer(access))
	c.login("ada@example.com") // with the password that it had
}

func TestLostPassword(t *testing.T) {
	const request, change = "/auth/change-password/request", "/auth/change-password/change"
	body := func(ticket, password string) string {
		return fmt.Sprintf(`{"ticket":%q,"new_password":%q}`, ticket, password)
	}
	const ada = `{"email":"ada@example.com"}`

	t.Run("off", func(t *testing.T) {
		c := serve(t)
		c.post(request, ada).serverError()
		c.post(change, body(uuid4, "another")).serverError()
	})
	t.Run("good", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		_, token := c.login("ada@example.com")
		c.post(request, ada).is(204)
		m := c.mail()
		if m.To != "ada@example.com" || m.Subject != "Reset your password" || m.Token != "" || m.Link != "" {
			t.Errorf("e-mail is %+v", m)
		}
		c.post(change, body(m.Ticket, "another")).is(204)
		c.post(change, body(m.Ticket, "another")).says(401, "Invalid or expired ticket.")
		c.post("/auth/login", `{"email":"ada@example.com","password":"another","cookie":false}`).session()
		c.refresh(token).session()
	})
	t.Run("request", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		c.post(request, `{"email":"nobody@example.com"}`).says(400, "Account does not exist.")
		c.post(request, `{"email":"inactive@example.com"}`).is(204)
		c.post(request, `{"email":"x"}`).says(400, `"email" must be a valid email`)
		c.post(request, `{}`).says(400, `"email" is required`)
		c.noMail()
		c = serve(t, authtest.Options{LostPassword: true, OnEmail: func(authtest.Email) error { return errors.New("no") }})
		c.post(request, ada).is(204)
		c = serve(t, authtest.Options{LostPassword: true, NoEmails: true})
		c.post(request, ada).serverError()
	})
	t.Run("change", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		c.post(request, ada)
		ticket := c.mail().Ticket
		c.post(change, body(uuid4, "another")).says(401, "Invalid or expired ticket.")
		c.post(change, body("x", "another")).says(400, `"ticket" must be a valid GUID`)
		c.post(change, body(ticket, "short")).says(400, `"new_password" length must be at least 6 characters long`)
		c.post(change, `{"ticket":"`+ticket+`"}`).serverError()
		c.srv.Advance(time.Hour)
		c.post(change, body(ticket, "another")).says(401, "Invalid or expired ticket.")
	})
}

func TestChangeEmail(t *testing.T) {
	const path, request, change = "/auth/change-email", "/auth/change-email/request", "/auth/change-email/change"
	const body = `{"new_email":"eva@example.com"}`
	refusals := []row{
		{"taken", `{"new_email":"BOB@example.com"}`, 400, "Cannot use this email."},
		{"one's own", `{"new_email":"ada@example.com"}`, 400, "Cannot use this email."},
		{"bad", `{"new_email":"x"}`, 400, `"new_email" must be a valid email`},
		{"missing", `{}`, 400, `"new_email" is required`},
	}

	t.Run("at once", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.rows(path, refusals, bearer(access))
		c.post(path, body).says(401, "Not logged in")
		c.post(path, `{"new_email":"o'brien@example.com"}`, bearer(access)).bare()
		c.post(path, body, bearer(access)).is(204)
		s := c.post("/auth/login", `{"email":"eva@example.com","password":"`+password+`","cookie":false}`).session()
		if s.User.Email != "eva@example.com" || s.User.DisplayName != "ada@example.com" {
			t.Errorf("user is %+v, want the old name with the new address", s.User)
		}
		c.post(request, body, bearer(access)).serverError()
		c.post(change, `{"ticket":"`+uuid4+`"}`).serverError()
		c.noMail()
	})
	t.Run("verified", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		access, _ := c.login("ada@example.com")
		c.post(path, body, bearer(access)).serverError()
		c.rows(request, refusals, bearer(access))
		c.post(request, body).says(401, "Not logged in")
		c.post(request, body, bearer(access)).is(204)
		m := c.mail()
		if m.To != "eva@example.com" || m.Subject != "Change your email address" || m.Token != "" || m.Link != "" {
			t.Errorf("e-mail is %+v", m)
		}
		c.login("ada@example.com") // until it is confirmed
		confirm := `{"ticket":"` + m.Ticket + `"}`
		c.post(change, `{"ticket":"x"}`).says(400, `"ticket" must be a valid GUID`)
		c.post(change, `{"ticket":"`+uuid4+`"}`).says(400, "Account does not exist.")
		c.post(change, confirm).is(204)
		c.login("eva@example.com")
		c.post(change, confirm).says(400, "Account does not exist.")
	})
	t.Run("taken in the meantime", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		access, _ := c.login("ada@example.com")
		c.post(request, body, bearer(access)).is(204)
		c.srv.AddAccount(authtest.Account{Email: "eva@example.com"})
		c.post(change, `{"ticket":"`+c.mail().Ticket+`"}`).bare()
	})
	t.Run("mail server down", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true, OnEmail: func(authtest.Email) error { return errors.New("no") }})
		access, _ := c.login("ada@example.com")
		c.post(request, body, bearer(access)).serverError()
	})
}

func TestDelete(t *testing.T) {
	const path = "/auth/delete"
	c := serve(t)
	access, _ := c.login("ada@example.com")
	c.post(path, "", bearer(access)).serverError()

	c = serve(t, authtest.Options{SelfDelete: true})
	access, token := c.login("ada@example.com")
	c.post(path, "").says(401, "Unable to delete account")
	c.post(path, "", bearer(access)).clears().is(204)
	c.refresh(token).says(401, refused)
	c.post("/auth/login", `{"email":"ada@example.com","password":"x"}`).says(400, "Account does not exist.")
	c.post(path, "", bearer(access)).says(401, "Unable to delete account")
}

func TestAnonymous(t *testing.T) {
	c := serve(t, authtest.Options{AnonymousUsers: true})
	a := c.post("/auth/login", `{"anonymous":true}`)
	s := a.session() // in the body, and in cookies
	if a.cookies()["refresh_token"] != s.RefreshToken {
		t.Errorf("cookies are %v", a.header["Set-Cookie"])
	}
	if !containsAll(a.body, `"display_name":"Anonymous user"},`) {
		t.Errorf("body is %s, want no e-mail key", a.body)
	}
	if _, payload := decode(t, s.JWT); !containsAll(payload, `"x-hasura-allowed-roles":["anonymous"],"x-hasura-default-role":"anonymous"`) {
		t.Errorf("payload is %s", payload)
	}
	if a := c.refresh(s.RefreshToken); !containsAll(a.body, `"email":null`) {
		t.Errorf("body is %s, want a null e-mail", a.body)
	}
	// Two of them are not one.
	other := c.post("/auth/login", `{"anonymous":true}`).session()
	for _, id := range []string{s.User.ID, other.User.ID} {
		c.srv.UpdateAccount(id, func(a *authtest.Account) { a.DisplayName = id })
		if a, _ := c.srv.Account(id); a.ID != id || a.DisplayName != id {
			t.Errorf("account %s is %+v", id, a)
		}
	}
	// The switch breaks all clients that say what they want.
	c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`).says(400, `"cookie" is not allowed`)
	c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).cookieSession()
}

func TestImpersonation(t *testing.T) {
	c := serve(t, authtest.Options{AdminSecret: "devsecret"})
	const body = `{"email":"ada@example.com","password":"x","cookie":false}`
	c.post("/auth/login", body, "X-Admin-Secret: devsecret").session()
	c.post("/auth/login", body, "X-Admin-Secret: wrong").says(401, "Invalid x-admin-secret")
	c.post("/auth/login", body).says(401, "Username and password do not match")
	c = serve(t)
	c.post("/auth/login", body, "X-Admin-Secret: devsecret").says(401, "Username and password do not match")
}

func TestSwitchedOff(t *testing.T) {
	c := serve(t, authtest.Options{NoAuth: true})
	for _, path := range []string{"/auth/login", "/auth/jwks", "/auth/mfa/totp"} {
		c.post(path, "").says(404, "Not Found")
	}
	if a := c.get("/healthz"); a.status != 200 {
		t.Errorf("/healthz is %d", a.status)
	}
	c = serve(t)
	c.get("/auth/providers/github").serverError()
	c.get("/auth/providers/nobody").says(404, "Not Found")
}

// What the service says while the database behind it fails.
func TestBackendDown(t *testing.T) {
	c := serve(t)
	access, token := c.login("ada@example.com")
	down := func(e authtest.Endpoint, method, query string) *answer {
		c.srv.Inject(e, authtest.BackendDown(e))
		return c.do(method, string(e)+query, "", bearer(access))
	}
	down(authtest.Login, "POST", "").says(400, "Account does not exist.")
	down(authtest.Register, "POST", "").serverError()
	down(authtest.Refresh, "GET", "?refresh_token="+token).bare()
	down(authtest.Revoke, "POST", "").bare()
	down(authtest.ChangeEmail, "POST", "").bare()
	down(authtest.GenerateMFA, "POST", "").bare()
	down(authtest.MagicLink, "GET", "").bare()
	down(authtest.DeleteAccount, "POST", "").bare()
	down(authtest.ResetPassword, "POST", "").bare()
	down(authtest.TOTP, "POST", "").says(401, "Invalid or expired ticket.")
	for _, e := range []authtest.Endpoint{authtest.ChangePassword, authtest.EnableMFA, authtest.DisableMFA, authtest.LostPassword} {
		if a := down(e, "POST", ""); a.status != 400 || !strings.Contains(a.body, "graphql") {
			t.Errorf("%s: %d %s, want a message that leaks", e, a.status, a.body)
		}
	}
	down(authtest.Logout, "POST", "?refresh_token="+token).is(204)
	down(authtest.Activate, "GET", "").redirects(callback)
	if a := down(authtest.Healthz, "GET", ""); a.status != 200 || a.body != "OK" {
		t.Errorf("/healthz is %d %s", a.status, a.body)
	}
	c.srv.Clear()
	c.refresh(token).session() // nothing was done
}
