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

// The headers that tell the service who has asked. The roles are in one each.
const (
	userHeader  = "X-User-Id"
	rolesHeader = "X-User-Roles"
)

// newGateway returns a handler that passes on to upstream what users with the
// role ask for.
func newGateway(m *session.Manager, upstream *url.URL, role string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // which the service compares the origin of a WebSocket with
			r.SetXForwarded()
			keepOurCookies(r.Out.Header)
			// Rewrite comes after the fields that Connection names have been
			// removed, so that no client can have these removed again.
			identify(r.Out.Header, session.FromContext(r.In.Context()))
		},
		ModifyResponse: func(res *http.Response) error {
			refuseOurCookies(res.Header)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				middleware.Refuse(w, r, session.ErrEnded) // or the client is gone, and does not care
				return
			}
			slog.WarnContext(r.Context(), "upstream unavailable", "error", err)
			middleware.Refuse(w, r, &middleware.Problem{
				Status: http.StatusBadGateway, Code: "upstream_unavailable",
				Detail: "The service behind this address does not answer.", Err: err,
			})
		},
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m) // /login, /login/mfa, /logout
	mux.Handle("/", middleware.RequireRole(role)(whileSignedIn(proxy)))
	return middleware.Sessions(m)(mux)
}

// whileSignedIn ends whatever is on its way, a WebSocket too, when the session
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

// identify says in h who is signed in, whatever the client has written there.
func identify(h http.Header, s *session.Session) {
	for name := range h {
		// Some servers take "_" and "-" for the same.
		switch http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")) {
		case userHeader, rolesHeader:
			delete(h, name)
		}
	}
	h.Set(userHeader, s.UserID())
	for _, role := range s.Roles() {
		h.Add(rolesHeader, url.QueryEscape(role)) // a role may be called anything
	}
}

// isOurs reports whether a cookie is one of the gateway's own.
func isOurs(name string) bool { return strings.HasPrefix(name, "__Host-"+cookieName) }

// keepOurCookies removes the gateway's cookies from a request to the service.
func keepOurCookies(h http.Header) {
	lines := h["Cookie"]
	h.Del("Cookie")
	for _, line := range lines {
		theirs := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return isOurs(strings.TrimSpace(name))
		})
		if len(theirs) > 0 {
			h.Add("Cookie", strings.TrimSpace(strings.Join(theirs, ";")))
		}
	}
}

// refuseOurCookies removes cookies that the service sets in the gateway's name.
func refuseOurCookies(h http.Header) {
	lines := h["Set-Cookie"]
	h.Del("Set-Cookie")
	for _, line := range lines {
		if name, _, _ := strings.Cut(line, "="); !isOurs(strings.TrimSpace(name)) {
			h.Add("Set-Cookie", line)
		}
	}
}
