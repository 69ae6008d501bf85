// Package gateway is a reverse proxy that requires a sign-in, for HTTP services that have
// none. Command session-gateway is this package with a configuration file.
//
//	m, err := session.New(session.Config{
//		Auth:   synmetrix.NewClient("https://app.synmetrix.org"),
//		Keys:   keys,
//		Cookie: session.Cookie{Name: "gateway"},
//	})
//	// ...
//	g, err := gateway.New(gateway.Config{
//		Manager: m,
//		Upstreams: []gateway.Upstream{
//			{Path: "/", URL: dashboard, Headers: []gateway.Header{gateway.User, gateway.Roles}},
//			{Path: "/admin", URL: dashboard, Roles: []string{"admin"}},
//		},
//	})
//	http.ListenAndServeTLS(":443", "tls.crt", "tls.key", g)
//
// The gateway's cookies never reach an upstream, and no upstream can set them. The gateway
// removes header fields that identify the user from the client's request, in all spellings.
// It rejects the paths that middleware.WithCleanPaths rejects, so that no spelling of a
// path bypasses the roles of its upstream.
//
// The upstreams must be reachable only through the gateway. Clients that reach them
// directly can forge the header fields.
package gateway
