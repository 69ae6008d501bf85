package authtest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// emailRule returns the rule for an e-mail address in an allowed domain.
func (s *Server) emailRule() rule {
	return required(text(email, func(address string) string {
		domains := s.opts.EmailDomains
		if len(domains) == 0 || slices.ContainsFunc(domains, func(domain string) bool {
			return strings.HasSuffix(strings.ToLower(address), strings.ToLower(domain))
		}) {
			return ""
		}
		return "is not in an authorised domain"
	}))
}

// storable matches the addresses that the service's database accepts. The service
// does not check them before it stores them.
var storable = regexp.MustCompile(`^[A-Za-z0-9._+%-]+@[A-Za-z0-9.-]+[.][A-Za-z]+$`)

// checkRegistration returns the error response for an invalid body, or nil.
func (c *call) checkRegistration() *Response {
	s := c.server
	password := required(passwordRule)
	if !s.opts.NoMagicLink {
		password = passwordRule
	}
	var userData []field
	for _, name := range s.opts.RegisterFields {
		userData = append(userData, field{name, notNull})
	}
	return invalid(c.body,
		field{"email", s.emailRule()},
		field{"password", password},
		field{"user_data", objectOf(userData...)},
		field{"register_options", objectOf(
			field{"allowed_roles", listOf(text())},
			field{"default_role", text()},
		)},
		field{"cookie", boolean},
	)
}

// register handles POST /auth/register.
func register(c *call) *Response {
	if resp := c.checkRegistration(); resp != nil {
		return resp
	}
	s := c.server
	address := c.text("email")
	c.lock()
	taken := s.byEmail(address)
	inactive := taken != nil && taken.Inactive
	s.mu.Unlock()
	switch {
	case inactive:
		return failure(http.StatusBadRequest, "Account already exists but is not activated.")
	case taken != nil:
		return failure(http.StatusBadRequest, "Account already exists.")
	}
	if c.text("password") != "" {
		s.hash(c.text("password"))
	}
	roles, defaultRole := c.registerRoles()
	if !slices.Contains(roles, defaultRole) {
		return failure(http.StatusBadRequest, "Default role must be part of allowed roles.")
	}
	for _, role := range roles {
		if !slices.Contains(s.opts.RegisterRoles, role) {
			return failure(http.StatusBadRequest, "allowed roles must be a subset of ALLOWED_ROLES")
		}
	}
	if !c.between() {
		return nil
	}

	a := c.insertAccount(address, roles, defaultRole)
	if a == nil {
		return serverError()
	}
	if s.opts.NoActivation && s.opts.VerifyEmails {
		return c.mailActivation(a)
	}
	c.lock()
	defer s.mu.Unlock()
	return c.signIn(a)
}

// registerRoles returns the roles that a registration requests, or the default ones.
func (c *call) registerRoles() (roles []string, defaultRole string) {
	o, _ := c.body.(object)
	value, _ := o.get("register_options")
	options, _ := value.(object)
	roles, defaultRole = []string{"user"}, "user"
	if list, found := options.get("allowed_roles"); found {
		roles = nil
		for _, role := range list.([]any) {
			roles = append(roles, role.(string))
		}
	}
	if role := options.text("default_role"); role != "" {
		defaultRole = role
	}
	return roles, defaultRole
}

// insertAccount adds the account. It returns nil if the database would reject the
// account: the address was taken meanwhile or is not storable, a role occurs twice, or a
// value in user_data is not a string.
func (c *call) insertAccount(address string, roles []string, defaultRole string) *account {
	s := c.server
	c.lock()
	defer s.mu.Unlock()
	distinct := slices.Clone(roles)
	slices.Sort(distinct)
	if s.byEmail(address) != nil || !storable.MatchString(address) || len(slices.Compact(distinct)) < len(roles) {
		return nil
	}
	o, _ := c.body.(object)
	value, _ := o.get("user_data")
	userData, _ := value.(object)
	a := &account{Account: Account{
		ID:          newUUID(),
		Email:       address,
		Password:    c.text("password"),
		Roles:       roles,
		DefaultRole: defaultRole,
		DisplayName: address,
		Inactive:    s.opts.NoActivation,
		Fields:      make(map[string]any),
	}}
	for _, m := range userData {
		if _, isText := m.value.(string); !isText {
			return nil
		}
		a.Fields[m.name] = m.value
	}
	if name := userData.text("display_name"); name != "" {
		a.DisplayName = name
	}
	s.newTicket(a)
	s.accounts[a.ID] = a
	return a
}

// mailActivation sends the e-mail that confirms a registration. If it cannot be
// sent, the account stays.
func (c *call) mailActivation(a *account) *Response {
	s := c.server
	if s.opts.NoEmails {
		return serverError()
	}
	c.lock()
	m := Email{To: a.Email, Subject: "Confirm your email address", Ticket: a.ticket, Link: s.link(Activate, "ticket="+a.ticket)}
	if a.Password == "" {
		m = Email{To: a.Email, Subject: "Secure register link", Token: a.ticket, Link: s.link(MagicLink, "token="+a.ticket+"&action=register")}
	}
	user := c.userData(a)
	s.mu.Unlock()
	if !s.send(m) {
		return serverError()
	}
	return ok(object{{"jwt_token", nil}, {"jwt_expires_in", nil}, {"user", user}})
}
