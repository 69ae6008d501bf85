package middleware_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
)

// refusing starts an app that refuses every request below "/x/" with err.
func refusing(t *testing.T, err error, opts ...middleware.Option) *app {
	t.Helper()
	a := newApp(t, nil, opts...)
	a.mux.HandleFunc("/x/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Wants-Page", fmt.Sprint(middleware.WantsPage(r)))
		middleware.Refuse(w, r, err)
	})
	return a
}

func TestPageOrJSON(t *testing.T) {
	b := refusing(t, session.ErrForbidden).browser()
	const form, multi, js = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"
	for _, c := range []struct {
		method, contentType, body, accept string
		page                              bool
	}{
		{"GET", "", "", asPage, true},
		{"GET", "", "", "", false},
		{"GET", "", "", "*/*", false},
		{"GET", "", "", js, false},
		{"DELETE", "", "", asPage, true},
		{"POST", form, "a=b", "", true},
		{"POST", form + "; charset=utf-8", "a=b", js, true},
		{"POST", strings.ToUpper(form), "", "*/*", true},
		{"POST", multi, "--x--", "*/*", true},
		{"POST", js, "{}", asPage, false},
		{"POST", "", "data", asPage, false},
		{"POST", "text/plain", "data", asPage, false},
		{"PUT", js, "{}", asPage, false},
		{"POST", "", "", asPage, true},
		{"POST", "", "", js, false},
		{"GET", "", "{}", asPage, false},

		// The rank of text/html and JSON in Accept.
		{"GET", "", "", "text/html", true},
		{"GET", "", "", "TEXT/HTML", true},
		{"GET", "", "", "text/*", true},
		{"GET", "", "", "text/html, application/json", false},
		{"GET", "", "", "application/json, text/html", false},
		{"GET", "", "", "text/html, application/json;q=0.9", true},
		{"GET", "", "", "text/html;q=0.8, application/json;q=0.9", false},
		{"GET", "", "", "text/html;q=0.9,application/json;q=0.899", true},
		{"GET", "", "", "text/html;q=0.5, */*;q=0.4", true},
		{"GET", "", "", "text/html;q=0.4, */*;q=0.5", false},
		{"GET", "", "", "text/html;q=0, */*", false},
		{"GET", "", "", "*/*, application/json;q=0, application/problem+json;q=0", true},
		{"GET", "", "", "text/html;q=0.9, application/problem+json", false},
		{"GET", "", "", "text/html;q=0.9, application/*;q=0.5", true},
		{"GET", "", "", "application/*;q=0.9, application/json;q=0.1, application/problem+json;q=0.1, text/html;q=0.5", true},
		{"GET", "", "", "text/*;q=0.9, text/html;q=0.1, application/json;q=0.5", false},
		{"GET", "", "", "text/html;charset=UTF-8;q=1, text/html;q=0, application/json;q=0.5", true},
		{"GET", "", "", "text/html;level=1, application/json;q=0.1", false},
		{"GET", "", "", "text/html;a=\",application/json\"", false}, // a parameter, not two types
		{"GET", "", "", "text/html ; q=1.000 , application/json ; q=0.999", true},
		{"GET", "", "", "text/html;q=.5", false},
		{"GET", "", "", "text/html;q=1.5", false},
		{"GET", "", "", "text/html;q=0.5000, application/json;q=0.1", false},
		{"GET", "", "", "text/html;q=NaN", false},
		{"GET", "", "", "text/html;q=-1", false},
		{"GET", "", "", "text/html;q=0.x", false},
		{"GET", "", "", `x/y;a="\",text/html,"`, false},
		{"GET", "", "", "text/html;q=", false},
		{"GET", "", "", ",,;/text,html, text/html", true},
		{"GET", "", "", "text/html;q=0.001", true},
		{"GET", "", "", "image/png", false},
	} {
		header := []string{}
		if c.contentType != "" {
			header = append(header, "Content-Type", c.contentType)
		}
		if c.accept != "" {
			header = append(header, "Accept", c.accept)
		}
		got := b.do(c.method, "/x/", c.body, header...)
		if got.StatusCode != 403 || (got.Header.Get("Content-Type") == "text/html; charset=utf-8") != c.page {
			t.Errorf("%s of %q, Accept: %q: %d %s, want a page: %v", c.method, c.contentType, c.accept, got.StatusCode, got.Header.Get("Content-Type"), c.page)
			continue
		}
		got.has(t, "X-Wants-Page", fmt.Sprint(c.page))
		if !c.page {
			got.is(t, 403, "forbidden")
		}
	}
	// Several Accept fields form one list.
	req, _ := http.NewRequest("GET", b.base+"/x/", nil)
	req.Header["Accept"] = []string{"application/json;q=0.5", "text/html"}
	b.send(req).isPage(t, 403, "")
	head := b.do("HEAD", "/x/", "", "Accept", asPage).is(t, 403, "")
	if head.ContentLength != int64(len(b.get("/x/", "Accept", asPage).body)) {
		t.Error("HEAD and GET differ in length")
	}
}

