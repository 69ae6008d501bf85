package adaptertest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

// Run runs the suite for the adapter of build. By default, each script runs in one of
// the modes.
func Run(t *testing.T, build Build) {
	// Some tests cause errors on purpose, which would fill the output.
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(log) })
	run := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	for i, mode := range []struct {
		name string
		Options
	}{{"cookie", Options{}}, {"stored", Options{Stored: true}}, {"http2", Options{HTTP2: true}}} {
		for j, c := range scripts {
			if scale.Turn(i+j, 3) {
				run(mode.name+"/"+c.name, func(t *testing.T) { c.compare(t, build, mode.Options) })
			}
		}
		for j, c := range cookieScripts {
			if scale.Turn(i+j, 3) {
				o := mode.Options
				o.Set = c.set
				run(mode.name+"/"+c.name, func(t *testing.T) { c.compare(t, build, o) })
			}
		}
		for j, c := range tests {
			if scale.Turn(i+j, 3) {
				run(mode.name+"/"+c.name, func(t *testing.T) { c.test(newTrial(t, build, mode.Options)) })
			}
		}
	}
	for _, c := range bearerScripts {
		for _, o := range []Options{{Verify: true}, {Verify: true, Stored: true}} {
			run(c.name, func(t *testing.T) { c.compare(t, build, o) })
		}
	}
	for _, c := range storedScripts {
		run(c.name, func(t *testing.T) { c.compare(t, build, Options{Stored: true}) })
	}
}

// script is a visit of an app. It returns the responses.
type script struct {
	name  string
	visit func(*trial) []*webapp.Response
}

// compare fails the test if a script's responses differ from those with net/http.
func (s script) compare(t *testing.T, build Build, o Options) {
	t.Helper()
	compare(t, s.visit(newTrial(t, NetHTTP, o)), s.visit(newTrial(t, build, o)))
}

var scripts = []script{
	{"guards", guards},
	{"front ends", frontEnds},
	{"where to", whereTo},
	{"without sessions", withoutSessions},
	{"routes", func(a *trial) []*webapp.Response { return routes(a, "") }},
	{"prefix", func(a *trial) []*webapp.Response { return routes(a, "/account") }},
	{"accounts", func(a *trial) []*webapp.Response { return accountRoutes(a, "") }},
	{"account prefix", func(a *trial) []*webapp.Response { return accountRoutes(a, "/account") }},
	{"origins", origins},
	{"refresh", refresh},
	{"twice", twice},
	{"first byte", firstByte},
	{"login", loginInHandler},
	{"fresh", fresh},
	{"visitors", visitors},
	{"acting", acting},
}

// storedScripts need a store.
var storedScripts = []script{
	{"failed commit", failedCommit},
	{"full session", fullSession},
	{"sessions", func(a *trial) []*webapp.Response { return sessions(a, "") }},
	{"sessions below a prefix", func(a *trial) []*webapp.Response { return sessions(a, "/account") }},
	{"outage", outage},
}

// tests need no comparison.
var tests = []struct {
	name string
	test func(*trial)
}{
	{"events", events},
	{"controller", controller},
	{"leaving", leaving},
	{"pool", pool},
	{"upgrade", upgrade},
	{"timeout", timeoutHandler},
}

// Refusals runs the tests of refusals.
func Refusals(t *testing.T, build Build) {
	for name, script := range map[string]func(*trial) []*webapp.Response{"guards": guards, "origins": origins, "refresh": refresh} {
		t.Run(name, func(t *testing.T) {
			compare(t, script(newTrial(t, NetHTTP, Options{})), script(newTrial(t, build, Options{})))
		})
	}
}

// trial is an app with one framework.
type trial struct {
	*App
	build Build
	opts  Options
}

func newTrial(t *testing.T, build Build, o Options) *trial {
	return &trial{NewApp(t, o), build, o}
}

// serve serves the app of s. It returns a visitor's browser and, unless the
// built-in routes are missing or below a prefix, those of two signed-in users.
func (a *trial) serve(s Spec) (visitor, viewer, admin *webapp.Browser) {
	a.T.Helper()
	s.Manager = a.Manager
	a.Serve(a.build(s), a.opts)
	visitor = a.Browser()
	if s.Bare || s.Prefix != "" {
		return visitor, nil, nil
	}
	return visitor, a.SignedIn(Viewer), a.SignedIn(Admin)
}

