package middleware

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/synmetrix/session/internal/nostore"
)

//go:embed pages/*.html
var pageFiles embed.FS

// Page is what the templates of this package's pages are executed with. All of
// it is text: html/template escapes it as its place in the page asks for.
type Page struct {
	// Name is the template: "login", "mfa" or "refusal".
	Name string

	// Title is the page's title and heading.
	Title string

	// Status is the HTTP status that the page is sent with.
	Status int

	// Code is the stable name of what went wrong, as in [Problem], or empty.
	Code string

	// Message says to the user what went wrong, or is empty.
	Message string

	// Field is the form field that Message is about, or empty.
	Field string

	// Email is what the user had typed, for the login page to show again.
	Email string

	// ReturnTo is where the sign-in will lead, for a hidden form field. It
	// has passed the function ReturnTo, and is below session.Config.BasePath.
	ReturnTo string

	// LoginURL is the address of the login page where it is of use on this
	// one, else empty.
	LoginURL string

	// Home is the address of the app's start page; see [WithHome].
	Home string

	// Retry is whether asking again for the page that was refused makes sense.
	Retry bool
}

// Templates returns a new copy of the templates of the built-in pages, for
// [WithTemplates]: "login", "mfa" and "refusal", which are executed, and their
// parts "top", "bottom", "style" (the style element), "mark" (the picture above
// the heading) and "alert".
func Templates() *template.Template {
	return template.Must(template.New("pages").ParseFS(pageFiles, "pages/*.html"))
}

// pages is a set of templates with the policy that lets a browser apply their
// style and nothing else.
type pages struct {
	templates *template.Template
	policy    string
	builtIn   bool
}

var builtInPages = sync.OnceValue(func() *pages {
	p := newPages(Templates())
	p.builtIn = true
	return p
})

// newPages works out the policy for the templates. The style is allowed by its
// hash: one without a nonce needs nothing random in a page, and none of it
// could be used by anything that was injected into one.
func newPages(t *template.Template) *pages {
	style := "'none'"
	var b bytes.Buffer
	if t.Lookup("style") != nil && t.ExecuteTemplate(&b, "style", Page{}) == nil {
		_, css, _ := strings.Cut(b.String(), "<style>")
		if css, _, ok := strings.Cut(css, "</style>"); ok {
			sum := sha256.Sum256([]byte(css))
			style = "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		}
	}
	return &pages{
		templates: t,
		policy: "default-src 'none'; style-src " + style +
			"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
}

// write answers with a page. Nothing of it is ever cached: each depends on who
// asks, and a login page in a history must be asked for again.
func (p *pages) write(w http.ResponseWriter, log *slog.Logger, page Page) {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, page.Name, page); err != nil {
		if !p.builtIn {
			log.Error("page template failed, the built-in page is shown", "template", page.Name, "error", err)
			builtInPages().write(w, log, page)
			return
		}
		log.Error("built-in page failed", "template", page.Name, "error", err)
	}
	h := w.Header()
	if p.builtIn || h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", p.policy)
	}
	// Not "no-referrer": with it a browser sends "Origin: null" along with the
	// page's own form, which on plain HTTP is all that the cross-origin check
	// has to go by.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	writeBody(w, page.Status, b.Bytes())
}

// writeBody answers with a body that must not be cached or taken for anything
// but its Content-Type.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	nostore.Set(h)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that is gone is nothing to be dealt with here.
	_, _ = w.Write(body)
}
