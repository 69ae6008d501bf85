package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

// shows fails the test unless the page contains all texts.
func (a *response) shows(texts ...string) *response {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Errorf("%s: %q is not in the page: %s", a.what, text, a.text())
		}
	}
	return a
}

// lacks fails the test if the page contains one of the texts.
func (a *response) lacks(texts ...string) *response {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			a.t.Errorf("%s: %q is in the page: %s", a.what, text, a.text())
		}
	}
	return a
}

// setsNothing fails the test if the response has set a cookie.
func (a *response) setsNothing() *response {
	a.t.Helper()
	if cookies := a.header.Values("Set-Cookie"); len(cookies) > 0 {
		a.t.Errorf("%s: the response has set %d cookies", a.what, len(cookies))
	}
	return a
}

const dark = `data-theme="dark"`

// A sign-in keeps a visitor's theme, and a sign-out deletes it. Messages are shown once.
func testThemeAndMessages(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{}, "SIGNED_OUT=message", "REMEMBER=on")
	b := s.browser(t)
	b.page("/theme").isPage(200).setsNothing().lacks("data-theme=\"", "Saved.")
	b.postForm("/theme", "theme", "pink").isPage(422)
	b.postForm("/theme", "color", "dark").isPage(422)
	b.do("POST", "/theme", `{"theme":"dark"}`, "Content-Type", typeJSON).problem(415, "invalid_request")
	b.postForm("/theme", "theme", strings.Repeat("x", 65<<10)).isPage(413).setsNothing()
	b.postForm("/goodbye").leadsTo("/").setsNothing() // no user was signed in

	b.postForm("/theme", "theme", "dark").leadsTo("/theme")
	b.get("/theme").is(200)                                  // shows no message
	b.do("HEAD", "/theme", "", "Accept", acceptPage).is(200) // neither does this
	b.page("/theme").isPage(200).shows(dark, "Saved.")
	b.page("/").isPage(200).shows(dark).lacks("Saved.")
	b.do("POST", "/theme", "theme=light", "Content-Type", typeForm, "Sec-Fetch-Site", "cross-site").isPage(403)
	b.visitor()

	b.postForm("/login", "email", viewer, "password", password).leadsTo("/")
	b.page("/").isPage(200).shows(dark, "You are signed in as "+viewer)
	b.postForm("/theme", "theme", "light").leadsTo("/theme")
	b.postForm("/goodbye").leadsTo("/")
	b.visitor()
	b.page("/").isPage(200).shows("You are signed out.").lacks("data-theme=\"")
	b.page("/").isPage(200).lacks("You are signed out.")

	b.postForm("/theme", "theme", "dark").is(303)
	b.postForm("/theme", "theme", "auto").is(303)
	b.page("/theme").isPage(200).lacks("data-theme=\"")
	testRemember(t, s)
}

// A session that is not remembered ends when the browser is closed, and after 12 hours.
func testRemember(t *testing.T, s *site) {
	for _, remember := range []bool{true, false} {
		b := s.browser(t)
		b.page("/login").isPage(200).shows(`name="remember"`)
		fields := []string{"email", viewer, "password", password}
		if remember {
			fields = append(fields, "remember", "true")
		}
		login := b.postForm("/login", fields...).is(303)
		for _, c := range (&http.Response{Header: login.header}).Cookies() {
			if c.MaxAge >= 0 && !strings.HasSuffix(c.Name, "-device") && c.MaxAge > 0 != remember {
				t.Errorf("remembered %v: the cookie %s has the Max-Age %d", remember, c.Name, c.MaxAge)
			}
		}
		at, _ := b.get("/api/me").is(200).object()["session_expires_at"].(float64)
		if left := time.Until(time.Unix(int64(at), 0)); left > 12*time.Hour == !remember {
			t.Errorf("remembered %v: the session lasts for %v", remember, left)
		}
	}
}

