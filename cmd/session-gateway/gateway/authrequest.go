package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// AuthHandler returns a handler for nginx's auth_request and Caddy's forward_auth: a proxy
// sends it a request to find out whether it may serve the original request of a client. The
// handler must be on an address that only the proxy can reach. It responds with status 404
// to all clients except the TrustedProxies of the Manager.
//
// The address of the original request is in X-Original-URL, X-Original-URI or
// X-Forwarded-Uri, and its method in X-Original-Method or X-Forwarded-Method. The query may
// have several parameters "role": the user needs one of these roles. The response is
//
//	202 if the user may pass; with the fields of Config.AuthHeaders, and in
//	    X-Forwarded-Cookie the cookies of the request without the gateway's
//	401 if no user is signed in; with the login page in Location if a browser follows a link
//	403 if the user has none of the roles, or the path or the origin is not accepted
//	503 if the session cannot be determined
//	400 if there is no original address, or the query is invalid
//
// AuthHandler returns an error if the Manager has no TrustedProxies, and if it has no
// Store: these proxies do not pass on the cookies of the response.
func (g *Gateway) AuthHandler() (http.Handler, error) {
	switch {
	case len(g.session.TrustedProxies) == 0:
		return nil, errors.New("gateway: AuthHandler needs TrustedProxies of the Manager: only they may use it")
	case g.session.Store == nil:
		return nil, errors.New("gateway: AuthHandler needs sessions in a store: proxies do not pass on the cookies of its response")
	}
	return http.HandlerFunc(g.serveAuth), nil
}

// authCheck is a request for AuthHandler.
type authCheck struct {
	roles []string
}

type authCheckKey struct{}

func authCheckOf(ctx context.Context) *authCheck {
	check, _ := ctx.Value(authCheckKey{}).(*authCheck)
	return check
}

// serveAuth checks the original request of a proxy's client. It passes the original request
// through Sessions, so that its path, its origin and the address after a sign-in are
// checked like those of all other requests.
func (g *Gateway) serveAuth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !g.trusts(r) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	check, problem := parseAuthQuery(r.URL.RawQuery)
	var original *http.Request
	if problem == "" {
		original, problem = originalOf(r)
	}
	if problem != "" {
		g.session.Logger.ErrorContext(r.Context(), "auth_request_invalid", "problem", problem)
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	original = original.WithContext(context.WithValue(r.Context(), authCheckKey{}, check))
	g.handler.ServeHTTP(&authWriter{ResponseWriter: w}, original)
}

// checkOriginal responds to a request of serveAuth, inside Sessions.
func (g *Gateway) checkOriginal(w http.ResponseWriter, r *http.Request, check *authCheck) {
	s := session.FromContext(r.Context())
	token, err := authorize(r, s, check.roles, g.cfg.AuthHeaders)
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	identify(w.Header(), g.cfg.AuthHeaders, s)
	cookies := http.Header{"Cookie": r.Header["Cookie"]}
	g.cookies.removeFrom(cookies)
	w.Header().Set("X-Forwarded-Cookie", strings.Join(cookies["Cookie"], "; "))
	if token != "" {
		w.Header().Set(tokenField, "Bearer "+token)
	}
	w.WriteHeader(http.StatusAccepted)
}

const (
	maxAuthQuery = 4096
	maxOriginal  = 16 << 10 // bytes of an original address
)

// parseAuthQuery reads the roles. An invalid query must be an error: if it were ignored,
// the role would not be required.
func parseAuthQuery(query string) (*authCheck, string) {
	const invalid = `the query must have parameters "role" only, such as ?role=admin&role=editor`
	if len(query) > maxAuthQuery {
		return nil, "the query is too long"
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, invalid
	}
	for name, roles := range values {
		for _, role := range roles {
			if name != "role" || role == "" {
				return nil, invalid
			}
		}
	}
	return &authCheck{roles: values["role"]}, ""
}

// originalOf returns the original request, as the proxy has received it.
func originalOf(r *http.Request) (*http.Request, string) {
	const differ = "the header fields with the original address or method differ; the proxy must remove those that it does not set"
	const missing = "the proxy must send the address of its request in X-Original-URL, X-Original-URI or X-Forwarded-Uri"
	var host, address string
	for _, name := range []string{"X-Original-Url", "X-Original-Uri", "X-Forwarded-Uri"} {
		for _, value := range r.Header[name] {
			if len(value) > maxOriginal {
				return nil, "the original address is too long"
			}
			h, a := splitOriginal(value)
			if address != "" && a != address {
				return nil, differ
			}
			host, address = cmp.Or(h, host), a
		}
	}
	if address == "" {
		return nil, missing
	}
	method, other := r.Header.Get("X-Original-Method"), r.Header.Get("X-Forwarded-Method")
	if method != "" && other != "" && method != other {
		return nil, differ
	}
	u, err := url.ParseRequestURI(address)
	if err != nil {
		return nil, "the original address is invalid"
	}
	original := r.Clone(r.Context())
	original.URL, original.RequestURI = u, address
	original.Body, original.ContentLength = http.NoBody, 0
	original.Host = cmp.Or(host, r.Header.Get("X-Forwarded-Host"), r.Host)
	original.Method = cmp.Or(method, other, http.MethodGet)
	// Proxies remove the fields of a WebSocket handshake that are for them.
	if len(r.Header["Sec-Websocket-Key"])+len(r.Header["Sec-Websocket-Version"]) > 0 {
		original.Header.Set("Upgrade", "websocket")
	}
	return original, ""
}

// splitOriginal splits an original address into the host, if it has one, and the path
// with the query.
func splitOriginal(address string) (host, path string) {
	scheme, rest, absolute := strings.Cut(address, "://")
	if !absolute || scheme != "https" && scheme != "http" {
		return "", address
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, "/"
}

// authWriter replaces statuses that the proxies do not support: a redirect to the login
// page becomes 401, with the address in Location, and the 404 for a path that is not
// accepted becomes 403.
type authWriter struct{ http.ResponseWriter }

func (w *authWriter) WriteHeader(status int) {
	switch status {
	case http.StatusSeeOther:
		status = http.StatusUnauthorized
	case http.StatusNotFound:
		status = http.StatusForbidden
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *authWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
