package middleware_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// challenge is the WWW-Authenticate field of a 401 for a request without a
// bearer token.
const challenge = `Session realm="login"`

func TestLoginPage(t *testing.T) {
	b := newApp(t, nil).browser()
	page := b.open("/login?return_to=%2Freports%3Fa%3D1").isPage(t, 200, `<form method="post">`)
	for _, want := range []string{
		`autocomplete="username"`, `autocomplete="current-password"`, `type="password"`, `type="email"`,
		`<label for="email">`, `<label for="password">`, `name="return_to" value="/reports?a=1"`, `lang="en"`,
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the login page has no %s", want)
		}
	}
	if strings.Contains(page.body, "alert\"") {
		t.Error("the login page shows an error before the first attempt")
	}
	if body := b.open("/login?return_to=//evil.example").isPage(t, 200, "").body; strings.Contains(body, "evil") {
		t.Error("the login page contains a return_to on another host")
	}
	b.open("/login?expired=1").isPage(t, 200, "took too long")
	b.get("/login").is(t, 200, "").has(t, "Content-Type", "application/json")

	head := b.do("HEAD", "/login", "", "Accept", asPage).is(t, 200, "")
	if head.body != "" || head.ContentLength < 1000 {
		t.Errorf("HEAD /login: %d bytes, Content-Length %d", len(head.body), head.ContentLength)
	}
}

func TestLoginForm(t *testing.T) {
	a := newApp(t, nil)
	b := a.browser()
	b.submit("/login", "email", "admin@example.com", "password", password).isRedirect(t, "/")
	me(t, b, "user", "admin")
	// Another user can sign in without signing out first.
	b.open("/login").isPage(t, 200, "Sign in")
	b.get("/login").is(t, 200, "")
	b.submit("/login", "email", "viewer@example.com", "password", password, "return_to", "/reports?x=1#part").isRedirect(t, "/reports?x=1")
	me(t, b, "user")
	for _, elsewhere := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "", "reports"} {
		b.submit("/login", "email", "viewer@example.com", "password", password, "return_to", elsewhere).isRedirect(t, "/")
	}
	b.submit("/login", "email", "viewer@example.com", "password", password, "return_to", "/a", "return_to", "/b").isRedirect(t, "/")
}

// me checks whether a user with these roles is signed in. Without roles it checks
// that no user is.
func me(t *testing.T, b *browser, roles ...string) response {
	t.Helper()
	got := b.get("/login").is(t, 200, "")
	if want := fmt.Sprintf(`{"signed_in":%v}`, len(roles) > 0); got.body != want {
		t.Fatalf("GET /login: %s, want %s", got.body, want)
	}
	return got
}

