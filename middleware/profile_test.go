package middleware_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

func TestEmailChange(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.EmailChange)
	b := a.browser()
	b.open("/email").isRedirect(t, "/login?return_to=%2Femail")
	b.postJSON("/email", `{}`).is(t, 401, "unauthenticated")
	b.signIn("viewer@example.com")
	b.open("/email").isPage(t, 200, "takes effect at once")
	b.postJSON("/email", `{"new_email":"new@example.com","password":"wrong"}`).is(t, 403, "wrong_password")
	page := b.submit("/email", "new_email", "new@example.com", "password", "wrong").isPage(t, 403, `id="password-error"`).body
	if !strings.Contains(page, `value="new@example.com"`) {
		t.Errorf("%s", visible(page))
	}
	b.postJSON("/email", `{"new_email":"admin@example.com","password":"`+password+`"}`).is(t, 409, "account_exists")
	b.postJSON("/email", `{"new_email":"no address","password":"`+password+`"}`).is(t, 422, "invalid_request")
	b.postJSON("/email", `{"password":"`+password+`"}`).is(t, 422, "invalid_request")
	b.submit("/email", "new_email", "new@example.com", "password", password).isRedirect(t, "/email?done=1")
	b.open("/email?done=1").isPage(t, 200, "E-mail address changed")
	// The session knows the new address: it is needed for the next check.
	b.postJSON("/email", `{"new_email":"viewer@example.com","password":"`+password+`"}`).is(t, 204, "")
	b.signedIn("viewer@example.com")
}

func TestVerifiedEmailChange(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{VerifyEmails: true}, middleware.VerifiedEmailChange)
	b := a.browser()
	b.signIn("viewer@example.com")
	b.open("/email").isPage(t, 200, "We will send an e-mail")
	b.postJSON("/email", `{"new_email":"new@example.com","password":"wrong"}`).is(t, 403, "wrong_password")
	b.postJSON("/email", `{"new_email":"admin@example.com","password":"`+password+`"}`).is(t, 202, "") // taken
	if n := len(a.auth.Emails()); n != 0 {
		t.Errorf("%d e-mails for a taken address", n)
	}
	b.submit("/email", "new_email", "new@example.com", "password", password).isPage(t, 200, "/email/confirm")
	ticket := a.lastMail().Ticket
	other := a.browser()
	page := other.open("/email/confirm?ticket="+ticket).isPage(t, 200, "Confirm").has(t, "Referrer-Policy", "no-referrer").body
	if !strings.Contains(page, `action="/email/confirm"`) {
		t.Errorf("%s", visible(page))
	}
	if _, changed := a.auth.Account("new@example.com"); changed {
		t.Error("a page has changed the address")
	}
	other.submit("/email/confirm", "ticket", ticket).isRedirect(t, "/email/confirm?done=1")
	if _, changed := a.auth.Account("new@example.com"); !changed {
		t.Error("the address has not changed")
	}
	other.submit("/email/confirm", "ticket", ticket).isPage(t, 401, "not valid any more")
	other.postJSON("/email/confirm", `{"ticket":"x"}`).is(t, 401, "invalid_ticket")
	other.open("/email/confirm").isPage(t, 200, "Code from the e-mail")
}

// strictService refuses requests without a more precise reason.
type strictService struct{ *synmetrix.Client }

func (strictService) ChangeEmail(context.Context, string, string) error {
	return &auth.Error{Op: "change e-mail", Err: auth.ErrRefused}
}

func (strictService) DeleteAccount(context.Context, string) error {
	return &auth.Error{Op: "delete account", Err: auth.ErrRefused}
}

func (strictService) ConfirmEmailChange(context.Context, string) error {
	return &auth.Error{Op: "confirm e-mail", Err: auth.ErrRefused}
}

// EnableMFA reports a rejection that is the cause of an outage.
func (strictService) EnableMFA(context.Context, string, string) error {
	return &session.UnavailableError{Err: auth.ErrRefused}
}

// Only a form with a code can have a wrong code, and only if the service is up.
func TestRefusalsWithoutReason(t *testing.T) {
	t.Parallel()
	a := newBareApp(t, nil)
	a.m = newManager(t, func(c *session.Config) { c.Auth = strictService{synmetrix.NewClient(a.auth.URL)} })
	middleware.Mount(a.mux, a.m, middleware.EmailChange, middleware.AccountDeletion, middleware.SecondFactorSetup)
	confirm := http.NewServeMux()
	middleware.Mount(confirm, a.m, middleware.VerifiedEmailChange)
	a.mux.Handle("/email/confirm", confirm)
	a.start(middleware.Sessions(a.m)(a.mux))
	b := a.browser()
	b.signIn("viewer@example.com")
	b.postJSON("/email", `{"new_email":"new@example.com","password":"`+password+`"}`).is(t, 422, "invalid_request")
	b.submit("/account/delete", "password", password).isPage(t, 422, "The request is not valid.")
	b.postJSON("/email/confirm", `{"ticket":"x"}`).is(t, 422, "invalid_request")
	b.postJSON("/mfa/enable", `{"code":"123456"}`).is(t, 503, "session_unavailable")
}

