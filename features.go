package session

import "github.com/synmetrix/session/auth"

// Features has the ways of signing in and of managing accounts that the auth service
// offers. Each field has the name of an interface in package auth, and is true if
// Config.Auth implements that interface and the others that its comment names. The service
// may nevertheless have switched the feature off: the Manager's methods for it then fail.
type Features struct {
	// PasswordLogin: users sign in with a password. See [Manager.Login].
	PasswordLogin bool

	// SecondFactor: the service may require a one-time code. See [Manager.LoginTOTP].
	SecondFactor bool

	// SecondFactorSetup: users can turn their second factor on and off. It requires
	// PasswordLogin and SecondFactor. See [Manager.SetUpSecondFactor].
	SecondFactorSetup bool

	// MagicLink: users sign in with a link in an e-mail. See [Manager.SendMagicLink].
	MagicLink bool

	// ProviderLogin: users sign in with an account at another provider. See
	// [Manager.StartProvider].
	ProviderLogin bool

	// Registration: visitors can create accounts. See [Manager.Register].
	Registration bool

	// PasswordChange: users can change their password. It requires PasswordLogin. See
	// [Manager.ChangePassword].
	PasswordChange bool

	// PasswordReset: users who have lost their password can set a new one. See
	// [Manager.SendPasswordReset].
	PasswordReset bool

	// EmailChange: users can change their e-mail address at once. It requires
	// PasswordLogin. See [Manager.ChangeEmail].
	EmailChange bool

	// VerifiedEmailChange: users can change their e-mail address after they have confirmed
	// the new one. It requires PasswordLogin. See [Manager.SendEmailChange].
	VerifiedEmailChange bool

	// AccountDeletion: users can delete their account. It requires PasswordLogin. See
	// [Manager.DeleteAccount].
	AccountDeletion bool
}

// Features returns what the auth service offers.
func (m *Manager) Features() Features { return m.features }

// featuresOf returns the features of an auth service.
func featuresOf(service auth.Service) (f Features) {
	_, f.PasswordLogin = service.(auth.PasswordLogin)
	_, f.SecondFactor = service.(auth.SecondFactor)
	_, f.SecondFactorSetup = service.(auth.SecondFactorSetup)
	_, f.MagicLink = service.(auth.MagicLink)
	_, f.ProviderLogin = service.(auth.ProviderLogin)
	_, f.Registration = service.(auth.Registration)
	_, f.PasswordChange = service.(auth.PasswordChange)
	_, f.PasswordReset = service.(auth.PasswordReset)
	_, f.EmailChange = service.(auth.EmailChange)
	_, f.VerifiedEmailChange = service.(auth.VerifiedEmailChange)
	_, f.AccountDeletion = service.(auth.AccountDeletion)

	// These check the password, or the code, by a sign-in.
	f.SecondFactorSetup = f.SecondFactorSetup && f.PasswordLogin && f.SecondFactor
	f.PasswordChange = f.PasswordChange && f.PasswordLogin
	f.EmailChange = f.EmailChange && f.PasswordLogin
	f.VerifiedEmailChange = f.VerifiedEmailChange && f.PasswordLogin
	f.AccountDeletion = f.AccountDeletion && f.PasswordLogin
	return f
}
