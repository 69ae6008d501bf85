package dashboard_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// roles lists the routes and the users who may see them.
var guarded = []struct {
	path string
	who  []string
}{
	{"/dashboard", []string{admin, analyst, viewer}},
	{"/reports", []string{admin, analyst}},
	{"/admin", []string{admin}},
}

func testPagesByRole(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	for _, email := range []string{admin, analyst, viewer} {
		b := s.signedIn(t, email)
		for _, page := range guarded {
			if slices.Contains(page.who, email) {
				b.page(page.path).isPage(200)
				if got := b.get(page.path).is(200).object(); got["signed_in"] != true {
					t.Errorf("%s as JSON: %v", page.path, got)
				}
				continue
			}
			b.page(page.path).isPage(403)
			b.get(page.path).problem(403, "forbidden")
		}
		account, _ := s.auth.Account(email)
		if home := b.page("/").isPage(200); !strings.Contains(home.body, account.ID) {
			t.Errorf("the start page does not show that %s is signed in", email)
		}
	}

	b := s.browser(t)
	if home := b.page("/").isPage(200); !strings.Contains(home.body, "You are not signed in") {
		t.Error("the start page does not show that no user is signed in")
	}
	if got := b.get("/").is(200).object(); got["signed_in"] != false {
		t.Errorf("the start page as JSON: %v", got)
	}
	for _, page := range guarded {
		b.page(page.path + "?a=1&b=%2F").leadsTo("/login?return_to=" + url.QueryEscape(page.path+"?a=1&b=%2F"))
		b.do("HEAD", page.path, "", "Accept", acceptPage).leadsTo("/login?return_to=" + url.QueryEscape(page.path))
		b.get(page.path).problem(401, "unauthenticated")
	}
	for _, path := range []string{"/api/me", "/api/prefs", "/api/upstream", "/api/events"} {
		b.get(path).problem(401, "unauthenticated")
		b.page(path).problem(401, "unauthenticated")
	}
	b.put("theme", `"dark"`).problem(401, "unauthenticated")
}

// One rule determines the form of every response. Only requests whose response a browser
// shows in a window are redirected.
func testForms(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b, in := s.browser(t), s.signedIn(t, viewer)

	// A request of a script, a frame or an image is not a navigation.
	b.do("GET", "/admin", "", "Accept", acceptPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").is(303)
	b.do("GET", "/admin", "", "Accept", acceptPage, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty").isPage(401)
	b.do("GET", "/admin", "", "Accept", acceptPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe").isPage(401)

	// The quality values in Accept count, not only the types.
	for accept, page := range map[string]bool{
		"":                                    false,
		"*/*":                                 false,
		acceptPage:                            true,
		"text/html;q=0.5, application/json":   false,
		"text/html, application/json;q=0.5":   true,
		"text/*, application/json;q=0.1":      true,
		"application/json, text/html;q=0":     false,
		"text/html;q=0.2, */*;q=0.1":          true,
		"application/problem+json, text/html": false,
	} {
		want := "application/json"
		if page {
			want = "text/html; charset=utf-8"
		}
		refusal := in.do("GET", "/admin", "", "Accept", accept).is(403)
		if got := refusal.header.Get("Content-Type"); page != strings.HasPrefix(got, "text/html") {
			t.Errorf("Accept %q: the response to a refusal is %s", accept, got)
		}
		if strings.Contains(accept, "problem") {
			continue // the field is sent only with refusals
		}
		if got := in.do("GET", "/dashboard", "", "Accept", accept).is(200).header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: the response to a page is %s", accept, got)
		}
	}

	b.do("GET", "/nowhere", "", "Accept", acceptPage).isPage(404)
	b.get("/nowhere").problem(404, "not_found")
	b.do("GET", "/api/nowhere", "", "Accept", acceptPage).problem(404, "not_found")
	b.postForm("/nowhere", "a", "b").isPage(404)
	b.do("POST", "/nowhere", "a=b", "Content-Type", typeForm).isPage(404)
	b.do("POST", "/nowhere", "{}", "Content-Type", typeJSON, "Accept", acceptPage).problem(404, "not_found")
	b.do("POST", "/api/nowhere", "a=b", "Content-Type", typeForm).problem(404, "not_found")
}

func testMethods(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b, in := s.browser(t), s.signedIn(t, admin)
	for path, allowed := range map[string]string{
		"/": "GET, HEAD", "/dashboard": "GET, HEAD", "/admin": "GET, HEAD", "/reports": "GET, HEAD",
		"/api/me": "GET, HEAD", "/api/prefs": "GET, HEAD", "/api/prefs/theme": "PUT",
		"/api/upstream": "GET, HEAD", "/api/events": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD",
		"/theme": "GET, HEAD, POST", "/note": "GET, HEAD, POST", "/api/watch": "GET, HEAD",
		"/login": "GET, HEAD, POST", "/login/mfa": "GET, HEAD, POST", "/logout": "POST",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "PROPFIND"} {
			if slices.Contains(strings.Split(allowed, ", "), method) {
				continue
			}
			for _, b := range []*browser{b, in} {
				a := b.do(method, path, "")
				a.problem(405, "method_not_allowed")
				if got := a.header.Get("Allow"); got != allowed {
					t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allowed)
				}
			}
		}
	}
	if got := b.page("/logout").isPage(405).header.Get("Allow"); got != "POST" {
		t.Errorf("the page says %q", got)
	}
	b.do("DELETE", "/dashboard", "", "Accept", acceptPage).isPage(405)
	// Methods that a route does not support are not accepted from other origins, either.
	for _, path := range []string{"/login", "/login/mfa", "/logout"} {
		b.do("PURGE", path, "", "Sec-Fetch-Site", "cross-site").problem(403, "cross_site")
	}
	in.get("/api/me").is(200) // GET /logout has signed no user out
}

