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
// # Guards on paths
//
// A guard protects the handler that it goes around. It protects a subtree of
// paths, such as "/admin/", only as far as every request for what is there
// arrives at that handler. Where another handler serves the same files or the
// same service below "/", a path may be spelled so that the router sends it to
// that handler, which then reads it as one below "/admin/":
//
//	/admin%2fsecret.txt
//	/x/%2e%2e/admin/secret.txt
//
// http.ServeMux, chi, Echo and Gin all have such paths. So put the guard around
// the handler that serves what is secret, or keep what is secret out of the
// reach of other handlers. Where neither is possible, [WithCleanPaths] refuses
// such paths. On a file system that ignores the case of names, "/ADMIN/" is one
// more such path, which WithCleanPaths accepts.
//
// # Refusals
//
// Whatever refuses a request (a guard, a route, Sessions itself) answers by
// [Refuse]: in one form, with one set of codes ([Problem]), and with pages
// that the app can replace ([WithTemplates]).
package middleware
