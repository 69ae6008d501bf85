// Package middleware connects a session.Manager with net/http handlers. It works
// with every router that accepts an http.Handler.
//
//	mux := http.NewServeMux()
//	middleware.Mount(mux, m) // /login, /login/mfa, /logout
//	mux.Handle("GET /reports", middleware.RequireRole("admin", "analyst")(reports))
//	mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
//	http.ListenAndServe("localhost:8080", middleware.Sessions(m)(mux))
//
// [Sessions] wraps the whole app. [RequireUser], [RequireRole] and [Require] are guards
// for single handlers. Handlers get the session from session.FromContext. [Mount] adds
// the pages for signing in and a route for signing out.
//
// # Guards on paths
//
// A guard protects the handler that it wraps. It does not protect a subtree of
// paths, such as "/admin/", if another handler serves the same files or the same
// service below "/". The router sends some spellings of a path to the handler of
// "/", and that handler then decodes the path to one below "/admin/":
//
//	/admin%2fsecret.txt
//	/x/%2e%2e/admin/secret.txt
//
// http.ServeMux, chi, Echo and Gin all route these paths to the handler of "/", and some of
// them "/%61dmin/secret.txt", too. So put the guard around each handler that can serve the
// protected content. If this is not possible, use [WithCleanPaths], which refuses such
// paths. It does not refuse "/ADMIN/", which is the same directory on a file system that
// ignores case.
//
// # Refusals
//
// Guards, routes and Sessions refuse requests by calling [Refuse]. All refusals
// have the same form and one set of codes; see [Problem].
//
// # Pages
//
// The pages of routes and refusals are in the reader's language, English or German.
// They have the app's name and mark ([WithBrand]), its links ([WithLinks]), its texts
// and further languages ([WithTexts], [WithLanguage]), and its colors and templates
// ([WithTemplates]). [NewPage] and [WritePage] are for the app's own pages.
package middleware
