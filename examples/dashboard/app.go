package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// app is the web app, independent of the framework.
type app struct {
	settings settings
	manager  *session.Manager
	pages    *pages
	ready    *readiness
	upstream *upstream
}

// newApp returns the app. auth and store check the services that it depends on.
func newApp(s settings, m *session.Manager, auth, store ping) *app {
	return &app{
		settings: s,
		manager:  m,
		pages:    newPages(s, m),
		ready:    &readiness{auth: auth.within(cmp.Or(s.authTimeout, synmetrix.DefaultTimeout)), store: store},
		upstream: newUpstream(s.upstreamURL, m.Config().Logger),
	}
}

// route is one of the app's own routes. The routes for signing in and out are
// those of package middleware.
type route struct {
	method, path string // in the syntax of http.ServeMux
	who          guard
	handler      http.HandlerFunc
}

// guard selects the users that a route accepts. The zero value accepts signed-in
// users, so that a forgotten guard does not open a route to the public.
type guard struct {
	public bool
	roles  []string      // the user needs at least one of them
	fresh  time.Duration // the user must have entered the password within this time
}

var (
	public   = guard{public: true}
	signedIn = guard{}
	analysts = guard{roles: []string{"admin", "analyst"}}
	admins   = guard{roles: []string{"admin"}}
)

// routes returns the app's routes, for all frameworks.
func (a *app) routes() []route {
	// If a form is sent too late, its input is lost, so the page with the form has the
	// shorter time.
	showNote, saveNote := guard{fresh: a.settings.fresh}, guard{fresh: 2 * a.settings.fresh}
	routes := []route{
		{"GET", "/{$}", public, a.pages.handler("home")},
		{"GET", "/dashboard", signedIn, a.pages.handler("dashboard")},
		{"GET", "/reports", analysts, a.pages.handler("reports")},
		{"GET", "/admin", admins, a.pages.handler("admin")},
		{"GET", "/theme", public, a.pages.handler("theme")},
		{"POST", "/theme", public, a.saveTheme},
		{"GET", "/note", showNote, a.pages.handler("note")},
		{"POST", "/note", saveNote, a.saveNote},

		{"GET", "/api/me", signedIn, middleware.Me},
		{"GET", "/api/prefs", signedIn, getPrefs},
		{"PUT", "/api/prefs/{key}", signedIn, putPref},
		{"GET", "/api/upstream", signedIn, a.upstream.serve},
		{"GET", "/api/events", signedIn, serveEvents},
		{"GET", "/api/watch", signedIn, watch},
	}
	if a.settings.ownAuth != nil {
		routes = append(routes,
			route{"POST", "/admin/act", admins, a.actAs},
			route{"POST", "/admin/stop", signedIn, a.stopActing}) // the other user need not be an admin
	}
	if a.settings.signedOut == "message" {
		routes = append(routes, route{"POST", "/goodbye", public, a.signOut})
	}
	return routes
}

// features returns the further features that package middleware mounts.
func (s settings) features() []middleware.Feature {
	features := []middleware.Feature{middleware.MagicLink, middleware.PasswordChange, middleware.PasswordReset}
	features = append(features, middleware.SecondFactorSetup, middleware.AccountDeletion)
	if s.register == "verify" {
		features = append(features, middleware.VerifiedEmailChange)
	} else {
		features = append(features, middleware.EmailChange)
	}
	switch s.register {
	case "verify":
		features = append(features, middleware.Registration)
	case "direct":
		features = append(features, middleware.DirectRegistration)
	}
	return features
}

// probes returns the routes for health checks. They use no session, and are
// outside the session middleware.
func (a *app) probes() []route {
	return []route{
		{"GET", "/healthz", public, healthz},
		{"GET", "/readyz", public, a.ready.serve},
	}
}

// handler returns the app with the framework of the setting FRAMEWORK.
func (a *app) handler() http.Handler {
	frameworks := map[string]func() http.Handler{"nethttp": a.netHTTP, "echo": a.echo, "gin": a.gin, "echo5": a.echo5}
	site := frameworks[a.settings.framework]()
	probes := map[string]http.Handler{}
	for _, rt := range a.probes() {
		probes[rt.path] = rt.handler
	}
	unclean := middleware.Sessions(a.manager, a.sessionOptions()...)(http.HandlerFunc(notFound))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe, isProbe := probes[r.URL.Path]
		switch {
		case isProbe && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			probe.ServeHTTP(w, r)
		case !isClean(r.URL.EscapedPath()):
			unclean.ServeHTTP(w, r)
		default:
			site.ServeHTTP(w, r)
		}
	})
}

// notRemembered is how long a session lasts, at most, whose user has not checked the
// box of the setting REMEMBER.
const notRemembered = 12 * time.Hour

// sessionOptions returns the options of the session middleware.
func (a *app) sessionOptions() []middleware.Option {
	options := []middleware.Option{
		middleware.WithAPI("/api/"),
		middleware.WithBrand("Dashboard example", nil), // the mark is a template
		middleware.WithTemplates(templates),
		middleware.WithTexts("en", english),
		middleware.WithTexts("de", german),
	}
	if remember := a.settings.remember; remember != "off" {
		options = append(options, middleware.WithRememberMe(remember == "checked", notRemembered))
	}
	return options
}

// unmatched returns the handler for unknown paths, and for methods that a path
// does not support. It gives all frameworks the same responses.
func (a *app) unmatched() http.Handler {
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, rt := range slices.Concat(a.routes(), a.probes()) {
		allowed[rt.path] = append(allowed[rt.path], rt.methods()...)
	}
	for path, methods := range allowed {
		mux.Handle(path, wrongMethod(methods))
	}
	for _, rt := range middleware.Routes(a.manager, a.settings.features()...) {
		if rt.Method == http.MethodTrace { // not supported by any of the routes
			mux.Handle(rt.Path, rt.Handler)
		}
	}
	mux.HandleFunc("/", notFound)
	return mux
}

// notFound is the handler for unknown paths.
func notFound(w http.ResponseWriter, r *http.Request) {
	middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
}

// methods returns the methods of the route. HEAD is handled like GET.
func (rt route) methods() []string {
	if rt.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{rt.method}
}

// wrongMethod returns the handler for methods that a path does not support.
func wrongMethod(supported []string) http.HandlerFunc {
	allow := strings.Join(supported, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusMethodNotAllowed})
	}
}
