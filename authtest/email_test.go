package authtest_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const callback = "http://localhost/callback"

// redirects checks for a 302 to a URL that begins with to, and returns the rest of the
// URL.
func (resp *response) redirects(to string) (rest string) {
	resp.Helper()
	location := resp.header.Get("Location")
	rest, found := strings.CutPrefix(location, to)
	if resp.status != 302 || !found || resp.body != "Found. Redirecting to "+location ||
		resp.header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.header.Get("Vary") != "Origin, Accept" {
		resp.Fatalf("response is %d to %q with %q, want 302 to %s", resp.status, location, resp.body, to)
	}
	return rest
}

// redirectsWithoutToken checks for a redirect to a URL, without a token in the URL or
// in a cookie.
func (resp *response) redirectsWithoutToken(to string) {
	resp.Helper()
	if rest := resp.noCookies().redirects(to); rest != "" {
		resp.Errorf("the URL continues with %q", rest)
	}
}

// linkRefused checks for a redirect to the URL for failures, or for an error with the
// message if no such URL is set.
func (resp *response) linkRefused(failure, message string) {
	resp.Helper()
	if failure == "" {
		resp.noCookies().wantError(401, message)
		return
	}
	resp.redirectsWithoutToken(failure)
}

// path returns a link of the service without its base URL.
func path(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.RequestURI()
}

// HEAD follows a link like GET, and uses it up.
func TestHeadOnActivationLink(t *testing.T) {
	c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
	c.post("/auth/register", `{"email":"new@example.com","password":"secret","cookie":false}`)
	link := path(t, c.mail().Link)
	resp := c.do("HEAD", link, "").wantEmpty(302)
	if location := resp.header.Get("Location"); !strings.HasPrefix(location, callback+"?refresh_token=") {
		t.Errorf("HEAD leads to %q", location)
	}
	c.get(link).redirectsWithoutToken(callback)
}

