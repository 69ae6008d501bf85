package authtest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// POST /auth/change-password.
func TestChangePassword(t *testing.T) {
	const path = "/auth/change-password"
	body := func(old, new string) string { return fmt.Sprintf(`{"old_password":%q,"new_password":%q}`, old, new) }

	t.Run("ok", func(t *testing.T) {
		c := serve(t)
		access, token := c.login("ada@example.com")
		c.post(path, body(password, "another"), bearer(access)).noCookies().wantEmpty(204)
		c.post(path, body("another", "another"), bearer(access)).wantEmpty(204) // the JWT stays valid, and old == new is allowed
		c.refresh(token).session()                                              // and so does every refresh token
		c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).wantError(401, "Username and password do not match")
		c.post("/auth/login", `{"email":"ada@example.com","password":"another","cookie":false}`).session()
	})
	t.Run("account without a password", func(t *testing.T) {
		c := serve(t)
		access, _ := c.srv.SignIn("link@example.com")
		c.post(path, body("any password", "another"), bearer(access)).wantEmpty(204)
		c = serve(t)
		access, _ = c.srv.SignIn("link@example.com")
		c.post(path, `{"new_password":"another"}`, bearer(access)).wantEmpty(204)
	})
	t.Run("no, bad or expired JWT", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.post(path, body(password, "another")).wantError(401, "Not logged in")
		c.post(path, body(password, "another"), bearer("x")).wantError(401, "Not logged in")
		c.srv.Advance(16 * time.Minute)
		c.post(path, body(password, "another"), bearer(access)).wantError(401, "Not logged in")
	})
	t.Run("account deleted", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.srv.DeleteAccount("ada@example.com")
		c.post(path, body(password, "another"), bearer(access)).wantError(400, "Account does not exist.")
	})
	c := serve(t)
	access, _ := c.login("ada@example.com")
	c.rows(path, []row{
		{"wrong old", body("incorrect", "another"), 401, "Incorrect current password."},
		{"new too short", body(password, "short"), 400, `"new_password" length must be at least 6 characters long`},
		{"old too short", body("short", "another"), 400, `"old_password" length must be at least 6 characters long`},
		{"old_password missing", `{"new_password":"another"}`, 400, ""},
		{"empty body", `{}`, 400, ""},
		{"no body", ``, 400, ""},
		{"new too long", body(password, strings.Repeat("x", 129)), 400, `"new_password" length must be less than or equal to 128 characters long`},
		{"extra key", `{"old_password":"` + password + `","new_password":"another","extra":1}`, 400, `"extra" is not allowed`},
		{"new_password missing", `{"old_password":"` + password + `"}`, 500, "An internal server error occurred"},
	}, bearer(access))
	c.login("ada@example.com") // with the old password
}

// POST /auth/change-password/request and /auth/change-password/change.
func TestLostPassword(t *testing.T) {
	const request, change = "/auth/change-password/request", "/auth/change-password/change"
	body := func(ticket, password string) string {
		return fmt.Sprintf(`{"ticket":%q,"new_password":%q}`, ticket, password)
	}
	const ada = `{"email":"ada@example.com"}`

	t.Run("off unless LOST_PASSWORD_ENABLED", func(t *testing.T) {
		c := serve(t)
		c.post(request, ada).serverError()
		c.post(change, body(uuid4, "another")).serverError()
	})
	t.Run("ok", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		_, token := c.login("ada@example.com")
		c.post(request, ada).wantEmpty(204)
		m := c.mail()
		if m.To != "ada@example.com" || m.Subject != "Reset your password" || m.Token != "" || m.Link != "" {
			t.Errorf("e-mail is %+v", m)
		}
		c.post(change, body(m.Ticket, "another")).wantEmpty(204)
		c.post(change, body(m.Ticket, "another")).wantError(401, "Invalid or expired ticket.")
		c.post("/auth/login", `{"email":"ada@example.com","password":"another","cookie":false}`).session()
		c.refresh(token).session()
	})
	t.Run("request: unknown e-mail, inactive, bad or missing e-mail", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		c.post(request, `{"email":"nobody@example.com"}`).wantError(400, "Account does not exist.")
		c.post(request, `{"email":"inactive@example.com"}`).wantEmpty(204)
		c.post(request, `{"email":"x"}`).wantError(400, `"email" must be a valid email`)
		c.post(request, `{}`).wantError(400, `"email" is required`)
		c.post(request, `{"email":"ada@example.com","extra":1}`).wantError(400, `"extra" is not allowed`)
		c.noMail()
	})
	t.Run("request: SMTP down or EMAILS_ENABLED=false", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true, OnEmail: func(authtest.Email) error { return errors.New("no") }})
		c.post(request, ada).wantEmpty(204)
		c = serve(t, authtest.Options{LostPassword: true, NoEmails: true})
		c.post(request, ada).serverError()
	})
	t.Run("change: unknown ticket, not a UUID, password too short or missing, after 60 min", func(t *testing.T) {
		c := serve(t, authtest.Options{LostPassword: true})
		c.post(request, ada)
		ticket := c.mail().Ticket
		c.post(change, body(uuid4, "another")).wantError(401, "Invalid or expired ticket.")
		c.post(change, body("x", "another")).wantError(400, `"ticket" must be a valid GUID`)
		c.post(change, `{"new_password":"another"}`).wantError(400, `"ticket" is required`)
		c.post(change, body(ticket, "short")).wantError(400, `"new_password" length must be at least 6 characters long`)
		c.post(change, `{"ticket":"`+ticket+`"}`).serverError()
		c.srv.Advance(time.Hour - time.Second)
		c.post(change, body(strings.ToUpper(ticket), "another")).wantEmpty(204) // the errors have not used the ticket up
		c.post(request, ada)
		ticket = c.srv.Emails()[1].Ticket
		c.srv.Advance(time.Hour)
		c.post(change, body(ticket, "yet another")).wantError(401, "Invalid or expired ticket.")
		c.post("/auth/login", `{"email":"ada@example.com","password":"another","cookie":false}`).session()
	})
}

