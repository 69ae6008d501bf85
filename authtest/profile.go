package authtest

import "net/http"

// The endpoints with which users change their accounts.

func notLoggedIn() *Response {
	return failure(http.StatusUnauthorized, "Not logged in")
}

// self returns the account of the user, or the error response if the request has no
// user or the account was deleted. s.mu is held.
func (c *call) self() (*account, *Response) {
	id, ok := parseUUID(c.user.userID)
	if !ok {
		return nil, badRequest()
	}
	a := c.server.accounts[id]
	if a == nil {
		return nil, noAccount()
	}
	return a, nil
}

// changePassword handles POST /auth/change-password. Refresh tokens and access
// tokens stay valid.
func changePassword(c *call) *Response {
	if !c.user.known {
		return notLoggedIn()
	}
	if resp := invalid(c.body,
		field{"old_password", passwordRule},
		field{"new_password", passwordRule},
	); resp != nil {
		return resp
	}
	s := c.server
	c.lock()
	a, refusal := c.self()
	want := ""
	if a != nil {
		want = a.Password
	}
	s.mu.Unlock()
	if a == nil {
		return refusal
	}
	if want != "" {
		if c.text("old_password") == "" {
			return badRequest()
		}
		if !s.samePassword(c.text("old_password"), want) {
			return failure(http.StatusUnauthorized, "Incorrect current password.")
		}
	}
	if c.text("new_password") == "" {
		return serverError()
	}
	s.hash(c.text("new_password"))
	c.lock()
	defer s.mu.Unlock()
	a.Password = c.text("new_password")
	return noContent()
}

// lostPassword handles POST /auth/change-password/request.
func lostPassword(c *call) *Response {
	s := c.server
	if !s.opts.LostPassword || s.opts.NoEmails {
		return serverError()
	}
	if resp := invalid(c.body, field{"email", s.emailRule()}); resp != nil {
		return resp
	}
	c.lock()
	a := s.byEmail(c.text("email"))
	if a == nil {
		s.mu.Unlock()
		return noAccount()
	}
	if a.Inactive {
		s.mu.Unlock()
		return noContent()
	}
	m := Email{To: c.text("email"), Subject: "Reset your password", Ticket: s.newTicket(a)}
	s.mu.Unlock()
	s.send(m) // the service does not report a failure
	return noContent()
}

// resetPassword handles POST /auth/change-password/change.
func resetPassword(c *call) *Response {
	s := c.server
	if !s.opts.LostPassword {
		return serverError()
	}
	if resp := invalid(c.body,
		field{"ticket", ticketRule},
		field{"new_password", passwordRule},
	); resp != nil {
		return resp
	}
	if c.text("new_password") == "" {
		return serverError()
	}
	s.hash(c.text("new_password"))
	c.lock()
	defer s.mu.Unlock()
	a := s.byTicket(c.text("ticket"))
	if a == nil {
		return ticketRefused()
	}
	a.Password, a.ticket = c.text("new_password"), ""
	return noContent()
}

// checkAddress checks a request for a new address. It returns an error response for
// an invalid request, and nil otherwise.
func (c *call) checkAddress() *Response {
	if !c.user.known {
		return notLoggedIn()
	}
	return invalid(c.body, field{"new_email", c.server.emailRule()})
}

// newAddress returns the user's account, which is nil if it was deleted, or the
// error response if the new address is taken. s.mu is held.
func (c *call) newAddress() (*account, *Response) {
	s := c.server
	if s.byEmail(c.text("new_email")) != nil {
		return nil, failure(http.StatusBadRequest, "Cannot use this email.")
	}
	id, ok := parseUUID(c.user.userID)
	if !ok {
		return nil, badRequest()
	}
	return s.accounts[id], nil
}

// changeEmail handles POST /auth/change-email. It changes the address at once and
// requires no password.
func changeEmail(c *call) *Response {
	s := c.server
	if s.opts.VerifyEmails {
		return serverError()
	}
	if resp := c.checkAddress(); resp != nil {
		return resp
	}
	c.lock()
	defer s.mu.Unlock()
	a, refusal := c.newAddress()
	switch {
	case refusal != nil:
		return refusal
	case !storable.MatchString(c.text("new_email")):
		return badRequest()
	case a != nil:
		a.setEmail(c.text("new_email"))
	}
	return noContent()
}

// setEmail changes the address. The display name stays, even if it is the old
// address.
func (a *account) setEmail(email string) {
	a.Email, a.newEmail, a.anonymous = email, "", false
}

// requestEmailChange handles POST /auth/change-email/request.
func requestEmailChange(c *call) *Response {
	s := c.server
	if !s.opts.VerifyEmails {
		return serverError()
	}
	if resp := c.checkAddress(); resp != nil {
		return resp
	}
	c.lock()
	a, refusal := c.newAddress()
	if refusal != nil {
		s.mu.Unlock()
		return refusal
	}
	if s.opts.NoEmails || a == nil || !storable.MatchString(c.text("new_email")) {
		s.mu.Unlock()
		return serverError()
	}
	a.newEmail = c.text("new_email")
	m := Email{To: a.newEmail, Subject: "Change your email address", Ticket: s.newTicket(a)}
	s.mu.Unlock()
	if !s.send(m) {
		return serverError()
	}
	return noContent()
}

// confirmEmailChange handles POST /auth/change-email/change, which requires no
// login.
func confirmEmailChange(c *call) *Response {
	s := c.server
	if !s.opts.VerifyEmails {
		return serverError()
	}
	if resp := invalid(c.body, field{"ticket", ticketRule}); resp != nil {
		return resp
	}
	c.lock()
	defer s.mu.Unlock()
	a := s.byTicket(c.text("ticket"))
	if a == nil {
		return noAccount()
	}
	if a.newEmail == "" || s.byEmail(a.newEmail) != nil {
		return badRequest() // the ticket has another purpose, or the address was taken meanwhile
	}
	a.setEmail(a.newEmail)
	a.ticket = ""
	return noContent()
}

// deleteAccount handles POST /auth/delete.
func deleteAccount(c *call) *Response {
	s := c.server
	if !s.opts.SelfDelete {
		return serverError()
	}
	refusal := failure(http.StatusUnauthorized, "Unable to delete account")
	if !c.user.known {
		return refusal
	}
	id, ok := parseUUID(c.user.userID)
	if !ok {
		return badRequest()
	}
	c.lock()
	defer s.mu.Unlock()
	a := s.accounts[id]
	if a == nil {
		return refusal
	}
	s.remove(a)
	c.clearCookies()
	return noContent()
}
