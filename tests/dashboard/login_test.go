package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

func testLogin(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.browser(t)
	page := b.page("/login?return_to=%2Fdashboard%3Fa%3D1").isPage(200)
	for _, want := range []string{`name="email"`, `name="password"`, `autocomplete="current-password"`, `value="/dashboard?a=1"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the login page has no %s", want)
		}
	}
	b.postForm("/login", "email", viewer, "password", password, "return_to", "/dashboard?a=1").leadsTo("/dashboard?a=1")
	b.page("/dashboard?a=1").isPage(200)

	b = s.browser(t)
	account, _ := s.auth.Account(viewer)
	a := b.postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`).is(200)
	if me := a.object(); me["user_id"] != account.ID || me["email"] != viewer || len(me) != 7 {
		t.Errorf("the response to a sign-in in JSON is %s", a.body)
	}
	if a.body != b.get("/api/me").body {
		t.Error("the response to a sign-in in JSON is not that of /api/me")
	}

	for _, elsewhere := range []string{"https://evil.example.org/", "//evil.example.org", `/\evil.example.org`, "javascript:alert(1)", "/%2e%2e//evil.example.org", "dashboard", ""} {
		s.browser(t).postForm("/login", "email", viewer, "password", password, "return_to", elsewhere).leadsTo("/")
	}
}

func testLoginInput(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.browser(t)
	field := func(p map[string]any, want string) {
		t.Helper()
		if p["field"] != want && !strings.Contains(p["detail"].(string), want) {
			t.Errorf("%v does not name the field %s", p, want)
		}
	}
	field(b.postJSON("/login", `{"password":"x"}`).problem(422, "invalid_request"), "email")
	field(b.postJSON("/login", `{"email":"a@example.com"}`).problem(422, "invalid_request"), "password")
	field(b.postJSON("/login", `{"email":5,"password":"x"}`).problem(422, "invalid_request"), "email")
	b.postJSON("/login", `{"email":`).problem(400, "invalid_request")
	b.postJSON("/login", `[]`).problem(400, "invalid_request")
	b.postJSON("/login", `{"email":"`+strings.Repeat("a", 70_000)+`"}`).problem(413, "invalid_request")
	field(b.postJSON("/login", `{"email":"a@example.com","email":"b@example.com","password":"x"}`).problem(422, "invalid_request"), "email")
	b.postJSON("/login", `{"email":"a@example.com","password":"x"} x`).problem(400, "invalid_request")
	b.postJSON("/login", "{\"email\":\"a@example.com\",\"password\":\"\xff\"}").problem(400, "invalid_request")
	b.postJSON("/login", strings.Repeat("[", 10_000)).problem(400, "invalid_request")
	for _, path := range []string{"/login", "/login/mfa", "/logout"} {
		b.do("POST", path, "email", "Content-Type", "text/plain").problem(415, "invalid_request")
		b.do("POST", path, "email", "Content-Type", typeForm+"; charset=latin1").isPage(415)
		b.do("POST", path, strings.Repeat("x", 64<<10+1), "Content-Type", typeForm).isPage(413)
		b.do("POST", path, strings.Repeat("x", 64<<10+1), "Content-Type", typeJSON).problem(413, "invalid_request")
		b.do("POST", path, strings.Repeat("x", 64<<10), "Content-Type", typeJSON).problem(400, "invalid_request")
		b.chunked("POST", path, strings.Repeat("x", 64<<10+1), "Content-Type", typeJSON).problem(413, "invalid_request")
	}
	b.chunked("POST", "/logout", "").is(204) // which is no body
	b.chunked("POST", "/login", `{"email":"`+viewer+`","password":"`+password+`"}`, "Content-Type", typeJSON).is(200)
	b.postForm("/logout").is(303)
	field(b.do("POST", "/login", "email=a&email=b&password=x", "Content-Type", typeForm, "Accept", acceptJSON).isPage(422).as(), "e-mail")
	multipart := "--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\n" + viewer +
		"\r\n--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n" + password + "\r\n--x--\r\n"
	b.do("POST", "/login", multipart, "Content-Type", "multipart/form-data; boundary=x").leadsTo("/")
	b.postForm("/logout").is(303)
	b.do("POST", "/login", "email", "Content-Type", "text/plain").problem(415, "invalid_request")

	b.postForm("/login", "email", "", "password", "x").isPage(422)
	b.postForm("/login", "email", viewer).isPage(422)
	b.postForm("/login", "email", strings.Repeat("a", 70_000)).isPage(413)
	b.do("POST", "/login", "email=%zz", "Content-Type", typeForm).isPage(400)

	// The values of a form are text.
	form := b.postForm("/login", "email", `"><b>x`, "password", "wrong").isPage(401)
	if strings.Contains(form.body, "<b>x") {
		t.Error("the login page shows markup from the form")
	}
}

