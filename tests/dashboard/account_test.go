package dashboard_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const fresh = "fresh@example.com" // no account has this address

// verifies are the settings of a service that verifies addresses.
var verifies = authtest.Options{NoActivation: true, VerifyEmails: true, LostPassword: true}

// startAccounts is start for a service whose links lead to the program.
func startAccounts(t *testing.T, tt target, opts authtest.Options, env ...string) *site {
	t.Helper()
	s := start(t, tt, opts, env...)
	s.auth.SetRedirects(s.URL+"/callback", s.URL+"/callback")
	return s
}

// mail returns the last e-mail. The program must not print its secrets.
func (s *site) mail() authtest.Email {
	s.t.Helper()
	mails := s.auth.Emails()
	if len(mails) == 0 {
		s.t.Fatal("no e-mail was sent")
	}
	m := mails[len(mails)-1]
	for _, secret := range []string{m.Ticket, m.Token} {
		if secret != "" {
			s.secrets.Add("ticket or token of an e-mail", secret)
		}
	}
	return m
}

// link follows the link of the last e-mail to the service, and returns the address to
// which the service redirects.
func (s *site) link() (path string) {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(s.mail().Link)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.secrets.Add("refresh token of a link", to.Query().Get("refresh_token"))
	return to.RequestURI()
}

// visitor checks that no user is signed in, and user that a user is.
func (b *browser) visitor() { b.t.Helper(); b.get("/api/me").problem(401, "unauthenticated") }

func (b *browser) user(email string) {
	b.t.Helper()
	account, _ := b.site.auth.Account(email)
	if got := b.get("/api/me").is(200).object()["user_id"]; got != account.ID {
		b.t.Errorf("signed in as %v, want %s", got, account.ID)
	}
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// press sends the form of a page that has only hidden fields.
func (b *browser) press(path string, page *response) *response {
	b.t.Helper()
	var fields []string
	for _, f := range hiddenInput.FindAllStringSubmatch(page.body, -1) {
		fields = append(fields, f[1], f[2])
	}
	return b.postForm(path, fields...)
}

func testRegisterVerify(t *testing.T, tt target) {
	s := startAccounts(t, tt, verifies)
	b := s.browser(t)
	b.page("/register").isPage(200)
	for _, email := range []string{fresh, viewer, inactive} {
		if got := s.browser(t).postJSON("/register", `{"email":"`+email+`","password":"`+password+`"}`).is(202).object(); len(got) != 1 {
			t.Errorf("%s: %v", email, got)
		}
	}
	b.postForm("/register", "email", "second@example.com", "password", password, "return_to", "/dashboard").isPage(200)
	b.visitor()
	b.page(s.link()).leadsTo("/dashboard")
	b.user("second@example.com")
	b.postJSON("/register", `{"email":"third@example.com","password":"x"}`).problem(422, "invalid_request")
	b.postJSON("/register", `{"email":"third@example.com"}`).problem(422, "invalid_request")
	b.postForm("/register", "email", "third", "password", password).isPage(422)
	s.auth.Inject(authtest.Register, authtest.Fault{Status: 500})
	s.browser(t).postJSON("/register", `{"email":"fourth@example.com","password":"`+password+`"}`).problem(503, "auth_unavailable")
}

func testRegisterDirect(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{}, "REGISTER=direct")
	b := s.browser(t)
	b.postForm("/register", "email", fresh, "password", password).leadsTo("/")
	b.user(fresh)
	s.browser(t).postJSON("/register", `{"email":"`+fresh+`","password":"`+password+`"}`).problem(409, "account_exists")
	s.browser(t).postForm("/register", "email", fresh, "password", password).isPage(409)
	if got := s.browser(t).postJSON("/register", `{"email":"other@example.com","password":"`+password+`"}`).is(200).object(); got["user_id"] == "" {
		t.Errorf("%v", got)
	}
}

func testRegisterOff(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{}, "REGISTER=off")
	s.browser(t).page("/register").isPage(404)
	s.browser(t).postJSON("/register", `{"email":"`+fresh+`","password":"`+password+`"}`).problem(404, "not_found")
}

func testMagicLink(t *testing.T, tt target) {
	s := startAccounts(t, tt, verifies)
	b := s.browser(t)
	b.postForm("/magic-link", "email", strings.ToUpper(viewer), "return_to", "/dashboard").isPage(200)
	b.visitor()
	link := s.link()
	stranger := s.browser(t)
	stranger.page(link).isPage(200)
	stranger.do("HEAD", link, "").is(200)
	b.do("GET", link, "", "Accept", acceptPage, "Sec-Purpose", "prefetch;prerender").isPage(200)
	b.visitor()
	b.page(link).leadsTo("/dashboard")
	b.user(viewer)
	stranger.page(link).isPage(200)
	stranger.press("/callback", stranger.page(link)).isPage(401)
	stranger.visitor()
	if got := stranger.postJSON("/magic-link", `{"email":"`+fresh+`"}`).is(202).object(); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if _, created := s.auth.Account(fresh); created {
		t.Error("a magic link has created an account")
	}
	s.auth.Inject(authtest.Login, authtest.Fault{Status: 503})
	stranger.postJSON("/magic-link", `{"email":"`+viewer+`"}`).problem(503, "auth_unavailable")
}

