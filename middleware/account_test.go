package middleware_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

const newPassword = "a new long password"

// newAccountApp starts an app with these features.
func newAccountApp(t *testing.T, opts authtest.Options, features ...middleware.Feature) *app {
	t.Helper()
	opts.Accounts = accounts
	a := newAppOf(t, opts, nil)
	middleware.Mount(a.mux, a.m, features...)
	a.mux.Handle("GET /reports", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
	a.start(middleware.Sessions(a.m)(a.mux))
	a.auth.SetRedirects(a.srv.URL+"/callback", a.srv.URL+"/callback")
	return a
}

// lastMail returns the last e-mail.
func (a *app) lastMail() authtest.Email {
	a.t.Helper()
	mails := a.auth.Emails()
	if len(mails) == 0 {
		a.t.Fatal("no e-mail was sent")
	}
	return mails[len(mails)-1]
}

// callbackOf follows the link of an e-mail to the service, and returns the path and the
// query of the app to which it leads.
func (a *app) callbackOf(m authtest.Email) string {
	a.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(m.Link)
	if err != nil {
		a.t.Fatal(err)
	}
	resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.Path, "/callback") {
		a.t.Fatalf("the link leads to %q (%v)", resp.Header.Get("Location"), err)
	}
	return to.RequestURI()
}

func (b *browser) signedIn(email string) {
	b.t.Helper()
	want := 401
	if email != "" {
		want = 200
	}
	b.get("/reports", "Accept", "application/json").is(b.t, want, "")
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// pressButton sends the form of a page whose fields are all hidden.
func (b *browser) pressButton(page response) response {
	b.t.Helper()
	var fields []string
	for _, f := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		fields = append(fields, f[1], f[2])
	}
	return b.submit("/callback", fields...)
}

// The routes of a feature exist only if the feature was selected.
func TestFeaturesAreOff(t *testing.T) {
	a := newAccountApp(t, authtest.Options{})
	for _, path := range []string{"/register", "/magic-link", "/callback?refresh_token=x", "/password", "/password/lost", "/password/reset"} {
		a.browser().get(path).is(t, 404, "")
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{NoActivation: true, VerifyEmails: true}, middleware.Registration, middleware.MagicLink)
	b := a.browser()
	b.open("/register").isPage(t, 200, "You will receive an e-mail")
	b.open("/login").isPage(t, 200, `href="/register"`)
	b.submit("/register", "email", " new@example.com ", "password", newPassword, "return_to", "/reports").isPage(t, 200, "Check your mail")
	b.signedIn("")
	if m := a.lastMail(); m.To != "new@example.com" {
		t.Fatalf("the e-mail went to %s", m.To)
	}
	b.open(a.callbackOf(a.lastMail())).isRedirect(t, "/reports").has(t, "Referrer-Policy", "no-referrer")
	b.signedIn("new@example.com")

	mails := len(a.auth.Emails())
	if got := a.browser().postJSON("/register", `{"email":"NEW@example.com","password":"`+newPassword+`"}`).is(t, 202, "").body; got != `{"check_mail":true}` {
		t.Errorf("a taken address: %s", got)
	}
	if n := len(a.auth.Emails()); n != mails {
		t.Error("an e-mail was sent for a taken address")
	}
	page := a.browser().submit("/register", "email", "x@example.com", "password", "short").isPage(t, 422, "too short").body
	if !strings.Contains(page, `value="x@example.com"`) || strings.Contains(page, `"short"`) || !strings.Contains(page, `id="password-error"`) {
		t.Errorf("%s", visible(page))
	}
	if got := a.browser().postJSON("/register", `{"email":"not an address","password":"`+newPassword+`"}`).is(t, 422, "invalid_request").problem(t)["field"]; got != "email" {
		t.Errorf("field %v", got)
	}
	a.browser().postJSON("/register", `{"email":"x@example.com"}`).is(t, 422, "invalid_request")
	a.auth.Inject(authtest.Register, authtest.Fault{Status: 500})
	a.browser().postJSON("/register", `{"email":"y@example.com","password":"`+newPassword+`"}`).is(t, 503, "auth_unavailable")
}

