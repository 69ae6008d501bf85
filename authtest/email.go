package authtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Email is an e-mail that the service has sent. Its parts are the keys to an
// account.
type Email struct {
	To      string
	Subject string

	// Ticket is what X-Ticket says: of an activation, a lost password or a
	// new address.
	Ticket string

	// Token is what X-Token says: of a link that logs in, a refresh token, or
	// that registers, a ticket.
	Token string

	// Link is the link in the text. E-mails about a lost password and a new
	// address have none.
	Link string
}

// Emails returns the e-mails that the service has sent, in their order.
func (s *Server) Emails() []Email {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.emails)
}

// send reports whether an e-mail could be sent. Without e-mails at all it says
// so, too: the service does not notice.
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

// link is an address of the service as it stands in an e-mail.
func (s *Server) link(e Endpoint, query string) string {
	base := s.URL
	if base == "" {
		base = "http://localhost"
	}
	return base + string(e) + "?" + query
}

// defaultRedirect is where Synmetrix sends browsers, in both cases.
const defaultRedirect = "http://localhost/callback"

// SetRedirects says where a browser is sent that has followed a link in an
// e-mail: to success with a refresh token in the query, or to failure without
// one. An empty address is a setting that is missing (REDIRECT_URL_SUCCESS,
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

// activate is GET /auth/activate, the link that confirms an address.
func activate(c *call) *Answer {
	success, _ := c.server.redirects()
	if success == "" {
		return serverError()
	}
	q := c.query()
	if a := invalid(q, field{"ticket", ticketRule}); a != nil {
		return a
	}
	return c.activateAccount(q.text("ticket"), true, "Invalid or expired ticket.")
}

// magicLink is GET /auth/magic-link, the link that logs in or registers
// without a password.
func magicLink(c *call) *Answer {
	q := c.query()
	if a := invalid(q,
		field{"token", required(text())},
		field{"action", required(oneOf("log-in", "register"))},
		field{"cookie", boolean},
	); a != nil {
		return a
	}
	s, token := c.server, q.text("token")
	if q.text("action") == "register" {
		if _, ok := parseUUID(token); !ok {
			return c.linkRefused("")
		}
		_, given := q.get("cookie")
		return c.activateAccount(token, !given || q.text("cookie") == "true", "Invalid or expired token.")
	}
	value, _ := parseUUID(token)
	c.lock()
	t := s.tokens[value]
	live := t != nil && t.State == TokenLive // expired or not, active or not
	s.mu.Unlock()
	if !live {
		return badRequest()
	}
	return c.linkFollowed(token)
}

// activateAccount activates the account of a ticket and signs it in, or refuses
// a ticket that is no good.
func (c *call) activateAccount(ticket string, inCookie bool, refusal string) *Answer {
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

// linkFollowed sends the browser back to the app with a refresh token.
func (c *call) linkFollowed(token string) *Answer {
	success, _ := c.server.redirects()
	join := "?"
	if strings.Contains(success, "?") {
		join = "&"
	}
	return c.redirect(success + join + "refresh_token=" + url.QueryEscape(token))
}

// linkRefused sends it back without one, or says why where there is no place
// to send it to.
func (c *call) linkRefused(message string) *Answer {
	_, failed := c.server.redirects()
	if failed != "" {
		return c.redirect(failed)
	}
	if message == "" {
		return badRequest()
	}
	return failure(http.StatusUnauthorized, message)
}

func (c *call) redirect(to string) *Answer {
	c.header.Set("Vary", "Origin, Accept")
	return &Answer{
		Status: http.StatusFound,
		Header: http.Header{
			"Location":     {to},
			"Content-Type": {"text/plain; charset=utf-8"},
		},
		Body: []byte("Found. Redirecting to " + to),
	}
}