func TestRedirectToLogin(t *testing.T) {
	a := refusing(t, fmt.Errorf("wrapped: %w", session.ErrUnauthenticated))
	b := a.browser()
	const login = "/login?return_to=%2Fx%2Fy%3Fa%3D1%26b%3D%252F"
	for _, c := range []struct {
		method     string
		mode, dest string
		accept     string
		redirect   bool
	}{
		{"GET", "navigate", "document", asPage, true},
		{"GET", "navigate", "document", "*/*", true},
		{"HEAD", "navigate", "document", asPage, true},
		{"GET", "navigate", "iframe", asPage, false},
		{"GET", "cors", "empty", asPage, false},
		{"GET", "no-cors", "image", asPage, false},
		{"GET", "navigate", "", asPage, false},
		{"GET", "", "document", asPage, false},
		{"GET", "", "", asPage, true},
		{"HEAD", "", "", asPage, true},
		{"GET", "", "", "*/*", false},
		{"GET", "", "", "application/json", false},
		{"POST", "navigate", "document", asPage, false},
		{"POST", "", "", asPage, false},
		{"DELETE", "", "", asPage, false},
		{"OPTIONS", "", "", asPage, false},
	} {
		header := []string{"Accept", c.accept}
		if c.mode != "" {
			header = append(header, "Sec-Fetch-Mode", c.mode)
		}
		if c.dest != "" {
			header = append(header, "Sec-Fetch-Dest", c.dest)
		}
		got := b.do(c.method, "/x/y?a=1&b=%2F", "", header...)
		if c.redirect {
			got.isRedirect(t, login)
			continue
		}
		if got.StatusCode != 401 || got.Header.Get("Location") != "" {
			t.Errorf("%+v: status %d, Location %q", c, got.StatusCode, got.Header.Get("Location"))
		}
		got.has(t, "Www-Authenticate", challenge).has(t, "Cache-Control", "no-store")
	}
	// An address that is too long is left out.
	b.open("/x/%2e%2e/"+strings.Repeat("y", 3000)).isRedirect(t, "/login")
	// A refusal page without a redirect links to the login page.
	if page := b.submit("/x/", "a", "b").isPage(t, 401, "signed in"); !strings.Contains(page.body, `href="/login"`) {
		t.Errorf("no link to the login page: %s", visible(page.body))
	}
}