var theme = session.NewKey[string]("theme")

// Change changes the session, so that the response has to save it.
func Change(r *http.Request) {
	_ = theme.Set(session.FromContext(r.Context()), fmt.Sprint(time.Now().UnixNano()))
}

// Whoami responds with the user's ID and roles, and whether the session has an
// error.
func Whoami(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	fmt.Fprintf(w, "%s %q %v", s.UserID(), s.Roles(), s.Err() != nil)
}

func guards(a *trial) []*webapp.Response {
	var list []Route
	for path, guard := range map[string]Guard{
		"/open":    {},
		"/user":    {User: true},
		"/admin":   {Roles: []string{"admin"}},
		"/either":  {Roles: []string{"analyst", "user"}},
		"/nobody":  {Roles: []string{}},
		"/policy":  {Policy: func(s *session.Session) bool { return len(s.Roles()) == 2 }},
		"/api/all": {User: true},
	} {
		list = append(list, Route{"GET", path, guard, Whoami}, Route{"POST", path, guard, Whoami})
	}
	visitor, viewer, admin := a.serve(Spec{Options: []middleware.Option{middleware.WithAPI("/api/")}, Routes: list})
	for _, b := range []*webapp.Browser{visitor, viewer, admin} {
		for _, path := range []string{"/open", "/user", "/admin", "/either", "/nobody", "/policy", "/api/all"} {
			b.Get(path)
			b.Open(path + "?a=1&b=%2F")
			b.Get(path, "Accept", webapp.AsPage, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
			b.Get(path, "Authorization", "Bearer x")
			b.Submit(path, "a", "b")
			b.Do("POST", path, "{}", "Content-Type", "application/json")
			// Invalid cookies.
			b.Get(path, "Cookie", "__Host-session=AAAA; __Host-session-state=BBBB")
		}
	}
	visitor.Open("/admin").Is(303)
	viewer.Open("/admin").Says(403, "not allowed")
	admin.Open("/admin").Says(200, "0000000a")
	return responsesOf(visitor, viewer, admin)
}

// withoutSessions tests that guards and routes outside Sessions report the
// mistake.
func withoutSessions(a *trial) []*webapp.Response {
	served := false
	visitor, _, _ := a.serve(Spec{Bare: true, Routes: []Route{
		{"GET", "/user", Guard{User: true}, func(http.ResponseWriter, *http.Request) { served = true }},
		{"GET", "/role", Guard{Roles: []string{"user"}}, func(http.ResponseWriter, *http.Request) { served = true }},
	}})
	visitor.Get("/user").Says(500, "session_not_loaded")
	visitor.Open("/role").Is(500)
	visitor.Get("/login").Says(500, "session_not_loaded")
	if served {
		a.T.Error("a guard outside Sessions accepts a request")
	}
	return visitor.Responses
}

// routes tests the built-in routes.
func routes(a *trial, prefix string) []*webapp.Response {
	home := Route{"GET", "/whoami", Guard{}, Whoami}
	b, _, _ := a.serve(Spec{Prefix: prefix, Routes: []Route{home}})
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
		for _, path := range []string{"/login", "/login/mfa", "/logout"} {
			b.Do(method, prefix+path, "")
			b.Do(method, prefix+path, "", "Accept", webapp.AsPage)
		}
	}
	login := prefix + "/login"
	b.Open(login + "?return_to=%2Fwhoami%3Fx%3D1")
	b.Submit(login, "email", Viewer, "password", "wrong").Says(401, "wrong")
	b.Submit(login, "email", Viewer).Is(422)
	b.Submit(login, "email", Viewer, "password", Password, "return_to", "/whoami").Is(303)
	b.Get("/whoami").Says(200, "0000000b")
	b.Open(login)
	b.Get(login, "Accept", "application/json")
	b.Submit(prefix + "/logout").Is(303)
	b.Get("/whoami").Says(200, " []")
	json := []string{"Content-Type", "application/json"}
	b.Do("POST", login, `{"email":`, json...).Is(400)
	b.Do("POST", login, `{"email":1}`, json...).Is(422)
	b.Do("POST", login, strings.Repeat("x", 64<<10+1), json...).Is(413)
	b.Do("POST", login, "x", "Content-Type", "text/plain").Is(415)
	b.Do("POST", login, `{"email":"admin@example.com","password":"`+Password+`"}`, json...).Says(200, `"allowed_roles":["user","admin"]`)
	b.Do("POST", prefix+"/logout", `{"all":true}`, json...).Is(204)
	b.Submit(login, "email", MFA, "password", Password, "return_to", "/x").Is(303)
	b.Open(prefix + "/login/mfa")
	b.Submit(prefix+"/login/mfa", "code", "000000").Is(401)
	code, err := totp.GenerateCode(webapp.TOTPSecret, a.Auth.Now())
	if err != nil {
		a.T.Fatal(err)
	}
	b.Submit(prefix+"/login/mfa", "code", code).Is(303)
	b.Get("/whoami").Says(200, "0000000c")
	b.Submit(prefix+"/login/mfa", "code", "000000")
	a.Auth.Inject(authtest.Login, authtest.Fault{Status: 503})
	b.Submit(login, "email", Viewer, "password", Password).Is(503)
	b.Do("POST", login, `{"email":"a@example.com","password":"x"}`, json...).Says(503, "auth_unavailable")
	return b.Responses
}

