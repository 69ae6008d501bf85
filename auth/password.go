package auth

import "context"

// PasswordChange is implemented by services in which signed-in users can change
// their password.
type PasswordChange interface {
	// ChangePassword replaces the password of the access token's user. The error is
	// [ErrWrongPassword] if the old password is wrong, [ErrPasswordRefused] if the
	// service does not accept the new one, and [ErrAccessTokenRefused] if the service
	// does not accept the access token. The caller may then refresh the tokens and
	// retry.
	ChangePassword(ctx context.Context, accessToken, oldPassword, newPassword string) error
}

// PasswordReset is implemented by services in which users who have lost their
// password can set a new one with a ticket from an e-mail.
type PasswordReset interface {
	// SendPasswordReset sends a ticket to the e-mail address of an account. If the
	// address has no account, the error is [ErrRefused].
	SendPasswordReset(ctx context.Context, email string) error

	// ResetPassword sets a new password with a ticket. The error is
	// [ErrTicketRefused] if the ticket is used up, expired or unknown, and
	// [ErrPasswordRefused] if the service does not accept the password.
	ResetPassword(ctx context.Context, ticket, newPassword string) error
}
