// Package auth is the port between the session framework and the auth service,
// the service that knows the users and issues their tokens: interfaces that a
// client of such a service implements, and the tokens, claims and errors that
// pass through them. Package synmetrix holds a client.
package auth

import (
	"context"
	"time"
)

// Service refreshes and revokes the tokens of signed-in users. It is all that a
// session manager needs of an auth service; the interfaces below are for
// services that also sign users in. synmetrix.Client implements all of them.
//
// All methods are safe for concurrent use and honor ctx. They report a failure
// with an error that wraps one of this package's sentinels: [ErrRefused],
// [ErrUnavailable], [ErrInvalidAnswer], [ErrOutcomeUnknown] or
// [ErrSecondFactor], usually inside an [*Error]. An error that wraps none of
// them counts as ErrUnavailable with an unknown outcome. Callers log the texts of
// errors: they must not hold anything that was sent or received, such as a URL, a
// token or a password.
type Service interface {
	// Refresh exchanges a refresh token for new tokens. A service that does not
	// rotate refresh tokens leaves RefreshToken of the grant empty: the old one
	// stays in use. The implementation sends the request at most once and never
	// repeats it.
	//
	// ErrRefused means that the service itself has declared the refresh token
	// invalid. It ends the session. If the response holds a new refresh token but
	// no usable access token, Refresh returns that refresh token in the grant
	// together with ErrInvalidAnswer, so that the caller can keep it.
	Refresh(ctx context.Context, tokens Tokens) (Grant, error)

	// Logout revokes the refresh token. A token that is already revoked is not an
	// error.
	//
	// With all set it revokes the refresh tokens of all of the user's sessions,
	// and returns nil only if the service has confirmed that. ErrRefused means
	// that the service does not accept these tokens for it, for example because
	// the access token has expired: the caller may refresh them and try again.
	Logout(ctx context.Context, tokens Tokens, all bool) error
}

// PasswordLogin is implemented by services that sign users in with an e-mail
// address and a password.
type PasswordLogin interface {
	// Login exchanges an e-mail address and a password for tokens. It returns
	// ErrRefused for wrong credentials, whichever part of them is wrong, and a
	// [*SecondFactorError] if the account has a second factor. If the response
	// holds a refresh token but no usable access token, Login returns that refresh
	// token in the grant together with ErrInvalidAnswer, so that the caller can
	// revoke it.
	Login(ctx context.Context, email, password string) (Grant, error)
}

// SecondFactor is implemented by services whose accounts may require a one-time
// code after the password.
type SecondFactor interface {
	// LoginTOTP exchanges the ticket of a [*SecondFactorError] and a one-time code
	// for tokens, as Login does. It returns ErrRefused for a wrong code. Where the
	// ticket is used up, expired or unknown, which a wrong code may cause at some
	// services, the error is also [ErrTicketRefused].
	LoginTOTP(ctx context.Context, ticket, code string) (Grant, error)
}

// Grant is what a service issues when it signs a user in or refreshes tokens.
// It prints, logs and marshals without its tokens.
//
// All fields but the tokens are optional. An empty field means what the access
// token says, and at a refresh what the grant before said.
type Grant struct {
	Tokens

	// User is what the service says about the user beside the access token.
	User User

	// AuthenticatedAt is when the user proved who they are, by the service's
	// clock.
	AuthenticatedAt time.Time

	// ExpiresAt is when the access token expires, by the service's clock. It is
	// for access tokens that cannot be read.
	ExpiresAt time.Time

	// Claims are the claims of an access token that cannot be read.
	Claims *Claims
}

// User is what an auth service says about a user. Any field may be empty.
type User struct {
	ID      string // as in [Claims.UserID]
	Email   string
	Name    string // to be displayed
	Picture string // a URL
}