// POST /auth/login without a password, and its link: GET
// /auth/magic-link?action=log-in.
func TestLoginLink(t *testing.T) {
	const body = `{"email":"ada@example.com","cookie":false}`

	t.Run("log-in, any stored refresh token", func(t *testing.T) {
		c := serve(t)
		resp := c.post("/auth/login", body).clears()
		if resp.status != 200 || resp.body != `{"magicLink":true}` {
			t.Errorf("response is %d %s", resp.status, resp.body)
		}
		m := c.mail()
		if m.To != "ada@example.com" || m.Subject != "Secure log in link" || m.Ticket != "" ||
			m.Link != c.srv.URL+"/auth/magic-link?token="+m.Token+"&action=log-in" {
			t.Errorf("e-mail is %+v", m)
		}
		// Following the link does not use the token up.
		for range 2 {
			if token := c.get(path(t, m.Link)).noCookies().redirects(callback + "?refresh_token="); token != m.Token {
				t.Errorf("token is %s, want that of the e-mail", token)
			}
		}
		next := c.refresh(m.Token).session().RefreshToken
		c.get(path(t, m.Link)).wantBadRequest() // it is used up now
		c.post("/auth/logout?refresh_token="+next, "").wantEmpty(204)
		c.get("/auth/magic-link?action=log-in&token=" + next).wantBadRequest()
	})
	t.Run("in cookie mode the response has the token", func(t *testing.T) {
		c := serve(t)
		token := c.post("/auth/login", `{"email":"ada@example.com"}`).cookies()["refresh_token"]
		c.refresh(token).session()
	})
	t.Run("log-in, inactive account, expired token", func(t *testing.T) {
		c := serve(t)
		c.post("/auth/login", `{"email":"inactive@example.com","cookie":false}`)
		m := c.mail()
		c.srv.Advance(31 * 24 * time.Hour)
		c.get(path(t, m.Link)).redirects(callback + "?refresh_token=")
		c.refresh(m.Token).wantError(401, refused)
		// While the account is inactive the link still redirects, but its token is
		// refused.
		c.post("/auth/login", `{"email":"inactive@example.com","cookie":false}`)
		m = c.srv.Emails()[1]
		for range 2 {
			c.get(path(t, m.Link)).redirects(callback + "?refresh_token=" + m.Token)
			c.refresh(m.Token).wantError(401, refused)
		}
	})
	t.Run("log-in requires no second factor", func(t *testing.T) {
		c := serve(t)
		c.post("/auth/login", `{"email":"mfa@example.com","cookie":false}`)
		token := c.mail().Token
		c.get("/auth/magic-link?action=log-in&token=" + token).redirects(callback + "?refresh_token=")
		c.refresh(c.refresh(token).session().RefreshToken).session()
	})
	t.Run("no password, refused", func(t *testing.T) {
		c := serve(t)
		c.post("/auth/login", `{"email":"nobody@example.com"}`).wantError(400, "Account does not exist.")
		c.noMail()
		c = serve(t, authtest.Options{NoMagicLink: true})
		c.post("/auth/login", body).wantError(400, `"password" is required`)
	})
	t.Run("no password, SMTP down or EMAILS_ENABLED=false", func(t *testing.T) {
		c := serve(t, authtest.Options{OnEmail: func(authtest.Email) error { return errors.New("no") }})
		c.post("/auth/login", body).serverError()
		c = serve(t, authtest.Options{NoEmails: true})
		if resp := c.post("/auth/login", body); resp.body != `{"magicLink":true}` {
			t.Errorf("response is %s", resp.body)
		}
		c.noMail()
	})
	t.Run("served even with MAGIC_LINK_ENABLED=false", func(t *testing.T) {
		c := serve(t, authtest.Options{NoMagicLink: true, NoActivation: true, VerifyEmails: true})
		c.post("/auth/register", `{"email":"new@example.com","password":"secret"}`)
		c.get("/auth/magic-link?action=register&token=" + c.mail().Ticket).redirects(callback + "?refresh_token=")
		_, token := c.srv.SignIn("ada@example.com")
		c.get("/auth/magic-link?action=log-in&token=" + token).redirects(callback + "?refresh_token=" + token)
	})
	t.Run("no token, no action, bad action", func(t *testing.T) {
		c := serve(t)
		for query, message := range map[string]string{
			"action=log-in":                     `"token" is required`,
			"token=&action=log-in":              `"token" is not allowed to be empty`,
			"token=x":                           `"action" is required`,
			"token=x&action=in":                 `"action" must be one of [log-in, register]`,
			"token=x&action=register&cookie=no": `"cookie" must be a boolean`,
			"token=x&action=register&x=1":       `"x" is not allowed`,
			"token=x&token=y&action=register":   `"token" must be a string`,
		} {
			c.get("/auth/magic-link?"+query).wantError(400, message)
		}
	})
	t.Run("log-in, token unknown or not a UUID", func(t *testing.T) {
		c := serve(t)
		c.get("/auth/magic-link?action=log-in&token=garbage").wantBadRequest()
		c.get("/auth/magic-link?action=log-in&token=" + uuid4).wantBadRequest()
	})
}

// GET /auth/magic-link?action=register.
func TestRegisterLink(t *testing.T) {
	setup := func(t *testing.T) (*conn, authtest.Email) {
		c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
		c.post("/auth/register", `{"email":"new@example.com"}`)
		return c, c.mail()
	}
	t.Run("register, valid ticket", func(t *testing.T) {
		c, m := setup(t)
		resp := c.get(path(t, m.Link))
		token := resp.redirects(callback + "?refresh_token=")
		if inCookie := resp.setsCookies(c, "new@example.com"); inCookie != token {
			t.Errorf("the token in the cookie is %s, that in the address %s", inCookie, token)
		}
		c.refresh(token).session()
	})
	t.Run("register, cookie=false", func(t *testing.T) {
		c, m := setup(t)
		c.get(path(t, m.Link) + "&cookie=false").clears().redirects(callback + "?refresh_token=")
	})
	t.Run("register, success URL already has a query, or is unset", func(t *testing.T) {
		c, m := setup(t)
		c.srv.SetRedirects("https://app.example.com/in?from=mail", "")
		token := c.get(path(t, m.Link)).redirects("https://app.example.com/in?from=mail&refresh_token=")
		c.refresh(token).session()
		c, m = setup(t)
		c.srv.SetRedirects("", "")
		c.refresh(c.get(path(t, m.Link)).redirects("?refresh_token=")).session()
	})
	t.Run("register, ticket reused, unknown, malformed or expired", func(t *testing.T) {
		const link = "/auth/magic-link?action=register&token="
		for _, failure := range []string{callback, ""} {
			c, m := setup(t)
			c.srv.SetRedirects(callback, failure)
			const refusal = "Invalid or expired token."
			c.get(link+uuid4).linkRefused(failure, refusal)
			c.get(path(t, m.Link)).redirects(callback + "?refresh_token=")
			c.get(path(t, m.Link)).linkRefused(failure, refusal)
			c.post("/auth/register", `{"email":"late@example.com"}`)
			c.srv.Advance(time.Hour)
			c.get(path(t, c.srv.Emails()[1].Link)).linkRefused(failure, refusal)
			if failure == "" {
				c.get(link + "garbage").wantBadRequest() // an error of the database
			} else {
				c.get(link+"garbage").linkRefused(failure, refusal)
			}
		}
	})
}

