// Package authtest is a Synmetrix auth service inside the process, for tests
// and for trying things out, as net/http/httptest is for servers.
//
//	srv := authtest.NewServer(t)
//	srv.AddAccount(authtest.Account{Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}})
//	client := synmetrix.NewClient(srv.URL)
//
// It speaks the HTTP API of Hasura Backend Plus v2.7.1, the service that
// Synmetrix deploys, over a real socket: every call under /auth but the
// sign-in at other providers, with the same statuses, bodies, cookies and
// headers, and the same oddities. [Options] has its switches; their zero
// values are what Synmetrix sets. A program that is no test has [Start], and
// whoever has a listener of his own [New].
//
// # Strict and lax
//
// The real service does not defend its refresh tokens well: a second use is
// refused, but only if it comes after the first was done, and it has no
// consequences. A client that is careless with them works there until the day
// it does not. So by default this one is strict: of any number of uses of a
// refresh token one succeeds, each other one is counted (see
// [Server.Reuses]) and ends every token that descends from the same login.
// [Options.Lax] brings the real behaviour back.
//
// # Faults
//
// [Server.Inject] makes an endpoint slow, wrong, cut off or silent, for a
// number of requests or until [Server.Clear]. A [Gate] in a [Fault] stops
// requests where the test wants them, to force an order of events:
//
//	var gate authtest.Gate
//	srv.Inject(authtest.Refresh, authtest.Fault{After: &gate})
//	go client.Refresh(ctx, tokens.RefreshToken)
//	<-gate.Arrived(1) // the token is rotated, the answer not sent yet
//	client.Logout(ctx, tokens, false)
//	gate.Open()
//
// [Server.Requests], [Server.Refreshes], [Server.Reuses], [Server.Token] and
// [Server.LiveTokens] tell afterwards what has reached the service and what it
// has done.
//
// While the database behind it is down, the real service hardly ever says so,
// and a client that takes its answers at their word signs its users out:
//
//	srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
//
// # E-mails
//
// They go nowhere. [Server.Emails] returns them, with the ticket, the token and
// the link that each has in it. [Options.OnEmail] sees them as they come, and
// can refuse them as a mail server would. A link that is followed leads back to
// the app, at the address given to [Server.SetRedirects].
//
// # Time
//
// [Server.Advance] moves the service's clock, which decides about the expiry
// of tokens and tickets, about one-time codes and rate limits, and is what
// the issued tokens and the Date header say. It moves no other clock, so
// Advance(time.Hour) is also a service whose clock is an hour off.
//
// # Speed
//
// Checking a password takes as long as the real service's bcrypt does, about
// 50 ms, one after the other, and far longer under the race detector. Tests
// that are about something else set [Options.PasswordCost] to -1, or have
// tokens issued by [Server.SignIn].
//
// # Secrets
//
// There are none: accounts, options and e-mails are the test's own. Passwords
// are kept as they are given, and an [Account], [Options] and an [Email] print
// and log as they are. A [Server] prints its address and how many accounts it
// has.
//
// # What differs from the real service
//
//   - Settings are values of Go, not environment variables, and the lives of
//     tokens durations. The real service counts in whole minutes and keeps
//     refresh tokens for whole days: with less, what it issues is dead at once.
//   - An address under a reserved top-level domain, such as ".test" or
//     ".internal", is invalid, as there; but any other that looks like one is
//     taken for a real one, where the real service has a list.
//   - A window of the rate limit begins with the first request that counts in
//     it. There it begins with the service, and again every 15 minutes.
//   - There is no database behind it. [Fault] has two ways for it to fail, and
//     where the real service then quotes its query, the text is always the same.
//   - A response to OPTIONS has no Content-Length: net/http sends none with a
//     204, where the real service sends "Content-Length: 0".
//   - It has no /storage, and /change-env changes nothing. By that the real one
//     lets anybody change its settings unless it runs in production.
package authtest