// POST /auth/change-email, and /auth/change-email/request with
// /auth/change-email/change.
func TestChangeEmail(t *testing.T) {
	const path, request, change = "/auth/change-email", "/auth/change-email/request", "/auth/change-email/change"
	const body = `{"new_email":"eva@example.com"}`
	refusals := []row{
		{"taken", `{"new_email":"BOB@example.com"}`, 400, "Cannot use this email."},
		{"one's own", `{"new_email":"ada@example.com"}`, 400, "Cannot use this email."},
		{"bad", `{"new_email":"x"}`, 400, `"new_email" must be a valid email`},
		{"missing", `{}`, 400, `"new_email" is required`},
		{"extra key", `{"new_email":"eva@example.com","extra":1}`, 400, `"extra" is not allowed`},
	}

	t.Run("VERIFY_EMAILS=false: at once", func(t *testing.T) {
		c := serve(t)
		access, _ := c.login("ada@example.com")
		c.rows(path, refusals, bearer(access))
		c.post(path, body).wantError(401, "Not logged in")
		c.post(path, `{"new_email":"o'brien@example.com"}`, bearer(access)).wantBadRequest()
		c.post(path, body, bearer(access)).wantEmpty(204)
		s := c.post("/auth/login", `{"email":"eva@example.com","password":"`+password+`","cookie":false}`).session()
		if s.User.Email != "eva@example.com" || s.User.DisplayName != "ada@example.com" {
			t.Errorf("user is %+v, want the old name with the new address", s.User)
		}
		c.post(request, body, bearer(access)).serverError()
		c.post(change, `{"ticket":"`+uuid4+`"}`).serverError()
		c.noMail()
	})
	t.Run("VERIFY_EMAILS=true: request and change", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		access, _ := c.login("ada@example.com")
		c.post(path, body, bearer(access)).serverError()
		c.rows(request, refusals, bearer(access))
		c.post(request, body).wantError(401, "Not logged in")
		c.post(request, `{"new_email":"o'brien@example.com"}`, bearer(access)).serverError()
		gone, _ := c.srv.SignIn("bob@example.com")
		c.srv.DeleteAccount("bob@example.com")
		c.post(request, body, bearer(gone)).serverError()
		c.noMail()
		c.post(request, body, bearer(access)).wantEmpty(204)
		m := c.mail()
		if m.To != "eva@example.com" || m.Subject != "Change your email address" || m.Token != "" || m.Link != "" {
			t.Errorf("e-mail is %+v", m)
		}
		c.login("ada@example.com") // works until the new address is confirmed
		confirm := `{"ticket":"` + m.Ticket + `"}`
		c.post(change, `{"ticket":"x"}`).wantError(400, `"ticket" must be a valid GUID`)
		c.post(change, `{"ticket":"`+uuid4+`"}`).wantError(400, "Account does not exist.")
		c.post(change, `{}`).wantError(400, `"ticket" is required`)
		c.post(change, confirm).wantEmpty(204)
		c.login("eva@example.com")
		c.post(change, confirm).wantError(400, "Account does not exist.")
	})
	t.Run("after 60 min", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		access, _ := c.login("ada@example.com")
		c.post(request, body, bearer(access)).wantEmpty(204)
		c.srv.Advance(time.Hour)
		c.post(change, `{"ticket":"`+c.mail().Ticket+`"}`).wantError(400, "Account does not exist.")
		c.login("ada@example.com")
	})
	t.Run("address taken meanwhile", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		access, _ := c.login("ada@example.com")
		c.post(request, body, bearer(access)).wantEmpty(204)
		c.srv.AddAccount(authtest.Account{Email: "eva@example.com"})
		c.post(change, `{"ticket":"`+c.mail().Ticket+`"}`).wantBadRequest()
	})
	t.Run("request: SMTP down or EMAILS_ENABLED=false", func(t *testing.T) {
		for _, opts := range []authtest.Options{
			{VerifyEmails: true, OnEmail: func(authtest.Email) error { return errors.New("no") }},
			{VerifyEmails: true, NoEmails: true},
		} {
			c := serve(t, opts)
			access, _ := c.login("ada@example.com")
			c.post(request, body, bearer(access)).serverError()
			c.noMail()
		}
	})
}

// POST /auth/delete.
func TestDeleteAccount(t *testing.T) {
	const path = "/auth/delete"
	c := serve(t)
	access, _ := c.login("ada@example.com")
	c.post(path, "", bearer(access)).serverError()

	c = serve(t, authtest.Options{SelfDelete: true})
	access, token := c.login("ada@example.com")
	c.post(path, "").wantError(401, "Unable to delete account")
	c.post(path, "", bearer("x")).wantError(401, "Unable to delete account")
	c.post(path, "", bearer(access)).clears().wantEmpty(204)
	if a, ok := c.srv.Account("ada@example.com"); ok {
		t.Errorf("account %+v is still there", a)
	}
	c.refresh(token).wantError(401, refused)
	c.post("/auth/login", `{"email":"ada@example.com","password":"x"}`).wantError(400, "Account does not exist.")
	c.post(path, "", bearer(access)).wantError(401, "Unable to delete account")
}
