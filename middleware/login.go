package middleware

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// handlers has the handlers of the built-in routes.
type handlers struct {
	m      *session.Manager
	direct bool     // a registration signs the user in
	paths  []string // of the routes that exist; complete before the first request
}

// The paths of the sign-in. ReturnTo never leads to one of them.
const (
	loginPath  = "/login"
	codePath   = "/login/mfa"
	logoutPath = "/logout"
)

// newLoginPage returns the login page. returnTo is the return_to parameter of
// the request, and untrusted.
func (h *handlers) newLoginPage(r *http.Request, returnTo string) Page {
	s := settingsOf(r.Context())
	page := NewPage(r, "login")
	page.ReturnTo = s.returnTo(returnTo)
	page.hide("return_to", page.ReturnTo)
	if again := signsInAgain(r); again != nil {
		page.Texts = append(page.Texts, page.Text("login.again"))
		own := again.User()
		if actor := again.Actor(); actor.ID != "" {
			own = actor // the guard has checked the sign-in of the actor
		}
		page.set("email", own.Email)
	} else if s.rememberMe {
		page.addRemember(s.remembers)
	}
	// The links carry the address to return to, so they are added after it is set.
	h.addProviders(&page, r)
	h.addLinks(&page, r, loginPath)
	if s.manager.DropsCookies(r) {
		// Without this warning, the login page would appear again after each sign-in,
		// without an error.
		text := "error.cookies_dropped"
		if r.Header.Get("Sec-Fetch-Site") != "" { // not plain HTTP: a frame or another domain
			text = "error.cookies_dropped_here"
		}
		page.warn(text)
	}
	return page
}

// signsInAgain returns the session if a guard has redirected its user to the login page
// because the credentials were entered too long ago; see [RequireFresh]. Otherwise it
// returns nil.
func signsInAgain(r *http.Request) *session.Session {
	if _, again := parameter(r, "again"); !again {
		return nil
	}
	if s := session.FromContext(r.Context()); s.SignedIn() {
		return s
	}
	return nil
}

// signInOptions returns the options of a sign-in from its input. The error is a *Problem.
func signInOptions(r *http.Request, in input, returnTo string) ([]session.SignInOption, error) {
	opts := []session.SignInOption{session.WithReturnTo(returnTo)}
	s := settingsOf(r.Context())
	remember, given, err := in.optionalFlag("remember")
	if err != nil {
		return nil, err
	}
	// A box that is not checked is not in the form. The form of a user who signs in again
	// has no box, and the session keeps its options.
	if !given && (!s.rememberMe || in.json != nil || signsInAgain(r) != nil) {
		return opts, nil
	}
	if opts = append(opts, session.WithRemember(remember)); !remember && s.forgetAfter > 0 {
		opts = append(opts, session.WithLifetime(s.forgetAfter))
	}
	return opts, nil
}

// newCodePage returns the page for the code of the second factor. returnTo is
// the return_to parameter of the request, and untrusted.
func newCodePage(r *http.Request, returnTo string) Page {
	s := settingsOf(r.Context())
	page := NewPage(r, "mfa")
	// The first step of the login has stored the address, for clients that do not send it
	// again.
	kept, _ := s.manager.PendingLogin(r.Context())
	page.ReturnTo = cmp.Or(s.returnTo(returnTo), s.returnTo(kept))
	page.hide("return_to", page.ReturnTo)
	page.LoginURL = withReturnTo(sibling(r, codePath, loginPath), page.ReturnTo)
	page.addLink("login.other", page.LoginURL)
	return page
}

// loginPage handles GET /login. As JSON it reports whether the user is signed in. Other
// routes redirect to it with a parameter that selects a message: expired if a login has
// waited too long for its code, done after a success. The parameters only select texts, so
// a link cannot show a text of its sender.
func (h *handlers) loginPage(w http.ResponseWriter, r *http.Request) {
	if !WantsPage(r) {
		current := session.FromContext(r.Context())
		status := map[string]bool{"signed_in": current.SignedIn()}
		if current.Err() != nil {
			// Without this field, a script would treat an outage as a sign-out.
			status["session_unavailable"] = true
		}
		writeJSON(w, http.StatusOK, typeJSON, status)
		return
	}
	returnTo, _ := parameter(r, "return_to")
	page := h.newLoginPage(r, returnTo)
	if _, ok := parameter(r, "expired"); ok && page.Message == "" {
		page.warn("error.too_long")
	}
	if done, _ := parameter(r, "done"); slices.Contains(loginNotices, done) {
		page.Notice = page.Text("notice." + done)
	}
	page.showUser(r)
	if session.FromContext(r.Context()).SignedIn() && signsInAgain(r) == nil {
		page.addLink("page.home", page.Home)
	}
	WritePage(w, r, page)
}

