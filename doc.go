// Package session keeps users signed in who authenticate against a service
// that issues JSON Web Tokens.
//
// The service's access and refresh token never reach the browser: they stay in
// a session, sealed into cookies or kept in a store, and are renewed without
// anybody noticing. Package middleware puts a [Manager] in front of net/http
// handlers, mounts login and logout, and gates handlers by the roles that the
// access token carries; package synmetrix is the client of the auth service.
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
// [FromContext] returns the [Session] of a request. It is never nil, and for a
// visitor it says that nobody is signed in:
//
//	s := session.FromContext(r.Context())
//	s.UserID()
//	s.HasRole("admin")
//	token, err := s.AccessToken(r.Context())
//
// The first question about the user is what renews an access token that is
// due. A handler that asks nothing waits for nothing.
//
// What the app itself wants to remember of a session goes into values, whose
// type is in their [Key]:
//
//	var theme = session.NewKey[string]("theme")
//	err := theme.Set(s, "dark")
//
// Changes are saved before the first byte of the response, or by
// [Session.Save].
//
// # Where sessions are
//
// By default a session is sealed into cookies, and there is nothing to run.
// With Config.Store the cookie holds an ID and nothing else: sessions may then
// be as large as the store allows, values that are changed at the same time are
// merged, and [Manager.LogoutAll] ends those in other browsers at once.
//
// Several processes share the keys, and the store. If sessions are in cookies
// they share a Config.Coordinator instead: a store that holds of a session what
// a refresh needs to happen only once.
//
// # When something fails
//
// A session ends when its user signs out or signs in anew, when the auth
// service refuses its refresh token, and at its idle timeout or the end of its
// lifetime. An outage ends none. Where the auth service or the store does not
// answer, and whose session it is can't be told, [Session.SignedIn] is false
// and [Session.Err] is an [*UnavailableError]; guards answer 503, and the
// cookie stays.
//
// All errors can be told apart by errors.Is. What an auth service's failure
// means is in the sentinels beside [auth.Service], as [auth.ErrRefused] and
// [auth.ErrUnavailable]; the rest begins at [ErrUnauthenticated].
//
// # Secrets
//
// No token, password, cookie value, key or session ID is in an error, an
// [Event] or a log line. Types that hold one print, log and marshal without it.
//
// # Tests
//
// A Config.Now makes time a matter of the test. Package authtest is the auth
// service inside a test's process, and package sessiontest signs users in
// without one.
package session
