package main

import (
	"net/http"

	"github.com/synmetrix/session/middleware"
)

// netHTTP mounts the app on an http.ServeMux.
func (a *app) netHTTP() http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, a.manager, a.settings.features()...)
	for _, rt := range a.routes() {
		mux.Handle(rt.method+" "+rt.path, rt.who.netHTTP(rt.handler))
	}
	mux.Handle("/", a.unmatched())
	return middleware.Sessions(a.manager, a.sessionOptions()...)(mux)
}

func (g guard) netHTTP(next http.Handler) http.Handler {
	switch {
	case g.public:
		return next
	case len(g.roles) > 0:
		return middleware.RequireRole(g.roles...)(next)
	case g.fresh > 0:
		return middleware.RequireFresh(g.fresh)(next)
	}
	return middleware.RequireUser(next)
}
