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

// pages are the app's own pages. They have the style of the login page.
type pages struct {
	templates *template.Template
	policy    string // Content-Security-Policy
	base      string // the prefix of links and forms; see BASE_PATH
	running   running
}

// running describes the process, for the admin page.
type running struct {
	Framework, Store, GoVersion string
	OwnAuth                     bool
	HasList                     bool // of sessions
	Since                       time.Time
}

// view is the data of a page template.
type view struct {
	Base    string
	Name    string
	Title   string
	Session *session.Session
	Running running
}

// pageJSON is the response to a program that requests a page as JSON.
type pageJSON struct {
	Title        string   `json:"title"`
	SignedIn     bool     `json:"signed_in"`
	Unavailable  bool     `json:"session_unavailable,omitempty"` // the session cannot be determined
	UserID       string   `json:"user_id,omitempty"`
	AllowedRoles []string `json:"allowed_roles,omitempty"`
}

func newPages(s settings, base string) *pages {
	t := template.Must(middleware.Templates().Funcs(template.FuncMap{"clock": clock}).ParseFS(pageFiles, "pages/*.html"))
	return &pages{
		templates: t,
		policy:    stylePolicy(t),
		base:      base,
		running:   running{s.framework, s.store.kind, runtime.Version(), s.ownAuth, s.store.kind != "cookie", time.Now()},
	}
}

var styleElement = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

// stylePolicy returns a Content-Security-Policy that allows the style elements of
// the pages, by their hashes, and no other style, script or file.
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

// handler returns the handler of one page. The route's guard runs before it.
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
		_, _ = page.WriteTo(w) // an error means that the client has disconnected
	}
}

// clock formats a time for the user.
func clock(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") }
