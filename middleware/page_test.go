package middleware_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// forms are the visible fields of the forms of all pages, with the attributes by
// which password managers know them.
var forms = map[string][]string{
	"login":      {"email username", "password current-password"},
	"mfa":        {"code one-time-code"},
	"register":   {"email username", "password new-password"},
	"magic-link": {"email username"},
	"callback":   nil,
	"password":   {"old_password current-password", "new_password new-password"},
	"lost":       {"email username"},
	"reset":      {"new_password new-password"},
	"mfa-start":  {"password current-password"},
	"mfa-setup":  {"code one-time-code"},
	"mfa-remove": {"code one-time-code"},
	"email":      {"new_email email", "password current-password"},
	"delete":     {"password current-password"},

	"email-confirm": nil,
}

// showing returns an app that shows the page of the path. build may change it.
func showing(t *testing.T, build func(*middleware.Page), opts ...middleware.Option) *app {
	t.Helper()
	a := newBareApp(t, nil)
	a.mux.HandleFunc("/show/{name}", func(w http.ResponseWriter, r *http.Request) {
		page := middleware.NewPage(r, r.PathValue("name"))
		if build != nil {
			build(&page)
		}
		middleware.WritePage(w, r, page)
	})
	a.start(middleware.Sessions(a.m, opts...)(a.mux))
	return a
}

// gallery returns all pages in both languages, with and without an error in their
// first field.
func gallery(t *testing.T) map[string]response {
	t.Helper()
	pages := map[string]response{}
	good := showing(t, nil).browser()
	bad := showing(t, func(p *middleware.Page) {
		if len(p.Fields) > 0 {
			p.Status, p.Field, p.Message = 422, p.Fields[0].Name, p.Text("missing")
		}
	}).browser()
	names := []string{"mail", "sessions"}
	for name := range forms {
		names = append(names, name)
	}
	for _, name := range names {
		for _, language := range []string{"en", "de"} {
			pages[name+" "+language] = good.get("/show/"+name, "Accept-Language", language)
			pages[name+" "+language+" invalid"] = bad.get("/show/"+name, "Accept-Language", language)
		}
	}
	return pages
}

// attributes returns the attributes of the visible fields in a page.
func attributes(body string) []map[string]string {
	var fields []map[string]string
	for _, field := range input.FindAllString(body, -1) {
		is := map[string]string{}
		for _, m := range attr.FindAllStringSubmatch(field, -1) {
			is[m[1]] = html.UnescapeString(m[2])
		}
		for _, name := range []string{"autofocus", "required"} {
			if regexp.MustCompile(` ` + name + `[ >]`).MatchString(field) {
				is[name] = "yes"
			}
		}
		if is["type"] != "hidden" {
			fields = append(fields, is)
		}
	}
	return fields
}

