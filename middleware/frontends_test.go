package middleware_test

import (
	"html/template"
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// modes are cookies and a store.
var modes = map[string]func(*session.Config){
	"cookie": nil,
	"stored": func(c *session.Config) { c.Store = memstore.New() },
}

const turboAccept = "text/html, application/xhtml+xml"

// A request of htmx without a session makes the browser load the login page, which leads
// back to the page that the user was on.
func TestHTMXLeavesForLogin(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			a := newApp(t, set, middleware.WithAPI("/api/"))
			a.mux.Handle("/", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
			b := a.browser()
			const login = "/login?return_to="
			for _, c := range []struct {
				method, path, current string
				header                []string
				want                  string
			}{
				{"GET", "/rows?page=2", b.base + "/reports?year=2026#q2", nil, login + "%2Freports%3Fyear%3D2026"},
				{"DELETE", "/rows/7", b.base + "/reports", nil, login + "%2Freports"},
				{"GET", "/rows", b.base + "/reports", []string{"Accept", "text/html"}, login + "%2Freports"}, // htmx 4
				{"GET", "/rows", "", []string{"Referer", b.base + "/reports"}, login + "%2Freports"},
				{"GET", "/next", b.base + "/reports", []string{"HX-Boosted", "true"}, login + "%2Fnext"},
				{"POST", "/next", b.base + "/reports", []string{"HX-Boosted", "true"}, login + "%2Freports"},

				// These are not pages of this host, or not pages to return to.
				{"GET", "/rows", "https://evil.example/reports", nil, "/login"},
				{"GET", "/rows", b.base + "//evil.example", nil, "/login"},
				{"GET", "/rows", b.base + "/login?return_to=/x", nil, "/login"},
				{"GET", "/rows", "javascript:alert(1)", nil, "/login"},
				{"GET", "/rows", b.base + "/" + strings.Repeat("a", 5000), nil, "/login"},
				{"GET", "/rows", "", nil, "/login"},
			} {
				header := append([]string{"HX-Request", "true", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, c.header...)
				if c.current != "" {
					header = append(header, "HX-Current-URL", c.current)
				}
				got := b.do(c.method, c.path, "", header...).is(t, 401, "")
				got.has(t, "HX-Redirect", c.want).has(t, "Cache-Control", "no-store").has(t, "Location", "").has(t, "Www-Authenticate", challenge)
			}
			b.get("/api/rows", "HX-Request", "true").is(t, 401, "unauthenticated").has(t, "HX-Redirect", "")

			b.signIn("viewer@example.com")
			b.get("/rows", "HX-Request", "true").is(t, 200, "").has(t, "HX-Redirect", "").has(t, "Vary", "Cookie")
		})
	}
}

// Refusals of requests for a part of a page fit into the page.
func TestFragments(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			a := newApp(t, set)
			a.mux.Handle("/admin", middleware.RequireRole("admin")(http.HandlerFunc(middleware.Me)))
			a.mux.Handle("/down", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				middleware.Refuse(w, r, session.ErrSessionUnavailable)
			}))
			b := a.browser()
			b.signIn("viewer@example.com")
			fragment := func(r response, start, text string) {
				t.Helper()
				r.has(t, "Content-Type", "text/html; charset=utf-8").has(t, "Cache-Control", "no-store").has(t, "HX-Redirect", "")
				if !strings.HasPrefix(r.body, start) || !strings.Contains(r.body, text) || strings.Contains(r.body, "<html") {
					t.Errorf("no fragment with %q: %s", text, r.body)
				}
			}
			htmx := func(path string, header ...string) response {
				return b.get(path, append([]string{"HX-Request", "true"}, header...)...)
			}
			frame := func(method, path, id string) response {
				return b.do(method, path, "", "Turbo-Frame", id, "X-Turbo-Request-Id", "1", "Accept", turboAccept)
			}
			fragment(htmx("/admin").is(t, 403, ""), `<div class="refusal" role="alert">`, "This page is for accounts with the role admin.")
			fragment(htmx("/down").is(t, 503, "").has(t, "Retry-After", "1"), `<div class="refusal" role="alert">`, "You have not been signed out")
			htmx("/admin", "HX-Boosted", "true").isPage(t, 403, "<html")
			fragment(frame("GET", "/admin", "side").is(t, 403, ""), `<turbo-frame id="side">`, `data-turbo-frame="_top"`)
			fragment(frame("POST", "/down", "side").is(t, 503, "").has(t, "Retry-After", "1"), `<turbo-frame id="side">`, "You have not been signed out")
			fragment(frame("GET", "/admin", `"><script>x</script>`).is(t, 403, ""), `<turbo-frame id="&#34;&gt;&lt;script&gt;x&lt;/script&gt;">`, "admin")
			frame("GET", "/admin", strings.Repeat("x", 257)).isPage(t, 403, "<html")
		})
	}
}