// Registration signs no user in, even if the service does so at once: the response would
// show that the address is new.
func TestRegisterSignsNoUserIn(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.Registration)
	b := a.browser()
	b.submit("/register", "email", "new@example.com", "password", newPassword).isPage(t, 200, "Check your mail")
	b.signedIn("")
	if err := a.m.Shutdown(t.Context()); err != nil { // waits for the revocation
		t.Fatal(err)
	}
	if n := len(a.auth.LiveTokens("new@example.com")); n != 0 {
		t.Errorf("%d tokens are valid", n)
	}
}

func TestDirectRegistration(t *testing.T) {
	a := newAccountApp(t, authtest.Options{}, middleware.DirectRegistration)
	b := a.browser()
	b.submit("/register", "email", "new@example.com", "password", newPassword, "return_to", "/reports").isRedirect(t, "/reports")
	b.signedIn("new@example.com")
	a.browser().postJSON("/register", `{"email":"other@example.com","password":"`+newPassword+`"}`).is(t, 200, "")
	a.browser().postJSON("/register", `{"email":"new@example.com","password":"`+newPassword+`"}`).is(t, 409, "account_exists")
	a.browser().submit("/register", "email", "new@example.com", "password", newPassword).isPage(t, 409, `id="email-error"`)
}

func TestMagicLink(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.MagicLink)
	requestLink := func(email string) (*browser, string) {
		t.Helper()
		b := a.browser()
		b.submit("/magic-link", "email", email, "return_to", "/reports").isPage(t, 200, "Check your mail")
		b.signedIn("")
		return b, a.callbackOf(a.lastMail())
	}
	b, link := requestLink("viewer@example.com")
	b.open(link).isRedirect(t, "/reports")
	b.signedIn("viewer@example.com")

	mails := len(a.auth.Emails())
	a.browser().postJSON("/magic-link", `{"email":"unknown@example.com"}`).is(t, 202, "")
	if _, exists := a.auth.Account("unknown@example.com"); exists || len(a.auth.Emails()) != mails {
		t.Error("a magic link has created an account, or sent an e-mail")
	}

	// Another browser gets a page with a button, as often as it opens the link.
	_, link = requestLink("viewer@example.com")
	stranger := a.browser()
	refreshes := a.auth.Refreshes()
	var page response
	for range 3 {
		page = stranger.open(link).isPage(t, 200, "Sign in?").has(t, "Referrer-Policy", "no-referrer")
	}
	token := link[strings.Index(link, "=")+1:]
	if strings.Contains(page.body, token) {
		t.Error("the page shows the token")
	}
	stranger.signedIn("")
	if n := a.auth.Refreshes(); n != refreshes {
		t.Error("a page has used the token")
	}
	stranger.pressButton(page).isRedirect(t, "/")
	stranger.signedIn("viewer@example.com")
	page2 := a.browser().open(link)
	a.browser().pressButton(page2).isPage(t, 401, "not valid any more")
	if log := a.log.String(); strings.Contains(log, token) || strings.Contains(log, "viewer@example.com") {
		t.Error("the log has a token or an address")
	}

	a.auth.Inject(authtest.Login, authtest.Fault{Status: 500})
	a.browser().postJSON("/magic-link", `{"email":"viewer@example.com"}`).is(t, 503, "auth_unavailable")
}