// accountRoutes uses the routes of features. Their pages have links to each other, which
// depend on the prefix.
func accountRoutes(a *trial, prefix string) []*webapp.Response {
	b, _, _ := a.serve(Spec{Prefix: prefix, Features: []middleware.Feature{
		middleware.DirectRegistration, middleware.MagicLink, middleware.PasswordChange, middleware.PasswordReset,
		middleware.EmailChange, middleware.SecondFactorSetup, middleware.AccountDeletion, middleware.Provider("github"),
	}})
	user := a.Browser()
	user.Submit(prefix+"/login", "email", Viewer, "password", Password).Is(303)
	json := []string{"Content-Type", "application/json"}
	visitors := []string{"/register", "/magic-link", "/password/lost", "/password/reset", "/callback"}
	users := []string{"/password", "/email", "/mfa/setup", "/mfa/remove", "/account/delete"}
	for _, path := range slices.Concat(visitors, users) {
		b.Open(prefix + path)
		b.Do("HEAD", prefix+path, "")
		b.Do("PUT", prefix+path, "").Is(405)
		b.Do("POST", prefix+path, `{}`, json...)
		b.Do("POST", prefix+path, `{}`, append(json, "Sec-Fetch-Site", "cross-site")...).Says(403, "cross_site")
		user.Open(prefix + path)
		user.Do("POST", prefix+path, `{}`, json...).Is(422)
	}
	b.Open(prefix + "/login?return_to=/x")
	b.Submit(prefix+"/magic-link", "email", "unknown@example.com", "return_to", "/x").Is(200)
	b.Open(prefix + "/callback?refresh_token=unknown").Is(401)
	b.Do("POST", prefix+"/callback", `{"refresh_token":"unknown"}`, json...).Is(401)
	b.Do("POST", prefix+"/register", `{"email":"`+Viewer+`","password":"`+Password+`"}`, json...).Is(409)
	user.Submit(prefix+"/password", "old_password", "wrong one", "new_password", Password).Is(403)
	user.Submit(prefix+"/password", "old_password", Password, "new_password", Password).Is(303)
	user.Submit(prefix+"/email", "new_email", "new@example.com", "password", Password).Is(303)
	user.Open(prefix + "/email?done=1")
	return append(b.Responses, user.Responses...)
}

