package session_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

// The examples share an auth service and a simple browser.

const totpSecretOfExamples = "JBSWY3DPEHPK3PXP"

// startAuth starts an auth service in this process. It has three users: Ada, an
// admin; Bob, who has no special role; and Eve, whose account has a second
// factor.
func startAuth(opts authtest.Options) *authtest.Server {
	opts.Accounts = []authtest.Account{
		{ID: "328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11", Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}},
		{ID: "7c9e6679-7425-40de-944b-e07fc1f90ae7", Email: "bob@example.com", Password: "correct horse", Roles: []string{"user"}},
		{ID: "16fd2706-8baf-433b-82eb-8c7fada847da", Email: "eve@example.com", Password: "correct horse", TOTPSecret: totpSecretOfExamples},
	}
	opts.PasswordCost = -1
	srv, err := authtest.Start(opts)
	if err != nil {
		log.Fatal(err)
	}
	return srv
}

// guest is a person with a browser.
type guest struct {
	client *http.Client
	url    string
}

func newGuest(srv *httptest.Server) *guest {
	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	return &guest{url: srv.URL, client: &http.Client{
		Transport:     srv.Client().Transport, // trusts the server's certificate
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// get follows a link. It returns the status and, if the response is short, its
// text.
func (g *guest) get(path string) string {
	req, err := http.NewRequest("GET", g.url+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	return g.send(req)
}

// post sends a form. fields has alternating names and values.
func (g *guest) post(path string, fields ...string) string {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequest("POST", g.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return g.send(req)
}

func (g *guest) signIn(email string) string {
	return g.post("/login", "email", email, "password", "correct horse")
}

func (g *guest) send(req *http.Request) string {
	res, err := g.client.Do(req)
	if err != nil {
		return "no response"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "incomplete response"
	}
	switch text := string(body); {
	case res.Header.Get("Location") != "":
		return fmt.Sprint(res.StatusCode, " to ", res.Header.Get("Location"))
	case len(text) == 0 || len(text) > 200:
		return res.Status
	default:
		return fmt.Sprint(res.StatusCode, " ", strings.TrimSpace(text))
	}
}

// codeOf returns the one-time code that Eve's authenticator app shows at a time.
func codeOf(at time.Time) string {
	code, err := totp.GenerateCode(totpSecretOfExamples, at)
	if err != nil {
		log.Fatal(err)
	}
	return code
}
