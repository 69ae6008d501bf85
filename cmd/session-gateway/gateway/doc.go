// Package gateway puts HTTP services that know nothing of sessions behind a
// sign-in. Command session-gateway is this package with a configuration file.
//
//	m, err := session.New(session.Config{
//		Auth:   synmetrix.NewClient("https://app.synmetrix.org"),
//		Keys:   keys,
//		Cookie: session.Cookie{Name: "gateway"},
//	})
//	// ...
//	g, err := gateway.New(gateway.Config{
//		Manager:    m,
//		Upstreams: []gateway.Upstream{
//			{Path: "/", URL: dashboard, Headers: []gateway.Header{gateway.User, gateway.Roles}},
//			{Path: "/admin", URL: dashboard, Roles: []string{"admin"}},
//		},
//	})
//	http.ListenAndServeTLS(":443", "tls.crt", "tls.key", g)
//
// Whatever the upstreams are, the gateway's cookies never reach one, and no
// upstream can set them. Header fields by which the gateway identifies the user
// are removed from the client's request in all their spellings. Paths are judged
// as by middleware.WithCleanPaths, so that no spelling of a path leads past the
// roles of its upstream.
//
// The upstreams must be reachable only through the gateway. Clients that reach them
// directly can forge the header fields.
package gateway
