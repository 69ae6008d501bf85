package middleware

import (
	"net/http"
	"strings"

	"github.com/synmetrix/session"
)

// Feature is a group of built-in routes with which users manage their accounts. A feature
// has routes only if the auth service implements the interface that it needs; see [Routes].
// If the service has switched the feature off, the routes still exist and respond with
// status 503.
type Feature string

// The features.
const (
	// Registration lets visitors create an account:
	//
	//	GET  /register  the form
	//	POST /register  email, password, return_to
	//
	// The response is the same for new and existing accounts, and does not sign the
	// user in: the user has to follow the link in an e-mail, which leads to /callback.
	// It needs auth.Registration.
	Registration Feature = "registration"

	// DirectRegistration is like Registration, but signs the new user in at once if the
	// service allows it. It responds with status 409, account_exists, if the address has an
	// account, so it shows which accounts exist. Only one of the two should be given.
	DirectRegistration Feature = "direct_registration"

	// MagicLink lets users sign in with a link in an e-mail, which leads to /callback:
	//
	//	GET  /magic-link  the form
	//	POST /magic-link  email, return_to
	//
	// The response is the same whether there is an account or not. It needs
	// auth.MagicLink.
	MagicLink Feature = "magic_link"

	// PasswordChange lets signed-in users change their password. It needs
	// auth.PasswordChange:
	//
	//	GET  /password  the form
	//	POST /password  old_password, new_password
	PasswordChange Feature = "password_change"

	// PasswordReset lets users who have lost their password set a new one with a ticket
	// from an e-mail. It needs auth.PasswordReset:
	//
	//	GET  /password/lost   the form
	//	POST /password/lost   email
	//	GET  /password/reset  the form; its query may have the ticket
	//	POST /password/reset  ticket, new_password
	//
	// The response to /password/lost is the same whether there is an account or not.
	PasswordReset Feature = "password_reset"

	// EmailChange lets signed-in users change their e-mail address at once. It needs
	// auth.EmailChange:
	//
	//	GET  /email  the form
	//	POST /email  new_email, password
	EmailChange Feature = "email_change"

	// VerifiedEmailChange is EmailChange for services that first send a ticket to the new
	// address. It needs auth.VerifiedEmailChange, and only one of the two should be given:
	//
	//	GET  /email/confirm  the form; its query may have the ticket
	//	POST /email/confirm  ticket
	VerifiedEmailChange Feature = "verified_email_change"

	// SecondFactorSetup lets signed-in users turn their second factor on and off. It needs
	// auth.SecondFactorSetup:
	//
	//	GET  /mfa/setup   the form
	//	POST /mfa/setup   password; the response has the key as text and as a QR code
	//	POST /mfa/enable  code
	//	GET  /mfa/remove  the form
	//	POST /mfa/remove  code
	SecondFactorSetup Feature = "second_factor_setup"

	// AccountDeletion lets signed-in users delete their account. It needs
	// auth.AccountDeletion:
	//
	//	GET  /account/delete  the form
	//	POST /account/delete  password
	AccountDeletion Feature = "account_deletion"
)

// Provider lets users sign in with an account at another provider. name is the auth
// service's name of the provider, such as "github". It needs auth.ProviderLogin:
//
//	GET /login/with/NAME  redirects to the provider; return_to
//
// The provider redirects the browser to /callback, which shows a button to complete the
// sign-in.
func Provider(name string) Feature { return Feature(providerPrefix + name) }

// providerPrefix distinguishes the features of Provider from the constants.
const providerPrefix = "provider:"

// The paths of the features' routes. Links in e-mails of the auth service and links of apps
// contain them, so they never change.
const (
	registerPath = "/register"
	magicPath    = "/magic-link"
	callbackPath = "/callback"
	passwordPath = "/password"
	lostPath     = "/password/lost"
	resetPath    = "/password/reset"
	emailPath    = "/email"
	confirmPath  = "/email/confirm"
	setupPath    = "/mfa/setup"
	enablePath   = "/mfa/enable"
	removePath   = "/mfa/remove"
	deletePath   = "/account/delete"
	providerPath = "/login/with/"
)

