package middleware

import (
	"context"
	"errors"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// newPasswordPage returns the form for the old and the new password.
func (h *handlers) newPasswordPage(r *http.Request, returnTo string) Page {
	return h.newForm(r, "password", passwordPath, returnTo)
}

// password handles POST /password. The session continues under a new ID and the user's
// other sessions end, so a stolen cookie no longer works. After a change without a new
// session, the response leads to the page that completes the sign-in: the new sign-in may
// require the code of a second factor (codeRequired), or may have failed (ErrSignInAgain).
func (h *handlers) password(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := h.newPasswordPage(r, in.returnTo())
	oldPassword, err := in.text("old_password")
	if err != nil {
		h.retryForm(w, r, page, err)
		return
	}
	newPassword, err := in.text("new_password")
	if err != nil {
		h.retryForm(w, r, page, err)
		return
	}
	err = h.m.ChangePassword(r.Context(), oldPassword, newPassword, session.WithReturnTo(page.ReturnTo))
	switch {
	// A link to the form may have return_to: the user then returns to the page with the
	// link.
	case err == nil && WantsPage(r) && page.ReturnTo != "":
		redirect(w, r, page.ReturnTo)
	case err == nil:
		h.done(w, r, passwordPath)
	case errors.Is(err, auth.ErrSecondFactor) && h.codePending(r):
		h.codeRequired(w, r, passwordPath, page.ReturnTo)
	case errors.Is(err, session.ErrSignInAgain) && WantsPage(r):
		redirect(w, r, withReturnTo(h.loginURL(r, passwordPath)+"?done=password_sign_in", page.ReturnTo))
	default:
		h.retryForm(w, r, page, accountError(err, "", "new_password"))
	}
}

// newLostPage returns the form for the address of an account with a lost password.
func (h *handlers) newLostPage(r *http.Request, returnTo string) Page {
	return h.newForm(r, "lost", lostPath, returnTo)
}

// lost handles POST /password/lost, which sends an e-mail with a ticket for reset.
func (h *handlers) lost(w http.ResponseWriter, r *http.Request) {
	send := func(ctx context.Context, email, _ string) error { return h.m.SendPasswordReset(ctx, email) }
	h.sendMail(w, r, h.newLostPage, lostPath, "lost", send)
}

// newResetPage returns the form for a new password. The ticket is in the query if the
// e-mail has a link. Otherwise the user enters it. The GET does not use the ticket up, so
// link scanners do no harm. See referrerPolicy about the secret in the address.
func (h *handlers) newResetPage(r *http.Request, returnTo string) Page {
	page := h.newForm(r, "reset", resetPath, returnTo)
	page.Action = sibling(r, resetPath, resetPath) // without the ticket
	if ticket, _ := parameter(r, "ticket"); ticket != "" {
		page.hide("ticket", ticket)
		return page
	}
	field := Field{Kind: "text", Name: "ticket", Label: page.Text("field.ticket"), Autocomplete: "off"}
	// The ticket is the first field, because users copy it from the e-mail before they
	// choose a password.
	page.Fields = append([]Field{field}, page.Fields...)
	return page
}

// reset handles POST /password/reset, which sets a new password with a ticket. It does not
// sign the user in: the ticket only proves access to the e-mails, and the account may
// require a second factor, too. The login page reports the success, or resetPath itself if
// there is no login page.
func (h *handlers) reset(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := h.newResetPage(r, in.returnTo())
	ticket, err := in.text("ticket")
	if err != nil {
		h.retryForm(w, r, page, err)
		return
	}
	page.set("ticket", ticket)
	newPassword, err := in.text("new_password")
	if err == nil {
		err = h.m.ResetPassword(r.Context(), ticket, newPassword)
	}
	login := h.loginURL(r, resetPath)
	switch {
	case err != nil:
		h.retryForm(w, r, page, accountError(err, "", "new_password"))
	case WantsPage(r) && login != "":
		redirect(w, r, login+"?done=password_reset")
	default:
		h.done(w, r, resetPath)
	}
}
