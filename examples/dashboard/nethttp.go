package main

import (
	"net/http"
	"slices"

	"github.com/synmetrix/session/middleware"
)

// netHTTP mounts the app on an http.ServeMux.
func (a *app) netHTTP() http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, a.manager)
	for _, rt := range a.routes() {
		mux.Handle(rt.method+" "+rt.path, rt.who.netHTTP(rt.handler))
	}
	// A pattern without a method comes after those with one.
	for _, rt := range slices.Concat(a.routes(), a.probes()) {
		mux.Handle(rt.path, rt.wrongMethod())
	}
	mux.HandleFunc("/", notFound)

	root := http.NewServeMux()
	for _, rt := range a.probes() {
		root.HandleFunc(rt.method+" "+rt.path, rt.handler)
	}
	root.Handle("/", middleware.Sessions(a.manager, middleware.WithAPI("/api/"))(mux))
	return root
}

func (g guard) netHTTP(next http.Handler) http.Handler {
	switch {
	case g.everybody:
		return next
	case len(g.roles) > 0:
		return middleware.RequireRole(g.roles...)(next)
	}
	return middleware.RequireUser(next)
}
