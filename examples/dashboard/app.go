package main

import (
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// app is the web app, without the framework that serves it.
type app struct {
	settings settings
	manager  *session.Manager
	pages    *pages
	ready    *readiness
	upstream *upstream
}

// newApp returns the app, which asks for what it depends on by auth and store.
func newApp(s settings, m *session.Manager, auth, store ping) *app {
	return &app{
		settings: s,
		manager:  m,
		pages:    newPages(s, m.BasePath()),
		ready:    &readiness{auth: auth, store: store},
		upstream: newUpstream(s.upstreamURL, m.Logger()),
	}
}

// route is one of the app's own routes. Those for signing in and out are the
// library's.
type route struct {
	method, path string // as http.ServeMux writes them
	who          guard
	handler      http.HandlerFunc
}

// guard says whom a route is for. A route that does not say it is for signed-in
// users.
type guard struct {
	everybody bool
	roles     []string // any of them will do
}

var (
	everybody = guard{everybody: true}
	signedIn  = guard{}
	analysts  = guard{roles: []string{"admin", "analyst"}}
	admins    = guard{roles: []string{"admin"}}
)

// routes is the one list that every framework serves.
func (a *app) routes() []route {
	return []route{
		{"GET", "/{$}", everybody, a.pages.handler("home", "Start")},
		{"GET", "/dashboard", signedIn, a.pages.handler("dashboard", "Dashboard")},
		{"GET", "/reports", analysts, a.pages.handler("reports", "Reports")},
		{"GET", "/admin", admins, a.pages.handler("admin", "Admin")},

		{"GET", "/api/me", signedIn, middleware.Me},
		{"GET", "/api/prefs", signedIn, getPrefs},
		{"PUT", "/api/prefs/{key}", signedIn, putPref},
		{"GET", "/api/upstream", signedIn, a.upstream.serve},
		{"GET", "/api/events", signedIn, serveEvents},
	}
}

// probes are for whoever watches the process. They touch no session and are
// served outside of the session middleware.
func (a *app) probes() []route {
	return []route{
		{"GET", "/healthz", everybody, healthz},
		{"GET", "/readyz", everybody, a.ready.serve},
	}
}

// handler returns the app under the framework that FRAMEWORK names.
func (a *app) handler() http.Handler {
	frameworks := map[string]func() http.Handler{"nethttp": a.netHTTP, "echo": a.echo, "gin": a.gin}
	site := frameworks[a.settings.framework]()
	probes := map[string]http.Handler{}
	for _, rt := range a.probes() {
		probes[rt.path] = rt.handler
	}
	lost := middleware.Sessions(a.manager, sessionOptions()...)(http.HandlerFunc(notFound))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe, isProbe := probes[r.URL.Path]
		switch {
		case isProbe && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			probe.ServeHTTP(w, r)
		case !isClean(r.URL.EscapedPath()):
			lost.ServeHTTP(w, r)
		default:
			site.ServeHTTP(w, r)
		}
	})
}

// sessionOptions are those of Sessions.
func sessionOptions() []middleware.Option {
	return []middleware.Option{middleware.WithAPI("/api/")}
}

// unmatched answers what no route takes: paths that are not there, and methods
// that their path does not take. Frameworks have answers of their own to both.
func (a *app) unmatched() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range slices.Concat(a.routes(), a.probes()) {
		mux.Handle(rt.path, rt.wrongMethod())
	}
	for _, rt := range middleware.Routes(a.manager) {
		if rt.Method == http.MethodTrace { // which none of them takes
			mux.Handle(rt.Path, rt.Handler)
		}
	}
	mux.HandleFunc("/", notFound)
	return mux
}

// notFound answers for every path that is not there.
func notFound(w http.ResponseWriter, r *http.Request) {
	middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
}

// methods are those that the route's path takes. HEAD is as GET.
func (rt route) methods() []string {
	if rt.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{rt.method}
}

// wrongMethod returns the handler for all methods that the route's path does
// not take. Every path has one route.
func (rt route) wrongMethod() http.HandlerFunc {
	allow := strings.Join(rt.methods(), ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusMethodNotAllowed})
	}
}
