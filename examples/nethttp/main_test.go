package main

import (
	"fmt"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/pagetest"
	"github.com/synmetrix/session/examples/internal/seed"
)

func TestPages(t *testing.T) {
	auth := authtest.NewServer(t, authtest.Options{Accounts: seed.Accounts(), PasswordCost: -1})
	handler, err := newHandler(auth.URL)
	if err != nil {
		t.Fatal(err)
	}
	pagetest.Pages(t, auth, handler, func(a authtest.Account) string {
		return fmt.Sprintf("You are %s, with the roles %q.", a.ID, a.Roles)
	})
}