func TestLoginJSON(t *testing.T) {
	a := newApp(t, nil)
	a.mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
	b := a.browser()
	b.get("/api/me").is(t, 401, "unauthenticated").has(t, "Www-Authenticate", challenge)
	before := time.Now()
	login := b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`","remember":true}`).
		is(t, 200, "").has(t, "Content-Type", "application/json").has(t, "Cache-Control", "no-store")
	var got struct {
		UserID       string   `json:"user_id"`
		AllowedRoles []string `json:"allowed_roles"`
		DefaultRole  string   `json:"default_role"`
		Access       int64    `json:"access_token_expires_at"`
		Session      int64    `json:"session_expires_at"`
		Email        string   `json:"email"`
		Name         string   `json:"name"`
	}
	d := json.NewDecoder(strings.NewReader(login.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	account, _ := a.auth.Account("admin@example.com")
	if got.UserID != account.ID || !slices.Equal(got.AllowedRoles, []string{"user", "admin"}) || got.DefaultRole != "user" ||
		got.Email != "admin@example.com" || got.Name != account.Email {
		t.Errorf("%+v, want the user %s", got, account.ID)
	}
	if d := time.Unix(got.Access, 0).Sub(before); d < 14*time.Minute || d > 16*time.Minute {
		t.Errorf("the access token expires in %v, want 15 min", d)
	}
	if d := time.Unix(got.Session, 0).Sub(before); d < 23*time.Hour || d > 25*time.Hour {
		t.Errorf("the session expires in %v, want 24 h", d)
	}
	if me := b.get("/api/me").is(t, 200, ""); me.body != login.body {
		t.Errorf("Me returns %s, the login %s", me.body, login.body)
	}
}

// withoutRoles is an auth service whose tokens have no roles.
type withoutRoles struct{ failing }

func (withoutRoles) Login(context.Context, string, string) (auth.Grant, error) {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	claims := fmt.Sprintf(`{"hasura":{"x-hasura-user-id":"u1"},"exp":%d}`, time.Now().Add(time.Hour).Unix())
	return auth.Grant{Tokens: auth.Tokens{AccessToken: part(`{"alg":"HS256"}`) + "." + part(claims) + "." + part("signature"), RefreshToken: "r"}}, nil
}

func TestMeWithoutRoles(t *testing.T) {
	b := newApp(t, func(c *session.Config) { c.Auth = withoutRoles{} }).browser()
	got := b.postJSON("/login", `{"email":"a@example.com","password":"p"}`).is(t, 200, "")
	if !strings.HasPrefix(got.body, `{"user_id":"u1","allowed_roles":[],"default_role":"",`) {
		t.Errorf("body %s", got.body)
	}
}

func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	var texts, pages []string
	for _, c := range []struct{ email, password string }{
		{"admin@example.com", "battery staple"},
		{"nobody@example.com", password},
		{"inactive@example.com", password},
		{"no address", password},
	} {
		b := a.browser()
		began := time.Now()
		got := b.postJSON("/login", fmt.Sprintf(`{"email":%q,"password":%q}`, c.email, c.password)).
			is(t, 401, "invalid_credentials").has(t, "Www-Authenticate", challenge).has(t, "Set-Cookie", "")
		if d := time.Since(began); d < 300*time.Millisecond {
			t.Errorf("%s was refused after %v", c.email, d)
		}
		texts = append(texts, got.body)

		page := b.submit("/login", "email", c.email, "password", c.password, "return_to", "/reports").
			isPage(t, 401, `role="alert"`).has(t, "Set-Cookie", "")
		for _, want := range []string{`value="` + c.email + `"`, `value="/reports"`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the page for %s has no %s", c.email, want)
			}
		}
		if strings.Contains(page.body, c.password) {
			t.Error("the page repeats the password")
		}
		pages = append(pages, strings.ReplaceAll(page.body, c.email, "*"))
	}
	if len(slices.Compact(texts)) != 1 || len(slices.Compact(pages)) != 1 {
		t.Errorf("refusals differ: %q %q", texts, pages)
	}
}

// While a user acts as another user, a guard requires the user's own password.
func TestSignInAgainWhileActing(t *testing.T) {
	a := newApp(t, nil)
	a.mux.HandleFunc("/act", func(_ http.ResponseWriter, r *http.Request) {
		access, refresh := a.auth.SignIn("viewer@example.com")
		grant := auth.Grant{Tokens: auth.Tokens{AccessToken: access, RefreshToken: refresh}, User: auth.User{Email: "viewer@example.com"}}
		if err := a.m.ActAs(r.Context(), grant); err != nil {
			t.Error(err)
		}
	})
	a.mux.Handle("/pay", middleware.RequireFresh(-1)(http.NotFoundHandler()))
	a.mux.HandleFunc("/me", middleware.Me)
	b := a.browser()
	b.signIn("admin@example.com")
	b.open("/login?again=1").isPage(t, 200, `value="admin@example.com"`)
	b.get("/act")
	b.open("/pay").isRedirect(t, "/login?return_to=%2Fpay&again=1")
	if page := b.open("/login?again=1").isPage(t, 200, `value="admin@example.com"`); strings.Contains(page.body, `value="viewer@example.com"`) {
		t.Error("the form has the address of the other user")
	}
	b.submit("/login?again=1", "email", "admin@example.com", "password", password).is(t, 303, "")
	if got := b.get("/me").body; !strings.Contains(got, `"email":"admin@example.com"`) || strings.Contains(got, "actor") {
		t.Errorf("after the sign-in: %s", got)
	}
}

