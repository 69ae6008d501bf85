package authtest_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const registerPath = "/auth/register"

// pending checks the body of a registration that has to be confirmed by e-mail.
func (c *conn) pending(resp *response, email string) {
	c.Helper()
	account, _ := c.srv.Account(email)
	want := fmt.Sprintf(`{"jwt_token":null,"jwt_expires_in":null,"user":{"id":%q,"display_name":%q,"email":%q}}`,
		account.ID, email, email)
	if resp.noCookies(); resp.status != 200 || resp.body != want {
		c.Errorf("response is %d %s, want %s", resp.status, resp.body, want)
	}
}

// mail returns the only e-mail that was sent.
func (c *conn) mail() authtest.Email {
	c.Helper()
	mails := c.srv.Emails()
	if len(mails) != 1 {
		c.Fatalf("%d e-mails, want 1", len(mails))
	}
	return mails[0]
}

func (c *conn) noMail() {
	c.Helper()
	if mails := c.srv.Emails(); len(mails) != 0 {
		c.Errorf("%d e-mails, want none", len(mails))
	}
}

// POST /auth/register.
func TestRegister(t *testing.T) {
	const body = `{"email":"New@example.com","password":"secret","cookie":false}`

	t.Run("password, AUTO_ACTIVATE", func(t *testing.T) {
		c := serve(t)
		s := c.post(registerPath, body).clears().session()
		if s.User.Email != "New@example.com" || s.User.DisplayName != s.User.Email {
			t.Errorf("user is %+v, want the address as typed", s.User)
		}
		_, payload := decode(t, s.JWT)
		if !containsAll(payload, `"x-hasura-allowed-roles":["user"],"x-hasura-default-role":"user"`) {
			t.Errorf("payload is %s", payload)
		}
		c.refresh(s.RefreshToken).session()
		c.post("/auth/login", strings.ToLower(body)).session()
		c.noMail()
	})
	t.Run("no password, AUTO_ACTIVATE", func(t *testing.T) {
		c := serve(t)
		resp := c.post(registerPath, `{"email":"new@example.com","cookie":false}`)
		resp.session()
		if containsAll(resp.body, "magicLink") {
			t.Errorf("body is %s", resp.body)
		}
		c.noMail()
		c.refresh(resp.session().RefreshToken).session() // it is active
		c.post("/auth/login", `{"email":"new@example.com","password":"x"}`).wantBadRequest()
	})
	t.Run("password, no AUTO_ACTIVATE, VERIFY_EMAILS", func(t *testing.T) {
		c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
		c.pending(c.post(registerPath, body), "New@example.com")
		m := c.mail()
		if m.To != "New@example.com" || m.Subject != "Confirm your email address" || m.Token != "" ||
			m.Link != c.srv.URL+"/auth/activate?ticket="+m.Ticket {
			t.Errorf("e-mail is %+v", m)
		}
		c.post("/auth/login", body).wantError(400, "Account is not activated.")
		c.post(registerPath, body).wantError(400, "Account already exists but is not activated.")
	})
	t.Run("no password, no AUTO_ACTIVATE, VERIFY_EMAILS", func(t *testing.T) {
		c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
		c.pending(c.post(registerPath, `{"email":"new@example.com"}`), "new@example.com")
		m := c.mail()
		if m.To != "new@example.com" || m.Subject != "Secure register link" || m.Ticket != "" ||
			m.Link != c.srv.URL+"/auth/magic-link?token="+m.Token+"&action=register" {
			t.Errorf("e-mail is %+v", m)
		}
	})
	t.Run("AUTO_ACTIVATE, VERIFY_EMAILS", func(t *testing.T) {
		c := serve(t, authtest.Options{VerifyEmails: true})
		c.refresh(c.post(registerPath, body).session().RefreshToken).session() // no confirmation is required
		c.noMail()
	})
	t.Run("no AUTO_ACTIVATE, no VERIFY_EMAILS", func(t *testing.T) {
		c := serve(t, authtest.Options{NoActivation: true})
		s := c.post(registerPath, body).session()
		c.refresh(s.RefreshToken).wantError(401, refused)
		c.post("/auth/token/revoke", "", bearer(s.JWT)).wantEmpty(204) // the JWT works until it expires
		c.srv.Advance(15 * time.Minute)
		c.post("/auth/token/revoke", "", bearer(s.JWT)).wantError(401, "Not logged in")
	})
	t.Run("e-mail taken (any letter case), or not activated", func(t *testing.T) {
		c := serve(t)
		c.post(registerPath, `{"email":"ADA@example.com","password":"secret"}`).wantError(400, "Account already exists.")
		c.post(registerPath, `{"email":"inactive@example.com","password":"secret"}`).wantError(400, "Account already exists but is not activated.")
	})
	t.Run("8 at once for one new e-mail", func(t *testing.T) {
		const n = 8
		c := serve(t)
		var gate authtest.Gate
		c.srv.Inject(authtest.Register, authtest.Fault{Between: &gate})
		responses := make(chan *response, n)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if resp, err := c.try("POST", registerPath, body); err == nil {
					responses <- resp
				}
			})
		}
		<-gate.Arrived(n)
		gate.Open()
		wg.Wait()
		close(responses)
		good := 0
		for resp := range responses {
			if resp.status == 200 {
				good++
			} else {
				resp.serverError()
			}
		}
		if good != 1 {
			t.Errorf("%d registrations succeeded, want 1", good)
		}
	})
	t.Run("verify mode, EMAILS_ENABLED=false or SMTP down", func(t *testing.T) {
		for _, opts := range []authtest.Options{
			{NoActivation: true, VerifyEmails: true, NoEmails: true},
			{NoActivation: true, VerifyEmails: true, OnEmail: func(authtest.Email) error { return errors.New("no") }},
		} {
			c := serve(t, opts)
			for _, body := range []string{body, `{"email":"link-only@example.com"}`} {
				c.post(registerPath, body).noCookies().serverError()
				c.post(registerPath, body).wantError(400, "Account already exists but is not activated.")
			}
			c.noMail()
		}
	})
	t.Run("e-mail that the database rejects", func(t *testing.T) {
		c := serve(t)
		c.post(registerPath, `{"email":"o'brien@example.com","password":"secret"}`).serverError()
		c.post(registerPath, `{"email":"zoë@example.com","password":"secret"}`).serverError()
		c.post(registerPath, `{"email":"a@example.xn--p1ai","password":"secret"}`).serverError()
		for _, email := range []string{"o'brien@example.com", "zoë@example.com", "a@example.xn--p1ai"} {
			if a, ok := c.srv.Account(email); ok {
				t.Errorf("account %+v exists", a)
			}
		}
	})
	t.Run("register_options", func(t *testing.T) {
		c := serve(t)
		with := func(email, options string) *response {
			return c.post(registerPath, `{"email":"`+email+`","password":"secret","cookie":false,"register_options":`+options+`}`)
		}
		with("a@example.com", `{"allowed_roles":["user"],"default_role":"user"}`).session()
		const notPart = "Default role must be part of allowed roles."
		with("b@example.com", `{"allowed_roles":["user"],"default_role":"me"}`).wantError(400, notPart)
		with("b@example.com", `{"default_role":"me"}`).wantError(400, notPart)
		with("b@example.com", `{"allowed_roles":[]}`).wantError(400, notPart)
		with("b@example.com", `{"allowed_roles":["user","me"]}`).wantError(400, "allowed roles must be a subset of ALLOWED_ROLES")
		with("b@example.com", `{"allowed_roles":["user","user"]}`).serverError()
		with("b@example.com", `{"allowed_roles":"user"}`).wantError(400, `"register_options.allowed_roles" must be an array`)
		with("b@example.com", `{"allowed_roles":[1]}`).wantError(400, `"register_options.allowed_roles[0]" must be a string`)
		with("b@example.com", `{"roles":[]}`).wantError(400, `"register_options.roles" is not allowed`)

		c = serve(t, authtest.Options{RegisterRoles: []string{"user", "me"}})
		with("c@example.com", `{"allowed_roles":["user","me","user"]}`).serverError()
		s := with("c@example.com", `{"allowed_roles":["user","me"],"default_role":"me"}`).session()
		if _, payload := decode(t, s.JWT); !containsAll(payload, `"x-hasura-allowed-roles":["user","me"],"x-hasura-default-role":"me"`) {
			t.Errorf("payload is %s", payload)
		}
	})
	t.Run("user_data", func(t *testing.T) {
		const data = `{"email":"new@example.com","password":"secret","cookie":false,"user_data":{"display_name":"New"}}`
		c := serve(t)
		c.post(registerPath, data).wantError(400, `"user_data.display_name" is not allowed`)
		c.post(registerPath, `{"email":"new@example.com","password":"secret","user_data":1}`).wantError(400, `"user_data" must be of type object`)

		c = serve(t, authtest.Options{RegisterFields: []string{"display_name"}})
		if s := c.post(registerPath, data).session(); s.User.DisplayName != "New" {
			t.Errorf("user is %+v", s.User)
		}

		// The columns hold text. The database rejects other types, and no account is
		// created.
		for _, value := range []string{`5`, `1.5`, `true`, `{"a":"b"}`, `{}`, `["a"]`, `[]`} {
			c.post(registerPath, `{"email":"typed@example.com","password":"secret","user_data":{"display_name":`+value+`}}`).serverError()
			if _, exists := c.srv.Account("typed@example.com"); exists {
				t.Fatalf("%s: an account was created", value)
			}
		}
		c.post(registerPath, strings.Replace(data, `"New"`, `null`, 1)).wantError(400, `"user_data.display_name" must be one of [string, number, boolean, object, array]`)
	})
	t.Run("ALLOWED_EMAIL_DOMAINS", func(t *testing.T) {
		c := serve(t, authtest.Options{EmailDomains: []string{"example.org"}})
		c.post(registerPath, body).wantError(400, `"email" is not in an authorised domain`)
		c.post(registerPath, `{"email":"new@Example.ORG","password":"secret","cookie":false}`).session()
	})
	t.Run("longest password", func(t *testing.T) {
		c := serve(t)
		c.post(registerPath, `{"email":"new@example.com","password":"`+strings.Repeat("x", 128)+`","cookie":false}`).session()
	})
	t.Run("no password, MAGIC_LINK_ENABLED=false", func(t *testing.T) {
		c := serve(t, authtest.Options{NoMagicLink: true})
		c.post(registerPath, `{"email":"new@example.com"}`).wantError(400, `"password" is required`)
	})

	c := serve(t)
	c.rows(registerPath, []row{
		{"password too short", `{"email":"n@example.com","password":"12345"}`, 400, `"password" length must be at least 6 characters long`},
		{"password too long", `{"email":"n@example.com","password":"` + strings.Repeat("x", 129) + `"}`, 400, `"password" length must be less than or equal to 128 characters long`},
		{"password empty", `{"email":"n@example.com","password":""}`, 400, `"password" is not allowed to be empty`},
		{"password null", `{"email":"n@example.com","password":null}`, 400, `"password" must be a string`},
		{"password a number", `{"email":"n@example.com","password":123456}`, 400, `"password" must be a string`},
		{"missing e-mail", `{"password":"secret"}`, 400, `"email" is required`},
		{"empty e-mail", `{"email":"","password":"secret"}`, 400, `"email" is not allowed to be empty`},
		{"number e-mail", `{"email":1,"password":"secret"}`, 400, `"email" must be a string`},
		{"no body", ``, 400, `"email" is required`},
		{"extra key", `{"email":"n@example.com","password":"secret","extra":1}`, 400, `"extra" is not allowed`},
		{"cookie null", `{"email":"n@example.com","cookie":null}`, 400, `"cookie" must be a boolean`},
		{"cookie 0", `{"email":"n@example.com","cookie":0}`, 400, `"cookie" must be a boolean`},
	})
	label := strings.Repeat("a", 63)
	for _, good := range []string{
		"a@" + label + ".com", strings.Repeat("a", 64) + "@example.com", "a@example.io", "a.b+c@sub.example.org", "a@EXAMPLE.COM",
	} {
		c.post(registerPath, fmt.Sprintf(`{"email":%q,"password":"secret","cookie":false}`, good)).session()
	}
	for _, bad := range []string{
		"a", "a@", "@example.com", "a@localhost", "a@host", "a@b.test", "a@corp.internal", "a@host.local", " a@example.com", "a@example.com ",
		"a b@example.com", "a@example..com", "a@.com", "a@-example.com", "a@example-.com", "a@example.c", "a@127.0.0.1", "a@example.c0m",
		".a@example.com", "a.@example.com", "a..b@example.com", "a@b@example.com", "a@exam_ple.com",
		"a@" + label + "a.com", strings.Repeat("a", 65) + "@example.com",
		"a@" + strings.Repeat(label+".", 4) + "com", // too long as a whole
		"a@b.example", "a@b.invalid", "a@b.localhost", "a@b.intranet", "a@b.private", "a@b.corp", "a@b.home", "a@b.lan",
		"a@b.localdomain", "a@b.onion", "a@b.alt", "a@b.TEST",
	} {
		c.post(registerPath, fmt.Sprintf(`{"email":%q,"password":"secret"}`, bad)).wantError(400, `"email" must be a valid email`)
	}
}
