package middleware

import (
	"errors"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// newRegisterPage returns the form for a new account. returnTo is untrusted; see newForm.
func (h *handlers) newRegisterPage(r *http.Request, returnTo string) Page {
	page := h.newForm(r, "register", registerPath, returnTo)
	if h.direct {
		page.Texts = []string{page.Text("register.direct")}
	}
	return page
}

// register handles POST /register, for both features of registration. With Registration
// the response is the same whether the address has an account or not. DirectRegistration
// signs the user in, unless the service first verifies the address.
func (h *handlers) register(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := h.newRegisterPage(r, in.returnTo())
	email, password, err := credentials(in)
	page.set("email", email)
	if err != nil {
		h.retryForm(w, r, page, err)
		return
	}
	register := h.m.Register
	if h.direct {
		register = h.m.RegisterAndSignIn
	}
	err = register(r.Context(), email, password, session.WithReturnTo(page.ReturnTo))
	switch {
	case err == nil && h.direct:
		h.signedIn(w, r, page.ReturnTo)
	// Register has the same result for a known address, so this response does not show
	// which addresses have accounts.
	case err == nil, errors.Is(err, auth.ErrVerificationPending):
		h.checkMail(w, r, registerPath, "register", email)
	default:
		h.retryForm(w, r, page, accountError(err, "email", "password"))
	}
}
