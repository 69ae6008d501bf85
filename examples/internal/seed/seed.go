// Package seed has the test accounts of the examples.
package seed

import (
	"fmt"
	"io"
	"strings"

	"github.com/synmetrix/session/authtest"
)

// Password is the password of every account.
const Password = "correct horse battery staple"

// TOTPSecret is the secret of the account with a second factor.
const TOTPSecret = "JBSWY3DPEHPK3PXP"

// Accounts returns the accounts: one for each role of the examples, and one with
// a second factor.
func Accounts() []authtest.Account {
	return []authtest.Account{
		{Email: "admin@example.com", Password: Password, Roles: []string{"user", "admin"}},
		{Email: "analyst@example.com", Password: Password, Roles: []string{"user", "analyst"}},
		{Email: "viewer@example.com", Password: Password},
		{Email: "mfa@example.com", Password: Password, TOTPSecret: TOTPSecret},
	}
}

// Print prints the accounts.
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

// PrintEmail prints an e-mail of the auth service. It is for
// authtest.Options.OnEmail.
func PrintEmail(w io.Writer, m authtest.Email) {
	text := "e-mail to " + m.To + ": " + m.Subject
	switch {
	case m.Link != "":
		text += ": " + m.Link
	case m.Ticket != "":
		text += ": the code is " + m.Ticket
	}
	fmt.Fprintln(w, text) // one call, as other goroutines may print at the same time
}
