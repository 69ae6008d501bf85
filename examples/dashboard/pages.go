package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"runtime"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the app's own pages. They share the style of those that the library
// brings along.
type pages struct {
	templates *template.Template
	policy    string // Content-Security-Policy
	base      string // what links and forms begin with; see BASE_PATH
	running   running
}

// running is what the admin page shows of the process.
type running struct {
	Framework, Store, GoVersion string
	OwnAuth                     bool
	Since                       time.Time
}

// view is what a page is executed with.
type view struct {
	Base    string
	Name    string
	Title   string
	Session *session.Session
	Running running
}

// pageJSON is a page for programs.
type pageJSON struct {
	Title        string   `json:"title"`
	SignedIn     bool     `json:"signed_in"`
	Unavailable  bool     `json:"session_unavailable,omitempty"` // whether the user is signed in is not known
	UserID       string   `json:"user_id,omitempty"`
	AllowedRoles []string `json:"allowed_roles,omitempty"`
}

func newPages(s settings, base string) *pages {
	t := template.Must(middleware.Templates().Funcs(template.FuncMap{"clock": clock}).ParseFS(pageFiles, "pages/*.html"))
	return &pages{
		templates: t,
		policy:    stylePolicy(t),
		base:      base,
		running:   running{s.framework, s.store.kind, runtime.Version(), s.authURL == "", time.Now()},
	}
}

var styleElement = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

// stylePolicy returns a policy under which a browser applies the style elements
// of the pages, by their hashes, and loads and runs nothing.
func stylePolicy(t *template.Template) string {
	var styles bytes.Buffer
	template.Must(t, t.ExecuteTemplate(&styles, "styles", nil))
	policy := "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; style-src"
	for _, style := range styleElement.FindAllSubmatch(styles.Bytes(), -1) {
		sum := sha256.Sum256(style[1])
		policy += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return policy
}

// handler returns the handler of one page. Who may see it has been decided by
// the time that it is called.
func (p *pages) handler(name, title string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		if !middleware.WantsPage(r) {
			writeJSON(w, http.StatusOK, pageJSON{title, s.SignedIn(), s.Err() != nil, s.UserID(), s.Roles()})
			return
		}
		var page bytes.Buffer
		if err := p.templates.ExecuteTemplate(&page, name, view{p.base, name, title, s, p.running}); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", p.policy)
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = page.WriteTo(w) // a client that is gone is nothing to be dealt with here
	}
}

// clock writes a time for people, for a <time> element.
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") }
