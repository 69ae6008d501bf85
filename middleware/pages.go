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

// Page is the data of this package's page templates. All of its strings are plain
// text, and html/template escapes them.
type Page struct {
	// Name is the name of the template: "login", "mfa" or "refusal".
	Name string

	// Title is the page's title and heading.
	Title string

	// Status is the HTTP status of the response.
	Status int

	// Code is the code of the error, as in [Problem], or empty.
	Code string

	// Message describes the error to the user, or is empty.
	Message string

	// Field is the name of the invalid form field, or empty.
	Field string

	// Email is the e-mail address that the user has entered. The login page
	// shows it again after an error.
	Email string

	// ReturnTo is the address that the user returns to after the sign-in, for
	// a hidden form field. The function ReturnTo has accepted it, and it is
	// below session.Config.BasePath.
	ReturnTo string

	// LoginURL is the address of the login page if this page should link to
	// it, or empty.
	LoginURL string

	// Home is the address of the app's start page; see [WithHome].
	Home string

	// Retry is true if the same request may succeed later, so that the page
	// should offer to reload it.
	Retry bool
}

// Templates returns a new copy of the built-in templates, for [WithTemplates].
// The pages are "login", "mfa" and "refusal". Their parts are "top", "bottom",
// "style" (the style element), "mark" (the logo above the heading) and "alert"
// (the error message).
func Templates() *template.Template {
	return template.Must(template.New("pages").ParseFS(pageFiles, "pages/*.html"))
}

// pages is a set of templates, with the Content-Security-Policy that allows their
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

// newPages computes the policy of the templates. It allows the style by its hash,
// so that a style element that was injected into a page stays blocked. A nonce
// would need a random value for each page.
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

// write writes a page. If the app's template fails, write uses the built-in one,
// so that a mistake in a template does not lock users out. The page is rendered
// before anything is written, because an error in the middle of a response could
// not be corrected.
func (p *pages) write(w http.ResponseWriter, log *slog.Logger, page Page) {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, page.Name, page); err != nil {
		if !p.builtIn {
			log.Error("page template failed; showing the built-in page", "template", page.Name, "error", err)
			builtInPages().write(w, log, page)
			return
		}
		log.Error("built-in page failed", "template", page.Name, "error", err)
	}
	h := w.Header()
	// The app's policy applies to its own templates. It may block the style of
	// the built-in ones.
	if p.builtIn || h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", p.policy)
	}
	// With "no-referrer", browsers would send "Origin: null" with the page's own
	// form. Over plain HTTP there is no Sec-Fetch-Site, and the cross-origin check
	// depends on Origin.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	writeBody(w, page.Status, b.Bytes())
}

// writeBody writes a response that must not be cached, because it depends on the
// user, and that browsers must not interpret as another type than its
// Content-Type.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	nostore.Set(h)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error means that the client has disconnected.
	_, _ = w.Write(body)
}
