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

// pages are the app's own pages. They have the style, the brand and the languages
// of the login page.
type pages struct {
	policy  string // Content-Security-Policy
	base    string // the prefix of links and forms; see BASE_PATH
	running running
	account []accountRoute
}

// running describes the process, for the admin page.
type running struct {
	Framework, Store, GoVersion string
	OwnAuth                     bool
	Since                       time.Time
}

// accountRoute is a page of package middleware that users need on their own
// account. Key is the key of its title.
type accountRoute struct{ Path, Key string }

// view is the data of a page template.
type view struct {
	middleware.Page
	Base    string
	Session *session.Session
	Running running
	Account []accountRoute
}

// Chart returns the bars of the chart.
func (v view) Chart() []bar { return chart(v.Text("reports.days")) }

// Figures returns the chart as a text.
func (v view) Figures() string { return v.Text("reports.chart", "orders", figures()) }

// pageJSON is the response to a program that requests a page as JSON.
type pageJSON struct {
	Title        string   `json:"title"`
	SignedIn     bool     `json:"signed_in"`
	Unavailable  bool     `json:"session_unavailable,omitempty"` // the session cannot be determined
	UserID       string   `json:"user_id,omitempty"`
	AllowedRoles []string `json:"allowed_roles,omitempty"`
}

// templates are those of package middleware with the app's mark, and the app's own.
var templates = template.Must(middleware.Templates().ParseFS(pageFiles, "pages/*.html"))

func newPages(s settings, m *session.Manager) *pages {
	return &pages{
		policy:  policyOf(templates),
		base:    m.BasePath(),
		running: running{s.framework, s.store.kind, runtime.Version(), s.ownAuth != nil, time.Now()},
		account: accountRoutes(m, s.features()),
	}
}

// accountRoutes returns the pages for the user's own account that exist.
func accountRoutes(m *session.Manager, features []middleware.Feature) []accountRoute {
	exists := map[string]bool{}
	for _, rt := range middleware.Routes(m, features...) {
		exists[rt.Path] = true
	}
	var routes []accountRoute
	for _, rt := range []accountRoute{
		{"/sessions", "sessions.title"}, {"/password", "password.title"}, {"/email", "email.title"},
		{"/mfa/setup", "mfa-start.title"}, {"/mfa/remove", "mfa-remove.title"}, {"/account/delete", "delete.title"},
	} {
		if exists[rt.Path] {
			routes = append(routes, rt)
		}
	}
	return routes
}

var styleElement = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

// policyOf returns a Content-Security-Policy that allows the style elements of
// the pages, by their hashes, and no other style, script or file.
func policyOf(t *template.Template) string {
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
func (p *pages) handler(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		if !middleware.WantsPage(r) {
			writeJSON(w, http.StatusOK, pageJSON{english[name+".title"], s.SignedIn(), s.Err() != nil, s.UserID(), s.Roles()})
			return
		}
		v := view{middleware.NewPage(r, name), p.base, s, p.running, p.account}
		var page bytes.Buffer
		if err := templates.ExecuteTemplate(&page, name, v); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Content-Language", v.Lang)
		h["Vary"] = []string{"Cookie", "Accept-Language"}
		h.Set("Content-Security-Policy", p.policy)
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = page.WriteTo(w) // an error means that the client has disconnected
	}
}
