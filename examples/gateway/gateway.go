package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// The header fields that identify the user to the service. Each role has its own
// field line.
const (
	userHeader  = "X-User-Id"
	rolesHeader = "X-User-Roles"
)

// newGateway returns a handler that forwards the requests of users with the role
// to upstream.
func newGateway(m *session.Manager, upstream *url.URL, role string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // services compare it with the Origin of a WebSocket
			r.SetXForwarded()
			removeGatewayCookies(r.Out.Header)
			// A client can name these fields in Connection, so that the proxy removes
			// them. The proxy does that before Rewrite, so the fields set here stay.
			identify(r.Out.Header, session.FromContext(r.In.Context()))
		},
		ModifyResponse: func(res *http.Response) error {
			rejectGatewayCookies(res.Header)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				middleware.Refuse(w, r, session.ErrEnded) // or the client has disconnected
				return
			}
			slog.WarnContext(r.Context(), "upstream unavailable", "error", err)
			middleware.Refuse(w, r, &middleware.Problem{
				Status: http.StatusBadGateway, Code: "upstream_unavailable",
				Detail: "The service behind this address is not available.", Err: err,
			})
		},
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m) // /login, /login/mfa, /logout
	mux.Handle("/", middleware.RequireRole(role)(whileSignedIn(proxy)))
	return middleware.Sessions(m)(mux)
}

// whileSignedIn cancels running requests, including WebSockets, when the session
// ends.
func whileSignedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		done := session.FromContext(ctx).Done()
		go func() {
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// identify sets the header fields of the signed-in user, and removes those of the
// client.
func identify(h http.Header, s *session.Session) {
	for name := range h {
		// Some servers treat "_" and "-" in names of fields alike.
		switch http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")) {
		case userHeader, rolesHeader:
			delete(h, name)
		}
	}
	h.Set(userHeader, s.UserID())
	for _, role := range s.Roles() {
		h.Add(rolesHeader, url.QueryEscape(role)) // the name of a role may contain any character
	}
}

// isGatewayCookie reports whether a cookie is one of the gateway's own.
func isGatewayCookie(name string) bool { return strings.HasPrefix(name, "__Host-"+cookieName) }

// removeGatewayCookies removes the gateway's cookies from a request to the service.
func removeGatewayCookies(h http.Header) {
	lines := h["Cookie"]
	h.Del("Cookie")
	for _, line := range lines {
		kept := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return isGatewayCookie(strings.TrimSpace(name))
		})
		if len(kept) > 0 {
			h.Add("Cookie", strings.TrimSpace(strings.Join(kept, ";")))
		}
	}
}

// rejectGatewayCookies removes cookies of the service that would replace the
// gateway's.
func rejectGatewayCookies(h http.Header) {
	lines := h["Set-Cookie"]
	h.Del("Set-Cookie")
	for _, line := range lines {
		if name, _, _ := strings.Cut(line, "="); !isGatewayCookie(strings.TrimSpace(name)) {
			h.Add("Set-Cookie", line)
		}
	}
}
