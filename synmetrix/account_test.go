package synmetrix_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

// TestAccountOnTheWire checks the exact requests of calls for which the service
// would also accept a different request with a worse effect.
func TestAccountOnTheWire(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call func(*synmetrix.Client, context.Context)
		want string // method, address, bearer, body
	}{
		"register": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.Register(ctx, email, "")
		}, `POST /auth/register {"cookie":false,"email":"someone@example.com","password":""}`},
		"register without a password": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.RegisterPasswordless(ctx, email)
		}, `POST /auth/register {"cookie":false,"email":"someone@example.com"}`},
		"register with everything": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.RegisterWith(ctx, synmetrix.Registration{
				Email: email, Password: "secret", AllowedRoles: []string{"user"}, DefaultRole: "user", Data: map[string]any{"n": 1},
			})
		}, `POST /auth/register {"cookie":false,"email":"someone@example.com","password":"secret","register_options":{"allowed_roles":["user"],"default_role":"user"},"user_data":{"n":1}}`},
		"magic link": {func(c *synmetrix.Client, ctx context.Context) {
			_ = c.SendMagicLink(ctx, email)
		}, `POST /auth/login {"cookie":false,"email":"someone@example.com"}`},
		"anonymous": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.LoginAnonymous(ctx)
		}, `POST /auth/login {"anonymous":true}`},
		"activate": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.Activate(ctx, ticket)
		}, `GET /auth/activate?ticket=` + ticket},
		"activate without a password": {func(c *synmetrix.Client, ctx context.Context) {
			_, _ = c.ActivatePasswordless(ctx, ticket)
		}, `GET /auth/magic-link?action=register&cookie=false&token=` + ticket},
		"change password": {func(c *synmetrix.Client, ctx context.Context) {
			_ = c.ChangePassword(ctx, validAccess, " old\t", "<new>\x00")
		}, `POST /auth/change-password bearer {"new_password":"\u003cnew\u003e\u0000","old_password":" old\t"}`},
		"delete": {func(c *synmetrix.Client, ctx context.Context) {
			_ = c.DeleteAccount(ctx, validAccess)
		}, `POST /auth/delete bearer`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, responding(ok("{}")))
			test.call(newClient(t, srv.URL), testContext(t))
			x := srv.requests()[0]
			got := x.req.Method + " " + x.req.RequestURI
			if x.req.Header.Get("Authorization") == "Bearer "+validAccess {
				got += " bearer"
			}
			if got = strings.TrimSpace(got + " " + x.body); got != test.want {
				t.Errorf("sent %s, want %s", got, test.want)
			}
		})
	}
}