// An app's own login route reveals no more than the built-in route.
func TestRefusedLoginOfAnAppsRoute(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	a.mux.HandleFunc("POST /own", func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, a.m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password")))
	})
	for _, email := range []string{"admin@example.com", "nobody@example.com"} {
		began := time.Now()
		a.browser().submit("/own", "email", email, "password", "wrong").isPage(t, 401, "wrong")
		if d := time.Since(began); d < 300*time.Millisecond {
			t.Errorf("%s was refused after %v", email, d)
		}
	}
}

// Keyboards of phones add a space after an address. A password may begin or end
// with spaces.
func TestSpacesAroundAnAddress(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	const spaces = " two words "
	a.auth.AddAccount(authtest.Account{Email: "spaces@example.com", Password: spaces})
	for _, email := range []string{" spaces@example.com", "spaces@example.com ", "\t\u00a0spaces@example.com\r\n"} {
		a.browser().submit("/login", "email", email, "password", spaces).isRedirect(t, "/")
		body, _ := json.Marshal(map[string]string{"email": email, "password": spaces})
		a.browser().postJSON("/login", string(body)).is(t, 200, "")
		page := a.browser().submit("/login", "email", email, "password", strings.TrimSpace(spaces)).isPage(t, 401, "wrong")
		if !strings.Contains(page.body, `value="spaces@example.com"`) {
			t.Errorf("the page shows %q with its spaces", email)
		}
	}
	if got := a.browser().postJSON("/login", `{"email":"  ","password":"p"}`).is(t, 422, "invalid_request").problem(t)["field"]; got != "email" {
		t.Errorf("an address of spaces: field %v", got)
	}
}

func TestLoginWhileTheServiceFails(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html"}}
	for _, c := range []struct {
		name   string
		fault  authtest.Fault
		status int
		code   string
		retry  string
	}{
		{"no response", authtest.Fault{Deliver: authtest.Reset}, 503, "auth_unavailable", "1"},
		{"500", authtest.Fault{Status: 500}, 503, "auth_unavailable", "1"},
		{"503 with Retry-After", authtest.Fault{Status: 503, Header: http.Header{"Retry-After": {"7"}}}, 503, "auth_unavailable", "7"},
		{"429", authtest.Fault{Status: 429}, 503, "auth_unavailable", ""},
		{"HTML", authtest.Fault{Status: 200, Header: html, Body: "<p>hello"}, 502, "auth_invalid_answer", ""},
		{"redirect", authtest.Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, 502, "auth_invalid_answer", ""},
		{"no tokens", authtest.Fault{Edit: authtest.DropTokens}, 502, "auth_invalid_answer", ""},
		{"cut", authtest.Fault{Deliver: authtest.HalfThenReset}, 502, "auth_invalid_answer", ""},
		{"too large", authtest.Fault{Edit: authtest.Enlarge}, 502, "auth_invalid_answer", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, nil)
			a.auth.Inject(authtest.Login, c.fault)
			b := a.browser()
			got := b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`"}`).is(t, c.status, c.code).has(t, "Set-Cookie", "")
			page := b.submit("/login", "email", "admin@example.com", "password", password).isPage(t, c.status, "try again")
			if retry := got.Header.Get("Retry-After"); c.retry != "" && retry != c.retry || (c.status == 503) != (retry != "") {
				t.Errorf("Retry-After: %q", retry)
			}
			if !strings.Contains(page.body, `value="admin@example.com"`) {
				t.Error("the page is not the login page with the e-mail address")
			}
			a.auth.Clear()
			b.signIn("admin@example.com")
		})
	}
}

