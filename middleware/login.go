package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// handlers are the ready-made routes.
type handlers struct {
	m *session.Manager
}

const (
	loginPath  = "/login"
	codePath   = "/login/mfa"
	logoutPath = "/logout"
)

// newLoginPage returns the login page. returnTo is the return_to parameter of
// the request.
func newLoginPage(r *http.Request, returnTo string) Page {
	s := settingsOf(r.Context())
	page := Page{Name: "login", Title: "Sign in", Status: http.StatusOK, ReturnTo: s.returnTo(returnTo), Home: s.homeURL()}
	if s.manager.DropsCookies(r) {
		page.Message = cookiesDropped
	}
	return page
}

// cookiesDropped is the message for users who cannot be signed in because their
// browser drops the cookies.
const cookiesDropped = "This page was opened over plain HTTP. Your browser will not keep you signed in here. Open the page at its https address."

// newCodePage returns the page for the second factor, as newLoginPage does.
func newCodePage(r *http.Request, returnTo string) Page {
	s := settingsOf(r.Context())
	to := s.returnTo(returnTo)
	return Page{
		Name: "mfa", Title: "One more step", Status: http.StatusOK, ReturnTo: to,
		LoginURL: withReturnTo(sibling(r, codePath, loginPath), to), Home: s.homeURL(),
	}
}

func (h *handlers) loginPage(w http.ResponseWriter, r *http.Request) {
	if !WantsPage(r) {
		current := session.FromContext(r.Context())
		status := map[string]bool{"signed_in": current.SignedIn()}
		if current.Err() != nil {
			status["session_unavailable"] = true
		}
		writeJSON(w, http.StatusOK, typeJSON, status)
		return
	}
	returnTo, _ := parameter(r, "return_to")
	page := newLoginPage(r, returnTo)
	if _, ok := parameter(r, "expired"); ok && page.Message == "" {
		page.Message = tookTooLong
	}
	s := settingsOf(r.Context())
	s.pages.write(w, s.log, page)
}

func (h *handlers) login(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := newLoginPage(r, in.returnTo())
	email, err := in.text("email")
	if err != nil {
		h.again(w, r, page, err)
		return
	}
	if email = strings.TrimSpace(email); email == "" {
		h.again(w, r, page, fieldProblem("email", "is missing"))
		return
	}
	page.Email = email
	password, err := in.text("password")
	if err != nil {
		h.again(w, r, page, err)
		return
	}
	err = h.m.Login(r.Context(), email, password)
	switch {
	case err == nil:
		h.signedIn(w, r, page.ReturnTo)
	case errors.Is(err, auth.ErrSecondFactor) && h.m.LoginPending(r.Context()):
		if WantsPage(r) {
			redirect(w, withReturnTo(sibling(r, loginPath, codePath), page.ReturnTo))
			return
		}
		writeJSON(w, http.StatusAccepted, typeJSON, map[string]bool{"mfa_required": true})
	default:
		h.failed(w, r, page, err)
	}
}

func (h *handlers) codePage(w http.ResponseWriter, r *http.Request) {
	returnTo, _ := parameter(r, "return_to")
	page := newCodePage(r, returnTo)
	switch pending := h.m.LoginPending(r.Context()); {
	case !pending && isNavigation(r):
		redirect(w, page.LoginURL)
	case !pending:
		Refuse(w, r, session.ErrNoPendingLogin)
	case WantsPage(r):
		s := settingsOf(r.Context())
		s.pages.write(w, s.log, page)
	default:
		writeJSON(w, http.StatusOK, typeJSON, map[string]bool{"mfa_required": true})
	}
}

func (h *handlers) code(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := newCodePage(r, in.returnTo())
	code, err := in.text("code")
	if err != nil {
		if !h.m.LoginPending(r.Context()) {
			err = session.ErrNoPendingLogin
		}
		h.again(w, r, page, err)
		return
	}
	// Authenticator apps show a code in two groups, and people type it so.
	err = h.m.LoginTOTP(r.Context(), strings.ReplaceAll(code, " ", ""))
	if err == nil {
		h.signedIn(w, r, page.ReturnTo)
		return
	}
	h.failed(w, r, page, err)
}

func (h *handlers) signedIn(w http.ResponseWriter, r *http.Request, returnTo string) {
	if !WantsPage(r) {
		Me(w, r)
		return
	}
	if returnTo == "" {
		returnTo = settingsOf(r.Context()).homeURL()
	}
	redirect(w, returnTo)
}

// failed answers a sign-in that the Manager has not carried out.
func (h *handlers) failed(w http.ResponseWriter, r *http.Request, page Page, err error) {
	switch {
	case errors.Is(err, session.ErrTooLarge):
		err = &Problem{
			Status: http.StatusInternalServerError,
			Code:   codeTooLarge,
			Detail: "You cannot be signed in: your account's session is too large to be kept.",
			Err:    err,
		}
	case errors.Is(err, session.ErrSessionUnavailable):
		p := ProblemOf(err)
		p.Detail, p.Err = texts[codeAuthUnavailable].detail, err // there is no session yet
		err = p
	case errors.Is(err, auth.ErrRefused) && !errors.Is(err, auth.ErrTicketRefused) && page.Name == "mfa":
		err = &Problem{
			Status: http.StatusUnauthorized,
			Code:   codeInvalidCredentials,
			Detail: "The code is not right. Enter the one that your app shows now.",
			Err:    err,
		}
	}
	h.again(w, r, page, err)
}

// tookTooLong is for a person whose first step of two is of no use any more.
const tookTooLong = "The sign-in took too long. Please sign in again."

// again answers with the form that the request came from where trying again
// makes sense, and with a refusal elsewhere.
func (h *handlers) again(w http.ResponseWriter, r *http.Request, page Page, err error) {
	if !WantsPage(r) || errors.Is(err, session.ErrBearer) { // no form signs such a request in
		Refuse(w, r, err)
		return
	}
	p := problemOf(err)
	switch p.Code {
	case codeUnauthenticated:
		// The first step has to be done once more.
		to := sibling(r, codePath, loginPath)
		if errors.Is(err, auth.ErrTicketRefused) {
			to += "?expired=1"
		}
		redirect(w, withReturnTo(to, page.ReturnTo))
	case codeInvalidRequest, codeInvalidCredentials, codeTooMany, codeAuthUnavailable, codeAuthInvalid, codeSessionUnavailable:
		p.header(w.Header())
		page.Status, page.Code, page.Message, page.Field = p.Status, p.Code, p.Detail, p.Field
		s := settingsOf(r.Context())
		s.pages.write(w, s.log, page)
	default:
		Refuse(w, r, err)
	}
}

func (h *handlers) logout(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	all, err := in.flag("all")
	if err != nil {
		Refuse(w, r, err)
		return
	}
	end := h.m.Logout
	if all {
		end = h.m.LogoutAll
	}
	if err := end(r.Context()); err != nil {
		Refuse(w, r, err)
		return
	}
	if WantsPage(r) {
		redirect(w, settingsOf(r.Context()).homeURL())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
