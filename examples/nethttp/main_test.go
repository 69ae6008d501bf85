package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
)

func TestPages(t *testing.T) {
	auth := authtest.NewServer(t, authtest.Options{Accounts: seed.Accounts(), PasswordCost: -1})
	handler, err := newHandler(auth.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(handler) // the cookies are Secure
	defer srv.Close()

	tests := []struct {
		email, path string
		status      int
		body        string
	}{
		{"", "/", 200, "Sign in"},
		{"", "/admin", 200, "Sign in"},
		{"viewer@example.com", "/", 200, `with the roles ["user"]`},
		{"viewer@example.com", "/admin", 403, "No access"},
		{"admin@example.com", "/", 200, `with the roles ["user" "admin"]`},
		{"admin@example.com", "/admin", 200, "You are an admin."},
	}
	for _, tt := range tests {
		t.Run(tt.email+tt.path, func(t *testing.T) {
			client := *srv.Client()
			client.Jar, _ = cookiejar.New(nil)
			if tt.email != "" {
				res, err := client.PostForm(srv.URL+"/login", url.Values{"email": {tt.email}, "password": {seed.Password}})
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
			}
			req, err := http.NewRequest("GET", srv.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", "text/html")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
				t.Errorf("%d %s, want %d with %q", res.StatusCode, body, tt.status, tt.body)
			}
		})
	}
}
