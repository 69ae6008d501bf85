package auth

import "context"

// MagicLink is implemented by services that sign users in with a link in an e-mail.
// A browser that follows the link reaches the app with a refresh token in the query,
// for [Service]'s Refresh.
type MagicLink interface {
	// SendMagicLink sends a link to the e-mail address of an account. It must not
	// create an account, and must not return a token of the link. If the address has
	// no account, the error is [ErrRefused].
	SendMagicLink(ctx context.Context, email string) error
}
