package authtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/authtest"
)

// Changed roles are in the tokens of the next refresh.
func ExampleServer_UpdateAccount() {
	srv := start(authtest.Options{})
	defer srv.Close()
	roles := func() any {
		access, _ := srv.SignIn("ada@example.com")
		var claims jwt.MapClaims
		if _, err := jwt.ParseWithClaims(access, &claims, func(*jwt.Token) (any, error) { return srv.Secret(), nil }); err != nil {
			return err
		}
		return claims["hasura"].(map[string]any)["x-hasura-allowed-roles"]
	}
	fmt.Println(roles())
	srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Roles = []string{"user"} })
	fmt.Println(roles())
	// Output:
	// [user admin]
	// [user]
}

// A login link in an e-mail redirects the browser to the app.
func ExampleServer_Emails() {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.URL.Path, "with a token:", r.FormValue("refresh_token") != "")
	}))
	defer app.Close()
	srv := start(authtest.Options{})
	defer srv.Close()
	srv.SetRedirects(app.URL+"/callback", app.URL+"/callback")

	res, err := http.Post(srv.URL+"/auth/login", "application/json",
		strings.NewReader(`{"email":"ada@example.com","cookie":false}`))
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	mail := srv.Emails()[0]
	fmt.Println(mail.To, "-", mail.Subject)
	res, err = http.Get(mail.Link)
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	// Output:
	// ada@example.com - Secure log in link
	// /callback with a token: true
}

// The service behind TLS, or on any other listener.
func ExampleNew() {
	auth, err := authtest.New(authtest.Options{})
	if err != nil {
		panic(err)
	}
	srv := httptest.NewTLSServer(auth)
	defer srv.Close()
	defer auth.Close() // runs first: it aborts requests that a fault holds

	res, err := srv.Client().Get(srv.URL + "/healthz")
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	fmt.Println(res.Status)
	// Output: 200 OK
}
