package synmetrix_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// service starts a fake auth service in this process.
func service(opts authtest.Options) *authtest.Server {
	opts.Accounts = []authtest.Account{
		{ID: "328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11", Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}},
		{Email: "mfa@example.com", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"},
	}
	opts.PasswordCost = -1
	srv, err := authtest.Start(opts)
	if err != nil {
		log.Fatal(err)
	}
	return srv
}

func Example() {
	srv := service(authtest.Options{}) // or the address of a real one
	defer srv.Close()
	ctx := context.Background()

	client := synmetrix.NewClient(srv.URL)
	grant, err := client.Login(ctx, "ada@example.com", "correct horse")
	if err != nil {
		log.Fatal(err)
	}
	claims, err := synmetrix.ParseAccessToken(grant.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(claims.UserID, claims.AllowedRoles, claims.DefaultRole)

	grant, err = client.Refresh(ctx, auth.Tokens{RefreshToken: grant.RefreshToken}) // the old refresh token is used up
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Logout(ctx, grant.Tokens, false); err != nil {
		log.Fatal(err)
	}
	_, err = client.Refresh(ctx, auth.Tokens{RefreshToken: grant.RefreshToken})
	fmt.Println(errors.Is(err, auth.ErrRefused))
	// Output:
	// 328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11 [user admin] user
	// true
}

func ExampleClient_Login_errors() {
	srv := service(authtest.Options{})
	defer srv.Close()
	client := synmetrix.NewClient(srv.URL)

	_, err := client.Login(context.Background(), "ada@example.com", "wrong horse")
	switch {
	case errors.Is(err, auth.ErrRefused):
		fmt.Println("wrong e-mail address or password") // the same text for every reason
	case errors.Is(err, auth.ErrUnavailable):
		fmt.Println("try again later")
	}
	var failure *auth.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Op, failure.Code, failure.StatusCode)
	}
	fmt.Println(err)
	// Output:
	// wrong e-mail address or password
	// login invalid_credentials 401
	// auth service: login: invalid_credentials (status 401): refused by the auth service
}

func ExampleClient_LoginTOTP() {
	srv := service(authtest.Options{})
	defer srv.Close()
	ctx := context.Background()
	client := synmetrix.NewClient(srv.URL)

	grant, err := client.Login(ctx, "mfa@example.com", "correct horse")
	var second *auth.SecondFactorError
	if errors.As(err, &second) {
		code, _ := totp.GenerateCode("JBSWY3DPEHPK3PXP", time.Now()) // the user types it in
		grant, err = client.LoginTOTP(ctx, second.Ticket, code)
	}
	fmt.Println(grant.AccessToken != "", err)
	// Output: true <nil>
}

func ExampleClient_Refresh_outage() {
	srv := service(authtest.Options{})
	defer srv.Close()
	client := synmetrix.NewClient(srv.URL)
	_, refreshToken := srv.SignIn("ada@example.com")

	// The service accepts the token, but the response is lost.
	srv.Inject(authtest.Refresh, authtest.Fault{Deliver: authtest.Reset, CarryOut: true, Times: 1})
	_, err := client.Refresh(context.Background(), auth.Tokens{RefreshToken: refreshToken})
	fmt.Println(errors.Is(err, auth.ErrRefused))
	fmt.Println(errors.Is(err, auth.ErrUnavailable))
	fmt.Println(errors.Is(err, auth.ErrOutcomeUnknown))
	// Output:
	// false
	// true
	// true
}

func ExampleClient_Register() {
	srv := service(authtest.Options{NoActivation: true, VerifyEmails: true})
	defer srv.Close()
	ctx := context.Background()
	client := synmetrix.NewClient(srv.URL)

	_, err := client.Register(ctx, "grace@example.com", "battery staple")
	if errors.Is(err, auth.ErrVerificationPending) {
		fmt.Println("the service has sent a link to grace@example.com")
	}
	ticket := srv.Emails()[0].Ticket // in the link
	grant, err := client.Activate(ctx, ticket)
	fmt.Println(grant.AccessToken != "", err)

	_, err = client.Register(ctx, "grace@example.com", "battery staple")
	var failure *auth.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Code)
	}
	// Output:
	// the service has sent a link to grace@example.com
	// true <nil>
	// account_exists
}