// GET /auth/activate.
func TestActivate(t *testing.T) {
	setup := func(t *testing.T) (*conn, authtest.Email) {
		c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
		c.post("/auth/register", `{"email":"new@example.com","password":"secret"}`)
		return c, c.mail()
	}
	t.Run("valid", func(t *testing.T) {
		c, m := setup(t)
		resp := c.get(path(t, m.Link))
		token := resp.redirects(callback + "?refresh_token=")
		if inCookie := resp.setsCookies(c, "new@example.com"); inCookie != token {
			t.Errorf("the token in the cookie is %s, that in the address %s", inCookie, token)
		}
		c.refresh(token).session()
		c.post("/auth/login", `{"email":"new@example.com","password":"secret","cookie":false}`).session()
	})
	t.Run("in the last second before expiry", func(t *testing.T) {
		c, m := setup(t)
		c.srv.Advance(time.Hour - time.Second)
		c.get(path(t, m.Link)).redirects(callback + "?refresh_token=")
	})
	t.Run("reused, unknown, or older than 60 min", func(t *testing.T) {
		for _, failure := range []string{callback, "http://localhost/failed", ""} {
			c, m := setup(t)
			c.srv.SetRedirects(callback, failure)
			const refusal = "Invalid or expired ticket."
			c.get("/auth/activate?ticket="+uuid4).linkRefused(failure, refusal)
			c.get(path(t, m.Link)).redirects(callback + "?refresh_token=")
			c.get(path(t, m.Link)).linkRefused(failure, refusal)
			c.get("/auth/activate?ticket="+c.ticket()).linkRefused(failure, refusal) // the ticket of an active account
			c.post("/auth/register", `{"email":"late@example.com","password":"secret"}`)
			c.srv.Advance(time.Hour)
			c.get(path(t, c.srv.Emails()[1].Link)).linkRefused(failure, refusal)
		}
	})
	t.Run("missing, not a UUID v4, extra cookie parameter", func(t *testing.T) {
		c := serve(t)
		c.get("/auth/activate").wantError(400, `"ticket" is required`)
		c.get("/auth/activate?ticket=x").wantError(400, `"ticket" must be a valid GUID`)
		c.get("/auth/activate?ticket=8d7d3a0e-4f3c-1d4f-9d57-1f6f0e0b2a11").wantError(400, `"ticket" must be a valid GUID`) // version 1
		c.get("/auth/activate?ticket="+uuid4+"&cookie=false").wantError(400, `"cookie" is not allowed`)
	})
	t.Run("REDIRECT_URL_SUCCESS unset", func(t *testing.T) {
		c, m := setup(t)
		c.srv.SetRedirects("", callback)
		c.get(path(t, m.Link)).serverError()
	})
	t.Run("the ticket has no other use", func(t *testing.T) {
		c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true, LostPassword: true})
		c.post("/auth/register", `{"email":"new@example.com","password":"secret"}`)
		m := c.mail()
		c.get(path(t, m.Link)).redirects(callback)
		c.post("/auth/change-password/change", `{"ticket":"`+m.Ticket+`","new_password":"another"}`).wantError(401, "Invalid or expired ticket.")
	})
}

func TestOnEmail(t *testing.T) {
	var seen []authtest.Email
	c := serve(t, authtest.Options{OnEmail: func(m authtest.Email) error { seen = append(seen, m); return nil }})
	c.post("/auth/login", `{"email":"ada@example.com","cookie":false}`)
	if len(seen) != 1 || seen[0] != c.mail() {
		t.Errorf("OnEmail got %+v, Emails returns %+v", seen, c.srv.Emails())
	}
}