// login handles POST /login. A login with a second factor continues at codePath.
func (h *handlers) login(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := h.newLoginPage(r, in.returnTo())
	email, password, err := credentials(in)
	page.set("email", email)
	// The form keeps the address and the box after an error, so both are set before the
	// login is tried.
	opts, invalid := signInOptions(r, in, page.ReturnTo)
	page.check("remember", len(in.form["remember"]) > 0)
	if err = cmp.Or(err, invalid); err != nil {
		h.retry(w, r, page, err)
		return
	}
	err = h.m.Login(r.Context(), email, password, opts...)
	switch {
	case err == nil:
		h.signedIn(w, r, page.ReturnTo)
	case errors.Is(err, auth.ErrSecondFactor) && h.codePending(r):
		h.codeRequired(w, r, loginPath, page.ReturnTo)
	default:
		h.retry(w, r, page, signInError(err))
	}
}

// credentials returns the fields of a login. If only the password is invalid, it
// returns the e-mail address with the error: the form shows the address again.
// Spaces around an address are typing errors. Spaces in a password are part of it.
func credentials(in input) (email, password string, err error) {
	if email, err = in.address("email"); err != nil {
		return "", "", err
	}
	password, err = in.text("password")
	return email, password, err
}

// codeRequired responds to a correct password of an account that also requires a code. path
// is the route of the request. The pending login is in a cookie, so the form for the code
// contains no secret.
func (h *handlers) codeRequired(w http.ResponseWriter, r *http.Request, path, returnTo string) {
	if WantsPage(r) {
		redirect(w, r, withReturnTo(sibling(r, path, codePath), returnTo))
		return
	}
	writeJSON(w, http.StatusAccepted, typeJSON, map[string]bool{"mfa_required": true})
}

// codePending reports whether the browser has a login that waits for its code.
func (h *handlers) codePending(r *http.Request) bool {
	_, pending := h.m.PendingLogin(r.Context())
	return pending
}

// codePage handles GET /login/mfa, the second step of a login.
func (h *handlers) codePage(w http.ResponseWriter, r *http.Request) {
	returnTo, _ := parameter(r, "return_to")
	page := newCodePage(r, returnTo)
	switch pending := h.codePending(r); {
	case !pending && isNavigation(r):
		// This is usually an old tab or a bookmark. The user has to start with the
		// password.
		redirect(w, r, page.LoginURL)
	case !pending:
		Refuse(w, r, session.ErrNoPendingLogin)
	case WantsPage(r):
		WritePage(w, r, page)
	default:
		writeJSON(w, http.StatusOK, typeJSON, map[string]bool{"mfa_required": true})
	}
}

// code handles POST /login/mfa.
func (h *handlers) code(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	page := newCodePage(r, in.returnTo())
	code, err := in.text("code")
	if err != nil {
		if !h.codePending(r) {
			// The sign-in has to start again, so the form for the code would not help.
			err = session.ErrNoPendingLogin
		}
		h.retry(w, r, page, err)
		return
	}
	// Authenticator apps show a code in two groups, and users copy the space.
	err = h.m.LoginTOTP(r.Context(), strings.ReplaceAll(code, " ", ""))
	if err != nil {
		h.retry(w, r, page, codeError(err))
		return
	}
	h.signedIn(w, r, page.ReturnTo)
}

// signedIn responds to a successful sign-in. returnTo must be valid: it is the result of
// settings.returnTo. The response to a script contains the user, so that the script needs
// no second request.
func (h *handlers) signedIn(w http.ResponseWriter, r *http.Request, returnTo string) {
	if !WantsPage(r) {
		Me(w, r)
		return
	}
	if returnTo == "" {
		returnTo = settingsOf(r.Context()).landingURL(r)
	}
	redirect(w, r, returnTo)
}

