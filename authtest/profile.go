package authtest

import "net/http"

// What users change about their accounts.

func notLoggedIn() *Answer {
	return failure(http.StatusUnauthorized, "Not logged in")
}

// self finds the account of the user who is logged in, or returns the answer
// to one who is not or is gone. s.mu is held.
func (c *call) self() (*account, *Answer) {
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

// changePassword is POST /auth/change-password. Refresh tokens and access
// tokens stay good.
func changePassword(c *call) *Answer {
	if !c.user.known {
		return notLoggedIn()
	}
	if a := invalid(c.body,
		field{"old_password", passwordRule},
		field{"new_password", passwordRule},
	); a != nil {
		return a
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

// lostPassword is POST /auth/change-password/request.
func lostPassword(c *call) *Answer {
	s := c.server
	if !s.opts.LostPassword || s.opts.NoEmails {
		return serverError()
	}
	if a := invalid(c.body, field{"email", s.emailRule()}); a != nil {
		return a
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
	s.send(m) // a failure goes unsaid
	return noContent()
}

// resetPassword is POST /auth/change-password/change.
func resetPassword(c *call) *Answer {
	s := c.server
	if !s.opts.LostPassword {
		return serverError()
	}
	if a := invalid(c.body,
		field{"ticket", ticketRule},
		field{"new_password", passwordRule},
	); a != nil {
		return a
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

// checkAddress checks a request for another address, and returns the answer to
// one that cannot be met.
func (c *call) checkAddress() *Answer {
	if !c.user.known {
		return notLoggedIn()
	}
	return invalid(c.body, field{"new_email", c.server.emailRule()})
}

// newAddress looks for the account, or returns the answer to a request for an
// address that it cannot have. s.mu is held.
func (c *call) newAddress() (*account, *Answer) {
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

// changeEmail is POST /auth/change-email, at once and without a password.
func changeEmail(c *call) *Answer {
	s := c.server
	if s.opts.VerifyEmails {
		return serverError()
	}
	if a := c.checkAddress(); a != nil {
		return a
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

// setEmail keeps the name that is shown, even if that is the old address.
func (a *account) setEmail(email string) {
	a.Email, a.newEmail, a.anonymous = email, "", false
}

// requestEmailChange is POST /auth/change-email/request.
func requestEmailChange(c *call) *Answer {
	s := c.server
	if !s.opts.VerifyEmails {
		return serverError()
	}
	if a := c.checkAddress(); a != nil {
		return a
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

// confirmEmailChange is POST /auth/change-email/change, which needs no login.
func confirmEmailChange(c *call) *Answer {
	s := c.server
	if !s.opts.VerifyEmails {
		return serverError()
	}
	if a := invalid(c.body, field{"ticket", ticketRule}); a != nil {
		return a
	}
	c.lock()
	defer s.mu.Unlock()
	a := s.byTicket(c.text("ticket"))
	if a == nil {
		return noAccount()
	}
	if a.newEmail == "" || s.byEmail(a.newEmail) != nil {
		return badRequest() // a ticket for something else, or taken in the meantime
	}
	a.setEmail(a.newEmail)
	a.ticket = ""
	return noContent()
}

// deleteAccount is POST /auth/delete.
func deleteAccount(c *call) *Answer {
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