// Every response has its caching fields, and every page its security fields.
func testHeaders(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b, in := s.browser(t), s.signedIn(t, admin)
	responses := []*response{
		b.page("/"), b.page("/login"), b.page("/nowhere"), b.page("/admin"), b.get("/api/me"),
		in.page("/"), in.page("/dashboard"), in.page("/theme"), in.page("/note"), in.page("/reports"), in.page("/admin"), in.get("/api/me"), in.get("/api/prefs"),
		in.page("/nowhere"), in.get("/api/events?n=1"), in.get("/api/upstream"), in.put("theme", `1`),
		s.signedIn(t, viewer).page("/admin"), s.browser(t).postForm("/login", "email", viewer, "password", "wrong"),
		s.browser(t).postForm("/login", "email", viewer), s.browser(t).postForm("/login", "email", viewer, "password", password),
		s.browser(t).postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`), s.signedIn(t, viewer).postForm("/logout"),
		s.signedIn(t, viewer).do("POST", "/login", "x", "Content-Type", "text/plain", "Accept", acceptPage),
		s.pending(t).page("/login/mfa"),
	}
	for i, a := range responses {
		if !slices.Contains(a.header.Values("Vary"), "Cookie") {
			t.Errorf("%s: Vary is %q", a.what, a.header.Values("Vary"))
		}
		if cc := a.header.Get("Cache-Control"); i >= 5 && cc != "no-store" {
			t.Errorf("%s with a session: Cache-Control is %q", a.what, a.header.Get("Cache-Control"))
		}
		if a.body != "" && !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") && a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", a.what)
		}
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			continue
		}
		policy := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "sha256-"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: %q is not in its policy %q", a.what, want, policy)
			}
		}
		for _, never := range []string{"unsafe", "script-src", "*"} {
			if strings.Contains(policy, never) {
				t.Errorf("%s: %q is in its policy %q", a.what, never, policy)
			}
		}
		for _, never := range []string{"<script", " style=", " onclick", "//cdn", "href=\"http", "src=\"http"} {
			if strings.Contains(a.body, never) {
				t.Errorf("%s: %q is in the page", a.what, never)
			}
		}
	}
}

func testMe(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{AccessLife: 5 * time.Minute}, "IDLE_TIMEOUT=2h", "LIFETIME=3h")
	before := time.Now().Truncate(time.Second)
	b := s.signedIn(t, analyst)
	got := b.get("/api/me").is(200).object()
	after := time.Now()

	account, _ := s.auth.Account(analyst)
	if got["user_id"] != account.ID || got["default_role"] != "user" {
		t.Errorf("got %v", got)
	}
	if roles, ok := got["allowed_roles"].([]any); !ok || len(roles) != 2 || roles[0] != "user" || roles[1] != "analyst" {
		t.Errorf("allowed_roles is %v", got["allowed_roles"])
	}
	for field, in := range map[string]time.Duration{"access_token_expires_at": 5 * time.Minute, "session_expires_at": 2 * time.Hour} {
		at, _ := got[field].(float64)
		if when := time.Unix(int64(at), 0); when.Before(before.Add(in)) || when.After(after.Add(in)) {
			t.Errorf("%s is %v, want %v from now", field, got[field], in)
		}
	}
	if got["email"] != analyst || got["name"] == "" || len(got) != 7 {
		t.Errorf("got %v, want seven fields", got)
	}

	// The lifetime, if it ends before the idle timeout.
	s = start(t, tt, authtest.Options{}, "LIFETIME=1h")
	at, _ := s.signedIn(t, analyst).get("/api/me").is(200).object()["session_expires_at"].(float64)
	if left := time.Until(time.Unix(int64(at), 0)); left > time.Hour || left < 58*time.Minute {
		t.Errorf("the session lives for %v, want an hour", left)
	}
}

func testBearer(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	access, refresh := s.auth.SignIn(admin)
	s.secrets.AddJWT("access token", access)
	s.secrets.Add("refresh token", refresh)
	b := s.signedIn(t, admin)
	for _, path := range []string{"/api/me", "/api/prefs", "/api/upstream", "/api/events", "/dashboard", "/admin"} {
		for _, header := range []string{"Bearer " + access, "bearer " + access, "Bearer nonsense", "Bearer "} {
			a := b.do("GET", path, "", "Authorization", header)
			a.problem(401, "unauthenticated")
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: WWW-Authenticate is %q", path, a.header.Get("WWW-Authenticate"))
			}
			if cookies := a.header.Values("Set-Cookie"); len(cookies) > 0 {
				t.Errorf("%s: the response to a request with a bearer token set a cookie", path)
			}
		}
	}
	b.do("PUT", "/api/prefs/theme", `"dark"`, "Authorization", "Bearer "+access).problem(401, "unauthenticated")
	// A page of another site cannot make a browser send a token, so the origin is not
	// checked.
	b.do("PUT", "/api/prefs/theme", `"dark"`, "Authorization", "Bearer "+access, "Sec-Fetch-Site", "cross-site").problem(401, "unauthenticated")
	// Public pages are served to clients with a token, too, and show no user.
	if a := b.do("GET", "/", "", "Authorization", "Bearer "+access); a.is(200).object()["signed_in"] != false || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("the start page says %s", a.body)
	}
	// A request with a token can neither start nor end a session.
	for path, body := range map[string]string{
		"/login":     `{"email":"` + admin + `","password":"` + password + `"}`,
		"/login/mfa": `{"code":"123456"}`,
		"/logout":    `{}`,
	} {
		a := b.do("POST", path, body, "Content-Type", "application/json", "Authorization", "Bearer "+access)
		a.problem(401, "unauthenticated")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") || len(a.header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: the response has the header %v", path, a.header)
		}
	}
	// A request with a token is not redirected to the login page.
	b.do("GET", "/dashboard", "", "Authorization", "Bearer "+access, "Accept", acceptPage).isPage(401)
	b.get("/api/me").is(200)
}
