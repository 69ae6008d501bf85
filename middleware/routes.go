package middleware

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
)

// Route is one of the built-in routes.
type Route struct {
	Method string

	// Path may have a parameter, as in "/sessions/{session}". For a router with another
	// syntax, translate the path, and set the value by http.Request.SetPathValue.
	Path string

	Handler http.Handler
}

// methods are the methods that all supported routers accept.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// Routes returns the built-in routes. [Mount] and the adapters register them. For other
// routers, register each of them.
//
//	GET  /login      the login page
//	POST /login      email, password, return_to
//	GET  /login/mfa  the page for the code of a second factor
//	POST /login/mfa  code, return_to
//	POST /logout     return_to; all: "true" to end all sessions of the user
//
//	GET    /sessions                the list of the user's sessions
//	DELETE /sessions                ends all but the session of the request
//	DELETE /sessions/{session}      ends one, by its ID in the list
//	POST   /sessions/end/others     like DELETE /sessions, for forms
//	POST   /sessions/{session}/end  like DELETE /sessions/{session}, for forms
//
// The routes of /login exist only if the auth service has a password login, and those of
// /login/mfa only if it also has second factors. Those of /sessions exist only with
// session.Config.Store. Requests with a bearer token have no session and are refused,
// except those for the login page and for other forms that visitors can open. HEAD is
// handled like GET. The list has every path with every method: all routers then respond
// with status 405 in the same way to a method that a path does not support.
//
// The routes must be inside [Sessions]. If the app mounts them below a prefix,
// session.Config.LoginPath must include it. If a proxy strips a prefix, set
// session.Config.BasePath.
//
// Request bodies are forms (urlencoded or multipart) or JSON objects, of at most
// 64 KiB. Responses to forms are pages and redirects (303). Responses to JSON are
// JSON: the response of [Me] after a sign-in, status 202 and
// {"mfa_required":true} if a code is needed, and status 204 after signing out.
// Refusals are those of [Refuse], except that a user who may retry gets the form
// again, with the error.
//
// A wrong e-mail address, a wrong password and an inactive account have the same
// response, after the same time; see session.Manager.Login. Spaces around an
// e-mail address are removed. Unsafe cross-origin requests are refused, with or
// without a cookie.
//
// Signed-in users can open the login page, too, to sign in with another account. The page
// shows a warning if the browser will drop the cookies; see session.Manager.DropsCookies.
// Requested as JSON, the login page is {"signed_in":true} or {"signed_in":false}, with
// "session_unavailable":true during an outage, when the session cannot be determined. The
// page for the code is {"mfa_required":true}, or status 401 if no login is pending.
//
// The features add further routes; see [Feature]. Without any, there are none.
func Routes(m *session.Manager, features ...Feature) []Route {
	h := &handlers{m: m}
	var routes []Route
	offers := m.Features()
	if offers.PasswordLogin {
		m.AddLoginPage()
		routes = h.path(routes, loginPath, h.loginPage, noBearer(h.login))
	}
	if offers.PasswordLogin && offers.SecondFactor {
		routes = h.path(routes, codePath, noBearer(h.codePage), noBearer(h.code))
	}
	routes = h.path(routes, logoutPath, nil, noBearerLogout(h.logout))
	if m.Config().Store != nil {
		routes = h.sessionRoutes(routes)
	}
	return h.featureRoutes(routes, features)
}

// Mux is an http.ServeMux, or another router that accepts the same patterns, such
// as chi's.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// Mount registers the built-in routes with mux; see [Routes].
func Mount(mux Mux, m *session.Manager, features ...Feature) {
	for _, route := range Routes(m, features...) {
		mux.Handle(route.Method+" "+route.Path, route.Handler)
	}
}

// path appends the routes of one path. get is nil if the path has no page.
func (h *handlers) path(routes []Route, path string, get, post http.HandlerFunc) []Route {
	return h.allMethods(routes, path, map[string]http.HandlerFunc{http.MethodGet: get, http.MethodPost: post})
}

// allMethods appends the routes of one path. supported has the handlers of the methods that
// the path supports; some may be nil. The other methods get status 405 and the field Allow,
// which RFC 9110, section 15.5.6, requires. Routers differ in this response and in their
// handling of HEAD, so allMethods adds a route for each method.
func (h *handlers) allMethods(routes []Route, path string, supported map[string]http.HandlerFunc) []Route {
	h.paths = append(h.paths, path)
	var allowed []string
	handlers := map[string]http.HandlerFunc{}
	for _, method := range methods {
		handler := supported[method]
		if method == http.MethodHead {
			handler = supported[http.MethodGet]
		}
		if handler != nil {
			handlers[method], allowed = handler, append(allowed, method)
		}
	}
	allow := strings.Join(allowed, ", ")
	for _, method := range methods {
		handler := handlers[method]
		if handler == nil {
			handler = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Allow", allow)
				Refuse(w, r, &Problem{Status: http.StatusMethodNotAllowed})
			}
		}
		if strings.Contains(path, sessionParameter) {
			handler = oneSegment(path, handler)
		}
		routes = append(routes, Route{method, path, h.guarded(handler)})
	}
	return routes
}

// guarded refuses requests outside Sessions, and unsafe cross-origin requests.
// Scope.Check accepts cross-origin requests without a session cookie. On these
// routes such requests would allow login CSRF. Another site could sign the user in
// to the attacker's account, and the attacker could read what the user enters
// there.
func (h *handlers) guarded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A route of another Manager would set cookies that Sessions cannot read.
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

// noBearer refuses requests with a bearer token before their body is read. Such requests
// have no session that next could start or change.
func noBearer(next http.HandlerFunc) http.HandlerFunc {
	return withoutBearer(next, func(s *session.Session) error {
		return cmp.Or(s.Authorize(nil), session.ErrSessionRequired)
	})
}

// noBearerLogout is noBearer for the sign-out. It refuses every bearer token with status
// 401, because the request has no session that could end.
func noBearerLogout(next http.HandlerFunc) http.HandlerFunc {
	return withoutBearer(next, func(*session.Session) error {
		return fmt.Errorf("middleware: %w: %w", session.ErrUnauthenticated, session.ErrBearer)
	})
}

// withoutBearer refuses requests with a bearer token with the error of refusal.
func withoutBearer(next http.HandlerFunc, refusal func(*session.Session) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if hasBearer(r.Header) {
			if s := session.FromContext(r.Context()); s.Bearer() {
				Refuse(w, r, refusal(s))
				return
			}
		}
		next(w, r)
	}
}

// hasBearer reports whether a request may carry a bearer token. Session.Bearer decides, but
// FromContext marks the session as read, which changes the response's caching fields. The
// scheme is compared without regard to case (RFC 9110, section 11.1).
func hasBearer(h http.Header) bool {
	const scheme = "Bearer"
	fields := h["Authorization"]
	return len(fields) > 4 || slices.ContainsFunc(fields, func(value string) bool { // a request with so many fields is refused
		return len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme)
	})
}
