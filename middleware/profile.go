package middleware

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// done redirects to the page of a route that reports a success, or responds with status
// 204. After the redirect, a reload of the page does not send the form again.
func (h *handlers) done(w http.ResponseWriter, r *http.Request, path string) {
	if WantsPage(r) {
		redirect(w, r, sibling(r, path, path)+"?done=1")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// formOrDone returns the handler of a page with a form. With the parameter done it is the
// page that reports a success; kind is that of newDonePage.
func (h *handlers) formOrDone(kind string, newPage func(r *http.Request, returnTo string) Page) http.HandlerFunc {
	form := h.form(newPage)
	return func(w http.ResponseWriter, r *http.Request) {
		if _, done := parameter(r, "done"); !done || !WantsPage(r) {
			form(w, r)
			return
		}
		page := newDonePage(NewPage(r, "done"), kind)
		page.addButton("page.home", page.Home)
		WritePage(w, r, page)
	}
}

// newPageOf returns a function that returns the page of a route.
func (h *handlers) newPageOf(name, path string) func(r *http.Request, returnTo string) Page {
	return func(r *http.Request, returnTo string) Page { return h.newForm(r, name, path, returnTo) }
}

// texts returns the values of the required fields of a form, and sets the page's fields to
// them, except for passwords.
func (in input) texts(page *Page, names ...string) ([]string, error) {
	var values []string
	var first error
	for _, name := range names {
		value, err := in.text(name)
		if err != nil && first == nil {
			first = err
		}
		page.set(name, value)
		values = append(values, value)
	}
	return values, first
}

// formHandler returns the handler of a form. The handler reads the fields, calls do with
// their values in the same order, and calls then after a success. All fields are required.
// email is the name of the field for a new address, or empty. After an error, the response
// to a browser is the form again.
func (h *handlers) formHandler(page func(r *http.Request, returnTo string) Page, email string, fields []string, do func(ctx context.Context, values []string) error, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in, err := readInput(r)
		if err != nil {
			Refuse(w, r, err)
			return
		}
		page := page(r, in.returnTo())
		values, err := in.texts(&page, fields...)
		if err == nil {
			err = do(r.Context(), values)
		}
		if err != nil {
			h.retryForm(w, r, page, profileError(err, email, fields))
			return
		}
		then(w, r)
	}
}

// profileError translates an error of a flow that requires the password or a code. If the
// form has a code, auth.ErrRefused without a more precise meaning is a wrong code. The
// status is 403 and not 401, because the user is signed in, and another sign-in would not
// help.
func profileError(err error, email string, fields []string) error {
	switch {
	case errors.Is(err, auth.ErrWrongPassword):
		return &Problem{Status: http.StatusForbidden, Code: codeWrongPassword, Field: "password", Err: err}
	case errors.Is(err, auth.ErrSecondFactorState):
		return &Problem{Status: http.StatusConflict, Code: codeSecondFactor, Err: err}
	// A rejected ticket is not a wrong code: another code would not help.
	case slices.Contains(fields, "code") && isRefusal(err) && !errors.Is(err, auth.ErrTicketRefused):
		return &Problem{Status: http.StatusForbidden, Code: codeWrongCode, Field: "code", Err: err}
	}
	return accountError(err, email, "")
}

// emailRoutes appends the routes that change an e-mail address. If the new address is
// verified, a ticket in an e-mail completes the change.
func (h *handlers) emailRoutes(routes []Route, verified bool) []Route {
	page := h.newPageOf("email", emailPath)
	// The values are in the order of the fields: new_email, password.
	change := func(ctx context.Context, v []string) error { return h.m.ChangeEmail(ctx, v[1], v[0]) }
	then := func(w http.ResponseWriter, r *http.Request) { h.done(w, r, emailPath) }
	if !verified {
		plain := page
		page = func(r *http.Request, returnTo string) Page {
			page := plain(r, returnTo)
			page.Texts = []string{page.Text("email.direct")}
			return page
		}
	} else {
		change = func(ctx context.Context, v []string) error { return h.m.SendEmailChange(ctx, v[1], v[0]) }
		then = h.confirmEmailLater
		confirm := h.newConfirmEmailPage
		routes = h.path(routes, confirmPath, h.formOrDone("email", confirm), noBearer(h.formHandler(confirm, "", []string{"ticket"},
			func(ctx context.Context, v []string) error { return h.m.ConfirmEmailChange(ctx, v[0]) },
			func(w http.ResponseWriter, r *http.Request) { h.done(w, r, confirmPath) })))
	}
	return h.path(routes, emailPath, h.userOnly(h.formOrDone("email", page)),
		h.userOnly(h.formHandler(page, "new_email", []string{"new_email", "password"}, change, then)))
}

// confirmEmailLater responds to a change that a ticket in an e-mail has to complete.
func (h *handlers) confirmEmailLater(w http.ResponseWriter, r *http.Request) {
	if !WantsPage(r) {
		writeJSON(w, http.StatusAccepted, typeJSON, map[string]bool{"check_mail": true})
		return
	}
	page := newMailPage(NewPage(r, "mail"), "email_change", "")
	page.addLink("mail.reset", sibling(r, emailPath, confirmPath))
	WritePage(w, r, page)
}

// newConfirmEmailPage returns the form for the ticket, which is in the query if the e-mail
// has a link. Link scanners follow the link, so only the form changes the address, and not
// the GET.
func (h *handlers) newConfirmEmailPage(r *http.Request, returnTo string) Page {
	page := h.newForm(r, "email-confirm", confirmPath, returnTo)
	page.Action = sibling(r, confirmPath, confirmPath) // without the ticket
	if ticket, _ := parameter(r, "ticket"); ticket != "" {
		page.hide("ticket", ticket)
	} else {
		page.Fields = append(page.Fields, Field{Kind: "text", Name: "ticket", Label: page.Text("field.ticket"), Autocomplete: "off"})
	}
	return page
}

// factorRoutes appends the routes that turn the second factor on and off.
func (h *handlers) factorRoutes(routes []Route) []Route {
	routes = h.path(routes, setupPath, h.userOnly(h.form(h.newPageOf("mfa-start", setupPath))), h.userOnly(h.setUpFactor))
	enable := func(r *http.Request, returnTo string) Page {
		page := h.newForm(r, "mfa-setup", enablePath, returnTo)
		page.Texts = []string{page.Text("mfa.text")} // only setUpFactor has the image
		return page
	}
	routes = h.path(routes, enablePath, h.userOnly(h.formOrDone("mfa_on", enable)),
		h.userOnly(h.formHandler(enable, "", []string{"code"}, withCode(h.m.EnableSecondFactor), func(w http.ResponseWriter, r *http.Request) { h.done(w, r, enablePath) })))
	remove := h.newPageOf("mfa-remove", removePath)
	return h.path(routes, removePath, h.userOnly(h.formOrDone("mfa_off", remove)),
		h.userOnly(h.formHandler(remove, "", []string{"code"}, withCode(h.m.DisableSecondFactor), func(w http.ResponseWriter, r *http.Request) { h.done(w, r, removePath) })))
}

// withCode returns the function that calls do with a code. Authenticator apps show a code
// in two groups, and users copy the space.
func withCode(do func(ctx context.Context, code string) error) func(ctx context.Context, values []string) error {
	return func(ctx context.Context, v []string) error { return do(ctx, strings.ReplaceAll(v[0], " ", "")) }
}

// setUpFactor shows a new key for one-time codes (RFC 6238), after a check of the password.
// The key takes effect with the first code, so that users whose app has not stored the key
// are not locked out. Only this response contains the key, and it is not cached.
func (h *handlers) setUpFactor(w http.ResponseWriter, r *http.Request) {
	var key auth.TOTPKey
	h.formHandler(h.newPageOf("mfa-start", setupPath), "", []string{"password"}, func(ctx context.Context, v []string) (err error) {
		key, err = h.m.SetUpSecondFactor(ctx, v[0])
		return err
	}, func(w http.ResponseWriter, r *http.Request) {
		if !WantsPage(r) {
			writeJSON(w, http.StatusOK, typeJSON, map[string]string{"secret": key.Secret, "image_url": key.ImageURL})
			return
		}
		page := h.newForm(r, "mfa-setup", setupPath, "")
		page.Action = sibling(r, setupPath, enablePath)
		page.Secret = key.Secret
		// The URL comes from the service, and template.URL turns off the check of
		// html/template. Accept only an image that is in the URL itself.
		if strings.HasPrefix(key.ImageURL, "data:image/png;base64,") {
			page.Image = template.URL(key.ImageURL)
		}
		WritePage(w, r, page)
	})(w, r)
}

// deletionRoutes appends the routes that delete an account. The login page reports the
// success, because the session has ended.
func (h *handlers) deletionRoutes(routes []Route) []Route {
	page := h.newPageOf("delete", deletePath)
	then := func(w http.ResponseWriter, r *http.Request) {
		if WantsPage(r) {
			redirect(w, r, h.loginURL(r, deletePath)+"?done=account_deleted")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
	do := func(ctx context.Context, v []string) error { return h.m.DeleteAccount(ctx, v[0]) }
	return h.path(routes, deletePath, h.userOnly(h.form(page)), h.userOnly(h.formHandler(page, "", []string{"password"}, do, then)))
}

// provider returns the handler that starts a sign-in with another provider. The route is a
// GET, because the pages' Content-Security-Policy does not allow a form to be redirected to
// another host. A link to this route cannot sign a user in, because the button of the
// callback page completes the sign-in.
func (h *handlers) provider(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		returnTo, _ := parameter(r, "return_to")
		address, err := h.m.StartProvider(r.Context(), name, session.WithReturnTo(settingsOf(r.Context()).returnTo(returnTo)))
		if err != nil {
			Refuse(w, r, accountError(err, "", ""))
			return
		}
		w.Header().Set("Referrer-Policy", "no-referrer")
		redirect(w, r, address)
	}
}
