package middleware_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/synmetrix/session/middleware"
)

// styleOf returns the contents of a page's style element.
func styleOf(t *testing.T, page string) string {
	t.Helper()
	css, ok := element(page, "style")
	if !ok {
		t.Fatalf("no style element: %s", page)
	}
	return css
}

// element returns the contents of a page's first element with a name and without
// attributes.
func element(page, name string) (contents string, ok bool) {
	_, rest, ok := strings.Cut(page, "<"+name+">")
	contents, _, ok2 := strings.Cut(rest, "</"+name+">")
	return contents, ok && ok2
}

// policyOf returns the Content-Security-Policy that allows what a page has.
func policyOf(t *testing.T, page string) string {
	t.Helper()
	policy := "default-src 'none'; style-src " + hash(styleOf(t, page))
	if script, ok := element(page, "script"); ok {
		policy += "; script-src " + hash(script)
	}
	if strings.Contains(page, "<img") {
		policy += "; img-src data:"
	}
	return policy + "; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

func hash(css string) string {
	sum := sha256.Sum256([]byte(css))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// allPages returns one of each page.
func allPages(t *testing.T, a *app) map[string]response {
	b := a.browser()
	pages := map[string]response{
		"login":   b.open("/login?return_to=/x"),
		"refused": b.submit("/login", "email", `"><b>x`, "password", "wrong"),
		"refusal": b.open("/logout"),
	}
	b.submit("/login", "email", "mfa@example.com", "password", password).is(t, 303, "")
	pages["mfa"] = b.open("/login/mfa")
	pages["wrong code"] = b.submit("/login/mfa", "code", wrongCode(t, a))
	return pages
}

// unwanted matches content that the policy would block, and the unescaped e-mail
// address of allPages.
var unwanted = regexp.MustCompile(`(?i)<script |<link| style=| on[a-z]+=|https?:|//[a-z]|<b>x|@import|url\(`)

func TestPagesAreSafe(t *testing.T) {
	t.Parallel()
	for name, page := range allPages(t, newApp(t, nil)) {
		page.has(t, "Content-Security-Policy", policyOf(t, page.body)).has(t, "X-Content-Type-Options", "nosniff").has(t, "Referrer-Policy", "same-origin").
			has(t, "Cache-Control", "no-store").has(t, "Content-Type", "text/html; charset=utf-8")
		if m := unwanted.FindString(visible(page.body)); m != "" {
			t.Errorf("the page %s contains %q: %s", name, m, page.body)
		}
		if page.ContentLength != int64(len(page.body)) {
			t.Errorf("the page %s has a Content-Length of %d", name, page.ContentLength)
		}
	}
}

var (
	input  = regexp.MustCompile(`<input[^>]*>`)
	attr   = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
	tag    = regexp.MustCompile(`</?([a-z0-9]+)[^>]*?(/?)>`)
	anyIDs = regexp.MustCompile(` id="([^"]*)"`)
)

// Screen readers need a language, a title, one heading, labels, and errors that
// are associated with their fields.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	for name, page := range allPages(t, newApp(t, nil)) {
		body := visible(page.body)
		ids := map[string]bool{}
		for _, m := range anyIDs.FindAllStringSubmatch(body, -1) {
			if ids[m[1]] {
				t.Errorf("%s: the id %s is not unique", name, m[1])
			}
			ids[m[1]] = true
		}
		for _, want := range []string{`<html lang="en">`, `<meta name="viewport" content="width=device-width, initial-scale=1">`, "<main>"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
		if strings.Count(body, "<h1>") != 1 || strings.Contains(body, "<title></title>") {
			t.Errorf("%s: the page needs one heading and a title", name)
		}
		if failed := page.StatusCode >= 400 && name != "refusal"; failed != strings.Contains(body, `role="alert"`) || failed != strings.Contains(body, "<title>Error: ") {
			t.Errorf("%s: alert on a page with status %d: %s", name, page.StatusCode, body)
		}
		for _, field := range input.FindAllString(body, -1) {
			is := map[string]string{}
			for _, m := range attr.FindAllStringSubmatch(field, -1) {
				is[m[1]] = m[2]
			}
			if is["type"] == "hidden" {
				continue
			}
			if !strings.Contains(body, `<label for="`+is["id"]+`">`) || is["autocomplete"] == "" {
				t.Errorf("%s: %s has no label or no autocomplete", name, field)
			}
			for described := range strings.FieldsSeq(is["aria-describedby"]) {
				if !ids[described] {
					t.Errorf("%s: %s is described by the missing element %s", name, field, described)
				}
			}
		}
		var open []string
		for _, m := range tag.FindAllStringSubmatch(body, -1) {
			switch name := m[1]; {
			case m[2] == "/" || name == "meta" || name == "input":
			case m[0][1] == '/':
				if len(open) == 0 || open[len(open)-1] != name {
					t.Fatalf("%s does not match the open elements %v", m[0], open)
				}
				open = open[:len(open)-1]
			default:
				open = append(open, name)
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: not closed: %v", name, open)
		}
	}
}

// The contrasts of WCAG 2.2 AA: 4.5 for text (1.4.3), and 3 for the borders of
// fields and the focus (1.4.11).
func TestPagesHaveContrast(t *testing.T) {
	css := styleOf(t, newApp(t, nil).browser().open("/login").body)
	light, dark, ok := strings.Cut(css, "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("there is no dark style")
	}
	dark, _, _ = strings.Cut(dark, "* {")
	for name, block := range map[string]string{"light": light, "dark": dark} {
		color := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(block, -1) {
			color[m[1]] = luminance(t, m[2])
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5}, {"muted", "card", 4.5}, {"text", "field", 4.5}, {"link", "card", 4.5},
			{"text", "page", 4.5}, {"muted", "page", 4.5}, {"link", "page", 4.5},
			{"on-accent", "accent", 4.5}, {"on-accent", "accent-over", 4.5}, {"on-danger", "danger", 4.5}, {"on-danger", "danger-over", 4.5},
			{"alert-text", "alert", 4.5}, {"alert-text", "card", 4.5}, {"notice-text", "notice", 4.5},
			{"border", "field", 3}, {"border", "card", 3}, {"focus", "card", 3}, {"focus", "page", 3}, {"focus", "field", 3},
			{"accent", "card", 3}, {"danger", "card", 3}, {"alert-text", "field", 3},
		} {
			f, ok := color[c.front]
			b, ok2 := color[c.back]
			if !ok || !ok2 {
				t.Fatalf("%s: no color %s or %s", name, c.front, c.back)
			}
			if ratio := (max(f, b) + 0.05) / (min(f, b) + 0.05); ratio < c.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", name, c.front, c.back, ratio, c.least)
			}
		}
	}
}