func TestLoginWhileTheStoreIsDown(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	b := newApp(t, func(c *session.Config) { c.Store = s }).browser()
	s.Down.Store(true)
	b.postJSON("/login", `{"email":"admin@example.com","password":"`+password+`"}`).is(t, 503, "session_unavailable").has(t, "Retry-After", "1").has(t, "Set-Cookie", "")
	b.submit("/login", "email", "admin@example.com", "password", password).isPage(t, 503, "Signing in does not work at the moment. Please try again")
	s.Down.Store(false)
	b.signIn("admin@example.com")

	// The response says that the session is unavailable, not that the user is
	// signed out.
	s.Down.Store(true)
	if got := b.get("/login").is(t, 200, ""); got.body != `{"session_unavailable":true,"signed_in":false}` {
		t.Errorf("GET /login: %s", got.body)
	}
	s.Down.Store(false)
	me(t, b, "admin")
}

func TestLoginTooLargeForCookies(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.Cookie.MaxChunks = 1 })
	roles := []string{"user"}
	for i := range 300 {
		roles = append(roles, fmt.Sprintf("role-%d-%x", i, i*7919))
	}
	a.auth.AddAccount(authtest.Account{Email: "big@example.com", Password: password, Roles: roles})
	b := a.browser()
	b.postJSON("/login", `{"email":"big@example.com","password":"`+password+`"}`).is(t, 500, "session_too_large").has(t, "Set-Cookie", "")
	b.submit("/login", "email", "big@example.com", "password", password).isPage(t, 500, "too large")
	if live := a.auth.LiveTokens("big@example.com"); len(live) != 0 {
		t.Errorf("%d tokens were not revoked", len(live))
	}
}