// The session ends while the user fills in a form. The page that refuses the
// form leads to the login page, and from there back to the form.
func TestFormAfterTheSessionsEnd(t *testing.T) {
	a := newApp(t, nil)
	a.mux.Handle("POST /save", middleware.RequireUser(http.NotFoundHandler()))
	a.mux.Handle("POST /admin", middleware.RequireRole("admin")(http.NotFoundHandler()))
	visitor, viewer := a.browser(), a.browser()
	viewer.signIn("viewer@example.com")
	const form, back = "/form?id=1&x=%2F", `href="/login?return_to=%2Fform%3Fid%3D1%26x%3D%252F"`
	for _, c := range []struct {
		name, referer, site, link string
	}{
		{"the form's page", a.srv.URL + form, "", back},
		{"a proxy changes the Host field", "https://app.example.org" + form, "same-origin", back},
		{"no Referer", "", "same-origin", `href="/login"`},
		{"a page of another host", "https://evil.example" + form, "", `href="/login"`},
		{"a page of a host with a similar name", a.srv.URL + ".evil.example" + form, "", `href="/login"`},
		{"an address that leads elsewhere", a.srv.URL + "//evil.example/", "", `href="/login"`},
		{"the login page", a.srv.URL + "/login?return_to=/x", "", `href="/login"`},
		{"an address that is too long", a.srv.URL + form + strings.Repeat("y", 3000), "", `href="/login"`},
		{"no address", "mailto:" + form, "same-origin", `href="/login"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", asPage, "Referer", c.referer}
			if c.site != "" {
				header = append(header, "Sec-Fetch-Site", c.site)
			}
			for _, page := range []response{
				visitor.do("POST", "/save", "a=b", header...).isPage(t, 401, "signed in"),
				viewer.do("POST", "/admin", "a=b", header...).isPage(t, 403, "not allowed"), // the link is for another account
			} {
				if !strings.Contains(page.body, c.link) {
					t.Errorf("the page has no %s: %s", c.link, visible(page.body))
				}
			}
		})
	}
}

// A guard does not redirect visitors to a login page that is not mounted. It logs
// an error, once.
func TestGuardWithoutLoginPage(t *testing.T) {
	const message = "no login page"
	build := func(set func(*session.Config)) (*app, *browser) {
		a := newBareApp(t, set)
		guarded := http.NewServeMux()
		guarded.Handle("/page", middleware.RequireUser(http.NotFoundHandler()))
		a.start(middleware.Sessions(a.m)(guarded))
		return a, a.browser()
	}
	logged := func(a *app) int { return strings.Count(a.log.String(), message) }

	a, b := build(nil)
	for range 3 {
		if page := b.open("/page").isPage(t, 401, "signed in"); strings.Contains(page.body, `href="/login"`) {
			t.Error("the page links to a login page that is not mounted")
		}
	}
	b.get("/page").is(t, 401, "unauthenticated")
	if n := logged(a); n != 1 {
		t.Errorf("the error was logged %d times, want once", n)
	}
	// The login page may be mounted later, and with any router.
	middleware.Routes(a.m)
	b.open("/page").isRedirect(t, "/login?return_to=%2Fpage")

	a, b = build(func(c *session.Config) { c.LoginPath = "/login" })
	b.open("/page").isRedirect(t, "/login?return_to=%2Fpage")
	if n := logged(a); n > 0 {
		t.Errorf("the error was logged %d times, although the app has a login page", n)
	}
}

// Without Sec-Fetch fields, the header fields of script libraries and prefetches
// prevent a redirect to the login page.
func TestScriptsAreNotRedirected(t *testing.T) {
	a := refusing(t, session.ErrUnauthenticated)
	b := a.browser()
	for _, header := range [][]string{
		{"X-Requested-With", "XMLHttpRequest"}, // jQuery, Prototype, Rails and others
		{"X-Requested-With", "xmlhttprequest"},
		{"X-Requested-With", "fetch"},
		{"X-Requested-With", "swup"},
		{"HX-Request", "true"},
		{"HX-Request", "true", "HX-Boosted", "true"},
		{"X-PJAX", "true"},
		{"X-PJAX-Container", "#main"},
		{"X-Inertia", "true"},
		{"X-Up-Version", "3.10"},
		{"X-Up-Target", ".content"},
		{"X-Livewire", ""},
		{"X-Alpine-Request", "true"},
		{"Datastar-Request", "true"},
		{"X-Barba", "yes"},
		{"RSC", "1"},
		{"Next-Router-State-Tree", "x"},
		{"X-CSRF-Token", "x"},
		{"X-XSRF-TOKEN", "x"},
		{"Purpose", "prefetch"},
		{"X-Purpose", "preview"},
		{"X-Moz", "prefetch"},
		{"Sec-Purpose", "prefetch"},
		{"Origin", b.base}, // browsers do not send it when the user follows a link
		{"Origin", "https://evil.example"},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			got := b.do(method, "/x/", "", append([]string{"Accept", asPage}, header...)...)
			if got.StatusCode != 401 || got.Header.Get("Location") != "" {
				t.Errorf("%s with %q: %d, Location %q", method, header, got.StatusCode, got.Header.Get("Location"))
			}
		}
		// Sec-Fetch fields take precedence.
		b.get("/x/", append([]string{"Accept", asPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, header...)...).is(t, 303, "")
	}
	// A browser view inside an Android app sends the app's name with all requests.
	b.get("/x/", "Accept", asPage, "X-Requested-With", "com.example.app").is(t, 303, "")
	b.get("/x/", "Accept", asPage, "Referer", b.base, "Upgrade-Insecure-Requests", "1", "Cache-Control", "no-cache").is(t, 303, "")
}

func TestReturnToOfUnusualPaths(t *testing.T) {
	a := newApp(t, nil)
	a.start(middleware.Sessions(a.m)(middleware.RequireUser(http.NotFoundHandler())))
	for path, want := range map[string]string{
		"//evil.example/":      "/login",
		"/%5Cevil.example":     "/login",
		"/%2F/evil.example":    "/login",
		"/a/../../evil":        "/login",
		"/ünï?q=ä b":           "/login?return_to=%2F%25C3%25BCn%25C3%25AF%3Fq%3D%25C3%25A4%2520b",
		"http://evil.example/": "/login?return_to=%2F", // as sent to a proxy; the host is ignored
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = path
		r.Header.Set("Accept", asPage)
		w := httptest.NewRecorder()
		middleware.Sessions(a.m)(middleware.RequireUser(http.NotFoundHandler())).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != 303 || got != want {
			t.Errorf("%s: %d, Location %q, want %q", path, w.Code, got, want)
		}
	}
	// A request that was not received by a server has no RequestURI.
	r, _ := http.NewRequest("GET", "/reports?x=1", nil)
	r.Header.Set("Accept", asPage)
	w := httptest.NewRecorder()
	middleware.Sessions(a.m)(middleware.RequireUser(http.NotFoundHandler())).ServeHTTP(w, r)
	if got := w.Header().Get("Location"); got != "/login?return_to=%2Freports%3Fx%3D1" {
		t.Errorf("Location %q", got)
	}
}

// A guard around the whole app, including the login page, is a mistake. It must
// not cause a redirect loop.
func TestNoLoginLoop(t *testing.T) {
	a := newApp(t, nil)
	a.start(middleware.Sessions(a.m)(middleware.RequireUser(a.mux)))
	b := a.browser()
	b.open("/").isRedirect(t, "/login?return_to=%2F")
	page := b.open("/login?return_to=%2F").isPage(t, 401, "signed in")
	if strings.Contains(page.body, `href="/login`) {
		t.Error("the login page links to itself")
	}
}

func TestAPI(t *testing.T) {
	a := newApp(t, nil, middleware.WithAPI("/api/", "/v2/"), middleware.WithAPI("/rpc"))
	a.mux.Handle("/", middleware.RequireUser(http.NotFoundHandler()))
	b := a.browser()
	for path, api := range map[string]bool{
		"/api/x": true, "/v2/": true, "/rpc": true, "/rpc/x": true, "/apix": false, "/x/api/": false, "/%61pi/x": true,
	} {
		if got := b.open(path); api {
			got.is(t, 401, "unauthenticated")
			b.submit(path, "a", "b").is(t, 401, "unauthenticated")
		} else {
			got.is(t, 303, "")
		}
	}
	b.signIn("admin@example.com")
	b.do("POST", "/api/x", "a=b", "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example").is(t, 403, "cross_site")

	// WithAPI applies to the built-in routes, too.
	a = newApp(t, nil, middleware.WithAPI("/"))
	b = a.browser()
	b.open("/login").is(t, 200, "").has(t, "Content-Type", "application/json")
	b.submit("/login", "email", "admin@example.com", "password", password).is(t, 200, "").has(t, "Content-Type", "application/json")
	b.submit("/logout").is(t, 204, "")
}

func TestResponsesToErrors(t *testing.T) {
	boom := errors.New("boom: the password is hunter2")
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{session.ErrForbidden, 403, "forbidden", ""},
		{session.ErrTooManySessions, 403, "too_many_sessions", ""},
		{session.ErrUnauthenticated, 401, "unauthenticated", ""},
		{session.ErrEnded, 401, "unauthenticated", ""},
		{session.ErrNoPendingLogin, 401, "unauthenticated", ""},
		{fmt.Errorf("%w: %w", auth.ErrTicketRefused, auth.ErrRefused), 401, "unauthenticated", ""},
		{auth.ErrRefused, 401, "invalid_credentials", ""},
		{session.ErrNotLoaded, 500, "session_not_loaded", ""},
		{session.ErrCrossOrigin, 403, "cross_site", ""},
		{session.ErrTooLarge, 413, "session_too_large", ""},
		{session.ErrSessionUnavailable, 503, "session_unavailable", "1"},
		{&session.UnavailableError{Err: auth.ErrUnavailable}, 503, "session_unavailable", "1"},
		{&session.UnavailableError{RetryAfter: 1001 * time.Millisecond, Err: boom}, 503, "session_unavailable", "2"},
		{&session.UnavailableError{RetryAfter: time.Minute, Err: boom}, 503, "session_unavailable", "60"},
		{&session.UnavailableError{RetryAfter: -time.Minute, Err: boom}, 503, "session_unavailable", "1"},
		{&auth.Error{Err: auth.ErrInvalidResponse}, 502, "auth_invalid_answer", ""},
		{&auth.Error{Err: auth.ErrUnavailable}, 503, "auth_unavailable", "1"},
		{&auth.Error{Err: auth.ErrUnavailable, RetryAfter: 9 * time.Second}, 503, "auth_unavailable", "9"},
		{fmt.Errorf("%w: %w", auth.ErrUnavailable, auth.ErrRateLimited), 503, "auth_unavailable", "1"},
		{boom, 500, "internal_error", ""},
		{&middleware.Problem{Status: 404}, 404, "not_found", ""},
		{fmt.Errorf("wrapped: %w", &middleware.Problem{Status: 405}), 405, "method_not_allowed", ""},
		{&middleware.Problem{Status: 400}, 400, "invalid_request", ""},
		{&middleware.Problem{Status: 413}, 413, "invalid_request", ""},
		{&middleware.Problem{Status: 413, Code: "session_too_large"}, 413, "session_too_large", ""},
		{&middleware.Problem{Status: 403, Code: "session_required", Detail: "A bearer has no session."}, 403, "session_required", ""},
		{&middleware.Problem{Status: 429, RetryAfter: 90 * time.Second}, 429, "too_many_attempts", "90"},
		{&middleware.Problem{Status: 429}, 429, "too_many_attempts", "1"},
		{&middleware.Problem{Status: 418}, 418, "error", ""},
		{&middleware.Problem{Err: boom}, 500, "internal_error", ""},
		{&middleware.Problem{}, 500, "internal_error", ""},
	} {
		a := refusing(t, c.err)
		b := a.browser()
		got := b.get("/x/").is(t, c.status, c.code).has(t, "Retry-After", c.retry)
		// A form is not redirected to the login page.
		page := b.submit("/x/", "a", "b").isPage(t, c.status, fmt.Sprintf(`<p class="status">%d</p>`, c.status)).has(t, "Retry-After", c.retry)
		if strings.Contains(got.body+page.body, "boom") {
			t.Errorf("%v: the response reveals the cause", c.err)
		}
		if (c.status == 401) != (got.Header.Get("Www-Authenticate") != "") {
			t.Errorf("%v: WWW-Authenticate: %q", c.err, got.Header.Get("Www-Authenticate"))
		}
		if logged := strings.Contains(a.log.String(), "request failed"); logged != (c.code == "internal_error" || c.code == "session_not_loaded") {
			t.Errorf("%v: logged: %v", c.err, logged)
		}
	}
}