// frontEnds tests refusals of requests by htmx and Turbo.
func frontEnds(a *trial) []*webapp.Response {
	visitor, viewer, _ := a.serve(Spec{Options: []middleware.Option{middleware.WithAPI("/api/")}, Routes: []Route{
		{"GET", "/rows", Guard{User: true}, Whoami},
		{"POST", "/rows", Guard{User: true}, Whoami},
		{"GET", "/admin", Guard{Roles: []string{"admin"}}, Whoami},
		{"GET", "/api/all", Guard{User: true}, Whoami},
		{"GET", "/me", Guard{}, middleware.Me},
	}})
	const accept = "text/html, application/xhtml+xml"
	for _, b := range []*webapp.Browser{visitor, viewer} {
		page := b.Request("GET", "/reports", "").URL.String()
		for _, header := range [][]string{
			{"HX-Request", "true", "HX-Current-URL", page},
			{"HX-Request", "true", "HX-Current-URL", "https://evil.example/"},
			{"HX-Request", "true", "HX-Current-URL", page, "HX-Boosted", "true"},
			{"X-Turbo-Request-Id", "1", "Referer", page, "Accept", accept},
			{"X-Turbo-Request-Id", "1", "Referer", page, "Accept", accept, "Turbo-Frame", "side"},
		} {
			b.Get("/rows", header...)
			b.Do("POST", "/rows", "", append(header, "Sec-Fetch-Site", "same-origin")...)
			b.Get("/admin", header...)
			b.Get("/login", header...).Is(200)
			b.Get("/api/all", header...)
		}
	}
	htmx := []string{"HX-Request", "true", "HX-Current-URL", visitor.Request("GET", "/reports", "").URL.String()}
	if got := visitor.Get("/rows", htmx...).Is(401).Response.Header.Get("HX-Redirect"); got != "/login?return_to=%2Freports" {
		a.T.Errorf("HX-Redirect: %q", got)
	}
	visitor.Get("/me").Says(401, `"login_url":"/login"`)
	visitor.Get("/me?optional=true").Says(200, `{"signed_in":false`)
	viewer.Get("/me?optional=true").Says(200, `{"signed_in":true,"session_expires_in":86400,"lifetime_expires_in":2592000,`)
	viewer.Get("/admin", htmx...).Says(403, `<div class="refusal" role="alert">`)
	return responsesOf(visitor, viewer)
}

// whereTo tests the pages after signing in and out.
func whereTo(a *trial) []*webapp.Response {
	visitor, viewer, admin := a.serve(Spec{Options: []middleware.Option{
		middleware.WithHome("/home"),
		middleware.WithSignedOutHome("/bye"),
		middleware.WithLanding(func(s *session.Session) string {
			if s.HasRole("admin") {
				return "/admin"
			}
			return ""
		}),
	}})
	to := func(r *webapp.Response, want string) {
		a.T.Helper()
		if got := r.Is(303).Response.Header.Get("Location"); got != want {
			a.T.Errorf("%s: Location %q, want %q", r.What(), got, want)
		}
	}
	to(visitor.Submit("/login", "email", Admin, "password", Password), "/admin")
	to(visitor.Submit("/login", "email", Viewer, "password", Password), "/home")
	to(visitor.Submit("/logout", "return_to", "//evil.example"), "/bye")
	to(viewer.Submit("/logout", "return_to", "/shop"), "/shop")
	to(admin.Submit("/logout?return_to=/shop"), "/shop")
	return responsesOf(visitor, viewer, admin)
}

func origins(a *trial) []*webapp.Response {
	served := 0
	visitor, _, user := a.serve(Spec{Routes: []Route{
		{"POST", "/h", Guard{}, func(http.ResponseWriter, *http.Request) { served++ }},
		{"GET", "/h", Guard{}, func(http.ResponseWriter, *http.Request) { served++ }},
	}})
	user.Do("POST", "/h", "", "Sec-Fetch-Site", "cross-site").Says(403, "cross_site")
	user.Do("POST", "/h", "", "Origin", "https://evil.example", "Accept", webapp.AsPage).Says(403, "another site")
	user.Submit("/login").Is(422)
	user.Do("POST", "/login", "", "Sec-Fetch-Site", "same-site").Is(403)
	visitor.Do("POST", "/logout", "", "Sec-Fetch-Site", "cross-site").Is(403)
	if served > 0 {
		a.T.Error("the handler served a cross-origin request")
	}
	user.Do("POST", "/h", "", "Sec-Fetch-Site", "same-origin").Is(200)
	user.Do("GET", "/h", "", "Sec-Fetch-Site", "cross-site").Is(200)
	visitor.Do("POST", "/h", "", "Sec-Fetch-Site", "cross-site").Is(200)
	if served != 3 {
		a.T.Errorf("the handler served %d requests, want 3", served)
	}
	return responsesOf(visitor, user)
}