// Link scanners and browsers that prefetch pages sign no user in, even with the cookies of
// the browser that waits.
func TestLinkIsNotUsedByAccident(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.MagicLink)
	b := a.browser()
	b.submit("/magic-link", "email", "viewer@example.com").isPage(t, 200, "Check your mail")
	link := a.callbackOf(a.lastMail())
	for _, header := range [][]string{
		{"Sec-Purpose", "prefetch", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
		{"Sec-Purpose", "prefetch;prerender", "Sec-Fetch-Mode", "navigate"},
		{"Purpose", "prefetch"},
		{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"},
		{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"},
	} {
		b.get(link, append(header, "Accept", asPage)...).isPage(t, 200, "Sign in?")
		b.signedIn("")
	}
	b.do("HEAD", link, "", "Accept", asPage).is(t, 200, "")
	b.signedIn("")
	b.get(link, "Accept", asPage).isRedirect(t, "/") // an old browser, without Sec-Fetch-Mode
	b.signedIn("viewer@example.com")
}

// An attacker sends a link of the attacker's account to a user who waits for a link.
func TestLinkOfAnotherAccount(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.MagicLink)
	attacker := a.browser()
	attacker.submit("/magic-link", "email", "admin@example.com")
	link := a.callbackOf(a.lastMail())
	victim := a.browser()
	victim.submit("/magic-link", "email", "viewer@example.com")
	page := victim.open(link).isPage(t, 200, "different account")
	victim.signedIn("")
	// The page has the new token, because the user may want to sign in to that
	// account.
	victim.pressButton(page).isRedirect(t, "/")
	victim.signedIn("admin@example.com")

	victim.submit("/callback", "link", "x").isPage(t, 401, "not valid any more")
	other := a.browser()
	other.do("POST", "/callback", "refresh_token=x", "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example").is(t, 403, "")
	_, refresh := a.auth.SignIn("viewer@example.com")
	other.postJSON("/callback", `{"refresh_token":"`+refresh+`"}`).is(t, 200, "")
	other.signedIn("viewer@example.com")
	other.postJSON("/callback", `{"refresh_token":"`+refresh+`"}`).is(t, 401, "invalid_credentials")
	other.postJSON("/callback", `{}`).is(t, 422, "invalid_request")
}

func TestCallbackWithoutToken(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{}, middleware.MagicLink)
	b := a.browser()
	page := b.open("/callback").isPage(t, 400, "not valid any more").body
	if !strings.Contains(page, `href="/login"`) {
		t.Errorf("%s", visible(page))
	}
	b.get("/callback", "Accept", "application/json").is(t, 400, "invalid_request")
	b.submit("/magic-link", "email", "viewer@example.com")
	for _, token := range []string{"x", strings.Repeat("x", 100), "3c20645f-6716-4b3e-8a37-000000000000"} {
		page := b.open("/callback?refresh_token="+token).isPage(t, 401, "not valid any more").body
		if strings.Contains(page, "refresh_token") {
			t.Errorf("the page has the token: %s", visible(page))
		}
	}
	b.signedIn("")
	a.auth.Inject(authtest.Refresh, authtest.Fault{Status: 500})
	b.open("/callback?refresh_token=3c20645f-6716-4b3e-8a37-000000000000").isPage(t, 503, "try again")
}

func TestPasswordChange(t *testing.T) {
	t.Parallel()
	for _, form := range []bool{true, false} {
		a := newAccountApp(t, authtest.Options{}, middleware.PasswordChange)
		b, other := a.browser(), a.browser()
		b.open("/password").isRedirect(t, "/login?return_to=%2Fpassword")
		b.postJSON("/password", `{"old_password":"x","new_password":"y"}`).is(t, 401, "unauthenticated")
		b.signIn("viewer@example.com")
		other.signIn("viewer@example.com")
		b.open("/password").isPage(t, 200, "Change password")
		change := func(old, changed string) response {
			if form {
				return b.submit("/password", "old_password", old, "new_password", changed)
			}
			return b.postJSON("/password", `{"old_password":"`+old+`","new_password":"`+changed+`"}`)
		}
		wrong, short := change("not the password", newPassword), change(password, "short")
		if form {
			wrong.isPage(t, 403, `id="old_password-error"`)
			short.isPage(t, 422, `id="new_password-error"`)
		} else {
			wrong.is(t, 403, "wrong_password")
			if got := short.is(t, 422, "invalid_request").problem(t)["field"]; got != "new_password" {
				t.Errorf("field %v", got)
			}
		}
		if done := change(password, newPassword); form {
			done.isRedirect(t, "/password?done=1")
			b.open("/password?done=1").isPage(t, 200, "Password changed")
		} else {
			done.is(t, 204, "")
		}
		b.signedIn("viewer@example.com")
		// The refresh token of the other session is revoked.
		if n := len(a.auth.LiveTokens("viewer@example.com")); n != 1 {
			t.Errorf("%d refresh tokens are valid, want that of this session", n)
		}
		a.browser().postJSON("/login", `{"email":"viewer@example.com","password":"`+newPassword+`"}`).is(t, 200, "")
		a.browser().postJSON("/login", `{"email":"viewer@example.com","password":"`+password+`"}`).is(t, 401, "invalid_credentials")
	}
}