func ExampleClient_SendMagicLink() {
	srv := service(authtest.Options{})
	defer srv.Close()
	ctx := context.Background()
	client := synmetrix.NewClient(srv.URL)

	if err := client.SendMagicLink(ctx, "ada@example.com"); err != nil {
		log.Fatal(err)
	}
	// The link leads the browser to the app, with ?refresh_token=... in the URL.
	refreshToken := srv.Emails()[0].Token
	grant, err := client.Refresh(ctx, auth.Tokens{RefreshToken: refreshToken})
	fmt.Println(grant.AccessToken != "", err)
	// Output: true <nil>
}

func ExampleClient_ChangePassword() {
	srv := service(authtest.Options{})
	defer srv.Close()
	ctx := context.Background()
	client := synmetrix.NewClient(srv.URL)
	grant, err := client.Login(ctx, "ada@example.com", "correct horse")
	if err != nil {
		log.Fatal(err)
	}

	if err := client.ChangePassword(ctx, grant.AccessToken, "correct horse", "battery staple"); err != nil {
		log.Fatal(err)
	}
	// The user's sessions continue. End them.
	if err := client.Revoke(ctx, grant.AccessToken); err != nil {
		log.Fatal(err)
	}
	_, err = client.Login(ctx, "ada@example.com", "battery staple")
	fmt.Println(err)
	// Output: <nil>
}

func ExampleTokenSource() {
	srv := service(authtest.Options{})
	defer srv.Close()
	ctx := context.Background()
	client := synmetrix.NewClient(srv.URL)

	grant, err := client.Login(ctx, "ada@example.com", "correct horse") // or saved tokens
	if err != nil {
		log.Fatal(err)
	}
	source := synmetrix.NewTokenSource(client, grant.Tokens, synmetrix.TokenSourceConfig{
		Save: func(ctx context.Context, tokens auth.Tokens) error {
			fmt.Println("saved") // for example in a file that only the user can read
			return nil
		},
	})
	defer source.Logout(ctx, false)

	// An API call that is repeated once if the API rejects the token.
	call := func(token string) int {
		req, err := http.NewRequestWithContext(ctx, "GET", "https://api.example/", nil)
		if err != nil {
			log.Fatal(err)
		}
		synmetrix.SetAuthorization(req.Header, token)
		return http.StatusUnauthorized // the status of http.DefaultClient.Do(req)
	}
	token, err := source.Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if call(token) == http.StatusUnauthorized {
		if token, err = source.Renew(ctx, token); err != nil {
			log.Fatal(err)
		}
		call(token)
	}
	// Output: saved
}

func ExampleWithClientAddr() {
	srv := service(authtest.Options{RateLimit: 1})
	defer srv.Close()
	client := synmetrix.NewClient(srv.URL)

	// Each address has its own limit.
	for _, remote := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"} {
		ctx := synmetrix.WithClientAddr(context.Background(), netip.MustParseAddr(remote))
		_, err := client.Login(ctx, "ada@example.com", "correct horse")
		fmt.Println(remote, errors.Is(err, auth.ErrUnavailable))
	}
	// Output:
	// 192.0.2.1 false
	// 192.0.2.2 false
	// 192.0.2.1 true
}

func ExampleWithTransport() {
	// A proxy only for the auth service.
	transport := synmetrix.NewTransport()
	transport.Proxy = http.ProxyURL(nil)
	client := synmetrix.NewClient("https://app.synmetrix.org/",
		synmetrix.WithTransport(transport),
		synmetrix.WithTimeout(5*time.Second),
	)
	fmt.Println(client, client.Validate())
	// Output: synmetrix.Client(https://app.synmetrix.org) <nil>
}