// refresh tests expired tokens, an outage of the auth service, and a rejected
// refresh token.
func refresh(a *trial) []*webapp.Response {
	_, b, other := a.serve(Spec{Routes: []Route{
		{"GET", "/user", Guard{User: true}, Whoami},
		{"GET", "/me", Guard{}, middleware.Me},
		{"GET", "/public", Guard{}, Whoami},
		{"GET", "/quiet", Guard{}, func(http.ResponseWriter, *http.Request) {}},
	}})
	a.Expire()
	b.Get("/quiet").Is(200)
	b.Get("/user").Says(200, "0000000b")
	b.Get("/me").Is(200)
	if got := a.Auth.Refreshes(); got != 1 {
		a.T.Errorf("%d refreshes, want 1", got)
	}
	a.Expire()
	a.Auth.Inject(authtest.Refresh, authtest.Fault{Status: 500})
	b.Get("/user").Says(503, "session_unavailable")
	b.Open("/user").Is(503)
	b.Get("/public").Says(200, "true")
	a.Auth.Clear()
	a.Advance(time.Minute)
	b.Get("/user").Says(200, "0000000b")
	a.Auth.UpdateAccount(Admin, func(account *authtest.Account) { account.Inactive = true })
	other.Get("/public").Says(200, "[] false")
	other.Open("/user").Is(303)
	return responsesOf(b, other)
}

func twice(a *trial) []*webapp.Response {
	visitor, b, _ := a.serve(Spec{Twice: true, Routes: []Route{
		{"GET", "/user", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
			Change(r)
			Whoami(w, r)
		}},
		{"GET", "/silent", Guard{}, func(_ http.ResponseWriter, r *http.Request) { Change(r) }},
	}})
	visitor.Open("/user").Is(303)
	b.Get("/user").Says(200, "0000000b")
	b.Get("/silent").Is(200)
	return responsesOf(visitor, b)
}

// onlyReader hides the WriterTo of a reader, so that io.Copy calls ReadFrom.
type onlyReader struct{ io.Reader }

// begins has the ways in which a handler can begin its response.
var begins = map[string]func(w http.ResponseWriter, r *http.Request) error{
	"silent": func(http.ResponseWriter, *http.Request) error { return session.ErrSessionUnavailable },
	"status": func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot)
		_, err := io.WriteString(w, "teapot")
		return err
	},
	"status-only": func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return session.ErrSessionUnavailable
	},
	"write":       func(w http.ResponseWriter, _ *http.Request) error { _, err := w.Write([]byte("x")); return err },
	"write-empty": func(w http.ResponseWriter, _ *http.Request) error { _, err := w.Write(nil); return err },
	"string":      func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "x"); return err },
	"flush": func(w http.ResponseWriter, _ *http.Request) error {
		w.(http.Flusher).Flush()
		_, err := io.WriteString(w, "x")
		return err
	},
	"controller": func(w http.ResponseWriter, _ *http.Request) error {
		_ = http.NewResponseController(w).Flush()
		_, err := io.WriteString(w, "x")
		return err
	},
	"copy": func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.Copy(w, onlyReader{strings.NewReader("x")})
		return err
	},
	"error": func(w http.ResponseWriter, _ *http.Request) error {
		http.Error(w, "no", http.StatusConflict)
		_, err := io.WriteString(w, "x")
		return err
	},
	"redirect": func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		_, err := io.WriteString(w, "x")
		return err
	},
	"file": func(w http.ResponseWriter, r *http.Request) error {
		http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader("0123456789"))
		_, err := w.Write(nil)
		return err
	},
}

// beginnings are routes that change the session and then begin their response.
func beginnings(report func(error)) []Route {
	var list []Route
	for name, begin := range begins {
		h := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Handler", name)
			Change(r)
			report(begin(w, r))
		}
		list = append(list, Route{"GET", "/" + name, Guard{}, h}, Route{"HEAD", "/" + name, Guard{}, h})
	}
	return list
}

var beginNames = []string{
	"silent", "status", "status-only", "write", "write-empty", "string", "flush", "controller", "copy", "error",
	"redirect", "file",
}

// firstByte tests that the response has its cookies however it begins.
func firstByte(a *trial) []*webapp.Response {
	_, b, _ := a.serve(Spec{Routes: beginnings(func(error) {})})
	for _, name := range beginNames {
		for _, header := range [][]string{nil, {"Range", "bytes=2-4"}} {
			got := b.Get("/"+name, header...)
			if !a.opts.Stored && !got.SetsCookie() {
				a.T.Errorf("%s: no cookie", name)
			}
			if got.Header.Get("X-Handler") != name || got.Header.Get("Vary") != "Cookie" {
				a.T.Errorf("%s: %v", name, got.Header)
			}
		}
		b.Do("HEAD", "/"+name, "")
	}
	return b.Responses
}

