// Package authtest provides a fake Synmetrix auth service that runs inside the
// process, for tests and experiments.
//
//	srv := authtest.NewServer(t)
//	srv.AddAccount(authtest.Account{Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}})
//	client := synmetrix.NewClient(srv.URL)
//
// It serves the HTTP API of Hasura Backend Plus v2.7.1, the service that
// Synmetrix deploys, on a real socket. It implements every endpoint under /auth,
// except the sign-in with other providers, with the same statuses, bodies, cookies,
// headers and quirks. [Options] holds its settings. Their zero values are the
// settings of Synmetrix. Use [Start] in programs that are not tests, and [New] for
// your own listener.
//
// # Strict and lax
//
// The real service protects its refresh tokens poorly. It rejects a second use
// only if the first one has finished, and the second use has no consequences. Against
// the real service, a client that uses a refresh token twice fails only occasionally.
// So this service is strict by default: exactly one use of a refresh token succeeds. Any
// other use is counted (see [Server.Reuses]) and revokes every token
// that descends from the same login. [Options.Lax] selects the behavior of the real
// service.
//
// # Faults
//
// [Server.Inject] makes an endpoint respond slowly, wrongly, partly or not at all,
// for a number of requests or until [Server.Clear]. A [Gate] in a [Fault] holds
// requests at a chosen point, so that a test can force an order of events:
//
//	var gate authtest.Gate
//	srv.Inject(authtest.Refresh, authtest.Fault{After: &gate})
//	go client.Refresh(ctx, tokens)
//	<-gate.Arrived(1) // the token is rotated, the response not sent yet
//	client.Logout(ctx, tokens, false)
//	gate.Open()
//
// [Server.Requests], [Server.Refreshes], [Server.Reuses], [Server.Token] and
// [Server.LiveTokens] report which requests arrived and what the service did.
//
// While its database is down, the real service usually reports a different error, for
// example that the account does not exist. A client that trusts such an error signs
// its users out. To test for this:
//
//	srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
//
// # E-mails
//
// The service sends no real e-mails. [Server.Emails] returns them, with the ticket,
// token and link of each. The service passes each e-mail to [Options.OnEmail],
// which can reject it as a mail server would. Links in e-mails lead to the app, at
// the URL set with [Server.SetRedirects].
//
// # Time
//
// [Server.Advance] moves the clock of the service. The clock determines when tokens
// and tickets expire, the one-time codes, the rate limits, the dates in tokens and
// the Date header. No other clock moves, so Advance(time.Hour) also simulates a
// service whose clock is an hour fast.
//
// # Speed
//
// Like the real service, this one checks passwords with bcrypt, one at a time. A
// check takes about 50 ms, and far longer under the race detector. If a test does
// not depend on this, set [Options.PasswordCost] to -1, or issue tokens with
// [Server.SignIn].
//
// # Secrets
//
// The service protects no secrets: accounts, options and e-mails belong to the test.
// Passwords are stored as plain text. [Account], [Options] and [Email] print and log
// all of their fields. A [Server] prints its address and the number of its accounts.
//
// # Differences from the real service
//
//   - Settings are Go values instead of environment variables, and the lifetimes of
//     tokens are durations. The real service counts in whole minutes, and in whole
//     days for refresh tokens. There, tokens with a shorter lifetime have already
//     expired when they are issued.
//   - As in the real service, an e-mail address under a reserved top-level domain,
//     such as ".test" or ".internal", is invalid. This service accepts every other
//     well-formed domain. The real service has a list of all top-level domains.
//   - A window of the rate limit begins with its first request. In the real service
//     windows begin when the service starts, and every 15 minutes after that.
//   - There is no database. [Fault] simulates two kinds of database failures. The
//     real service quotes its query in some errors; here the text is always the same.
//   - A response to OPTIONS has no Content-Length, because net/http sends none with
//     a 204. The real service sends "Content-Length: 0".
//   - There is no /storage, and /change-env changes nothing. In the real service,
//     outside of production, anyone can change the settings with it.
package authtest
