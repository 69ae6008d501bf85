package main

import (
	"net/http/httptest"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/sessiontest"
	"github.com/synmetrix/session/synmetrix"
)

func TestAdmin(t *testing.T) {
	m, app, err := newApp()
	if err != nil {
		t.Fatal(err)
	}
	for role, status := range map[string]int{"admin": 200, "user": 403} {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, sessiontest.As("user-1", role).SignedInTo(m, httptest.NewRequest("GET", "/admin", nil)))
		if w.Code != status {
			t.Errorf("%s: %d, want %d", role, w.Code, status)
		}
	}
}

func TestLogin(t *testing.T) {
	service := authtest.NewServer(t, authtest.Options{
		Accounts: []authtest.Account{{Email: "ada@example.com", Password: "correct horse"}},
	})
	grant, err := synmetrix.NewClient(service.URL).Login(t.Context(), "ada@example.com", "correct horse")
	if err != nil || grant.Tokens == (auth.Tokens{}) {
		t.Errorf("%v", err)
	}
}
