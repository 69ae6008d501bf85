// Package auth defines the interface between package session and an auth service, which
// knows the users and issues their tokens. A client of such a service implements
// [Service]. The package also defines the tokens, claims and errors that clients return.
// Package synmetrix is a client.
package auth

import (
	"context"
	"time"
)

// Service refreshes and revokes the tokens of signed-in users. A session manager requires
// only these methods. All other calls are in optional interfaces: [PasswordLogin],
// [SecondFactor], [MagicLink] and [ProviderLogin] sign users in, [Registration] creates
// accounts, and [PasswordChange], [PasswordReset], [EmailChange], [VerifiedEmailChange],
// [SecondFactorSetup] and [AccountDeletion] change them. synmetrix.Client implements all of
// them.
//
// All methods must be safe for concurrent use and must return when ctx ends. The
// error of a failed call wraps one of this package's sentinels: [ErrRefused],
// [ErrUnavailable], [ErrInvalidResponse], [ErrOutcomeUnknown] or [ErrSecondFactor],
// usually inside an [*Error]. An error that wraps none of them counts as
// ErrUnavailable with an unknown outcome.
//
// Callers log the texts of errors. The texts must not contain parts of requests or
// responses, such as a URL, a token or a password.
type Service interface {
	// Refresh exchanges a refresh token for new tokens. If the service does not
	// rotate refresh tokens, Refresh leaves RefreshToken of the grant empty, and the
	// caller keeps the old token.
	//
	// Refresh must send the request at most once. A refresh token usually works
	// once, so a second request could end the session.
	//
	// Refresh must return ErrRefused only if the service itself has rejected the
	// refresh token, because ErrRefused ends the session. If the response has a new
	// refresh token but no usable access token, Refresh returns the refresh token in
	// the grant together with ErrInvalidResponse, so that the caller can keep it.
	Refresh(ctx context.Context, tokens Tokens) (Grant, error)

	// Logout revokes the refresh token. It returns nil if the token is already
	// revoked.
	//
	// If all is set, Logout revokes the refresh tokens of all of the user's
	// sessions, and returns nil only if the service has confirmed this. ErrRefused
	// means that the service does not accept the tokens for this request, for example
	// because the access token has expired. The caller may refresh them and retry.
	Logout(ctx context.Context, tokens Tokens, all bool) error
}

// PasswordLogin is implemented by services that sign users in with an e-mail
// address and a password.
type PasswordLogin interface {
	// Login exchanges an e-mail address and a password for tokens. It returns
	// ErrRefused both for an unknown address and for a wrong password, and a
	// [*SecondFactorError] if the account requires a one-time code. If the response
	// has a refresh token but no usable access token, Login returns the refresh token
	// in the grant together with ErrInvalidResponse, so that the caller can revoke it.
	Login(ctx context.Context, email, password string) (Grant, error)
}

// SecondFactor is implemented by services whose accounts may require a one-time
// code after the password.
type SecondFactor interface {
	// LoginTOTP exchanges the ticket of a [*SecondFactorError] and a one-time code
	// for tokens, as Login does. It returns ErrRefused for a wrong code. The error is
	// also [ErrTicketRefused] if the ticket is used up, expired or unknown. At some
	// services a wrong code uses up the ticket.
	LoginTOTP(ctx context.Context, ticket, code string) (Grant, error)
}

// Grant is the result of a sign-in or a refresh. It prints, logs and marshals without
// its tokens.
//
// All fields except the tokens are optional. If a field is empty, the value in the access
// token applies, or at a refresh the value of the previous grant. session.Manager uses only
// User and AuthenticatedAt, and reads all other data from the access token, which must be a
// JWT.
type Grant struct {
	Tokens

	// User is the data of the user in the response, outside the access token.
	User User

	// AuthenticatedAt is when the user last authenticated, by the service's clock.
	AuthenticatedAt time.Time

	// ExpiresAt is when the access token expires, by the service's clock. It is
	// for access tokens that cannot be read.
	ExpiresAt time.Time

	// Claims are the claims of an access token that cannot be read.
	Claims *Claims
}

// User describes a user of an auth service. Any field may be empty.
type User struct {
	ID      string // as in [Claims.UserID]
	Email   string
	Name    string // for display
	Picture string // a URL
}
