package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
)

// A user with the role reaches the service, which receives the user's ID and no cookie.
// Package gateway has the other tests.
func TestGateway(t *testing.T) {
	auth := authtest.NewServer(t, authtest.Options{Accounts: seed.Accounts(), PasswordCost: -1})
	m, err := newManager(auth.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Shutdown(context.Background()) }()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) }))
	defer service.Close()
	upstream, _ := url.Parse(service.URL)
	g, err := newGateway(m, upstream, "admin")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(g)
	defer srv.Close()

	for email, status := range map[string]int{"admin@example.com": 200, "viewer@example.com": 403, "": 401} {
		client := *srv.Client()
		client.Jar, _ = cookiejar.New(nil)
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		if email != "" {
			res, err := client.PostForm(srv.URL+"/login", url.Values{"email": {email}, "password": {seed.Password}})
			if err != nil || res.StatusCode != 303 {
				t.Fatal(err, res)
			}
			res.Body.Close()
		}
		res, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		var got http.Header
		_ = json.NewDecoder(res.Body).Decode(&got)
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%q gets %d, want %d", email, res.StatusCode, status)
		}
		account, _ := auth.Account(email)
		if status == 200 && (got.Get("X-Forwarded-User") != account.ID || got.Get("X-Forwarded-Roles") != "user,admin" || got["Cookie"] != nil) {
			t.Errorf("the service received %v", got)
		}
	}
}