func TestSecondFactorSetup(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.SecondFactorSetup)
	b := a.browser()
	b.postJSON("/mfa/setup", `{}`).is(t, 401, "unauthenticated")
	b.signIn("viewer@example.com")
	b.open("/mfa/setup").isPage(t, 200, "To begin, enter your password")
	b.postJSON("/mfa/setup", `{"password":"wrong"}`).is(t, 403, "wrong_password")
	b.postJSON("/mfa/enable", `{"code":"123456"}`).is(t, 409, "second_factor")
	b.postJSON("/mfa/remove", `{"code":"123456"}`).is(t, 409, "second_factor")
	page := b.submit("/mfa/setup", "password", password).isPage(t, 200, "data:image/png;base64,")
	if !strings.Contains(page.Header.Get("Content-Security-Policy"), "img-src data:") || !strings.Contains(page.body, `action="/mfa/enable"`) {
		t.Errorf("%s\n%s", page.Header, visible(page.body))
	}
	var key struct{ Secret string }
	if err := json.Unmarshal([]byte(b.postJSON("/mfa/setup", `{"password":"`+password+`"}`).is(t, 200, "").body), &key); err != nil {
		t.Fatal(err)
	}
	right, err := totp.GenerateCode(key.Secret, a.auth.Now())
	if err != nil {
		t.Fatal(err)
	}
	wrong := string('0'+(right[0]-'0'+5)%10) + right[1:]
	b.submit("/mfa/enable", "code", wrong).isPage(t, 403, `id="code-error"`)
	b.submit("/mfa/enable", "code", right[:3]+" "+right[3:]).isRedirect(t, "/mfa/enable?done=1")
	b.open("/mfa/enable?done=1").isPage(t, 200, "is on")
	a.browser().postJSON("/login", `{"email":"viewer@example.com","password":"`+password+`"}`).is(t, 202, "")
	// A new key would replace the present one.
	b.postJSON("/mfa/setup", `{"password":"`+password+`"}`).is(t, 409, "second_factor")
	b.postJSON("/mfa/remove", `{"code":"`+wrong+`"}`).is(t, 403, "wrong_code")
	b.postJSON("/mfa/remove", `{"code":"`+right+`"}`).is(t, 204, "")
	a.browser().postJSON("/login", `{"email":"viewer@example.com","password":"`+password+`"}`).is(t, 200, "")
	if log := a.log.String(); strings.Contains(log, key.Secret) {
		t.Error("the log has the key")
	}
}

func TestAccountDeletion(t *testing.T) {
	t.Parallel()
	for _, form := range []bool{true, false} {
		a := newAccountApp(t, authtest.Options{SelfDelete: true}, middleware.AccountDeletion)
		b, other := a.browser(), a.browser()
		b.signIn("viewer@example.com")
		other.signIn("viewer@example.com")
		b.open("/account/delete").isPage(t, 200, "cannot be undone")
		b.postJSON("/account/delete", `{"password":"wrong"}`).is(t, 403, "wrong_password")
		if form {
			b.submit("/account/delete", "password", password).isRedirect(t, "/login?done=account_deleted")
			b.open("/login?done=account_deleted").isPage(t, 200, "Your account is deleted")
		} else {
			b.postJSON("/account/delete", `{"password":"`+password+`"}`).is(t, 204, "")
		}
		if _, exists := a.auth.Account("viewer@example.com"); exists {
			t.Error("the account exists")
		}
		b.signedIn("")
		other.signedIn("")
	}
}

// The return from another provider shows a button, which leads to the page that the user
// requested. A link of another account is not accepted in its place.
func TestProvider(t *testing.T) {
	a := newAccountApp(t, authtest.Options{}, middleware.Provider("github"))
	b := a.browser()
	b.open("/login?return_to=/reports").isPage(t, 200, `<a href="/login/with/github?return_to=%2Freports">Sign in with GitHub</a>`)
	start := b.open("/login/with/github?return_to=/reports").is(t, 303, "").has(t, "Referrer-Policy", "no-referrer")
	if to, err := url.Parse(start.Header.Get("Location")); err != nil || to.String() != a.auth.URL+"/auth/providers/github" {
		t.Errorf("leads to %v (%v)", to, err)
	}
	_, token := a.auth.SignIn("viewer@example.com")
	refreshes := a.auth.Refreshes()
	page := b.open("/callback?refresh_token="+token).isPage(t, 200, "Sign in?")
	if a.auth.Refreshes() != refreshes {
		t.Error("the page has used the token")
	}
	b.pressButton(page).isRedirect(t, "/reports")
	b.signedIn("viewer@example.com")
	b.postJSON("/login/with/github", `{}`).is(t, 405, "method_not_allowed")
	b.open("/login/with/other").is(t, 404, "")
}
