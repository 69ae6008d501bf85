package authtest_test

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/authtest"
)

// A refresh token expires after 30 days.
func ExampleServer_Advance() {
	srv := start(authtest.Options{RefreshLife: 30 * 24 * time.Hour})
	defer srv.Close()
	_, token := srv.SignIn("ada@example.com")

	srv.Advance(31 * 24 * time.Hour)
	fmt.Println(status(srv, token))
	// Output: 401 Unauthorized
}

// The clock of the service is an hour slow. Its tokens have expired by the local clock.
func ExampleServer_Advance_clockOff() {
	srv := start(authtest.Options{AccessLife: 15 * time.Minute})
	defer srv.Close()
	srv.Advance(-time.Hour)

	access, _ := srv.SignIn("ada@example.com")
	_, err := jwt.Parse(access, func(*jwt.Token) (any, error) { return srv.Secret(), nil })
	fmt.Println(err)
	// Output: token has invalid claims: token is expired
}