func code(t *testing.T, a *app) string {
	t.Helper()
	c, err := totp.GenerateCode(totpSecret, a.auth.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wrongCode(t *testing.T, a *app) string {
	right := code(t, a)
	if right == "000000" {
		return "000001"
	}
	return "000000"
}

func TestSecondFactorForm(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	b := a.browser()
	b.open("/login/mfa?return_to=/reports").isRedirect(t, "/login?return_to=%2Freports")
	b.submit("/login/mfa", "code", "123456", "return_to", "/reports").isRedirect(t, "/login?return_to=%2Freports")
	b.submit("/login", "email", "mfa@example.com", "password", password, "return_to", "/reports?a=b&c=d").
		isRedirect(t, "/login/mfa?return_to=%2Freports%3Fa%3Db%26c%3Dd")
	me(t, b)
	// Without a pending login, requests by frames and scripts are not redirected.
	for _, dest := range []string{"iframe", "empty"} {
		a.browser().do("GET", "/login/mfa", "", "Accept", "text/html", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", dest).isPage(t, 401, "sign in again")
	}
	page := b.open("/login/mfa?return_to=%2Freports%3Fa%3Db%26c%3Dd").isPage(t, 200, `autocomplete="one-time-code"`)
	for _, want := range []string{`inputmode="numeric"`, `<label for="code">`, `value="/reports?a=b&amp;c=d"`, `href="/login?return_to=%2freports%3fa%3db%26c%3dd"`} {
		if !strings.Contains(strings.ToLower(page.body), strings.ToLower(want)) {
			t.Errorf("the page has no %s: %s", want, visible(page.body))
		}
	}
	began := time.Now()
	wrong := wrongCode(t, a)
	if page := b.submit("/login/mfa", "code", wrong, "return_to", "/reports").isPage(t, 401, "The code is wrong"); strings.Contains(page.body, wrong) {
		t.Error("the wrong code is in the form again")
	}
	if d := time.Since(began); d < 300*time.Millisecond {
		t.Errorf("a wrong code was refused after %v", d)
	}
	me(t, b)
	b.submit("/login/mfa", "code", "").isPage(t, 422, "code")
	right := code(t, a)
	b.submit("/login/mfa", "code", " "+right[:3]+" "+right[3:], "return_to", "/reports").isRedirect(t, "/reports")
	me(t, b, "user")
	// The pending login is used up.
	b.open("/login/mfa").isRedirect(t, "/login")
}

func TestSecondFactorJSON(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	b := a.browser()
	b.get("/login/mfa").is(t, 401, "unauthenticated")
	b.postJSON("/login/mfa", `{"code":"123456"}`).is(t, 401, "unauthenticated")
	b.postJSON("/login/mfa", `{}`).is(t, 401, "unauthenticated")
	if got := b.postJSON("/login", `{"email":"mfa@example.com","password":"`+password+`"}`).is(t, 202, ""); got.body != `{"mfa_required":true}` {
		t.Errorf("body %s", got.body)
	}
	b.get("/login/mfa").is(t, 200, "")
	me(t, b)
	b.postJSON("/login/mfa", `{"code":"`+wrongCode(t, a)+`"}`).is(t, 401, "invalid_credentials")
	b.postJSON("/login/mfa", `{}`).is(t, 422, "invalid_request")
	b.postJSON("/login/mfa", `{`).is(t, 400, "invalid_request")
	if got := b.postJSON("/login/mfa", `{"code":"`+code(t, a)+`"}`).is(t, 200, ""); !strings.Contains(got.body, `"user_id":"`) {
		t.Errorf("body %s", got.body)
	}
	me(t, b, "user")
}

func TestSecondFactorTooLate(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	form, script := a.browser(), a.browser()
	form.submit("/login", "email", "mfa@example.com", "password", password).isRedirect(t, "/login/mfa")
	script.postJSON("/login", `{"email":"mfa@example.com","password":"`+password+`"}`).is(t, 202, "")
	a.auth.Advance(2 * time.Hour) // the ticket has expired
	form.submit("/login/mfa", "code", code(t, a), "return_to", "/x").isRedirect(t, "/login?expired=1&return_to=%2Fx")
	script.postJSON("/login/mfa", `{"code":"`+code(t, a)+`"}`).is(t, 401, "unauthenticated")
	form.open("/login/mfa").isRedirect(t, "/login")
}

func TestSecondFactorWhileTheServiceFails(t *testing.T) {
	a := newApp(t, nil)
	b := a.browser()
	b.submit("/login", "email", "mfa@example.com", "password", password).isRedirect(t, "/login/mfa")
	a.auth.Inject(authtest.TOTP, authtest.Fault{Status: 500})
	b.submit("/login/mfa", "code", code(t, a), "return_to", "/x").isPage(t, 503, `value="/x"`)
	b.postJSON("/login/mfa", `{"code":"`+code(t, a)+`"}`).is(t, 503, "auth_unavailable")
	a.auth.Clear()
	b.submit("/login/mfa", "code", code(t, a)).isRedirect(t, "/")
}

// passwordOnly is a service without second factors.
type passwordOnly struct {
	auth.Service
	auth.PasswordLogin
}

// refreshOnly is a service without a login.
type refreshOnly struct{ auth.Service }

// codeOnly is a service with second factors, but without a password login.
type codeOnly struct {
	auth.Service
	auth.SecondFactor
}

// Without a password login there is no login form, and no form for a code, since no
// login can wait for one. But users can sign out.
func TestWithoutPasswordLogin(t *testing.T) {
	for name, without := range map[string]func(auth.Service) auth.Service{
		"refresh only": func(s auth.Service) auth.Service { return refreshOnly{s} },
		"code only":    func(s auth.Service) auth.Service { return codeOnly{s, s.(auth.SecondFactor)} },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(c *session.Config) { c.Auth = without(c.Auth) })
			b := a.browser()
			b.open("/login").is(t, 404, "")
			b.postJSON("/login", `{"email":"admin@example.com","password":"secret"}`).is(t, 404, "")
			b.open("/login/mfa").is(t, 404, "")
			b.postJSON("/login/mfa", `{"code":"123456"}`).is(t, 404, "")
			b.postJSON("/logout", `{}`).is(t, 204, "")
		})
	}
}

