package auth

import "context"

// Verifier decides whether access tokens are genuine. Package auth/verify has one for
// shared secrets and public keys, and the module auth/jwks one for the address of a JWKS.
//
// Verify must be safe for concurrent use and must return when ctx ends. Any client can
// send any token, so Verify must bound the work that a token causes.
type Verifier interface {
	// Verify returns nil if the auth service has signed the token, a JWT, and the
	// token is meant for this app. It need not check the token's times: the caller does,
	// and a session's token may be used whatever the difference between the clocks is.
	//
	// The error is [ErrInvalidToken] if the token is not genuine. Every other error
	// means that this cannot be determined now, for example because the keys cannot be
	// fetched. The caller logs the error, so its text must not contain the token.
	Verify(ctx context.Context, accessToken string) error
}