// Turbo follows the redirect to the login page and loads that page as a whole.
func TestTurboLeavesForLogin(t *testing.T) {
	for mode, set := range modes {
		t.Run(mode, func(t *testing.T) {
			a := newApp(t, set)
			a.mux.Handle("/", middleware.RequireUser(http.HandlerFunc(middleware.Me)))
			b := a.browser()
			const whole = `<meta name="turbo-visit-control" content="reload">`
			turbo := func(method, path string, header ...string) response {
				return b.do(method, path, "", append([]string{"X-Turbo-Request-Id", "1", "Accept", turboAccept, "Referer", b.base + "/reports",
					"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, header...)...)
			}
			turbo("GET", "/rows", "Turbo-Frame", "side").isRedirect(t, "/login?return_to=%2Freports")
			turbo("GET", "/rows", "Turbo-Frame", "side", "Referer", "https://evil.example/").isRedirect(t, "/login")
			turbo("GET", "/next").isRedirect(t, "/login?return_to=%2Fnext")
			turbo("GET", "/login", "Turbo-Frame", "side").isPage(t, 200, whole)
			turbo("GET", "/login").isPage(t, 200, whole)
			turbo("GET", "/data", "Accept", "application/json").is(t, 401, "unauthenticated")

			// After a form, the page reports that the form had no effect.
			turbo("POST", "/rows", "Turbo-Frame", "side").isPage(t, 401, whole)
			if got := turbo("POST", "/rows").isPage(t, 401, "/login?return_to=%2Freports"); strings.Contains(got.body, whole) {
				t.Error("the response to a form is loaded again, without its contents")
			}
			if got := b.open("/login"); strings.Contains(got.body, "turbo") {
				t.Error("a page for a browser mentions Turbo")
			}
			b.signIn("viewer@example.com")
			turbo("GET", "/rows", "Turbo-Frame", "side").is(t, 200, "").has(t, "Vary", "Cookie")
		})
	}
}

// The built-in routes make the browser load the next page if htmx has sent the form.
func TestHTMXForms(t *testing.T) {
	a := newApp(t, nil)
	b := a.browser()
	form := func(path, body string) response {
		return b.do("POST", path, body, "Content-Type", "application/x-www-form-urlencoded", "HX-Request", "true", "Sec-Fetch-Site", "same-origin")
	}
	form("/login", "email=viewer@example.com&password=wrong").isPage(t, 401, "viewer@example.com")
	form("/login", "email=viewer@example.com&return_to=/reports&password="+strings.ReplaceAll(password, " ", "+")).
		is(t, 200, "").has(t, "HX-Redirect", "/reports").has(t, "Location", "")
	me(t, b, "user")
	form("/logout", "").is(t, 200, "").has(t, "HX-Redirect", "/")
	me(t, b)
	b.get("/login", "HX-Request", "true", "HX-Boosted", "true").isPage(t, 200, "Sign in")
}

// Templates of an app may lack the fragment, or have their own.
func TestFragmentTemplates(t *testing.T) {
	get := func(pages *template.Template) string {
		a := newApp(t, nil, middleware.WithTemplates(pages))
		a.mux.HandleFunc("/x", func(w http.ResponseWriter, r *http.Request) { middleware.Refuse(w, r, session.ErrForbidden) })
		return a.browser().get("/x", "HX-Request", "true").is(t, 403, "").body
	}
	if got := get(template.Must(template.New("").Parse(`{{define "page"}}<html>{{end}}`))); !strings.HasPrefix(got, "<div") {
		t.Errorf("without a fragment of the app: %s", got)
	}
	own := template.Must(middleware.Templates().Parse(`{{define "fragment"}}<b>{{.Code}}</b>{{end}}`))
	if got := get(own); got != "<b>forbidden</b>" {
		t.Errorf("with a fragment of the app: %s", got)
	}
}

// A user enters the password for RequireFresh in the same way.
func TestFrontEndsReauthenticate(t *testing.T) {
	a := newApp(t, nil)
	a.mux.Handle("/pay", middleware.RequireFresh(-1)(http.HandlerFunc(middleware.Me)))
	b := a.browser()
	b.signIn("viewer@example.com")
	const login = "/login?return_to=%2Fshop&again=1"
	b.get("/pay", "HX-Request", "true", "HX-Current-URL", b.base+"/shop").is(t, 401, "").has(t, "HX-Redirect", login)
	frame := []string{"Turbo-Frame", "side", "X-Turbo-Request-Id", "1", "Accept", turboAccept, "Referer", b.base + "/shop"}
	b.get("/pay", frame...).isRedirect(t, login)
	b.do("POST", "/pay", "", frame...).isPage(t, 401, `<meta name="turbo-visit-control" content="reload">`)
	if got := b.get("/pay").is(t, 401, "reauthentication_required").problem(t)["login_url"]; got != "/login?again=1" {
		t.Errorf("login_url %v", got)
	}
}
