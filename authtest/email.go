package authtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Email is an e-mail that the service has sent.
type Email struct {
	To      string
	Subject string

	// Ticket is the X-Ticket header: the ticket for an activation, a password
	// reset or a new address.
	Ticket string

	// Token is the X-Token header: the refresh token of a login link, or the
	// ticket of a link that completes a registration.
	Token string

	// Link is the link in the text. E-mails for a password reset or a new address
	// have none.
	Link string
}

// Emails returns the e-mails that the service has sent, in order.
func (s *Server) Emails() []Email {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.emails)
}

// send sends an e-mail and reports whether it succeeded. If e-mails are switched
// off, it returns true, because the service does not notice.
func (s *Server) send(m Email) bool {
	if s.opts.NoEmails {
		return true
	}
	if s.opts.OnEmail != nil {
		if err := s.opts.OnEmail(m); err != nil {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emails = append(s.emails, m)
	return true
}

// link returns a URL of the service for use in an e-mail.
func (s *Server) link(e Endpoint, query string) string {
	base := s.URL
	if base == "" {
		base = "http://localhost"
	}
	return base + string(e) + "?" + query
}

// defaultRedirect is the URL to which Synmetrix redirects browsers, after a success
// and after a failure.
const defaultRedirect = "http://localhost/callback"

// SetRedirects sets the URLs to which the service redirects a browser that follows a
// link of an e-mail. The service adds a refresh token to the query of success. An
// empty URL means that the setting is missing (REDIRECT_URL_SUCCESS,
// REDIRECT_URL_ERROR). Default: http://localhost/callback for both.
func (s *Server) SetRedirects(success, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.success, s.failure = success, failure
}

func (s *Server) redirects() (success, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.success, s.failure
}

// activate handles GET /auth/activate, the link that confirms an address.
func activate(c *call) *Response {
	success, _ := c.server.redirects()
	if success == "" {
		return serverError()
	}
	q := c.query()
	if resp := invalid(q, field{"ticket", ticketRule}); resp != nil {
		return resp
	}
	return c.activateAccount(q.text("ticket"), true, "Invalid or expired ticket.")
}

// magicLink handles GET /auth/magic-link, the link for a login or a registration
// without a password.
func magicLink(c *call) *Response {
	q := c.query()
	if resp := invalid(q,
		field{"token", required(text())},
		field{"action", required(oneOf("log-in", "register"))},
		field{"cookie", boolean},
	); resp != nil {
		return resp
	}
	s, token := c.server, q.text("token")
	if q.text("action") == "register" {
		if _, ok := parseUUID(token); !ok {
			return c.linkRefused("")
		}
		_, found := q.get("cookie")
		return c.activateAccount(token, !found || q.text("cookie") == "true", "Invalid or expired token.")
	}
	value, _ := parseUUID(token)
	c.lock()
	t := s.tokens[value]
	live := t != nil && t.State == TokenLive // even if it has expired or the account is inactive
	s.mu.Unlock()
	if !live {
		return badRequest()
	}
	return c.linkFollowed(token)
}

// activateAccount activates the account of a ticket and signs it in. It refuses an
// invalid ticket with the given message.
func (c *call) activateAccount(ticket string, inCookie bool, refusal string) *Response {
	s := c.server
	c.lock()
	a := s.byTicket(ticket)
	if a == nil || !a.Inactive {
		s.mu.Unlock()
		return c.linkRefused(refusal)
	}
	a.Inactive, a.ticket = false, ""
	t := c.newToken(a)
	switch {
	case t == nil:
	case inCookie:
		c.setCookies(a, t.value)
	default:
		c.clearCookies()
	}
	s.mu.Unlock()
	if t == nil {
		return badRequest()
	}
	return c.linkFollowed(t.value)
}

// linkFollowed redirects the browser to the app with a refresh token.
func (c *call) linkFollowed(token string) *Response {
	success, _ := c.server.redirects()
	join := "?"
	if strings.Contains(success, "?") {
		join = "&"
	}
	return c.redirect(success + join + "refresh_token=" + url.QueryEscape(token))
}

// linkRefused redirects the browser to the app without a token. If no URL is set for
// failures, it returns an error.
func (c *call) linkRefused(message string) *Response {
	_, failed := c.server.redirects()
	if failed != "" {
		return c.redirect(failed)
	}
	if message == "" {
		return badRequest()
	}
	return failure(http.StatusUnauthorized, message)
}

func (c *call) redirect(to string) *Response {
	c.header.Set("Vary", "Origin, Accept")
	return &Response{
		Status: http.StatusFound,
		Header: http.Header{
			"Location":     {to},
			"Content-Type": {"text/plain; charset=utf-8"},
		},
		Body: []byte("Found. Redirecting to " + to),
	}
}