// The private note requires a fresh sign-in, which keeps the note. Features that need a
// setting are off by default.
func testNote(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.browser(t)
	b.page("/note").leadsTo("/login?return_to=%2Fnote")
	b.page("/login").isPage(200).lacks("remember")
	b.postForm("/goodbye").isPage(404)
	b.postForm("/login", "email", admin, "password", password).is(303)
	b.postForm("/note", "note", strings.Repeat("ü", 201)).isPage(422)
	b.postForm("/note", "note", `"Grüße" & <mehr>`).leadsTo("/note")
	b.page("/note").isPage(200).shows("Saved.", "Grüße", "&lt;mehr&gt;")
	b.postForm("/login", "email", admin, "password", password).is(303)
	b.page("/note").isPage(200).shows("Grüße").lacks("Saved.")
	if me, watched := b.get("/api/me").is(200).body, b.get("/api/watch").is(200).body; me != watched {
		t.Errorf("/api/watch responds with %s, want %s", watched, me)
	}
	s.browser(t).get("/api/watch").problem(401, "unauthenticated")
	b.page("/admin").isPage(200).shows("This is not available").lacks("/admin/act")
	b.postForm("/admin/act", "email", viewer).isPage(404)
	b.postForm("/admin/stop").isPage(404)

	s = start(t, tt, authtest.Options{}, "FRESH=1ns")
	b = s.signedIn(t, viewer)
	login := b.page("/note").is(303)
	if u, err := url.Parse(login.location()); err != nil || u.Path != "/login" || u.Query().Get("return_to") != "/note" || u.Query().Get("again") != "1" {
		t.Errorf("/note leads to %s", login.location())
	}
	b.get("/note").problem(401, "reauthentication_required")
	b.postForm("/note", "note", "x").isPage(401)
	b.get("/api/me").is(200)
}

// An admin acts as another test account, and stops acting.
func testActing(t *testing.T, tt target) {
	s := &site{t: t, target: tt}
	s.Process = proc.Start(t, "dashboard", append([]string{
		"FRAMEWORK=" + tt.framework, "STORE=" + tt.store, "COOKIE_INSECURE=true", "BASE_PATH=/app", proc.Patient,
	}, tt.env...))
	s.signedIn(t, viewer).postForm("/admin/act", "email", admin).isPage(403)
	b := s.browser(t)
	b.postForm("/login", "email", admin, "password", password).leadsTo("/app/")
	b.postForm("/theme", "theme", "dark").is(303)
	own := b.get("/api/me").is(200).object()
	b.page("/admin").isPage(200).shows(dark, "Act as "+viewer, "Act as "+mfa).lacks("Act as "+admin, "Stop acting")
	for _, wrong := range []string{"nobody@example.com", "", admin} {
		b.postForm("/admin/act", "email", wrong).isPage(422)
	}
	b.postForm("/admin/act", "user", viewer).isPage(422)

	b.postForm("/admin/act", "email", viewer).leadsTo("/app/dashboard")
	b.page("/dashboard").isPage(200).
		shows("You see the app as "+viewer+". You are "+admin+".", "Stop acting", `action="/app/admin/stop"`).
		lacks(dark, "Sign out", "/app/password")
	if me := b.get("/api/me").is(200).object(); me["email"] != viewer || me["actor"] != own["user_id"] {
		t.Errorf("acting: %v", me)
	}
	b.page("/admin").isPage(403)
	b.postForm("/admin/act", "email", analyst).isPage(403)

	b.do("POST", "/admin/stop", "", "Content-Type", typeForm, "Accept", acceptPage, "Sec-Fetch-Site", "cross-site").isPage(403)
	b.page("/dashboard").isPage(200).shows("Stop acting")
	for range 2 { // the second is from another tab, and signs no user out
		b.postForm("/admin/stop").leadsTo("/app/admin")
		b.page("/admin").isPage(200).shows(dark).lacks("Stop acting")
	}
	if me := b.get("/api/me").is(200).object(); me["user_id"] != own["user_id"] || me["actor"] != nil {
		t.Errorf("after acting: %v", me)
	}
	b.postForm("/logout").leadsTo("/app/")
	b.visitor()
	b.postForm("/admin/stop").isPage(401)
}