// A login replaces the browser's previous session.
func testLoginAgain(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	b.put("theme", `"dark"`).is(204)
	before := b.copy()
	b.postForm("/login", "email", admin, "password", password).is(303)
	b.page("/admin").isPage(200)
	if a := b.get("/api/prefs").is(200); a.body != "{}" {
		t.Errorf("the new session has the values %s", a.body)
	}
	before.get("/api/me").problem(401, "unauthenticated")
	eventually(t, "the old tokens are revoked", func() bool { return len(s.auth.LiveTokens(viewer)) == 0 })

	// A refused login does not change the session.
	b.postForm("/login", "email", viewer, "password", "wrong").is(401)
	b.page("/admin").isPage(200)
}

func code(t *testing.T, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(totpSecret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func testSecondFactor(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	wrong := func() string { return code(t, time.Now().Add(-24*time.Hour)) }

	// A browser signs in by the form.
	b := s.browser(t)
	b.page("/login/mfa").leadsTo("/login")
	b.postForm("/login/mfa", "code", "123456").leadsTo("/login")
	a := b.postForm("/login", "email", mfa, "password", password, "return_to", "/dashboard").is(303)
	if to := a.location(); to != "/login/mfa?return_to=%2Fdashboard" {
		t.Errorf("after the password it goes on at %q", to)
	}
	b.page("/dashboard").is(303)
	b.get("/api/me").problem(401, "unauthenticated")
	if page := b.page("/login/mfa?return_to=%2Fdashboard").isPage(200); !strings.Contains(page.body, `autocomplete="one-time-code"`) {
		t.Error("the page has no field for a code")
	}
	began := time.Now()
	if page := b.postForm("/login/mfa", "code", wrong(), "return_to", "/dashboard").isPage(401); !strings.Contains(page.body, `name="code"`) {
		t.Error("there is no other try")
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("a wrong code was refused after %v", took)
	}
	b.postForm("/login/mfa", "code", "", "return_to", "/dashboard").isPage(422)
	b.get("/api/me").problem(401, "unauthenticated")
	b.postForm("/login/mfa", "code", code(t, time.Now()), "return_to", "/dashboard").leadsTo("/dashboard")
	b.page("/dashboard").isPage(200)
	b.page("/login/mfa").leadsTo("/login") // over with it
	b.do("GET", "/login/mfa", "", "Accept", acceptPage, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty").isPage(401)

	// The redirect stays on this host, and a cookie that does not open is deleted.
	b = s.pending(t)
	b.postForm("/login/mfa", "code", code(t, time.Now()), "return_to", "//evil.example").leadsTo("/")
	b = s.pending(t)
	for _, c := range b.cookies() {
		c.Value = "x" + c.Value
		b.client.Jar.SetCookies(b.request("GET", "/", nil).URL, []*http.Cookie{c})
	}
	b.page("/login/mfa").leadsTo("/login")
	if left := b.cookies(); len(left) > 0 {
		t.Errorf("%d cookies are left that do not open", len(left))
	}
	// A sign-in of another user, or a sign-out, ends the pending login.
	b = s.pending(t)
	b.postForm("/login", "email", viewer, "password", password).leadsTo("/")
	b.page("/login/mfa").leadsTo("/login")
	b = s.pending(t)
	b.postForm("/logout").leadsTo("/")
	b.page("/login/mfa").leadsTo("/login")

	// A program signs in by JSON.
	b = s.browser(t)
	b.postJSON("/login/mfa", `{"code":"123456"}`).problem(401, "unauthenticated")
	b.get("/login/mfa").problem(401, "unauthenticated")
	if a := b.postJSON("/login", `{"email":"`+mfa+`","password":"`+password+`"}`).is(202); len(a.object()) != 1 || a.object()["mfa_required"] != true {
		t.Errorf("got %s", a.body)
	}
	b.get("/api/me").problem(401, "unauthenticated")
	b.postJSON("/login/mfa", `{"code":"`+wrong()+`"}`).problem(401, "invalid_credentials")
	b.postJSON("/login/mfa", `{}`).problem(422, "invalid_request")
	account, _ := s.auth.Account(mfa)
	if me := b.postJSON("/login/mfa", `{"code":"`+code(t, time.Now())+`"}`).is(200).object(); me["user_id"] != account.ID {
		t.Errorf("got %v", me)
	}
	b.get("/api/me").is(200)
}

// pending returns a browser in which a login waits for its second factor.
func (s *site) pending(t *testing.T) *browser {
	t.Helper()
	b := s.browser(t)
	b.postForm("/login", "email", mfa, "password", password).leadsTo("/login/mfa")
	return b
}

// If a second factor is required, the current session continues until the code is
// accepted.
func testSecondFactorKeepsSession(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	b.postForm("/login", "email", mfa, "password", password).leadsTo("/login/mfa")
	viewerID := b.get("/api/me").is(200).object()["user_id"]
	b.postForm("/login/mfa", "code", code(t, time.Now())).leadsTo("/")
	if now := b.get("/api/me").is(200).object()["user_id"]; now == viewerID {
		t.Error("the second factor has signed no user in")
	}
}

func testLogout(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	revoked := func() bool { return len(s.auth.LiveTokens(viewer)) == 0 }

	b := s.signedIn(t, viewer)
	stolen := b.copy()
	b.postForm("/logout").leadsTo("/")
	if left := b.cookies(); len(left) != 1 || !strings.HasSuffix(left[0].Name, "-device") {
		t.Errorf("%d cookies are left, want only that of a known device", len(left))
	}
	b.page("/dashboard").is(303)
	stolen.get("/api/me").problem(401, "unauthenticated")
	eventually(t, "the tokens are revoked", revoked)

	b = s.signedIn(t, viewer)
	b.postJSON("/logout", `{}`).is(204)
	b.get("/api/me").problem(401, "unauthenticated")
	eventually(t, "the tokens are revoked", revoked)

	b = s.signedIn(t, viewer)
	b.do("POST", "/logout", "").is(204) // no body
	b.get("/api/me").problem(401, "unauthenticated")

	// The result is the same without a session and with one that has ended.
	b.postForm("/logout").leadsTo("/")
	b.postJSON("/logout", `{}`).is(204)
	stolen.postForm("/logout").leadsTo("/")
	s.browser(t).postForm("/logout", "all", "true").leadsTo("/")

	b.postForm("/logout", "all", "perhaps").isPage(422)
	b.postJSON("/logout", `{"all":"yes"}`).problem(422, "invalid_request")
}

func testCrossSite(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{}, "TRUSTED_ORIGINS=https://app.example.org")
	b, in := s.browser(t), s.signedIn(t, viewer)
	login := url.Values{"email": {viewer}, "password": {password}}.Encode()
	for _, from := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example.org"},
		{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"},
		{"Origin", "https://evil.example.org"},
		{"Origin", "null"},
	} {
		form := append([]string{"Content-Type", typeForm, "Accept", acceptPage}, from...)
		json := append([]string{"Content-Type", typeJSON}, from...)
		for _, b := range []*browser{b, in} {
			b.do("POST", "/login", login, form...).isPage(403)
			b.do("POST", "/login", `{"email":"a@example.com","password":"x"}`, json...).problem(403, "cross_site")
			b.do("POST", "/login/mfa", "code=123456", form...).isPage(403)
			b.do("POST", "/logout", "", form...).isPage(403)
		}
		in.do("PUT", "/api/prefs/theme", `"dark"`, json...).problem(403, "cross_site")
		b.do("PUT", "/api/prefs/theme", `"dark"`, json...).problem(401, "unauthenticated")
		in.do("GET", "/dashboard", "", append(from, "Accept", acceptPage)...).isPage(200)
	}
	in.get("/api/me").is(200)
	for _, from := range [][]string{
		{"Sec-Fetch-Site", "same-origin"},
		{"Sec-Fetch-Site", "none"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.org"},
		{"Origin", s.URL},
		nil,
	} {
		in.do("PUT", "/api/prefs/theme", `"dark"`, append(from, "Content-Type", typeJSON)...).is(204)
		s.browser(t).do("POST", "/login", login, append(from, "Content-Type", typeForm)...).is(303)
	}
}