func TestPasswordChangeWithSecondFactor(t *testing.T) {
	a := newAccountApp(t, authtest.Options{}, middleware.PasswordChange)
	b := a.browser()
	b.submit("/login", "email", "mfa@example.com", "password", password, "return_to", "/reports").isRedirect(t, "/login/mfa?return_to=%2Freports")
	b.submit("/login/mfa", "code", code(t, a)).isRedirect(t, "/reports") // the cookie knows where to return to
	b.postJSON("/password", `{"old_password":"`+password+`","new_password":"`+newPassword+`"}`).is(t, 202, "")
	b.postJSON("/login/mfa", `{"code":"`+code(t, a)+`"}`).is(t, 200, "")
	b.submit("/password", "old_password", newPassword, "new_password", password).isRedirect(t, "/login/mfa")
	b.submit("/login/mfa", "code", code(t, a)).isRedirect(t, "/")
	b.signedIn("mfa@example.com")
}

func TestPasswordIsChangedButSignInFails(t *testing.T) {
	for _, form := range []bool{true, false} {
		a := newAccountApp(t, authtest.Options{}, middleware.PasswordChange)
		b := a.browser()
		b.signIn("viewer@example.com")
		a.auth.Inject(authtest.Login, authtest.Fault{Status: 500})
		if form {
			b.submit("/password", "old_password", password, "new_password", newPassword).isRedirect(t, "/login?done=password_sign_in")
			b.open("/login?done=password_sign_in").isPage(t, 200, "Your password is changed")
		} else {
			b.postJSON("/password", `{"old_password":"`+password+`","new_password":"`+newPassword+`"}`).is(t, 401, "sign_in_again")
		}
		b.signedIn("")
		a.auth.Clear()
		a.browser().postJSON("/login", `{"email":"viewer@example.com","password":"`+newPassword+`"}`).is(t, 200, "")
	}
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	a := newAccountApp(t, authtest.Options{LostPassword: true}, middleware.PasswordReset)
	b := a.browser()
	b.open("/login").isPage(t, 200, `href="/password/lost"`)
	b.open("/password/lost").isPage(t, 200, "Forgot your password?")
	known := b.submit("/password/lost", "email", "viewer@example.com").isPage(t, 202, "/password/reset")
	mails := len(a.auth.Emails())
	unknown := b.submit("/password/lost", "email", "unknown@example.com").isPage(t, 202, "/password/reset")
	if strings.ReplaceAll(known.body, "viewer", "unknown") != unknown.body || mails != 1 || len(a.auth.Emails()) != 1 {
		t.Error("the response shows which accounts exist")
	}
	b.postJSON("/password/lost", `{"email":"unknown@example.com"}`).is(t, 202, "")
	b.postJSON("/password/lost", `{"email":"no address"}`).is(t, 422, "invalid_request")

	ticket := a.lastMail().Ticket
	page := b.open("/password/reset?ticket="+ticket).isPage(t, 200, "Choose a new password").has(t, "Referrer-Policy", "no-referrer").body
	if !strings.Contains(page, `action="/password/reset"`) || !strings.Contains(page, ticket) {
		t.Errorf("%s", visible(page))
	}
	b.open("/password/reset").isPage(t, 200, "Code from the e-mail")
	b.submit("/password/reset", "ticket", ticket, "new_password", "short").isPage(t, 422, `id="new_password-error"`)
	b.submit("/password/reset", "ticket", ticket, "new_password", newPassword).isRedirect(t, "/login?done=password_reset")
	b.open("/login?done=password_reset").isPage(t, 200, "Your password is changed")
	b.submit("/password/reset", "ticket", ticket, "new_password", newPassword).isPage(t, 401, "not valid any more")
	b.postJSON("/password/reset", `{"ticket":"x","new_password":"`+newPassword+`"}`).is(t, 401, "invalid_ticket")
	b.signedIn("")
	b.postJSON("/login", `{"email":"viewer@example.com","password":"`+newPassword+`"}`).is(t, 200, "")
}