// signInError translates an error of Manager.Login for Refuse. Some errors have
// another meaning during a sign-in.
func signInError(err error) error {
	switch {
	case errors.Is(err, session.ErrTooLarge):
		// The tokens of the auth service are too large. Status 413 would be wrong, because
		// a smaller request would not help.
		return &Problem{
			Status: http.StatusInternalServerError,
			Code:   codeTooLarge,
			Detail: english["error.session_too_large_login"],
			Err:    err,
		}
	case errors.Is(err, session.ErrSessionUnavailable):
		// The usual text says that the user has not been signed out, but here the user was
		// not signed in yet.
		p := ProblemOf(err)
		p.Detail, p.Err = english["error."+codeAuthUnavailable], err
		return p
	}
	return err
}

// codeError is signInError for the second factor. A rejected code has its own text, which
// suggests another code. After a rejected ticket, another code would not help.
func codeError(err error) error {
	if errors.Is(err, auth.ErrRefused) && !errors.Is(err, auth.ErrTicketRefused) &&
		!errors.Is(err, session.ErrTooLarge) && !errors.Is(err, session.ErrSessionUnavailable) {
		return &Problem{
			Status: http.StatusUnauthorized,
			Code:   codeInvalidCredentials,
			Detail: english["error.wrong_code"],
			Err:    err,
		}
	}
	return signInError(err)
}

// retry responds to a sign-in that failed with err. A browser gets the form
// again if another attempt may succeed, and page is that form. All other
// responses are those of Refuse.
func (h *handlers) retry(w http.ResponseWriter, r *http.Request, page Page, err error) {
	if !WantsPage(r) {
		Refuse(w, r, err)
		return
	}
	if p, _ := problemOf(err); p.Code == codeUnauthenticated {
		redirect(w, r, restartURL(r, page.ReturnTo, err))
		return
	}
	h.retryForm(w, r, page, err)
}

// retryForm is retry for forms of other routes, which users can repeat only while they
// are signed in.
func (h *handlers) retryForm(w http.ResponseWriter, r *http.Request, page Page, err error) {
	p, _ := problemOf(err)
	if !WantsPage(r) || !mayRetry(p.Code) {
		Refuse(w, r, err)
		return
	}
	p.header(w.Header())
	page.fail(p)
	WritePage(w, r, page)
}

// mayRetry reports whether the same form may succeed after a problem: with other input,
// or later. After any other problem, the form would fail again.
func mayRetry(code string) bool {
	switch code {
	case codeInvalidRequest, codeInvalidCredentials, codeTooMany, codeAccountExists, codeWrongPassword, codeWrongCode, codeSecondFactor, codeInvalidTicket,
		codeAuthUnavailable, codeAuthInvalid, codeSessionUnavailable:
		return true
	}
	return false
}

// loginNotices are the values of the login page's parameter done, which reports the success
// of an earlier request. Other values are ignored, so that a link cannot select any text of
// the catalog.
var loginNotices = []string{"password_reset", "password_sign_in", "account_deleted"}

// restartURL returns the address of the login page for a sign-in that has to
// start again with the password.
func restartURL(r *http.Request, returnTo string, err error) string {
	to := sibling(r, codePath, loginPath)
	// A browser without a pending login may never have had one. Only a rejected ticket
	// shows that the user has waited too long.
	if errors.Is(err, auth.ErrTicketRefused) {
		to += "?expired=1"
	}
	return withReturnTo(to, returnTo)
}

// logout handles POST /logout. It succeeds without a session, too, so that a second click
// shows no error. The address to return to is in the body, or in the query of the address
// for forms that are only a button.
func (h *handlers) logout(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	// A value that is neither true nor false is an error. Ending one session in place of
	// all would leave the others open unnoticed.
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
		s := settingsOf(r.Context())
		query, _ := parameter(r, "return_to")
		redirect(w, r, cmp.Or(s.returnTo(in.returnTo()), s.returnTo(query), s.signedOutURL()))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
