package auth

import "context"

// Verifier decides whether access tokens are genuine. Package auth/verify has a Verifier
// for shared secrets and public keys. Module auth/jwks adds the keys of a JWKS.
//
// Verify must be safe for concurrent use and must return when ctx ends. Any client can
// send any token, so Verify must bound the work that a token causes.
type Verifier interface {
	// Verify returns nil if the auth service has signed the token, a JWT, and the token is
	// meant for this app. It need not check the token's times. The caller checks those of a
	// bearer token. The times of a session's token are not compared with a clock, because
	// the clock of the service may differ.
	//
	// The error is [ErrInvalidToken] if the token is not genuine. Every other error means
	// that Verify cannot determine it now, for example because the keys cannot be fetched.
	// The caller logs the error, so its text must not contain the token.
	Verify(ctx context.Context, accessToken string) error
}