// failedCommit tests a store that fails between loading and saving the session.
func failedCommit(a *trial) []*webapp.Response {
	reports := make(chan error, 1) // the client may have the response before the handler returns
	report := func(err error) {
		select {
		case <-reports:
		default:
		}
		reports <- err
	}
	list := beginnings(report)
	for i, route := range list {
		list[i].Handler = func(w http.ResponseWriter, r *http.Request) {
			a.Store.Down.Store(true)
			h := w.Header()
			h.Set("Content-Type", "image/png")
			h.Set("Etag", `"1"`)
			route.Handler(w, r)
			w.Header().Set("Etag", `"2"`)
			_, _ = io.WriteString(w, "secret")
		}
	}
	_, b, _ := a.serve(Spec{Routes: list})
	for _, name := range beginNames {
		for _, accept := range []string{"*/*", webapp.AsPage} {
			for _, method := range []string{"GET", "HEAD"} {
				a.Store.Down.Store(false)
				got := b.Do(method, "/"+name, "", "Accept", accept).Is(503)
				if strings.Contains(got.Body, "secret") || strings.Contains(got.Body, "teapot") {
					a.T.Errorf("%s: %q", name, got.Body)
				}
				if reported := <-reports; !errors.Is(reported, session.ErrSessionUnavailable) {
					a.T.Errorf("%s: Write returned %v", name, reported)
				}
			}
		}
	}
	if strings.Contains(a.Log(), "superfluous") {
		a.T.Errorf("the server logged an error: %s", a.Log())
	}
	return b.Responses
}

// FillRoute returns a route at /fill whose response cannot be saved: while its
// handler runs, another request of the browser fills the session. The second route
// is that of the other request.
func FillRoute(t testing.TB, b **webapp.Browser) []Route {
	const most = 600 << 10 // bytes; more than half of what a session may hold
	set := func(r *http.Request, name string) {
		if err := session.NewKey[string](name).Set(session.FromContext(r.Context()), strings.Repeat("x", most)); err != nil {
			t.Error(err)
		}
	}
	return []Route{
		{"POST", "/fill", Guard{}, func(_ http.ResponseWriter, r *http.Request) {
			set(r, "this")
			other := webapp.Browser{T: t, URL: (*b).URL, Client: (*b).Client}
			other.Do("POST", "/other", "").Is(200)
		}},
		{"POST", "/other", Guard{}, func(_ http.ResponseWriter, r *http.Request) { set(r, "other") }},
	}
}

// fullSession tests a session that has no room for the changes of a request,
// because other requests have filled it meanwhile.
func fullSession(a *trial) []*webapp.Response {
	var b *webapp.Browser
	_, b, _ = a.serve(Spec{Routes: FillRoute(a.T, &b)})
	b.Do("POST", "/fill", "").Says(413, "session_too_large")
	return b.Responses
}

// outage tests a store that fails before the request.
func outage(a *trial) []*webapp.Response {
	visitor, b, _ := a.serve(Spec{Routes: []Route{
		{"GET", "/user", Guard{User: true}, Whoami},
		{"GET", "/public", Guard{}, Whoami},
	}})
	a.Store.Down.Store(true)
	for _, b := range []*webapp.Browser{visitor, b} {
		b.Get("/user")
		b.Open("/user")
		b.Get("/public").Is(200)
		b.Submit("/logout")
		b.Submit("/login", "email", Viewer, "password", Password).Is(503)
	}
	a.Store.Down.Store(false)
	b.Get("/user").Says(200, "0000000b")
	return responsesOf(visitor, b)
}

// loginInHandler tests a handler of the app that signs a user in and then uses the
// session.
func loginInHandler(a *trial) []*webapp.Response {
	visitor, viewer, _ := a.serve(Spec{Routes: []Route{{"GET", "/in", Guard{}, func(w http.ResponseWriter, r *http.Request) {
		if err := a.Login(r.Context(), Admin, Password); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		Whoami(w, r)
	}}}})
	for _, b := range []*webapp.Browser{visitor, viewer} {
		if got := b.Get("/in").Says(200, "0000000a"); !got.SetsCookie() {
			a.T.Error("no cookie")
		}
	}
	return responsesOf(visitor, viewer)
}