func TestForms(t *testing.T) {
	for key, page := range gallery(t) {
		parts := strings.Fields(key)
		name, language, invalid := parts[0], parts[1], len(parts) == 3 && forms[parts[0]] != nil
		texts := middleware.Texts(language)
		page.has(t, "Content-Security-Policy", policyOf(t, page.body)).has(t, "Content-Language", language)
		heading := html.EscapeString(texts[name+".title"])
		if !strings.Contains(page.body, "<h1>"+heading+"</h1>") {
			t.Errorf("%s: no heading %q", key, heading)
		}
		title := heading
		if invalid {
			title = strings.Replace(texts["page.error_title"], "{title}", heading, 1)
		}
		if !strings.Contains(page.body, "<title>"+title+"</title>") {
			t.Errorf("%s: no title %q", key, title)
		}
		var fields []string
		for i, f := range attributes(page.body) {
			fields = append(fields, f["name"]+" "+f["autocomplete"])
			label := `<label for="` + f["id"] + `">` + texts["field."+f["name"]] + `</label>`
			if f["id"] != f["name"] || f["required"] == "" || !strings.Contains(page.body, label) {
				t.Errorf("%s: field %v", key, f)
			}
			if isFirst := invalid && i == 0; isFirst != (f["aria-invalid"] == "true") ||
				isFirst != slices.Contains(strings.Fields(f["aria-describedby"]), f["id"]+"-error") ||
				isFirst != strings.Contains(page.body, `<p class="error" id="`+f["id"]+`-error" role="alert">`+html.EscapeString(texts["missing"])) ||
				isFirst && f["autofocus"] == "" {
				t.Errorf("%s: the error is not associated with its field: %v", key, f)
			}
			if f["type"] == "password" && f["value"] != "" {
				t.Errorf("%s: the page has a password in it", key)
			}
		}
		if !slices.Equal(fields, forms[name]) {
			t.Errorf("%s: fields %q, want %q", key, fields, forms[name])
		}
		if button := ">" + texts[name+".button"] + "</button>"; texts[name+".button"] != "" && !strings.Contains(page.body, button) {
			t.Errorf("%s: no button %q", key, button)
		}
		if n := strings.Count(page.body, " autofocus"); n > 1 {
			t.Errorf("%s: %d fields have the focus", key, n)
		}
	}
}

// After an error the form has the user's input, except for passwords, and the focus is in
// the field that the user has to fill in.
func TestFormsKeepTheInput(t *testing.T) {
	t.Parallel()
	b := newApp(t, nil).browser()
	page := b.submit("/login", "email", "jane@example.com", "password", "not-the-password", "return_to", "/x?y=1").isPage(t, 401, `value="jane@example.com"`)
	if strings.Contains(page.body, "not-the-password") || !strings.Contains(page.body, `name="return_to" value="/x?y=1"`) {
		t.Errorf("%s", visible(page.body))
	}
	fields := attributes(page.body)
	if fields[0]["autofocus"] != "" || fields[1]["autofocus"] == "" || fields[1]["aria-describedby"] != "error" {
		t.Errorf("fields %v", fields)
	}
	page = b.submit("/login", "email", "jane@example.com", "password", "")
	fields = attributes(page.body)
	if fields[1]["aria-invalid"] != "true" || fields[1]["aria-describedby"] != "password-error" || fields[0]["value"] != "jane@example.com" ||
		!strings.Contains(page.body, `id="password-error" role="alert">Enter your password.<`) {
		t.Errorf("fields %v", fields)
	}
}

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>`

func TestWithBrand(t *testing.T) {
	t.Parallel()
	b := newApp(t, nil, middleware.WithBrand(`Acme & Söhne`, []byte(svg)), middleware.WithHome("/start"),
		middleware.WithLinks(middleware.Link{Text: "Privacy", URL: "/privacy"}, middleware.Link{Text: "field.email", URL: "https://acme.example/"}),
		middleware.WithTexts("de", map[string]string{"Privacy": "Datenschutz"})).browser()
	page := b.open("/login").isPage(t, 200, "<title>Sign in · Acme &amp; Söhne</title>")
	page.has(t, "Content-Security-Policy", policyOf(t, page.body))
	for _, want := range []string{
		`<p class="brand"><a href="/start"><img class="mark" src="data:image/svg&#43;xml;base64,` + strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(svg)), "+", "&#43;") + `" alt=""><span>Acme &amp; Söhne</span></a></p>`,
		`<footer>`, `<a href="/privacy">Privacy</a>`, `<a href="https://acme.example/">E-mail address</a>`,
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("no %s: %s", want, visible(page.body))
		}
	}
	b.submit("/login", "email", "a@example.com", "password", "x").isPage(t, 401, "<title>Error: Sign in · Acme &amp; Söhne</title>")
	b.open("/logout").isPage(t, 405, "<title>Not possible · Acme &amp; Söhne</title>")
	b.get("/login", "Accept", asPage, "Accept-Language", "de").isPage(t, 200, `<a href="/privacy">Datenschutz</a>`)
}