func TestWithoutSecondFactor(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.Auth = passwordOnly{c.Auth, c.Auth.(auth.PasswordLogin)} })
	b := a.browser()
	b.open("/login/mfa").is(t, 404, "")
	b.signIn("admin@example.com")
	for _, route := range middleware.Routes(a.m) {
		if route.Path == "/login/mfa" {
			t.Errorf("Routes has %s %s", route.Method, route.Path)
		}
	}
}

func TestLogout(t *testing.T) {
	a := newApp(t, nil)
	b, other := a.browser(), a.browser()

	b.signIn("admin@example.com")
	if n := len(a.auth.LiveTokens("admin@example.com")); n != 1 {
		t.Fatalf("%d live tokens", n)
	}
	b.submit("/logout").isRedirect(t, "/")
	me(t, b)
	if n := len(a.auth.LiveTokens("admin@example.com")); n != 0 {
		t.Errorf("%d tokens are still valid after the logout", n)
	}
	b.submit("/logout").isRedirect(t, "/")
	b.do("POST", "/logout", "").is(t, 204, "")
	b.do("POST", "/logout", "", "Accept", asPage).isRedirect(t, "/")

	b.signIn("admin@example.com")
	if got := b.postJSON("/logout", `{}`).is(t, 204, ""); got.body != "" {
		t.Errorf("body %q", got.body)
	}
	me(t, b)

	for _, all := range []string{`{"all":true}`, "all=true"} {
		b.signIn("admin@example.com")
		other.signIn("admin@example.com")
		if all[0] == '{' {
			b.postJSON("/logout", all).is(t, 204, "")
		} else {
			b.submit("/logout", "all", "true").isRedirect(t, "/")
		}
		me(t, b)
		if n := len(a.auth.LiveTokens("admin@example.com")); n != 0 {
			t.Errorf("%d tokens are still valid after a logout with %s", n, all)
		}
	}

	b.signIn("admin@example.com")
	for body, field := range map[string]string{`{"all":"true"}`: "all", `{"all":null}`: "all"} {
		if got := b.postJSON("/logout", body).is(t, 422, "invalid_request").problem(t)["field"]; got != field {
			t.Errorf("%s: field %v", body, got)
		}
	}
	b.submit("/logout", "all", "perhaps").isPage(t, 422, "all")
	b.postJSON("/logout", `{"all":true`).is(t, 400, "invalid_request")
	me(t, b, "admin")

	a.auth.Inject(authtest.Logout, authtest.Fault{Status: 500})
	b.submit("/logout").isRedirect(t, "/")
	me(t, b)
}

func TestLogoutWhileTheStoreIsDown(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	b := newApp(t, func(c *session.Config) { c.Store = s }).browser()
	b.signIn("admin@example.com")
	s.Down.Store(true)
	b.submit("/logout").isPage(t, 503, "try again").has(t, "Set-Cookie", "").has(t, "Retry-After", "1")
	b.postJSON("/logout", "{}").is(t, 503, "session_unavailable").has(t, "Set-Cookie", "")
	s.Down.Store(false)
	me(t, b, "admin")
	b.submit("/logout").isRedirect(t, "/")
	me(t, b)
}

func TestMethodNotAllowed(t *testing.T) {
	a := newApp(t, nil)
	b := a.browser()
	b.signIn("admin@example.com")
	for _, c := range []struct{ path, allow string }{
		{"/login", "GET, HEAD, POST"}, {"/login/mfa", "GET, HEAD, POST"}, {"/logout", "POST"},
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			if strings.Contains(c.allow, method) {
				continue
			}
			got := b.do(method, c.path, "").is(t, 405, "").has(t, "Allow", c.allow)
			if method != "HEAD" {
				got.is(t, 405, "method_not_allowed")
			}
		}
	}
	b.open("/logout").isPage(t, 405, "does not accept")
	me(t, b, "admin")
}

