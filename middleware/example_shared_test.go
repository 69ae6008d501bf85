package middleware_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// The examples share a Manager with an auth service, and a simple browser.

// startManager returns a Manager with a test auth service. The service has two
// users: Ada, an admin, and Bob.
func startManager(loginPath string) (m *session.Manager, stop func()) {
	auth, err := authtest.Start(authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{
		{ID: "328ddebf-5ba2-4c3a-9be9-2b5a0a1c4d11", Email: "ada@example.com", Password: "correct horse", Roles: []string{"user", "admin"}},
		{ID: "7c9e6679-7425-40de-944b-e07fc1f90ae7", Email: "bob@example.com", Password: "correct horse", Roles: []string{"user"}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	m, err = session.New(session.Config{
		Auth:      synmetrix.NewClient(auth.URL),
		Keys:      []session.SecretKey{session.GenerateKey()},
		LoginPath: loginPath,
	})
	if err != nil {
		log.Fatal(err)
	}
	return m, auth.Close
}

// newGuest returns a browser that is not signed in.
func newGuest(srv *httptest.Server) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	client := *srv.Client() // trusts the server's certificate
	client.Jar = jar
	return &client
}

// follow requests a page like a browser that follows a link, and returns a summary
// of the response.
func follow(c *http.Client, url string) string { return request(c, "GET", url, "text/html", nil) }

// fetch sends a request like a script or a program.
func fetch(c *http.Client, method, url string) string {
	return request(c, method, url, "application/json", nil)
}

// submit sends a form. fields has alternating names and values.
func submit(c *http.Client, address string, fields ...string) string {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return request(c, "POST", address, "text/html", form)
}

var heading = regexp.MustCompile(`<h1[^>]*>([^<]*)</h1>`)

func request(c *http.Client, method, url, accept string, form url.Values) string {
	req, err := http.NewRequest(method, url, strings.NewReader(form.Encode()))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := once.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	text := strings.TrimSpace(string(body))
	if match := heading.FindStringSubmatch(text); match != nil {
		text = "page: " + match[1]
	}
	if to := res.Header.Get("Location"); to != "" {
		text = "to " + to
	}
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", text))
}