// Responses that the service never sends are errors.
func TestUnexpectedResponses(t *testing.T) {
	t.Parallel()
	found := func(location string) string {
		return reply(302, "text/plain", "Found.", "Location: "+location)
	}
	activate := func(c *synmetrix.Client, ctx context.Context) error {
		grant, err := c.Activate(ctx, ticket)
		if grant.Tokens != (auth.Tokens{}) {
			return fmt.Errorf("tokens together with %v", err)
		}
		return err
	}
	register := func(c *synmetrix.Client, ctx context.Context) error {
		grant, err := c.Register(ctx, email, password)
		want := auth.Tokens{}
		if e := (*auth.Error)(nil); errors.As(err, &e) && e.Code == synmetrix.CodeNoAccessToken {
			want.RefreshToken = newRefresh // for the caller to revoke
		}
		if grant.Tokens != want {
			return fmt.Errorf("other tokens together with %v", err)
		}
		return err
	}
	generate := func(c *synmetrix.Client, ctx context.Context) error {
		key, err := c.GenerateMFA(ctx, validAccess)
		if key != (auth.TOTPKey{}) {
			return fmt.Errorf("a key together with %v", err)
		}
		return err
	}
	magic := func(c *synmetrix.Client, ctx context.Context) error { return c.SendMagicLink(ctx, email) }
	confirm := func(c *synmetrix.Client, ctx context.Context) error { return c.ConfirmEmailChange(ctx, ticket) }
	tests := map[string]struct {
		call     func(*synmetrix.Client, context.Context) error
		response string
		op       string
		code     string
		status   int
		message  string
		means    string
	}{
		"activation without an address":     {activate, reply(302, "", ""), "activate", synmetrix.CodeRedirect, 302, "", invalidUnk},
		"activation to a broken address":    {activate, found("http://a b/%zz?refresh_token=" + newRefresh), "activate", synmetrix.CodeRedirect, 302, "", invalidUnk},
		"activation with a malformed token": {activate, found("http://localhost/callback?refresh_token=abc"), "activate", synmetrix.CodeNoRefreshToken, 302, "", invalidUnk},
		"activation with an empty token":    {activate, found("http://localhost/callback?refresh_token="), "activate", synmetrix.CodeTicketRefused, 302, "", refusedTicket},
		"activation moved permanently":      {activate, reply(301, "", "", "Location: /?refresh_token="+newRefresh), "activate", synmetrix.CodeRedirect, 301, "", invalidUnk},
		"activation with tokens":            {activate, ok(tokensBody(validAccess, newRefresh)), "activate", synmetrix.CodeUnexpectedResponse, 200, "", invalidUnk},
		"registration in cookie mode":       {register, ok(fmt.Sprintf(`{"jwt_token":%q,"user":{}}`, validAccess)), "register", synmetrix.CodeNoRefreshToken, 200, "", invalidUnk},
		"registration, no access token":     {register, ok(fmt.Sprintf(`{"jwt_token":null,"user":{},"refresh_token":%q}`, newRefresh)), "register", synmetrix.CodeNoAccessToken, 200, "", invalid},
		"registration, empty object":        {register, ok(`{}`), "register", synmetrix.CodeNoTokens, 200, "", invalidUnk},
		"registration, null":                {register, ok(`{"jwt_token":null}`), "register", synmetrix.CodeNoTokens, 200, "", invalidUnk},
		"registration, bare 400":            {register, refusal(400, ""), "register", synmetrix.CodeUnclear, 400, "", unavailableUnk},
		"registration, anonymous users on":  {register, refusal(400, `"cookie" is not allowed`), "register", synmetrix.CodeUnsupported, 400, `"cookie" is not allowed`, unavailable},
		"link, tokens instead":              {magic, ok(tokensBody(validAccess, newRefresh)), "send_magic_link", synmetrix.CodeUnexpectedResponse, 200, "", invalidUnk},
		"link, magicLink a string":          {magic, ok(`{"magicLink":"true"}`), "send_magic_link", synmetrix.CodeUnexpectedResponse, 200, "", invalidUnk},
		"new address, ticket refused":       {confirm, refusal(401, invalidTicket), "confirm_email_change", synmetrix.CodeTicketRefused, 401, invalidTicket, refusedTicket},
		"key without a secret":              {generate, ok(`{"image_url":"data:image/png;base64,AA=="}`), "generate_mfa", synmetrix.CodeUnexpectedResponse, 200, "", invalidUnk},
		"key with an image on another host": {generate, ok(`{"image_url":"https://evil.example/x.png","otp_secret":"JBSWY3DPEHPK3PXP"}`), "generate_mfa", synmetrix.CodeUnexpectedResponse, 200, "", invalidUnk},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, responding(test.response))
			err := test.call(newClient(t, srv.URL), testContext(t))
			wantError(t, err, test.op, test.code, test.status, test.message, test.means)
			if n := len(srv.requests()); n != 1 {
				t.Errorf("%d requests arrived, want 1", n)
			}
		})
	}
}

func TestRegisterWithDataThatIsNotJSON(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok("{}")))
	_, err := newClient(t, srv.URL).RegisterWith(testContext(t), synmetrix.Registration{
		Email: email, Password: password, Data: map[string]any{"n": func() {}},
	})
	wantError(t, err, "register", synmetrix.CodeInvalidInput, 0, "", "refused")
	if n := len(srv.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestActivationRefused(t *testing.T) {
	t.Parallel()
	// The service refuses the token of the redirect, so it is of no use.
	srv := serve(t, func(x *received) bool {
		if x.n == 1 {
			x.respond(reply(302, "", "", "Location: http://localhost/callback?refresh_token="+newRefresh))
		} else {
			x.respond(refusal(401, invalidToken))
		}
		return true
	})
	grant, err := newClient(t, srv.URL).Activate(testContext(t), ticket)
	wantError(t, err, "refresh", synmetrix.CodeRefreshTokenRefused, 401, invalidToken, "refused")
	if grant.Tokens != (auth.Tokens{}) {
		t.Error("a refused token is returned")
	}
}