// featureRoutes appends the routes of the features that the service supports. A feature
// that the service does not support has no route, and therefore no link on any page; see
// addLinks. Routes that change an account are inside userOnly, except those that prove the
// user's right by a ticket from an e-mail.
func (h *handlers) featureRoutes(routes []Route, features []Feature) []Route {
	has := map[Feature]bool{}
	for _, f := range features {
		has[f] = true
	}
	offers := h.m.Features()
	links := false // whether an e-mail may lead to the callback
	// If both registrations are given, the direct one applies: they have the same route.
	if h.direct = has[DirectRegistration]; (h.direct || has[Registration]) && offers.Registration {
		routes, links = h.path(routes, registerPath, h.form(h.newRegisterPage), noBearer(h.register)), true
	}
	if has[MagicLink] && offers.MagicLink {
		routes, links = h.path(routes, magicPath, h.form(h.newMagicPage), noBearer(h.magicLink)), true
	}
	for _, f := range features {
		if name, ok := strings.CutPrefix(string(f), providerPrefix); ok && offers.ProviderLogin {
			routes, links = h.path(routes, providerPath+name, noBearer(h.provider(name)), nil), true
		}
	}
	// All of these features end with a link, or a redirect of a provider, that leads to the
	// same route.
	if links {
		routes = h.path(routes, callbackPath, noBearer(h.callbackPage), noBearer(h.callback))
	}
	if has[PasswordChange] && offers.PasswordChange {
		routes = h.path(routes, passwordPath, h.userOnly(h.formOrDone("password", h.newPasswordPage)), h.userOnly(h.password))
	}
	if has[PasswordReset] && offers.PasswordReset {
		routes = h.path(routes, lostPath, h.form(h.newLostPage), noBearer(h.lost))
		routes = h.path(routes, resetPath, h.formOrDone("password_reset", h.newResetPage), noBearer(h.reset))
	}
	if verified := has[VerifiedEmailChange] && offers.VerifiedEmailChange; verified || has[EmailChange] && offers.EmailChange {
		routes = h.emailRoutes(routes, verified)
	}
	if has[SecondFactorSetup] && offers.SecondFactorSetup {
		routes = h.factorRoutes(routes)
	}
	if has[AccountDeletion] && offers.AccountDeletion {
		routes = h.deletionRoutes(routes)
	}
	return routes
}

// userOnly refuses requests without a signed-in user before next reads the body, so
// visitors who are not signed in cannot use up memory. Like noBearer, it refuses bearer
// tokens.
func (h *handlers) userOnly(next http.HandlerFunc) http.HandlerFunc {
	return noBearer(func(w http.ResponseWriter, r *http.Request) {
		if err := session.FromContext(r.Context()).Authorize(nil); err != nil {
			Refuse(w, r, err)
			return
		}
		next(w, r)
	})
}

// newForm returns the page of a route with a form. returnTo is the return_to parameter
// of the request, and untrusted.
func (h *handlers) newForm(r *http.Request, name, path, returnTo string) Page {
	page := NewPage(r, name)
	page.ReturnTo = settingsOf(r.Context()).returnTo(returnTo)
	page.hide("return_to", page.ReturnTo)
	h.addLinks(&page, r, path)
	return page
}

// form returns the handler of a page with a form. As JSON the page is a list of the
// names of the fields, so that a script can build the form itself.
func (h *handlers) form(newPage func(r *http.Request, returnTo string) Page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		returnTo, _ := parameter(r, "return_to")
		page := newPage(r, returnTo)
		if WantsPage(r) {
			WritePage(w, r, page)
			return
		}
		fields := []string{} // not nil: the JSON must be [] and not null
		for _, f := range page.Fields {
			fields = append(fields, f.Name)
		}
		writeJSON(w, http.StatusOK, typeJSON, map[string][]string{"fields": fields})
	}
}