// All routes of all features refuse other origins, bearer tokens, and bodies that are
// too large.
func TestAccountRoutesRefuse(t *testing.T) {
	const provider = "/login/with/github"
	common := []middleware.Feature{
		middleware.MagicLink, middleware.PasswordChange, middleware.PasswordReset, middleware.SecondFactorSetup,
		middleware.AccountDeletion, middleware.Provider("github"),
	}
	for _, c := range []struct {
		features []middleware.Feature // of which only one of two should be given
		paths    int
	}{
		{[]middleware.Feature{middleware.Registration, middleware.VerifiedEmailChange}, 12},
		{[]middleware.Feature{middleware.DirectRegistration, middleware.EmailChange}, 11},
	} {
		features := append(slices.Clone(common), c.features...)
		a := newAccountApp(t, authtest.Options{LostPassword: true, SelfDelete: true}, features...)
		var paths []string
		for _, route := range middleware.Routes(a.m, features...) {
			if route.Method == http.MethodPost && !slices.Contains([]string{"/login", "/login/mfa", "/logout", provider}, route.Path) {
				paths = append(paths, route.Path)
			}
		}
		if len(paths) != c.paths {
			t.Fatalf("paths %q", paths)
		}
		b := a.browser()
		b.signIn("viewer@example.com")
		for _, path := range paths {
			b.postJSON(path, `{}`, "Origin", "https://evil.example").is(t, 403, "cross_site")
			b.postJSON(path, `{}`, "Authorization", "Bearer x").is(t, 401, "unauthenticated")
			b.postJSON(path, `{"email":"`+strings.Repeat("x", 70_000)+`"}`).is(t, 413, "invalid_request")
			b.do("POST", path, "x", "Content-Type", "text/plain").is(t, 415, "invalid_request")
			b.postJSON(path, `{}`).is(t, 422, "invalid_request")
			b.do("DELETE", path, "").is(t, 405, "method_not_allowed")
		}
		b.get(provider, "Authorization", "Bearer x").is(t, 401, "unauthenticated")
		b.postJSON(provider, `{}`, "Origin", "https://evil.example").is(t, 403, "cross_site")
		b.postJSON(provider, `{}`).is(t, 405, "method_not_allowed")
		b.signedIn("viewer@example.com")
	}
}

// mailService is an auth service without a password login.
type mailService struct {
	auth.Service
	auth.MagicLink
	auth.PasswordReset
}

// Pages link to the login page, and redirect to it, only if there is one.
func TestAppWithoutPasswordLogin(t *testing.T) {
	t.Parallel()
	for _, loginPath := range []string{"", "/sign-in"} {
		a := newBareApp(t, nil)
		a.auth = authtest.NewServer(t, authtest.Options{Accounts: accounts, PasswordCost: -1, LostPassword: true})
		client := synmetrix.NewClient(a.auth.URL)
		a.m = newManager(t, func(c *session.Config) {
			c.Auth, c.BasePath, c.LoginPath = mailService{client, client, client}, "/app", loginPath
		})
		middleware.Mount(a.mux, a.m, middleware.MagicLink, middleware.PasswordReset)
		a.start(middleware.Sessions(a.m)(a.mux))
		b := a.browser()
		b.open("/login").is(t, 404, "")
		linksToLogin := func(page response) {
			t.Helper()
			if loginPath != "" && !strings.Contains(page.body, `href="/app/sign-in"`) || strings.Contains(page.body, "/login") {
				t.Errorf("LoginPath %q: %s", loginPath, visible(page.body))
			}
		}
		linksToLogin(b.submit("/magic-link", "email", "viewer@example.com").isPage(t, 200, "Check your mail"))
		linksToLogin(b.open("/callback").isPage(t, 400, "not valid any more"))
		linksToLogin(b.submit("/password/lost", "email", "viewer@example.com").isPage(t, 202, "/app/password/reset"))
		reset := b.submit("/password/reset", "ticket", a.lastMail().Ticket, "new_password", newPassword)
		if loginPath != "" {
			reset.isRedirect(t, "/app/sign-in?done=password_reset")
			continue
		}
		reset.isRedirect(t, "/app/password/reset?done=1")
		linksToLogin(b.open("/password/reset?done=1").isPage(t, 200, "Sign in with your new password."))
	}
}
