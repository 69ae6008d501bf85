// Package seed holds the accounts that the examples start with.
package seed

import (
	"fmt"
	"io"
	"strings"

	"github.com/synmetrix/session/authtest"
)

// Password opens every seeded account.
const Password = "correct horse battery staple"

// TOTPSecret is that of the account with a second factor.
const TOTPSecret = "JBSWY3DPEHPK3PXP"

// Accounts returns the accounts: one for each role that the examples know, and
// one with a second factor.
func Accounts() []authtest.Account {
	return []authtest.Account{
		{Email: "admin@example.com", Password: Password, Roles: []string{"user", "admin"}},
		{Email: "analyst@example.com", Password: Password, Roles: []string{"user", "analyst"}},
		{Email: "viewer@example.com", Password: Password},
		{Email: "mfa@example.com", Password: Password, TOTPSecret: TOTPSecret},
	}
}

// Print shows the accounts to the person who has started an example.
func Print(w io.Writer) {
	fmt.Fprintln(w, "accounts:")
	for _, a := range Accounts() {
		roles, note := a.Roles, ""
		if roles == nil {
			roles = []string{"user"}
		}
		if a.TOTPSecret != "" {
			note = ", TOTP secret " + a.TOTPSecret
		}
		fmt.Fprintf(w, "  %-20s  roles %s%s\n", a.Email, strings.Join(roles, ", "), note)
	}
	fmt.Fprintln(w, "password of all:", Password)
}

// PrintEmail shows an e-mail that the auth service sends. It is meant for
// authtest.Options.OnEmail.
func PrintEmail(w io.Writer, m authtest.Email) {
	text := "e-mail to " + m.To + ": " + m.Subject
	switch {
	case m.Link != "":
		text += ": " + m.Link
	case m.Ticket != "":
		text += ": the code is " + m.Ticket
	}
	fmt.Fprintln(w, text) // in one piece, for there may be others who write
}
