package main

import (
	"net/http"
	"slices"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
	"github.com/synmetrix/session/middleware"
)

// An admin may act as one of the other test accounts. The program gets their tokens from
// the auth service in its process. The admin's own session continues in the background.

// maxActing is how long an admin may act as another user.
const maxActing = time.Hour

func (a *app) actAs(w http.ResponseWriter, r *http.Request) {
	email, err := readField(w, r, "email")
	others := otherAccounts(a.settings.ownAuth, session.FromContext(r.Context()))
	if err == nil && !slices.Contains(others, email) {
		err = invalid("email", "The user is not one of the other test accounts.")
	}
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	access, refresh := a.settings.ownAuth.SignIn(email)
	grant := auth.Grant{
		Tokens: auth.Tokens{AccessToken: access, RefreshToken: refresh},
		User:   auth.User{Email: email},
	}
	if err := a.manager.ActAs(r.Context(), grant, session.WithLifetime(maxActing)); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	a.redirect(w, r, "/dashboard")
}

// stopActing ends acting and returns to the admin's own session. /logout would end the own
// session if acting had already ended, after maxActing or in another tab.
func (a *app) stopActing(w http.ResponseWriter, r *http.Request) {
	if session.FromContext(r.Context()).Actor().ID != "" {
		if err := a.manager.Logout(r.Context()); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
	}
	a.redirect(w, r, "/admin")
}

// otherAccounts returns the e-mail addresses of the test accounts that the user of s may
// act as. own is the auth service in this process, or nil.
func otherAccounts(own *authtest.Server, s *session.Session) []string {
	if own == nil {
		return nil
	}
	var emails []string
	for _, account := range seed.Accounts() {
		now, ok := own.Account(account.Email) // the account may have been deleted
		if ok && now.ID != s.UserID() {
			emails = append(emails, account.Email)
		}
	}
	return emails
}
