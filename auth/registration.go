package auth

import "context"

// Registration is implemented by services in which visitors can create an account.
type Registration interface {
	// Register creates an account with an e-mail address and a password. If the
	// service signs the new user in at once, Register returns the tokens. If the
	// service first sends an e-mail to confirm the address, the error is
	// [ErrVerificationPending].
	//
	// The error is [ErrAccountExists] if the address has an account, active or not,
	// [ErrEmailRefused] or [ErrPasswordRefused] if the service does not accept the address
	// or the password, and otherwise an error of [Service]. If the response has a refresh
	// token but no usable access token, Register returns the refresh token together with
	// [ErrInvalidResponse].
	Register(ctx context.Context, email, password string) (Grant, error)
}
