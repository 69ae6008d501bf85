package middleware

import (
	"context"
	"errors"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// accountError translates an error of a Manager's method that manages an account. email and
// password are the names of the form's fields for a new address and a new password, empty
// if there are none.
//
// The order of the cases matters. Most of these errors also wrap auth.ErrRefused, so
// that case comes last. ErrTooLarge and ErrSessionUnavailable describe the session
// and not the account. They come before all errors of the auth service.
func accountError(err error, email, password string) error {
	refused := func(status int, code, field, detail string) error {
		return &Problem{Status: status, Code: code, Field: field, Detail: english[detail], Err: err}
	}
	switch {
	case errors.Is(err, session.ErrSignInAgain):
		return refused(http.StatusUnauthorized, codeSignInAgain, "", "error."+codeSignInAgain)
	case errors.Is(err, session.ErrTooLarge), errors.Is(err, session.ErrSessionUnavailable):
		return signInError(err)
	case errors.Is(err, session.ErrUnauthenticated), errors.Is(err, session.ErrEnded):
		return err
	case errors.Is(err, auth.ErrAccountExists):
		return refused(http.StatusConflict, codeAccountExists, email, "error."+codeAccountExists)
	case errors.Is(err, auth.ErrEmailRefused):
		return refused(http.StatusUnprocessableEntity, codeInvalidRequest, email, "error.email_refused")
	case errors.Is(err, auth.ErrPasswordRefused):
		return refused(http.StatusUnprocessableEntity, codeInvalidRequest, password, "error.password_refused")
	case errors.Is(err, auth.ErrWrongPassword):
		return refused(http.StatusForbidden, codeWrongPassword, "old_password", "error."+codeWrongPassword)
	case errors.Is(err, auth.ErrTicketRefused):
		return refused(http.StatusUnauthorized, codeInvalidTicket, "ticket", "error.invalid_ticket")
	case errors.Is(err, auth.ErrRefused):
		return refused(http.StatusUnprocessableEntity, codeInvalidRequest, "", "error."+codeInvalidRequest)
	}
	return err
}

// sendMail handles a request for an e-mail. kind selects the text of the page that directs
// the user to the inbox; see newMailPage. The response does not show whether the address
// has an account, because otherwise anyone could test addresses.
func (h *handlers) sendMail(w http.ResponseWriter, r *http.Request, newPage func(r *http.Request, returnTo string) Page, path, kind string, send func(ctx context.Context, email, returnTo string) error) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := newPage(r, in.returnTo())
	email, err := in.address("email")
	page.set("email", email)
	if err == nil {
		err = send(r.Context(), email, page.ReturnTo)
	}
	if err != nil {
		h.retryForm(w, r, page, accountError(err, "email", ""))
		return
	}
	h.checkMail(w, r, path, kind, email)
}

// checkMail responds to a request that the user completes with an e-mail. The page of a
// lost password links to the form for the ticket, for e-mails without a link. That page and
// the JSON have status 202.
func (h *handlers) checkMail(w http.ResponseWriter, r *http.Request, path, kind, email string) {
	if !WantsPage(r) {
		writeJSON(w, http.StatusAccepted, typeJSON, map[string]bool{"check_mail": true})
		return
	}
	page := newMailPage(NewPage(r, "mail"), kind, email)
	if path == lostPath {
		page.Status = http.StatusAccepted
		page.addLink("mail.reset", sibling(r, path, resetPath))
	}
	if login := h.loginURL(r, path); login != "" {
		page.addLink("mail.login", login)
	}
	WritePage(w, r, page)
}