// A mark that is not an image, or too large, is not shown.
func TestWithBrandChecksTheMark(t *testing.T) {
	for name, mark := range map[string][]byte{
		"text": []byte("hello"), "page": []byte("<html><script>1</script></html>"), "too large": append([]byte(svg), make([]byte, 64<<10)...),
	} {
		a := newApp(t, nil, middleware.WithBrand("Acme", mark))
		page := a.browser().open("/login").isPage(t, 200, `<svg class="mark"`)
		if strings.Contains(page.body, "<img") || !strings.Contains(a.log.String(), "the mark of WithBrand is not used") {
			t.Errorf("%s: %s", name, visible(page.body))
		}
	}
}

func TestWithShowPassword(t *testing.T) {
	b := newApp(t, nil, middleware.WithShowPassword()).browser()
	page := b.open("/login").isPage(t, 200, `<button class="reveal" type="button" hidden aria-controls="password" aria-label="Show password"`)
	page.has(t, "Content-Security-Policy", policyOf(t, page.body))
	if script, ok := element(page.body, "script"); !ok || !strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src "+hash(script)) {
		t.Error("the script is missing or not allowed")
	}
	// Pages without a password have no script.
	if page := b.open("/logout"); strings.Contains(page.body, "<script") || strings.Contains(page.Header.Get("Content-Security-Policy"), "script-src") {
		t.Error("a page without a password has a script")
	}
}

// The login page and the page of a 403 show the signed-in user. The latter also shows the
// missing role.
func TestPagesShowTheUser(t *testing.T) {
	run := func(opts ...middleware.Option) (login, forbidden string) {
		a := newBareApp(t, nil)
		middleware.Mount(a.mux, a.m)
		a.mux.Handle("/admin", middleware.RequireRole("admin")(http.NotFoundHandler()))
		a.mux.Handle("/reports", middleware.RequireRole("admin", "analyst")(http.NotFoundHandler()))
		a.mux.Handle("/own", middleware.Require(func(*session.Session) bool { return false })(http.NotFoundHandler()))
		a.start(middleware.Sessions(a.m, opts...)(a.mux))
		b := a.browser()
		if page := b.open("/login"); strings.Contains(page.body, "You are signed in") {
			t.Error("no user is signed in")
		}
		b.signIn("viewer@example.com")
		forbidden = b.open("/admin").isPage(t, 403, "This page is for accounts with the role admin.").body
		b.open("/reports").isPage(t, 403, "This page is for accounts with one of these roles: admin, analyst.")
		if own := b.open("/own").isPage(t, 403, "You are signed in as").body; strings.Contains(own, "This page is for") {
			t.Error("a policy has no roles")
		}
		return b.open("/login").body, forbidden
	}
	login, forbidden := run(middleware.WithUserText(func(s *session.Session) string { return "<Jane> " + s.DefaultRole() }))
	for _, page := range []string{login, forbidden} {
		if !strings.Contains(page, `You are signed in as &lt;Jane&gt; user.`) || !strings.Contains(page, `<a href="/">Go to the start page</a>`) {
			t.Errorf("%s", visible(page))
		}
	}
}

// An empty text about the user does not mean that no user is signed in.
func TestUserWithoutText(t *testing.T) {
	b := newApp(t, nil, middleware.WithUserText(func(*session.Session) string { return "" })).browser()
	const home = `<a href="/">Go to the start page</a>`
	if page := b.open("/login"); strings.Contains(page.body, home) {
		t.Errorf("a visitor: %s", visible(page.body))
	}
	b.signIn("viewer@example.com")
	if page := b.open("/login").isPage(t, 200, home); strings.Contains(page.body, "You are signed in as") {
		t.Errorf("%s", visible(page.body))
	}
}

