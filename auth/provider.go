package auth

// ProviderLogin is implemented by services that sign users in with an account at
// another provider, such as GitHub.
type ProviderLogin interface {
	// ProviderURL returns the URL at the service where a browser begins the sign-in
	// with the named provider, or "" if there is none. After the sign-in the browser
	// reaches the app with a refresh token in the query, as after a link of
	// [MagicLink].
	ProviderURL(provider string) string
}