func testCallback(t *testing.T, tt target) {
	s := startAccounts(t, tt, verifies)
	victim := s.browser(t)
	victim.postJSON("/magic-link", `{"email":"`+viewer+`"}`).is(202)
	s.browser(t).postJSON("/magic-link", `{"email":"`+admin+`"}`).is(202)
	page := victim.page(s.link()).isPage(200) // the link of another account
	victim.visitor()
	victim.press("/callback", page).leadsTo("/")
	victim.user(admin)

	b := s.browser(t)
	b.page("/callback").isPage(400)
	b.get("/callback").problem(400, "invalid_request")
	b.postJSON("/callback", `{}`).problem(422, "invalid_request")
	b.postJSON("/callback", `{"refresh_token":"unknown"}`).problem(401, "invalid_credentials")
	b.postForm("/callback", "refresh_token", "unknown").isPage(401)
	b.do("POST", "/callback", `{"refresh_token":"x"}`, "Content-Type", typeJSON, "Sec-Fetch-Site", "cross-site").problem(403, "cross_site")
	_, token := s.auth.SignIn(viewer)
	b.postJSON("/callback", `{"refresh_token":"`+token+`"}`).is(200)
	b.user(viewer)
}

func testPassword(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{})
	const changed = "another long password"
	s.secrets.Add("password", changed)
	b, other := s.signedIn(t, viewer), s.signedIn(t, viewer)
	b.put("theme", `"dark"`).is(204)
	b.page("/password").isPage(200)
	s.browser(t).page("/password").leadsTo("/login?return_to=%2Fpassword")
	s.browser(t).postJSON("/password", `{"old_password":"x","new_password":"y"}`).problem(401, "unauthenticated")
	b.postJSON("/password", `{"old_password":"wrong one","new_password":"`+changed+`"}`).problem(403, "wrong_password")
	b.postForm("/password", "old_password", "wrong one", "new_password", changed).isPage(403)
	b.postJSON("/password", `{"old_password":"`+password+`","new_password":"x"}`).problem(422, "invalid_request")
	before := b.copy()
	b.postJSON("/password", `{"old_password":"`+password+`","new_password":"`+changed+`"}`).is(204)
	b.user(viewer)
	if got := b.get("/api/prefs").is(200).object()["theme"]; got != "dark" {
		t.Errorf("the session's values are gone: %v", got)
	}
	eventually(t, "the other sessions end", func() bool { return other.get("/api/me").status == 401 })
	before.visitor()
	b.postForm("/password", "old_password", changed, "new_password", password).is(303)

	second := s.browser(t)
	second.postForm("/login", "email", mfa, "password", password).is(303)
	second.postJSON("/login/mfa", `{"code":"`+code(t, time.Now())+`"}`).is(200)
	second.postJSON("/password", `{"old_password":"`+password+`","new_password":"`+changed+`"}`).is(202)
	second.postJSON("/login/mfa", `{"code":"`+code(t, time.Now())+`"}`).is(200)
	second.user(mfa)

	s.auth.Inject(authtest.Login, authtest.Fault{Status: 500})
	b.postJSON("/password", `{"old_password":"`+password+`","new_password":"`+changed+`"}`).problem(401, "sign_in_again")
	b.visitor()
}

func testPasswordReset(t *testing.T, tt target) {
	s := startAccounts(t, tt, verifies)
	const changed = "another long password"
	s.secrets.Add("password", changed)
	b := s.browser(t)
	b.page("/password/lost").isPage(200)
	for _, email := range []string{fresh, inactive, viewer} {
		b.postJSON("/password/lost", `{"email":"`+email+`"}`).is(202)
	}
	ticket := s.mail().Ticket
	b.page("/password/reset?ticket=" + ticket).isPage(200)
	b.postJSON("/password/reset", `{"ticket":"`+ticket+`","new_password":"x"}`).problem(422, "invalid_request")
	b.postJSON("/password/reset", `{"ticket":"`+ticket+`","new_password":"`+changed+`"}`).is(204)
	b.postJSON("/password/reset", `{"ticket":"`+ticket+`","new_password":"`+changed+`"}`).problem(401, "invalid_ticket")
	b.postForm("/password/reset", "ticket", ticket, "new_password", changed).isPage(401)
	b.visitor()
	b.postJSON("/login", `{"email":"`+viewer+`","password":"`+changed+`"}`).is(200)
	b.postForm("/password/lost", "email", viewer).isPage(202)
	b.postForm("/password/reset", "ticket", s.mail().Ticket, "new_password", password).is(303)
}
