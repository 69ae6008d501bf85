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

// Templates returns a new copy of the built-in templates, for [WithTemplates]. A
// page with the name N is rendered by the template N, or by the template "page" if
// there is no template N. Built in are "page", "refusal", and "fragment" for refusals
// that htmx or a Turbo frame inserts into a page of the app.
//
// Their parts are "top" and "bottom" (the page around the contents), "brand" (mark and name
// of the app), "mark", "alert" (error and notice), "form", "field", "links",
// "session-list", "time", "style" (the style element), "colors" (the custom properties with
// the colors, in CSS) and "script" (the script element that reveals passwords). The data of
// all templates is a [Page], except for "field" (a [Field]), "time" (a [PageTime]), and
// "style", "colors" and "script" (none).
func Templates() *template.Template {
	return template.Must(template.New("pages").ParseFS(pageFiles, "pages/*.html"))
}

// pages is a set of templates, with the sources that their
// Content-Security-Policy allows.
type pages struct {
	templates *template.Template
	style     string // the hash of the style element, or 'none'
	script    string // the hash of the script element, or 'none'
	builtIn   bool
}

// builtInPages returns the built-in templates, which all apps share. They are parsed at the
// first use, so that an import of this package costs nothing.
var builtInPages = sync.OnceValue(func() *pages {
	p := newPages(Templates())
	p.builtIn = true
	return p
})

// newPages computes the hashes of the style and the script. An element that was
// injected into a page stays blocked. A nonce would need a random value for each
// page.
func newPages(t *template.Template) *pages {
	return &pages{templates: t, style: hashOf(t, "style"), script: hashOf(t, "script")}
}

// hashOf returns the source of a Content-Security-Policy that allows the element
// that the template of the same name produces. The browser hashes the exact text
// between the tags (CSP Level 3), so the start tag must have no
// attributes, and the contents must be the same on all pages.
func hashOf(t *template.Template, element string) string {
	var b bytes.Buffer
	if t.Lookup(element) != nil && t.ExecuteTemplate(&b, element, nil) == nil {
		_, content, _ := strings.Cut(b.String(), "<"+element+">")
		if content, _, ok := strings.Cut(content, "</"+element+">"); ok {
			sum := sha256.Sum256([]byte(content))
			return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		}
	}
	return "'none'"
}

// policy returns the Content-Security-Policy of a page. It allows only the elements that
// the page has. default-src does not cover the last three directives. They keep an injected
// form from sending a password to another host, sites other than session.Config.Embedders
// from showing the page in a frame (clickjacking), and an injected base element from
// changing the target of the form.
func (p *pages) policy(page Page) string {
	policy := "default-src 'none'; style-src " + p.style
	if page.Reveals() && p.script != "'none'" {
		policy += "; script-src " + p.script
	}
	if page.Mark != "" || page.Image != "" {
		policy += "; img-src data:"
	}
	return policy + "; form-action 'self'; frame-ancestors " + page.ancestors + "; base-uri 'none'"
}

// usualPage is the size of most pages, in bytes. A buffer that grows with the page
// would cost three times as much.
const usualPage = 12 << 10

// WritePage writes a page of the app with the templates of [WithTemplates], as the built-in
// routes do: with page.Status, a Content-Security-Policy that allows the page's own style
// and script, and without caching. The page usually comes from [NewPage]. r must be inside
// [Sessions].
func WritePage(w http.ResponseWriter, r *http.Request, page Page) {
	s := settingsOf(r.Context())
	page.referrer = referrerPolicy(r)
	page.Frame = frameOf(r.Header)
	page.reload = page.Frame != "" || isTurbo(r.Header) && isSafe(r)
	page.ancestors = s.frameAncestors()
	s.pages.write(w, s.log, page)
}

// write writes a page. If the app's template fails, write uses the built-in one,
// so that a mistake in a template does not lock users out. The page is rendered
// before anything is written, because an error in the middle of a response could
// not be corrected.
func (p *pages) write(w http.ResponseWriter, log *slog.Logger, page Page) {
	page.describe()
	name := page.Name
	if page.fragment {
		name = "fragment"
		if p.templates.Lookup(name) == nil {
			p = builtInPages() // a whole page would not fit into the app's page
		}
	}
	if p.templates.Lookup(name) == nil {
		name = "page"
	}
	var b bytes.Buffer
	b.Grow(usualPage)
	if err := p.templates.ExecuteTemplate(&b, name, page); err != nil {
		if !p.builtIn {
			log.Error("page template failed; showing the built-in page", "template", name, "error", err)
			builtInPages().write(w, log, page)
			return
		}
		log.Error("built-in page failed", "template", name, "error", err)
	}
	h := w.Header()
	// The app's policy applies to its own templates. It may block the style of
	// the built-in ones.
	if p.builtIn || h.Get("Content-Security-Policy") == "" {
		h.Set("Content-Security-Policy", p.policy(page))
	}
	h.Set("Referrer-Policy", page.referrer)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", page.Lang)
	varyByLanguage(h)
	writeBody(w, page.Status, b.Bytes())
}

// varyByLanguage completes the Vary field of a page. Cookie comes first, because
// some clients read only the first of several fields.
func varyByLanguage(h http.Header) {
	if !variesByCookie(h) {
		h.Add("Vary", "Cookie")
	}
	h.Add("Vary", "Accept-Language")
}

// writeBody writes a response that must not be cached, because it depends on the
// user, and that browsers must not interpret as another type than its
// Content-Type.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	writePrepared(w, status, []string{strconv.Itoa(len(body))}, body)
}

// writePrepared is writeBody with the value of Content-Length. With that field, clients
// notice a response that was cut off.
func writePrepared(w http.ResponseWriter, status int, length []string, body []byte) {
	h := w.Header()
	nostore.Set(h)
	h["Content-Length"] = length
	h["X-Content-Type-Options"] = nosniff
	w.WriteHeader(status)
	// An error means that the client has disconnected.
	_, _ = w.Write(body)
}
