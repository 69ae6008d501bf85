package authtest

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Account is a user of the service.
type Account struct {
	// ID is a UUID. Default: a random one.
	ID string

	// Email is not case-sensitive. Required.
	Email string

	// Password is the password. An account without a password can sign in only with
	// a link in an e-mail. The service compares at most 72 bytes.
	Password string

	// Roles are the roles of the user. Default: DefaultRole.
	Roles []string

	// DefaultRole is the role of requests that select no role. Default: "user".
	DefaultRole string

	// TOTPSecret is the secret of the second factor, in base32 (RFC 6238, SHA-1,
	// six digits, 30 seconds). If it is set, the second factor is on.
	TOTPSecret string

	// Inactive prevents logins and refreshes. Issued access tokens stay valid.
	Inactive bool

	// DisplayName is part of the service's responses. Default: Email.
	DisplayName string

	// Fields are further columns, such as "avatar_url". Access tokens include those
	// that [Options.CustomFields] names.
	Fields map[string]any
}

// account is an Account with its internal state.
type account struct {
	Account
	anonymous bool   // has no address
	newEmail  string // not confirmed yet
	newSecret string // of a second factor that is not on yet

	// An account has one ticket for all purposes. A new ticket replaces it.
	ticket        string
	ticketExpires time.Time
}

// AddAccount adds an account and returns it with its defaults set. It panics if the
// account has no e-mail address, an ID that is not a UUID, a TOTPSecret that is not
// base32, or an ID or address that is taken.
func (s *Server) AddAccount(a Account) Account {
	added, err := s.add(a)
	if err != nil {
		panic(err.Error())
	}
	return added
}

func (s *Server) add(a Account) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Email == "" {
		return Account{}, errors.New("authtest: account without an e-mail address")
	}
	if a.ID == "" {
		a.ID = newUUID()
	}
	a, err := a.normal()
	if err != nil {
		return Account{}, err
	}
	if s.accounts[a.ID] != nil || s.byEmail(a.Email) != nil {
		return Account{}, fmt.Errorf("authtest: account %s: its ID or address is taken", a.Email)
	}
	s.accounts[a.ID] = &account{Account: a}
	return a.clone(), nil
}

// Account returns the account with the given ID or e-mail address.
func (s *Server) Account(user string) (Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(user)
	if a == nil {
		return Account{}, false
	}
	return a.clone(), true
}

// UpdateAccount calls change with the account with the given ID or e-mail address,
// and stores the result. It ignores a changed ID. The change takes effect with the
// next login or refresh. UpdateAccount panics if there is no such account, or if
// AddAccount would not accept the changed one. It locks the service while change
// runs, so change must not use the Server.
func (s *Server) UpdateAccount(user string, change func(*Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.lookup(user)
	if a == nil {
		panic("authtest: UpdateAccount: no account " + user)
	}
	changed := a.clone()
	change(&changed)
	changed.ID = a.ID
	if changed.Email == "" && !a.anonymous {
		panic("authtest: UpdateAccount: account without an e-mail address")
	}
	changed, err := changed.normal()
	if err != nil {
		panic(err.Error())
	}
	if other := s.byEmail(changed.Email); other != nil && other != a {
		panic("authtest: UpdateAccount: the address " + changed.Email + " is taken")
	}
	a.Account, a.anonymous = changed, a.anonymous && changed.Email == ""
}

// DeleteAccount removes the account with the given ID or e-mail address, and revokes
// its refresh tokens. It does nothing if there is no such account.
func (s *Server) DeleteAccount(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.lookup(user); a != nil {
		s.remove(a)
	}
}

func (s *Server) remove(a *account) {
	s.endTokens(a.ID)
	delete(s.accounts, a.ID)
}

// normal returns a copy of a with its defaults set.
func (a Account) normal() (Account, error) {
	id, ok := parseUUID(a.ID)
	if !ok {
		return a, fmt.Errorf("authtest: account %s: ID is not a UUID", a.Email)
	}
	a.ID = id
	a.DefaultRole = cmp.Or(a.DefaultRole, "user")
	a.DisplayName = cmp.Or(a.DisplayName, a.Email)
	a = a.clone()
	if len(a.Roles) == 0 {
		a.Roles = []string{a.DefaultRole}
	}
	secret := strings.TrimRight(strings.ToUpper(a.TOTPSecret), "=")
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret); err != nil {
		return a, fmt.Errorf("authtest: account %s: TOTPSecret is not base32", a.Email)
	}
	return a, nil
}

func (a Account) clone() Account {
	a.Roles = slices.Clone(a.Roles)
	a.Fields = maps.Clone(a.Fields)
	return a
}

// lookup returns the account with the given ID or address, or nil. s.mu is held.
func (s *Server) lookup(user string) *account {
	if a := s.accounts[user]; a != nil {
		return a
	}
	return s.byEmail(user)
}

func (s *Server) byEmail(email string) *account {
	for _, a := range s.accounts {
		if !a.anonymous && strings.EqualFold(a.Email, email) {
			return a
		}
	}
	return nil
}

// byTicket returns the account of a ticket that has not expired, or nil. s.mu is
// held.
func (s *Server) byTicket(ticket string) *account {
	ticket, _ = parseUUID(ticket)
	now := s.Now()
	for _, a := range s.accounts {
		if ticket != "" && a.ticket == ticket && a.ticketExpires.After(now) {
			return a
		}
	}
	return nil
}

const ticketLife = time.Hour

// newTicket replaces the account's ticket. s.mu is held.
func (s *Server) newTicket(a *account) string {
	a.ticket, a.ticketExpires = newUUID(), s.Now().Add(ticketLife)
	return a.ticket
}

// maxPassword is the number of bytes of a password that bcrypt uses.
const maxPassword = 72

func cut(password string) []byte {
	if len(password) > maxPassword {
		password = password[:maxPassword]
	}
	return []byte(password)
}

// hash takes as long as bcrypt takes to hash or compare a password. It handles one
// password at a time, because the real service has one thread. The result is not
// used: the passwords of test accounts need no protection.
func (s *Server) hash(password string) {
	if s.opts.PasswordCost > 0 {
		s.hashing.Lock()
		defer s.hashing.Unlock()
		_, _ = bcrypt.GenerateFromPassword(cut(password), s.opts.PasswordCost)
	}
}

// samePassword compares like bcrypt, and takes as long.
func (s *Server) samePassword(got, want string) bool {
	s.hash(got)
	return subtle.ConstantTimeCompare(cut(got), cut(want)) == 1
}

// newUUID returns a random UUID of version 4 (RFC 9562).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