// Only links to routes that exist are shown.
func TestLinksToOtherRoutes(t *testing.T) {
	a := newApp(t, nil)
	page := a.browser().open("/login?return_to=/x")
	for _, route := range middleware.Routes(a.m) {
		path := map[string]string{"/password/lost": "Forgot your password?", "/register": "Create an account"}[route.Path]
		if path != "" && route.Method == "GET" && !strings.Contains(page.body, fmt.Sprintf(`<a href="%s?return_to=%%2Fx">%s</a>`, route.Path, path)) {
			t.Errorf("no link to %s: %s", route.Path, visible(page.body))
		}
	}
	for text, path := range map[string]string{"Forgot your password?": "/password/lost", "Create an account": "/register"} {
		exists := slices.ContainsFunc(middleware.Routes(a.m), func(r middleware.Route) bool { return r.Path == path })
		if strings.Contains(page.body, text) != exists {
			t.Errorf("the link %q on the login page, and the route %s exists: %v", text, path, exists)
		}
	}
}

func TestSessionList(t *testing.T) {
	now := time.Now()
	a := showing(t, func(p *middleware.Page) {
		p.Sessions = []middleware.PageSession{
			{Device: "Firefox on Windows", Address: "192.0.2.1", Created: now.Add(-49 * time.Hour), LastSeen: now, Current: true},
			{Device: `<b>curl`, Created: now.Add(-time.Hour - time.Minute), LastSeen: now.Add(-5*time.Minute - time.Second), EndURL: "/sessions/x/end"},
		}
	})
	page := a.browser().get("/show/sessions").body
	for _, want := range []string{
		"Firefox on Windows <span class=\"tag\">This device</span>", "192.0.2.1", "just now", "2 days ago", "1 hour ago", "5 minutes ago", "&lt;b&gt;curl",
		`<form method="post" action="/sessions/x/end"><button class="quiet" aria-label="Sign out: &lt;b&gt;curl">Sign out</button></form>`,
		`<time datetime="` + now.UTC().Format(time.RFC3339) + `">`, now.UTC().Format("2 Jan 2006, 15:04 UTC"),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s: %s", want, visible(page))
		}
	}
	if strings.Count(page, "<form") != 1 {
		t.Error("the current session has a form, or the other session has none")
	}
}

func TestPageTime(t *testing.T) {
	var page middleware.Page
	at := time.Date(2026, 3, 9, 23, 5, 0, 0, time.FixedZone("", 3600))
	if got := page.Time(at); got.Machine != "2026-03-09T22:05:00Z" || got.Absolute != "9 Mar 2026, 22:05 UTC" {
		t.Errorf("%+v", got)
	}
	for distance, want := range map[time.Duration]string{
		0: "just now", -59 * time.Second: "just now", -61 * time.Second: "1 minute ago", -26 * time.Hour: "1 day ago", -80 * 24 * time.Hour: "2 months ago",
		-800 * 24 * time.Hour: "2 years ago", 30 * time.Second: "in less than a minute", 150 * time.Second: "in 2 minutes", 25*time.Hour + time.Second: "in 1 day",
		24 * time.Hour: "in 1 day", 15 * time.Minute: "in 15 minutes", -119 * time.Second: "2 minutes ago",
	} {
		if got := page.Time(time.Now().Add(distance)); got.Relative != want {
			t.Errorf("%v: %q, want %q", distance, got.Relative, want)
		}
	}
}

// Pages may have secrets in them, and are never printed.
func TestPagesAreNotPrinted(t *testing.T) {
	page := middleware.Page{Secret: "JBSWY3DPEHPK3PXP", Fields: []middleware.Field{{Value: "JBSWY3DPEHPK3PXP"}}}
	text, err := json.Marshal(page)
	if out := fmt.Sprintf("%v %+v %#v %s %s %v", page, page, page.Fields, page, text, err); strings.Contains(out, "JBSW") {
		t.Error(out)
	}
}
