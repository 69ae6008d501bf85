// Package session manages the sessions of web apps whose users sign in with a service
// that issues JSON Web Tokens.
//
// The access token and the refresh token of the service never reach the browser. They stay
// in a session, which is sealed into cookies or kept in a store, and are refreshed in the
// background. Package middleware connects a [Manager] with net/http handlers, mounts login
// and logout, and restricts handlers to users whose access token has a role. Package
// synmetrix is the client of the auth service.
//
//	m, err := session.New(session.Config{
//		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
//		Keys: keys,
//	})
//	mux := http.NewServeMux()
//	middleware.Mount(mux, m) // /login, /logout
//	mux.Handle("GET /admin", middleware.RequireRole("admin")(admin))
//	http.ListenAndServe("localhost:8080", middleware.Sessions(m)(mux))
//
// # In a handler
//
// [FromContext] returns the [Session] of a request. It never returns nil; for a
// visitor who is not signed in it returns an anonymous session:
//
//	s := session.FromContext(r.Context())
//	s.UserID()
//	s.HasRole("admin")
//	token, err := s.AccessToken(r.Context())
//
// The first use of the session's user in a request refreshes an access token that is
// due, and may wait for the network; see [Session]. A handler that does not use the
// user does not wait.
//
// An app may keep its own values in a session. The [Key] of a value defines its
// type:
//
//	var theme = session.NewKey[string]("theme")
//	err := theme.Set(s, "dark")
//
// Changes are saved before the first byte of the response, or by [Session.Save].
//
// # Where sessions are kept
//
// By default a session is sealed into cookies, and the app needs no database. With
// Config.Store the cookie holds only an ID. Sessions may then be larger, concurrent
// changes of requests are merged, and [Manager.Sessions] lists the sessions of a user.
//
// All processes of an app need the same keys and the same store. Without a store they share
// a Config.Coordinator instead. The coordinator is a store that holds only the state of
// refreshes and of ended sessions.
//
// # When something fails
//
// A session ends when its user signs out or in again, when the auth service rejects
// its refresh token, and at its idle timeout or the end of its lifetime. An outage
// ends no session. If the store or the auth service is down and the session cannot
// be determined, [Session.SignedIn] returns false and [Session.Err] an
// [*UnavailableError]. Guards then respond with status 503, and the cookie stays.
//
// Test for all errors with errors.Is. Package auth defines the errors of auth
// services, such as [auth.ErrRefused] and [auth.ErrUnavailable]. This package defines
// all others, from [ErrUnauthenticated] on.
//
// # Secrets
//
// Errors, [Event] values and log lines contain no token, password, cookie value, key
// or session ID. Types that hold a secret print, log and marshal without it.
//
// # Tests
//
// Set Config.Now to control time in tests. Package authtest runs an auth service in
// the test's process. Package sessiontest signs users in without an auth service.
package session