func TestRoutesRefuseCrossOriginRequests(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.TrustedOrigins = []string{"https://trusted.example"} })
	login := `{"email":"admin@example.com","password":"` + password + `"}`
	for _, c := range []struct {
		header []string
		status int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://trusted.example"}, 200},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Origin", a.srv.URL}, 200},
		{nil, 200},
	} {
		got := a.browser().postJSON("/login", login, c.header...)
		if got.StatusCode != c.status {
			t.Errorf("%v: status %d, want %d", c.header, got.StatusCode, c.status)
		}
		if c.status == 403 {
			got.is(t, 403, "cross_site").has(t, "Set-Cookie", "")
		}
	}
	for _, path := range []string{"/login", "/login/mfa", "/logout"} {
		b := a.browser()
		b.do("POST", path, "x=1", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site").isPage(t, 403, "another site")
		b.postJSON(path, "{}", "Sec-Fetch-Site", "same-site").is(t, 403, "cross_site")
	}
	b := a.browser()
	b.signIn("admin@example.com")
	b.postJSON("/logout", "{}", "Sec-Fetch-Site", "cross-site").is(t, 403, "cross_site")
	me(t, b, "admin")
}

// The routes work below any prefix.
func TestRoutesBelowAPrefix(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.LoginPath = "/deep/er/login" })
	inner := http.NewServeMux()
	middleware.Mount(inner, a.m)
	inner.Handle("GET /page", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("the page"))
	})))
	outer := http.NewServeMux()
	outer.Handle("/deep/er/", http.StripPrefix("/deep/er", inner))
	a.start(middleware.Sessions(a.m, middleware.WithHome("/deep/er/page"))(outer))
	b := a.browser()
	b.client.CheckRedirect = nil // follow, as a browser does

	got := b.open("/deep/er/page?q=1")
	if at := got.Request.URL.RequestURI(); at != "/deep/er/login?return_to=%2Fdeep%2Fer%2Fpage%3Fq%3D1" {
		t.Fatalf("redirected to %s", at)
	}
	got = b.submit("/deep/er/login", "email", "mfa@example.com", "password", password, "return_to", "/deep/er/page?q=1")
	if at := got.Request.URL.Path; at != "/deep/er/login/mfa" {
		t.Fatalf("redirected to %s for the code", at)
	}
	got = b.submit("/deep/er/login/mfa", "code", code(t, a), "return_to", "/deep/er/page?q=1")
	if at := got.Request.URL.RequestURI(); at != "/deep/er/page?q=1" || got.body != "the page" {
		t.Fatalf("redirected to %s", at)
	}
	if at := b.open("/deep/er/login/mfa").Request.URL.Path; at != "/deep/er/login" {
		t.Errorf("without a pending login redirected to %s", at)
	}
	got = b.submit("/deep/er/logout")
	if at := got.Request.URL.Path; at != "/deep/er/login" {
		t.Errorf("after signing out redirected to %s", at)
	}
}

func TestRoutesOutsideSessions(t *testing.T) {
	a := newApp(t, nil)
	a.start(a.mux)
	b := a.browser()
	for _, path := range []string{"/login", "/login/mfa"} {
		b.get(path).is(t, 500, "session_not_loaded")
		b.open(path).isPage(t, 500, "middleware.Sessions")
	}
	b.postJSON("/logout", "{}").is(t, 500, "session_not_loaded")

	// Routes inside another Manager's Sessions refuse requests, too.
	other := newManager(t, func(c *session.Config) { c.Auth = failing{} })
	a.start(middleware.Sessions(other)(a.mux))
	a.browser().postJSON("/login", "{}").is(t, 500, "session_not_loaded")
}

// failing is an auth service that is down. It calls onLogin, if not nil, for each
// login.
type failing struct{ onLogin func(email, password string) }

func (f failing) Login(_ context.Context, email, password string) (auth.Grant, error) {
	if f.onLogin != nil {
		f.onLogin(email, password)
	}
	return auth.Grant{}, &auth.Error{Op: "login", Err: auth.ErrUnavailable, RetryAfter: 1500 * time.Millisecond}
}

func (failing) Refresh(context.Context, auth.Tokens) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrUnavailable
}

func (failing) Logout(context.Context, auth.Tokens, bool) error { return errors.New("down") }
