package authtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/synmetrix/session/authtest"
)

// start starts a server. In a test, use authtest.NewServer(t), which also closes it.
func start(opts authtest.Options) *authtest.Server {
	opts.PasswordCost = -1
	opts.Accounts = []authtest.Account{{
		ID:       "328ddebf-6a1c-4a7e-9d0b-0f2f64f4f3a5",
		Email:    "ada@example.com",
		Password: "correct horse",
		Roles:    []string{"user", "admin"},
	}}
	srv, err := authtest.Start(opts)
	if err != nil {
		panic(err)
	}
	return srv
}

// status sends a refresh and returns the status of the response.
func status(srv *authtest.Server, refreshToken string) string {
	res, err := http.Get(srv.URL + "/auth/token/refresh?refresh_token=" + refreshToken)
	if err != nil {
		return "no response"
	}
	defer res.Body.Close()
	return res.Status
}

// A login and a refresh. In a test, authtest.NewServer(t) starts and closes the
// server.
func Example() {
	srv := start(authtest.Options{})
	defer srv.Close()

	res, err := http.Post(srv.URL+"/auth/login", "application/json",
		strings.NewReader(`{"email":"ada@example.com","password":"correct horse","cookie":false}`))
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	var session struct {
		AccessToken  string `json:"jwt_token"`
		ExpiresIn    int    `json:"jwt_expires_in"` // milliseconds
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil {
		panic(err)
	}
	fmt.Println(res.Status, session.ExpiresIn)

	// A refresh token can be used once. The service counts a second use, and revokes
	// the tokens that descend from the first.
	fmt.Println(status(srv, session.RefreshToken))
	fmt.Println(status(srv, session.RefreshToken))
	fmt.Println(srv.Reuses(), "reuse,", len(srv.LiveTokens("ada@example.com")), "live tokens")
	// Output:
	// 200 OK 900000
	// 200 OK
	// 401 Unauthorized
	// 1 reuse, 0 live tokens
}