func TestProblemOf(t *testing.T) {
	cause := errors.New("disk full")
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{session.ErrForbidden, 403, "forbidden"},
		{session.ErrUnauthenticated, 401, "unauthenticated"},
		{&session.UnavailableError{Err: cause}, 503, "session_unavailable"},
		{&middleware.Problem{Status: 404, Err: cause}, 404, "not_found"},
		{cause, 500, "internal_error"},
	} {
		p := middleware.ProblemOf(c.err)
		if p.Status != c.status || p.Code != c.code || p.Detail == "" || (p.RetryAfter > 0) != (c.status == 503) {
			t.Errorf("%v: %+v", c.err, p)
		}
		if !errors.Is(p, c.err) && !errors.Is(p, cause) {
			t.Errorf("%v: the cause is lost", c.err)
		}
	}
}

func TestProblem(t *testing.T) {
	cause := errors.New("cause")
	p := &middleware.Problem{Status: 422, Code: "invalid_request", Detail: `a "b" <c>`, Field: "email", Err: cause}
	if !errors.Is(p, cause) || p.Error() != "middleware: refused: 422 invalid_request (email): cause" {
		t.Errorf("%v", p)
	}
	b := refusing(t, p).browser()
	got := b.get("/x/").problem(t)
	if got["field"] != "email" || got["detail"] != `a "b" <c>` || len(got) != 6 {
		t.Errorf("%v", got)
	}
	if page := b.submit("/x/", "a", "b").isPage(t, 422, "a &#34;b&#34; &lt;c&gt;"); strings.Contains(page.body, "<c>") {
		t.Error("the page does not escape the detail")
	}
}

// Refuse works outside Sessions. It logs to the default logger.
func TestRefuseOutsideSessions(t *testing.T) {
	var log testkit.LogBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	w := httptest.NewRecorder()
	middleware.Refuse(w, httptest.NewRequest("GET", "/", nil), errors.New("boom"))
	if w.Code != 500 || !strings.Contains(log.String(), "boom") {
		t.Errorf("%d, log %q", w.Code, log.String())
	}
	middleware.RequireRole()
	if !strings.Contains(log.String(), "RequireRole") {
		t.Error("RequireRole without a role logged no error")
	}
}