// luminance returns the luminance of an RGB color; see
// https://www.w3.org/TR/WCAG22/#dfn-relative-luminance.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(c uint64) float64 {
		s := float64(c&0xff) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(n>>16) + 0.7152*channel(n>>8) + 0.0722*channel(n)
}

func TestTemplates(t *testing.T) {
	own := template.Must(middleware.Templates().Parse(
		`{{define "mark"}}<p>Acme &amp; {{.Name}}</p>{{end}}` +
			`{{define "style"}}<style>body { color: green }</style>{{end}}` +
			`{{define "refusal"}}{{template "top" .}}{{.Status}} {{.Code}} {{.Home}}{{template "bottom" .}}{{end}}`))
	a := newApp(t, nil, middleware.WithTemplates(own), middleware.WithHome("/start"))
	b := a.browser()
	page := b.open("/login").isPage(t, 200, "<p>Acme &amp; login</p>")
	page.has(t, "Content-Security-Policy", policyOf(t, page.body))
	if styleOf(t, page.body) != "body { color: green }" {
		t.Errorf("style %q", styleOf(t, page.body))
	}
	b.open("/logout").isPage(t, 405, "405 method_not_allowed /start")
	b.signInTo(t, "/start")

	// The app's own policy applies to its own templates, but not to the built-in
	// pages.
	for name, opts := range map[string][]middleware.Option{"own": {middleware.WithTemplates(own)}, "built in": nil} {
		sessions := middleware.Sessions(a.m, opts...)(a.mux)
		a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'self'")
			sessions.ServeHTTP(w, r)
		}))
		got := a.browser().open("/login").Header.Get("Content-Security-Policy")
		if kept := got == "default-src 'self'"; kept != (name == "own") {
			t.Errorf("%s: policy %q", name, got)
		}
	}
}

func (b *browser) signInTo(t *testing.T, home string) {
	t.Helper()
	b.submit("/login", "email", "admin@example.com", "password", password).isRedirect(t, home)
}

// If a template fails, the built-in page is shown.
func TestTemplatesThatFail(t *testing.T) {
	for _, broken := range []*template.Template{
		template.New("empty"),
		template.Must(template.New("x").Parse(`{{define "login"}}half a page {{.NoSuchField}}{{end}}{{define "style"}}no style{{end}}`)),
	} {
		a := newApp(t, nil, middleware.WithTemplates(broken))
		page := a.browser().open("/login").isPage(t, 200, `<form method="post">`)
		if strings.Contains(page.body, "half") {
			t.Error("the response contains a part of the broken page")
		}
		page.has(t, "Content-Security-Policy", policyOf(t, page.body))
		if !strings.Contains(a.log.String(), "page template failed") {
			t.Error("the error was not logged")
		}
	}
}

// Each call of Templates returns a new copy.
func TestTemplatesAreCopies(t *testing.T) {
	template.Must(middleware.Templates().Parse(`{{define "mark"}}changed{{end}}`))
	if page := newApp(t, nil).browser().open("/login"); strings.Contains(page.body, "changed") {
		t.Error("changing a copy has changed the built-in page")
	}
}

func TestRefusalPagesOfEachStatus(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 502, 503, 418} {
		a := refusing(t, &middleware.Problem{Status: status})
		page := a.browser().submit("/x/", "a", "b").isPage(t, status, fmt.Sprintf(`<p class="status">%d</p>`, status))
		if !strings.Contains(page.body, `href="/"`) || strings.Contains(page.body, "<h1></h1>") {
			t.Errorf("%d: %s", status, visible(page.body))
		}
	}
}
