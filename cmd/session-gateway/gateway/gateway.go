package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Gateway is the http.Handler in front of the upstreams. It includes the session middleware
// and the built-in routes. It is safe for concurrent use.
//
// A request for an upstream that fails gets status 502, upstream_unavailable, or 504,
// upstream_timeout, as a page or as JSON; see middleware.Refuse. The Gateway never repeats
// a request with an unsafe method. WebSockets and other long responses end with their
// session.
type Gateway struct {
	cfg        Config
	session    session.Config // of the Manager
	cookies    ownCookies
	routes     []*route
	handler    http.Handler // Sessions and all that is inside
	transports []*http.Transport

	streams    context.Context // ends with EndStreams
	endStreams context.CancelFunc
}

// New returns a Gateway. The error names all invalid fields of cfg.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	cfg.PagesPath = trimSlash(cfg.PagesPath)
	g := &Gateway{cfg: cfg, session: cfg.Manager.Config()}
	g.cookies = ownCookies(g.session.Cookie.Name)
	g.streams, g.endStreams = context.WithCancel(context.Background())
	for _, u := range cfg.Upstreams {
		g.routes = append(g.routes, g.newRoute(u))
	}
	sortRoutes(g.routes)

	options := append(slices.Clone(cfg.Options), middleware.WithCleanPaths())
	g.handler = middleware.Sessions(cfg.Manager, options...)(g.inside())
	return g, nil
}

func (g *Gateway) newRoute(u Upstream) *route {
	rt := &route{host: u.host(), path: trimSlash(u.Path), forwarder: g.newForwarder(u)}
	rt.canonical = canonicalPath(rt.path)
	for _, p := range u.Public {
		rt.public = append(rt.public, trimSlash(p))
	}
	return rt
}

// EndStreams ends all WebSockets and event streams, including those that are opened later.
// Without it, http.Server.Shutdown would wait for event streams, and leave WebSockets open.
func (g *Gateway) EndStreams() { g.endStreams() }

// CloseIdleConnections closes idle connections to the upstreams.
func (g *Gateway) CloseIdleConnections() {
	for _, t := range g.transports {
		t.CloseIdleConnections()
	}
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// inside returns the handler inside Sessions: the built-in routes, the upstreams, and
// checkOriginal.
func (g *Gateway) inside() http.Handler {
	pages := http.NewServeMux()
	seen := map[string]bool{}
	for _, rt := range middleware.Routes(g.cfg.Manager, g.cfg.Features...) {
		pages.Handle(rt.Method+" "+rt.Path, rt.Handler)
		if !seen[rt.Path] {
			seen[rt.Path] = true
			pages.HandleFunc(rt.Path, wrongMethod) // methods that HTTP does not define
		}
	}
	mux := pages
	if g.cfg.PagesPath != "" {
		pages.HandleFunc("/", notFound)
		mux = http.NewServeMux()
		mux.Handle(g.cfg.PagesPath+"/", http.StripPrefix(g.cfg.PagesPath, pages))
	}
	mux.HandleFunc("/", g.forward)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch check := authCheckOf(r.Context()); {
		case check != nil:
			g.checkOriginal(w, r, check)
		case r.Method == http.MethodConnect:
			wrongMethod(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// forward serves a request by its upstream, if the user may use it.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request) {
	rt := find(g.routes, hostOf(r.Host), r.URL.Path)
	if rt == nil {
		notFound(w, r)
		return
	}
	if rt.isPublic(r.URL.Path) {
		// The session is not read, so that the response may be cached.
		rt.forwarder.serve(w, r, nil, "")
		return
	}
	s := session.FromContext(r.Context())
	token, err := authorize(r, s, rt.forwarder.roles, rt.forwarder.headers)
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	rt.forwarder.serve(w, r, s, token)
}

// authorize returns an error for Refuse unless the user is signed in and has one of the
// roles, if there are any. It returns the user's access token if headers has Token.
func authorize(r *http.Request, s *session.Session, roles []string, headers []Header) (token string, err error) {
	if len(roles) > 0 {
		err = middleware.RoleCheck(roles...)(s)
	} else {
		err = s.Authorize(nil)
	}
	if err != nil {
		return "", err
	}
	if !slices.Contains(headers, Token) {
		return "", nil
	}
	return s.AccessToken(r.Context())
}

// trusts reports whether a request came from one of the trusted proxies.
func (g *Gateway) trusts(r *http.Request) bool {
	if len(g.session.TrustedProxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(g.session.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func notFound(w http.ResponseWriter, r *http.Request) {
	middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
}

func wrongMethod(w http.ResponseWriter, r *http.Request) {
	middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusMethodNotAllowed})
}
