// Package middleware puts a session.Manager in front of net/http handlers, and
// with them of every router that takes an http.Handler.
//
//	mux := http.NewServeMux()
//	middleware.Mount(mux, m) // /login, /login/mfa, /logout
//	mux.Handle("GET /reports", middleware.RequireRole("admin", "analyst")(reports))
//	mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
//	http.ListenAndServe("localhost:8080", middleware.Sessions(m)(mux))
//
// [Sessions] goes around everything; [RequireUser], [RequireRole] and [Require]
// go around single handlers, and handlers get the session by
// session.FromContext. [Mount] adds pages to sign in and a route to sign out.
//
// Whatever refuses a request (a guard, a route, Sessions itself) answers by
// [Refuse]: in one form, with one set of codes ([Problem]), and with pages
// that the app can replace ([WithTemplates]).
package middleware
