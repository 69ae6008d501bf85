package auth

import "context"

// EmailChange is implemented by services in which signed-in users can change their
// e-mail address at once.
type EmailChange interface {
	// ChangeEmail changes the e-mail address of the access token's user. The error is
	// [ErrAccountExists] if the address is taken or is the user's current address,
	// [ErrEmailRefused] if it is invalid, and [ErrAccessTokenRefused] if the service does
	// not accept the access token.
	ChangeEmail(ctx context.Context, accessToken, newEmail string) error
}

// VerifiedEmailChange is implemented by services in which signed-in users can change
// their e-mail address after they have confirmed the new one.
type VerifiedEmailChange interface {
	// SendEmailChange sends a ticket to the new e-mail address of the access token's
	// user. Its errors are those of [EmailChange].
	SendEmailChange(ctx context.Context, accessToken, newEmail string) error

	// ConfirmEmailChange changes the address with a ticket. The error is
	// [ErrTicketRefused] if the ticket is used up, expired or unknown.
	ConfirmEmailChange(ctx context.Context, ticket string) error
}

// AccountDeletion is implemented by services in which signed-in users can delete
// their account.
type AccountDeletion interface {
	// DeleteAccount deletes the account of the access token's user permanently. The
	// error is [ErrAccessTokenRefused] if the service does not accept the access
	// token.
	DeleteAccount(ctx context.Context, accessToken string) error
}
