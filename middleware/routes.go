package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
)

// Route is one of the ready-made routes.
type Route struct {
	Method  string
	Path    string
	Handler http.Handler
}

// methods are those that every router knows.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// Routes returns the ready-made routes: what every Mount registers, for routers
// that have none.
//
//	GET  /login      the login page; both only if the auth service signs users
//	POST /login      in with a password: email, password, return_to
//	GET  /login/mfa  the page that asks for a code; both only if the auth
//	POST /login/mfa  service has second factors: code, return_to
//	POST /logout     all: "true" to end all sessions of the user
//
// HEAD is as GET. The list has every path with every method: with those that
// the path does not take the answer is 405, which routers left to themselves
// would answer in ways of their own, if at all.
//
// They must be inside [Sessions]. Where the app puts a prefix before the paths,
// session.Config.LoginPath has to have it, and where a proxy strips one,
// session.Config.BasePath. The routes themselves find each other below any
// prefix of the app.
//
// Bodies are forms (urlencoded or multipart) or JSON objects, of 64 KiB at
// most. A form is answered with pages and redirects (303), JSON with JSON: a
// sign-in with 200 as by [Me] or, where a code is needed, with 202 and
// {"mfa_required":true}; signing out with 204. Refusals are those of [Refuse];
// where a person can do something about it by trying again, the page that they
// come on is the form. A wrong e-mail address, a wrong password and an account
// that is not active get the same response, after a time that does not depend
// on which it was; see session.Manager.Login. Blanks around an e-mail address
// are removed. Unsafe requests from other origins are refused with or without a
// cookie.
//
// The login page is shown to a user who is signed in, too: to sign in as
// somebody else. It says so where a sign-in cannot last because the browser drops
// the cookies; see session.Manager.DropsCookies. Asked for as JSON it answers
// {"signed_in":true} or false, with "session_unavailable":true while an outage
// hides which it is, and the page for the code {"mfa_required":true} or, if no
// sign-in waits for one, 401.
func Routes(m *session.Manager) []Route {
	h := &handlers{m}
	var routes []Route
	if m.HasPasswordLogin() {
		m.AddLoginPage()
		routes = h.path(routes, loginPath, h.loginPage, h.login)
	}
	if m.HasSecondFactor() {
		routes = h.path(routes, codePath, h.codePage, h.code)
	}
	return h.path(routes, logoutPath, nil, h.logout)
}

// Mux is what Mount registers routes with: an http.ServeMux, or another router
// that takes its patterns, such as chi's.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// Mount registers the ready-made routes with mux; see [Routes].
func Mount(mux Mux, m *session.Manager) {
	for _, route := range Routes(m) {
		mux.Handle(route.Method+" "+route.Path, route.Handler)
	}
}

// path appends the routes of one path. get may be nil.
func (h *handlers) path(routes []Route, path string, get, post http.HandlerFunc) []Route {
	allowed := []string{http.MethodPost}
	if get != nil {
		allowed = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	allow := strings.Join(allowed, ", ")
	notAllowed := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		Refuse(w, r, &Problem{Status: http.StatusMethodNotAllowed})
	}
	for _, method := range methods {
		handler := notAllowed
		if slices.Contains(allowed, method) {
			handler = get
			if method == http.MethodPost {
				handler = post
			}
		}
		routes = append(routes, Route{method, path, h.guarded(handler)})
	}
	return routes
}

// guarded lets a route be reached only inside Sessions, and not by other
// origins: to be signed in as somebody else, or out, is harm enough, and needs
// no cookie.
func (h *handlers) guarded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if settingsOf(r.Context()).manager != h.m {
			Refuse(w, r, session.ErrNotLoaded)
			return
		}
		if err := h.m.CheckOrigin(r); err != nil {
			Refuse(w, r, err)
			return
		}
		next(w, r)
	})
}
