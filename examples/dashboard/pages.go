package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"runtime"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the app's own pages. They have the style, the brand and the languages
// of the login page.
type pages struct {
	policy   string // Content-Security-Policy
	base     string // the prefix of links and forms; see BASE_PATH
	running  running
	account  []accountRoute
	ownAuth  *authtest.Server // nil if it is in another process
	farewell bool             // SIGNED_OUT=message
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
	SignOut string   // the address of the form that signs out
	Others  []string // the users that the user may act as, for the admin page
}

// Theme returns the theme that the user or visitor has chosen, or the empty string.
func (v view) Theme() string {
	chosen, _ := theme.Get(v.Session)
	return chosen
}

// Note returns the user's private note.
func (v view) Note() string {
	text, _ := note.Get(v.Session)
	return text
}

// Themes returns the values of the form of the page theme.
func (v view) Themes() []string { return themes }

// Actor describes the user who acts as the session's user, or is empty.
func (v view) Actor() string { return describe(v.Session.Actor()) }

// describe returns the text that pages show for a user: the name if there is one.
func describe(u auth.User) string { return cmp.Or(u.Name, u.Email, u.ID) }

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
		base:    m.Config().BasePath,
		running: running{s.framework, s.store.kind, runtime.Version(), s.ownAuth != nil, time.Now()},
		account: accountRoutes(m, s.features()),
		ownAuth: s.ownAuth, farewell: s.signedOut == "message",
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

// view returns the data of a page.
func (p *pages) view(r *http.Request, name string, s *session.Session) view {
	v := view{Page: middleware.NewPage(r, name), Base: p.base, Session: s, Running: p.running, SignOut: p.base + "/logout"}
	v.User = describe(s.User())
	if p.farewell {
		v.SignOut = p.base + "/goodbye"
	}
	if key := popMessage(r); key != "" {
		v.Notice = v.Text(key)
	}
	if s.Actor().ID == "" { // an actor must not manage the other user's account
		v.Account = p.account
	}
	if name == "admin" {
		v.Others = otherAccounts(p.ownAuth, s)
	}
	return v
}

// handler returns the handler of one page. The route's guard runs before it.
func (p *pages) handler(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		if !middleware.WantsPage(r) {
			writeJSON(w, http.StatusOK, pageJSON{english[name+".title"], s.SignedIn(), s.Err() != nil, s.UserID(), s.Roles()})
			return
		}
		v := p.view(r, name, s)
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
